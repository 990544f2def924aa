"""The training images of nano: two labelled face sets, read once into one packed array.

Input: a folder with `utkface/` and `expressions/`, each with zip archives of JPEG crops, `labels.csv` and
`measurements.csv` (face-mesh measurements). Output: a `Faces` table, cached in a work folder. Knows nothing of models.
"""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from facellm.labels import AGE_GROUPS, ETHNICITIES, EXPRESSIONS, GENDERS

MEASUREMENTS = (
    "yaw_deg",
    "pitch_deg",
    "roll_deg",
    "mouth_open",
    "mouth_width",
    "smile_lift",
    "eye_open_left",
    "eye_open_right",
    "brow_raise",
    "face_ratio",
    "jaw_ratio",
    "lip_thickness",
    "nose_width",
)
STORED_PX = 144  # side of the packed crops: 112 px of input plus room to zoom in by 0.8 without upsampling
SETS = ("utkface", "expressions")
MISSING = -1


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


def square(image: Image.Image, side: int = STORED_PX) -> np.ndarray:
    """uint8 (side, side, 3): the image scaled to fit, borders filled with its mean colour."""
    image = image.convert("RGB")
    mean = tuple(int(v) for v in np.asarray(image).reshape(-1, 3).mean(0))
    return np.asarray(ImageOps.pad(image, (side, side), Image.Resampling.LANCZOS, color=mean))


def _rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as handle:
        return {row["file"]: row for row in csv.DictReader(handle)}


def _index(names: tuple[str, ...], value: str | None) -> int:
    return names.index(value) if value else MISSING


def load(data: Path, work: Path) -> Faces:
    """Reads both sets; the packed pixels are kept in `work/pixels.npy` (a memory map) for the next call."""
    names, is_train, columns, measured, described = [], [], [], [], []
    sources: list[tuple[Path, str]] = []
    descriptor_file = np.load(data / "utkface" / "face_descriptors.npz")
    descriptor_of = dict(zip(descriptor_file["name"].tolist(), descriptor_file["descriptor"], strict=True))
    for folder in SETS:
        labels, mesh = _rows(data / folder / "labels.csv"), _rows(data / folder / "measurements.csv")
        for archive in sorted((data / folder).glob("*.zip")):
            with zipfile.ZipFile(archive) as handle:
                members = [name for name in handle.namelist() if name in labels]
            for name in members:
                row, found = labels[name], mesh.get(name, {}).get("found") == "1"
                sources.append((archive, name))
                names.append(f"{folder}/{name}")
                is_train.append(name.startswith("train"))
                columns.append(
                    (
                        float(row.get("age_years") or MISSING),
                        _index(AGE_GROUPS, row.get("age")),
                        _index(GENDERS, row.get("gender")),
                        _index(ETHNICITIES, row.get("race")),
                        _index(EXPRESSIONS, row.get("expression")),
                    )
                )
                measured.append([float(mesh[name][key]) if found else np.nan for key in MEASUREMENTS])
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


def _pack(sources: list[tuple[Path, str]], work: Path) -> np.ndarray:
    target = work / "pixels.npy"
    shape = (len(sources), STORED_PX, STORED_PX, 3)
    if target.exists():
        pixels = np.load(target, mmap_mode="r")
        if pixels.shape == shape:
            return pixels
    work.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".tmp.npy")
    pixels = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=shape)
    opened = {archive: zipfile.ZipFile(archive) for archive in dict.fromkeys(archive for archive, _ in sources)}
    for index, (archive, name) in enumerate(sources):
        pixels[index] = square(Image.open(io.BytesIO(opened[archive].read(name))))
    pixels.flush()
    unfinished.rename(target)
    return np.load(target, mmap_mode="r")
