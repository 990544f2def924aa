"""Near copies of a benchmark's images in a training set, by perceptual hash; scores with and without their questions.

Input: questions, a folder or zip archive of training images. Output: the questions whose images were trained on, and
each arm's accuracy with and without them. What it does not know: crops and mirrored copies, which hash differently, so
what it finds is a lower bound.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facellm.errors import FaceLLMError
from train import stats
from train.evaluation import summary
from train.evaluation.answering import Arm, Reply
from train.evaluation.facexbench import Question

SIDE = 8  # 64 bits: signs of the differences between horizontal neighbours of a 9 x 8 grey miniature ("dHash")
NEAR = 4  # bits that may differ; two unrelated pictures differ in about 32
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def difference_hash(image: Image.Image) -> int:
    """64-bit dHash."""
    small = np.asarray(image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.LANCZOS), np.int16)
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _images(source: Path) -> Iterator[tuple[str, Any]]:
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                yield str(path.relative_to(source)), path
            elif path.suffix.lower() == ".zip":
                yield from _images(path)
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for name in archive.namelist():
                if Path(name).suffix.lower() in SUFFIXES:
                    yield f"{source.name}:{name}", io.BytesIO(archive.read(name))
    else:
        raise FaceLLMError(f"{source} is neither a folder nor a zip archive of training images.")


def hashes(source: Path) -> dict[str, int]:
    """Image name -> hash of every image that opens.  Raises FaceLLMError where there is none."""
    found = {}
    for name, handle in _images(source):
        try:
            with Image.open(handle) as image:
                found[name] = difference_hash(image)
        except OSError:  # not an image after all: it cannot have been trained on
            continue
    if not found:
        raise FaceLLMError(f"{source} holds no image, so nothing can overlap with it.")
    return found


def report_overlap(
    questions: Sequence[Question], source: Path, runs: Mapping[Arm, Mapping[str, Reply]], scorer: str
) -> dict[str, Any]:
    """{"pairs": [[question key, training image, bits]], "with": {arm: rate}, "without": {arm: rate}}."""
    known = hashes(source)
    names, table = list(known), np.array(list(known.values()), np.uint64)
    seen: dict[Path, tuple[str, int] | None] = {}
    pairs, hit = [], set()
    for question in questions:
        for path in question.images:
            if path not in seen:
                with Image.open(path) as image:
                    distance = np.bitwise_count(table ^ np.uint64(difference_hash(image)))
                best = int(distance.argmin())
                seen[path] = (names[best], int(distance[best])) if distance[best] <= NEAR else None
            if seen[path]:
                pairs.append([question.key, *seen[path]])
                hit.add(question.key)
    result: dict[str, Any] = {"source": str(source), "images": len(names), "pairs": pairs, "with": {}, "without": {}}
    for arm, replies in runs.items():
        for name, group in (("with", questions), ("without", [q for q in questions if q.key not in hit])):
            here = summary.asked(group, replies)
            right = sum(summary.is_right(q, replies[q.key], arm, scorer) for q in here)
            result[name][arm.name] = stats.rate(right, len(here)).to_dict()
    return result
