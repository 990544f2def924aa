"""The teacher that needs no API: writes answers from a face's labels and from what was measured of its picture.

It measures pixels itself and reads face-mesh measurements from a `measurements.csv`, where there is one. Wording and
thresholds are those that FaceLLM-nano learns from; `train.teachers.measured.substitutes` words what those leave open.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from facellm.labels import AGE_GROUPS, ETHNICITIES, EXPRESSIONS, GENDERS
from facellm.storage.files import write_text
from facellm.vision.images import load_image
from train.faces import facts
from train.faces.label_rows import LabelRow
from train.faces.measures import MEASUREMENTS, SIDE, cheek_difference, pixel_stats, read_measurements, square
from train.teachers.measured import substitutes
from train.teachers.measured.substitutes import face_of
from train.teachers.openai import Reply
from train.teachers.plan import read_image

MODEL = "measured"
SAMPLE = 1000  # images whose statistics set the thresholds that are quantiles
THRESHOLDS, MEASURED = "measured.json", "measurements.csv"
LEAST_WORDS = 6  # of an answer: a measurement takes few words, and filling would say what nobody measured


@dataclass(frozen=True)
class MeasuredSettings:
    """What shapes an answer beside the labels. thresholds, measurements: digests of files; "" for none."""

    seed: int = 0
    thresholds: str = ""
    measurements: str = ""
    model: str = MODEL
    teacher: ClassVar[str] = "measured"

    def identity(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class MeasuredTeacher:
    """settings: to be put into a plan.  images_measured: how many rows have mesh measurements."""

    def __init__(self, rows: Sequence[LabelRow], images: Path, out: Path, given: Path | None, seed: int) -> None:
        """given: the measurements' file; None looks for one in and beside `images`. Thresholds are read from
        `out`/measured.json, or measured from a sample of the rows and written there by `save`.

        Raises FaceLLMError for files that cannot be read.
        """
        file = given or next((f for f in (images / MEASURED, images.parent / MEASURED) if f.is_file()), None)
        self._mesh = read_measurements(file, "--measurements", ("file", "found", *MEASUREMENTS)) if file else {}
        self.images_measured = sum(row.file in self._mesh for row in rows)
        self._file = out / THRESHOLDS
        self._thresholds = self._sample(rows)
        arrays = json.loads(self._thresholds)
        self._reader = facts.FactReader(np.asarray(arrays["stats"]))
        self.settings = MeasuredSettings(
            seed, _digest(self._thresholds.encode()), _digest(file.read_bytes()) if file else ""
        )

    def save(self) -> None:
        """Keeps the thresholds, so that a later run with more rows words the earlier ones alike."""
        if not self._file.exists():
            write_text(self._file, self._thresholds)

    def _sample(self, rows: Sequence[LabelRow]) -> str:
        if self._file.exists():
            return self._file.read_text()
        step = max(1, len(rows) // SAMPLE)
        stats = np.stack([_measure(row)[0] for row in rows[::step]])
        return json.dumps({"stats": np.round(stats, 5).tolist()})

    def facts_of(self, row: LabelRow) -> tuple[facts.Facts, bool]:
        """(facts of one image, whether its mesh was measured). Fields that need the mesh are None without one."""
        stats, cheeks = _measure(row)
        mesh = self._mesh.get(row.file)
        low, high, middle = face_of(row.age)
        gender, race = GENDERS.index(row.gender), _index(ETHNICITIES, row.race)
        read = self._reader.read(
            mesh=np.array([(mesh or {}).get(name, np.nan) for name in MEASUREMENTS], np.float32),
            stats=stats,
            cheeks=cheeks,
            # A label is as sure as anything can be here; of expressions nothing is known.
            probabilities={
                "gender": np.eye(len(GENDERS))[gender],
                "race": np.eye(len(ETHNICITIES))[max(race, 0)],
                "expression": np.full(len(EXPRESSIONS), 1 / len(EXPRESSIONS)),
            },
            years_expected=middle,
            labels={
                "gender": gender,
                "race": race,
                "age_group": AGE_GROUPS.index(row.age),
                "age_years": facts.MISSING,
                "expression": facts.MISSING,
            },
        )
        # FairFace's own groups are not nano's, so they are worded from the label (train.teachers.measured.substitutes).
        read = dataclasses.replace(read, race=None, race_label=None, age_range=(low, high))
        if mesh is None:  # where the cheeks are is not known
            read = dataclasses.replace(read, light_side=None)
        return read, mesh is not None

    def answer(self, row: LabelRow, read: facts.Facts, mesh: bool, attribute: str, request: str, attempt: int) -> Reply:
        """An answer, or a Reply without text where nothing was measured that would answer it."""
        rng = random.Random(f"{request}-{attempt}")
        text = substitutes.write(row, read, mesh, attribute, rng)
        known = {name: value for name, value in dataclasses.asdict(read).items() if value is not None}
        return Reply(text, None, "stop", MODEL, None, {"facts": known, "mesh": mesh})


def _measure(row: LabelRow) -> tuple[np.ndarray, float]:
    """`pixel_stats` (5,) and `cheek_difference` of one image as nano sees it."""
    import torch

    crop = square(load_image(read_image(row.path, row.digest)), SIDE)
    pixels = np.ascontiguousarray(crop.transpose(2, 0, 1)[None], dtype=np.float32) / 255
    return pixel_stats(torch.from_numpy(pixels))[0].numpy(), float(cheek_difference(pixels)[0])


def _index(names: tuple[str, ...], value: str) -> int:
    return names.index(value) if value in names else facts.MISSING


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]
