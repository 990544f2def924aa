"""The training images of nano: two labelled face sets, read once into one packed array.

Reads a folder with `utkface/` and `expressions/`, each with zip archives of JPEG crops, `labels.csv` and
`measurements.csv` (face-mesh measurements), and caches the pixels in a work folder. Knows nothing of models.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facellm.labels import AGE_GROUPS, ETHNICITIES, EXPRESSIONS, GENDERS
from facellm.storage.files import atomic_path
from train.faces.facts import MISSING
from train.faces.measures import MEASUREMENTS, square
from train.faces.sets import FaceSet

STORED_PX = 144  # side of the packed crops: 112 px of input plus room to zoom in by 0.8 without upsampling
SETS = ("utkface", "expressions")


@dataclass(frozen=True)
class Faces:
    """One row per image; integer columns hold `MISSING` where a set does not label that field.

    `pixels` is uint8 (n, 144, 144, 3); `measurements` float32 (n, 13) with NaN where no mesh was fitted;
    `descriptors` float16 (n, 128) with NaN outside UTKFace.
    """

    names: np.ndarray
    pixels: np.ndarray
    is_train: np.ndarray
    age_years: np.ndarray
    age_group: np.ndarray
    gender: np.ndarray
    race: np.ndarray
    expression: np.ndarray
    measurements: np.ndarray
    descriptors: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


def _index(names: tuple[str, ...], value: str | None) -> int:
    return names.index(value) if value else MISSING


def load(data: Path, work: Path) -> Faces:
    """Reads both sets; the packed pixels are kept in `work/pixels.npy` (a memory map) for the next call."""
    names, is_train, columns, measured, described = [], [], [], [], []
    sources: list[tuple[FaceSet, str]] = []
    descriptor_file = np.load(data / "utkface" / "face_descriptors.npz")
    descriptor_of = dict(zip(descriptor_file["name"].tolist(), descriptor_file["descriptor"], strict=True))
    for folder in SETS:
        source = FaceSet(data / folder)
        for name in source.names():
            labels, mesh = source.labels.labels[name], source.measurements.get(name, {})
            sources.append((source, name))
            names.append(f"{folder}/{name}")
            is_train.append(name.startswith("train"))
            columns.append(
                (
                    source.labels.years.get(name, MISSING),
                    _index(AGE_GROUPS, labels.get("age")),
                    _index(GENDERS, labels.get("gender")),
                    _index(ETHNICITIES, labels.get("race")),
                    _index(EXPRESSIONS, labels.get("expression")),
                )
            )
            measured.append([mesh.get(key, np.nan) for key in MEASUREMENTS])
            has = folder == "utkface" and name in descriptor_of
            described.append(descriptor_of[name] if has else np.full(128, np.nan, np.float16))
    table = np.asarray(columns, np.float32)
    return Faces(
        names=np.asarray(names),
        pixels=_pack(sources, work),
        is_train=np.asarray(is_train),
        age_years=table[:, 0],
        age_group=table[:, 1].astype(np.int64),
        gender=table[:, 2].astype(np.int64),
        race=table[:, 3].astype(np.int64),
        expression=table[:, 4].astype(np.int64),
        measurements=np.asarray(measured, np.float32),
        descriptors=np.asarray(described, np.float16),
    )


def _pack(sources: list[tuple[FaceSet, str]], work: Path) -> np.ndarray:
    target = work / "pixels.npy"
    shape = (len(sources), STORED_PX, STORED_PX, 3)
    if target.exists():
        pixels = np.load(target, mmap_mode="r")
        if pixels.shape == shape:
            return pixels
    with atomic_path(target) as partial:
        pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        for index, (source, name) in enumerate(sources):
            pixels[index] = square(source.image(name), STORED_PX)
        pixels.flush()
    return np.load(target, mmap_mode="r")
