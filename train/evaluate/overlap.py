"""Near copies of a benchmark's images in a training set, by perceptual hash; scores with and without their questions.

Crops and mirrored copies hash differently, so what is found is a lower bound.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from facellm.errors import FaceLLMError
from train.evaluate import summary
from train.evaluate.answering import Arm, Reply
from train.evaluate.facexbench import Question
from train.reports import stats

SIDE = 8  # 64 bits: signs of the differences between horizontal neighbours of a 9 x 8 grey miniature ("dHash")
NEAR = 4  # bits that may differ; two unrelated pictures differ in about 32
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def difference_hash(image: Image.Image) -> int:
    """64-bit dHash."""
    small = np.asarray(image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.LANCZOS), np.int16)
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _images(source: Path) -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
    """(name, what opens it) of every image."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                yield str(path.relative_to(source)), partial(path.open, "rb")
            elif path.suffix.lower() == ".zip":
                yield from _images(path)
        return
    try:
        archive = zipfile.ZipFile(source)
    except (OSError, zipfile.BadZipFile) as error:
        raise FaceLLMError(
            f"{source} is neither a folder nor a zip archive of training images ({error}); give one, or take it out of "
            "its folder."
        ) from None
    with archive:
        for name in archive.namelist():
            if Path(name).suffix.lower() in SUFFIXES:
                yield f"{source.name}:{name}", partial(_member, archive, name)


def _member(archive: zipfile.ZipFile, name: str) -> BinaryIO:
    return io.BytesIO(archive.read(name))


def _hash_of(opener: Callable[[], BinaryIO]) -> int | None:
    """None for an image that does not open."""
    try:
        with opener() as file, Image.open(file) as image:
            return difference_hash(image)
    except Exception:  # Pillow's readers and zipfile raise anything at damaged data
        return None


def hashes(source: Path) -> tuple[dict[str, int], list[str]]:
    """(image name -> hash of every image that opens, names of the others).

    Raises FaceLLMError where none opens.
    """
    found, broken = {}, []
    for name, opener in _images(source):
        value = _hash_of(opener)
        if value is None:
            broken.append(name)
        else:
            found[name] = value
    if not found:
        raise FaceLLMError(f"{source} holds no image that opens, so nothing can overlap with it.")
    return found, broken


def report_overlap(
    questions: Sequence[Question], source: Path, training: tuple[Mapping[str, int], Sequence[str]],
    runs: Mapping[Arm, Mapping[str, Reply]], scorer: str,
) -> dict[str, Any]:  # fmt: skip
    """{"pairs": [[question key, training image, bits]], "unread": [sentences on images that do not open],
    "with": {arm: rate}, "without": {arm: rate}}.

    training: `hashes(source)`.
    """
    known, broken = training
    names, table = list(known), np.array(list(known.values()), np.uint64)
    seen: dict[Path, tuple[str, int] | None] = {}
    pairs, hit, unread = [], set(), []
    if broken:
        unread.append(f"{len(broken)} images of {source} do not open and match nothing; the first: {broken[0]}.")
    for question in questions:
        for path in question.images:
            if path not in seen:
                seen[path] = None
                value = _hash_of(partial(path.open, "rb"))
                if value is None:
                    unread.append(f"{question.key}: its image {path} does not open, so it matches nothing.")
                    continue
                distance = np.bitwise_count(table ^ np.uint64(value))
                best = int(distance.argmin())
                if distance[best] <= NEAR:
                    seen[path] = (names[best], int(distance[best]))
            if seen[path]:
                pairs.append([question.key, *seen[path]])
                hit.add(question.key)
    result: dict[str, Any] = {
        "source": str(source), "images": len(names), "pairs": pairs, "unread": unread, "with": {}, "without": {},
    }  # fmt: skip
    for arm, replies in runs.items():
        for name, group in (("with", questions), ("without", [q for q in questions if q.key not in hit])):
            here = summary.asked(group, replies)
            right = sum(summary.is_right(q, replies[q.key], arm, scorer) for q in here)
            result[name][arm.name] = stats.rate(right, len(here)).to_dict()
    return result
