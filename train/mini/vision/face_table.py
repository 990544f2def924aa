"""The table of all faces with everything that is known of them, as arrays: what the tower is tuned on.

Reads `utkface/` and `expressions/` (zip archives of crops, `labels.csv`, `measurements.csv`, arrays) and `seen/`;
pixels are cached in a work folder. Faces of `test` come only when they are asked for.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from facellm.labels import AGE_GROUPS, ETHNICITIES, EXPRESSIONS, GENDERS
from facellm.storage.files import atomic_path
from train.faces.facts import MISSING
from train.faces.measures import MEASUREMENTS, square
from train.seen.known import split, tags

STORED_PX = 200  # side of UTKFace's crops: nothing is lost, and 168 px of input can be zoomed into by 0.84
DESCRIPTOR = 128
BLENDSHAPES = 52
# Label field -> the columns that are unknown once the teacher doubts it.
_DOUBTED = {"gender": ("gender",), "race": ("race",), "age": ("age_years", "age_group")}


@dataclass(frozen=True)
class Faces:
    """One row per image. Integer columns hold -1 (`MISSING`, `tags.UNKNOWN`) where a thing is not known of the face.

    names (n,): "utkface/train/7.jpg".  split (n,): "train", "val" or "test".  pixels: uint8 (n, 200, 200, 3).
    age_years: float32.  age_group, gender, race, expression: places in the tuples of `facellm.labels`; those that the
    teacher doubts are missing.  measurements: float32 (n, 13), NaN where no mesh was fitted.  descriptors: float16
    (n, 128) and blendshapes: float16 (n, 52), both NaN where there are none.  tags: field -> int64 (n,), places in
    `tags.WORDS`.  seen (n,): whether the teacher looked at the face.  blendshape_names: the 52 columns.
    """

    names: np.ndarray
    split: np.ndarray
    pixels: np.ndarray
    age_years: np.ndarray
    age_group: np.ndarray
    gender: np.ndarray
    race: np.ndarray
    expression: np.ndarray
    measurements: np.ndarray
    descriptors: np.ndarray
    blendshapes: np.ndarray
    blendshape_names: tuple[str, ...]
    tags: dict[str, np.ndarray]
    seen: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, name: str) -> np.ndarray:
        """The rows of one split."""
        return np.flatnonzero(self.split == name)


def _by_file(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as handle:
        return {row["file"]: row for row in csv.DictReader(handle)}


def _index(words: tuple[str, ...], value: str | None) -> int:
    return words.index(value) if value else MISSING


def _arrays(path: Path, key: str) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """name -> row of array `key`, and the names of its columns; both empty where there is no such file."""
    if not path.exists():
        return {}, ()
    with np.load(path) as stored:
        columns = tuple(stored["columns"].tolist()) if "columns" in stored else ()
        return dict(zip(stored["name"].tolist(), stored[key], strict=True)), columns


def load(data: Path, work: Path, *, splits: tuple[str, ...] = (split.TRAIN, split.VAL)) -> Faces:
    """Reads the faces of `splits`; their packed pixels are kept in `work` (a memory map) for the next call."""
    split_of = split.read_splits(data)
    seen, doubts = tags.read_seen(data / "seen"), tags.read_doubts(data / "seen")
    sources: list[tuple[Path, str]] = []
    table: dict[str, list] = {name: [] for name in ("names", "split", "labels", "mesh", "descriptor", "shapes")}
    shape_names: tuple[str, ...] = ()
    for folder in split.SETS:
        labels, mesh = _by_file(data / folder / "labels.csv"), _by_file(data / folder / "measurements.csv")
        descriptors, _ = _arrays(data / folder / "face_descriptors.npz", "descriptor")
        shapes, columns = _arrays(data / folder / "blendshapes.npz", "blendshape")
        shape_names = shape_names or columns
        for archive in sorted((data / folder).glob("*.zip")):
            with zipfile.ZipFile(archive) as handle:
                members = [name for name in handle.namelist() if name in labels]
            for name in members:
                file = f"{folder}/{name}"
                if split_of[file] not in splits:
                    continue
                sources.append((archive, name))
                measured = mesh.get(name, {})
                found = measured.get("found") == "1"
                table["names"].append(file)
                table["split"].append(split_of[file])
                table["labels"].append(_labels(labels[name], doubts.get(file, set())))
                table["mesh"].append([float(measured[key]) if found else np.nan for key in MEASUREMENTS])
                table["descriptor"].append(descriptors.get(name, np.full(DESCRIPTOR, np.nan, np.float16)))
                table["shapes"].append(shapes.get(name, np.full(BLENDSHAPES, np.nan, np.float16)))
    rows = [seen.get(name) for name in table["names"]]
    columns = {name: np.asarray([row[name] for row in table["labels"]]) for name in table["labels"][0]}
    return Faces(
        names=np.asarray(table["names"]),
        split=np.asarray(table["split"]),
        pixels=_pack(sources, work),
        measurements=np.asarray(table["mesh"], np.float32),
        descriptors=np.asarray(table["descriptor"], np.float16),
        blendshapes=np.asarray(table["shapes"], np.float16),
        blendshape_names=shape_names,
        tags={
            name: np.asarray([tags.index(name, row[name]) if row else tags.UNKNOWN for row in rows])
            for name in tags.FIELDS
        },
        seen=np.asarray([row is not None and not row.doubtful for row in rows]),
        **columns,
    )


def _labels(row: dict[str, str], doubted: set[str]) -> dict[str, np.number]:
    known: dict[str, np.number] = {
        "age_years": np.float32(row.get("age_years") or MISSING),
        "age_group": np.int64(_index(AGE_GROUPS, row.get("age"))),
        "gender": np.int64(_index(GENDERS, row.get("gender"))),
        "race": np.int64(_index(ETHNICITIES, row.get("race"))),
        "expression": np.int64(_index(EXPRESSIONS, row.get("expression"))),
    }
    for label in doubted & _DOUBTED.keys():
        known |= {column: type(known[column])(MISSING) for column in _DOUBTED[label]}
    return known


def _pack(sources: list[tuple[Path, str]], work: Path) -> np.ndarray:
    """The crops of `sources` as one memory map, named by what it holds, so that no stale one is taken for it."""
    listed = "\n".join(f"{archive.name}/{name}" for archive, name in sources)
    target = work / f"pixels-{hashlib.sha256(listed.encode()).hexdigest()[:12]}.npy"
    if not target.exists():
        shape = (len(sources), STORED_PX, STORED_PX, 3)
        with ExitStack() as stack:
            partial = stack.enter_context(atomic_path(target))
            pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
            archives = dict.fromkeys(archive for archive, _ in sources)
            opened = {archive: stack.enter_context(zipfile.ZipFile(archive)) for archive in archives}
            for row, (archive, name) in enumerate(sources):
                pixels[row] = square(Image.open(io.BytesIO(opened[archive].read(name))), STORED_PX)
            pixels.flush()
    return np.load(target, mmap_mode="r")
