"""The teacher that saw: writes the eight answers from what a vision-language model wrote at one look at each picture.

It reads a folder with `seen.csv` and, where there is one, `eight_answers.jsonl`. Written answers are used as they are
where they pass the checks; all others are composed from tags, caption, labels and pixels. It needs no server, and runs
through the store, checks and outcome of the measured teacher (`train.teachers.measured.writer`).
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from facellm.errors import FaceLLMError
from facellm.storage.files import file_digest
from facellm.vision.images import load_image
from train.faces.label_rows import LabelRow
from train.faces.measures import measure_pixels, read_measurements
from train.seen.claims.disputes import truth_of
from train.seen.descriptions import eight
from train.seen.known.face_record import MESH, Face, read_answers, read_tagged
from train.seen.known.tags import read_doubts
from train.seen.known.truth import Truth
from train.seen.words.lexicon import Voice
from train.teachers.openai import Reply
from train.teachers.plan import read_image

MODEL = "seen"
TAGS, ANSWERS, DOUBTS, MEASUREMENTS = "seen.csv", "eight_answers.jsonl", "label_doubts.csv", "measurements.csv"
LEAST_WORDS = 6  # of an answer: what is known takes few words, and filling would say what nobody saw
# Part of every request's identity: raise it by hand with every change of what the rooms of train.seen write.
WORDING_VERSION = "seen-1"
_GROUP_YEARS = {"more than 70": 75.0}


@dataclass(frozen=True)
class SeenSettings:
    """What shapes an answer beside the labels. tags, answers, measurements: digests of files; "" for none."""

    seed: int = 0
    tags: str = ""
    answers: str = ""
    measurements: str = ""
    model: str = MODEL
    teacher: ClassVar[str] = "seen"

    def identity(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class SeenTeacher:
    """settings: to be put into a plan.  images_seen: how many rows the teacher looked at."""

    def __init__(self, rows: Sequence[LabelRow], images: Path, given: Path | None, seed: int) -> None:
        """given: the folder with `seen.csv`; None looks for one in `images`, and for `seen/` beside it.

        Raises FaceLLMError where there are no tags, or none for these images.
        """
        places = [given] if given else [images, images / "seen", images.parent / "seen"]
        folder = next((place for place in places if (place / TAGS).is_file()), None)
        if folder is None:
            raise FaceLLMError(
                f"There is no {TAGS} in {', '.join(map(str, places))}; give the folder of the teacher's tags "
                f"with --seen."
            )
        self._faces = read_tagged(folder)
        self._written = read_answers(folder / ANSWERS)
        self._doubts = read_doubts(folder) if (folder / DOUBTS).is_file() else {}
        self._prefix = images.name
        mesh = next((p for p in (images / MEASUREMENTS, images.parent / MEASUREMENTS) if p.is_file()), None)
        self._mesh = _read_mesh(mesh) if mesh else {}
        self.images_seen = sum(self._find(row.file) is not None for row in rows)
        if not self.images_seen:
            raise FaceLLMError(
                f"{folder / TAGS} speaks of none of these images; its file names are the set's and the image's "
                f'("{next(iter(self._faces), "set/train/1.jpg")}"), so name --images after the set.'
            )
        digests = [_digest(path) for path in (folder / TAGS, folder / ANSWERS, mesh or images / MEASUREMENTS)]
        self.settings = SeenSettings(seed, *digests)

    def save(self) -> None:
        """Nothing is measured that a later run would need."""

    def facts_of(self, row: LabelRow) -> tuple[Truth | None, bool]:
        """(what is true of one image, whether the teacher looked at it)."""
        name = self._find(row.file)
        if name is None:
            return None, False
        face: Face = dataclasses.replace(
            self._faces[name],
            doubts=frozenset(self._doubts.get(name, ())),
            answers=self._written.get(name, {}),
            gender=row.gender,
            race=row.race,
            years=_GROUP_YEARS.get(row.age) or sum(map(int, row.age.split("-"))) / 2,
            mesh=self._mesh.get(row.file, {}),
            pixels=measure_pixels(load_image(read_image(row.path, row.digest))),
        )
        return truth_of(face), True

    def answer(
        self, row: LabelRow, read: Truth | None, seen: bool, attribute: str, request: str, attempt: int
    ) -> Reply:
        """An answer, or a Reply without text where nothing is known. The written one is tried first, once."""
        if read is None:
            return Reply(None, None, "stop", MODEL, None, {"seen": False})
        rng = random.Random(f"{self.settings.seed}:{row.digest}:{attempt}")  # one choice of words for all eight
        voice = Voice(read, rng)
        written = attempt == 0 and attribute in read.face.answers
        text = eight.write(read, voice, rng, composed=not written).get(attribute)
        return Reply(text, None, "stop", MODEL, None, {"seen": True, "written": written, "tags": dict(read.face.tags)})

    def _find(self, file: str) -> str | None:
        """The tags' name of an image: the set's folder before the file's own name, or the same name."""
        return next((name for name in (f"{self._prefix}/{file}", file) if name in self._faces), None)


def _read_mesh(path: Path) -> dict[str, dict[str, float]]:
    """Face-mesh measurements of the images where all that is used was measured."""
    rows = read_measurements(path, "--measurements", ("file", "found", *MESH))
    return {file: {key: row[key] for key in MESH} for file, row in rows.items() if set(MESH) <= row.keys()}


def _digest(path: Path) -> str:
    return file_digest(path)[:16] if path.is_file() else ""
