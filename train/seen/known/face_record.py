"""Everything that is known of one picture, joined from its sources: the one thing that pairs are written from."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from train.faces.measures import Pixels
from train.seen.known.split import TRAIN, VAL, read_splits
from train.seen.known.tags import FIELDS, Seen, mirrored, read_doubts, read_seen

MESH = ("yaw_deg", "pitch_deg", "roll_deg", "mouth_open", "smile_lift", "eye_open_left", "eye_open_right")
# Blendshapes that are used, averaged over the two sides of the face: name -> columns.
MOVES = {
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "blink": ("eyeBlinkLeft", "eyeBlinkRight"),
    "brow_down": ("browDownLeft", "browDownRight"),
    "brow_up": ("browInnerUp",),
    "squint": ("eyeSquintLeft", "eyeSquintRight"),
    "wide": ("eyeWideLeft", "eyeWideRight"),
    "jaw_open": ("jawOpen",),
    "pucker": ("mouthPucker",),
    "press": ("mouthPressLeft", "mouthPressRight"),
}
NO_TAGS: Mapping[str, str | None] = dict.fromkeys(FIELDS)


@dataclass(frozen=True)
class Face:
    """One picture and its sources; what a source does not know is empty or None.

    file: "utkface/train/7.jpg".  tags: field -> merged word (`train.seen.known.tags`); raw: the teacher's own words.
    answers: attribute key -> the teacher's written answer, of few faces.  gender ("Male", "Female"), race and years:
    labels.  doubts: label fields whose label and look disagree.  mesh: `MESH`, angles in degrees.  moves: `MOVES`,
    0 to 1.  probabilities: field -> word -> a tower's probability.
    """

    file: str
    tags: Mapping[str, str | None] = field(default_factory=lambda: dict(NO_TAGS))
    raw: Mapping[str, str] = field(default_factory=dict)
    caption: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)
    years: float | None = None
    gender: str | None = None
    race: str | None = None
    expression: str | None = None
    doubts: frozenset[str] = frozenset()
    mesh: Mapping[str, float] = field(default_factory=dict)
    moves: Mapping[str, float] = field(default_factory=dict)
    pixels: Pixels | None = None
    probabilities: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def with_probabilities(self, probabilities: Mapping[str, Mapping[str, float]]) -> Face:
        """The same face with what a tower makes of it."""
        return replace(self, probabilities=probabilities)

    def mirrored(self) -> Face:
        """The face as its mirror image shows it: left and right change places in every source."""
        mesh = {key: -value if key in ("yaw_deg", "roll_deg") else value for key, value in self.mesh.items()}
        if "eye_open_left" in mesh:
            mesh["eye_open_left"], mesh["eye_open_right"] = mesh["eye_open_right"], mesh["eye_open_left"]
        return replace(
            self,
            tags={name: mirrored(name, word) for name, word in self.tags.items()},
            raw={name: mirrored(name, word) or word for name, word in self.raw.items()},
            caption=_swapped(self.caption),
            answers={key: _swapped(text) for key, text in self.answers.items()},
            mesh=mesh,
            pixels=self.pixels and self.pixels._replace(side=-self.pixels.side),
            probabilities={
                name: {mirrored(name, word) or word: p for word, p in heard.items()}
                for name, heard in self.probabilities.items()
            },
        )


def read_faces(
    data: Path,
    files: Iterable[str] | None = None,
    pixels: Mapping[str, Pixels] | None = None,
    tagged: bool = False,
    splits: tuple[str, ...] = (TRAIN, VAL),
) -> dict[str, Face]:
    """Faces by file: those named in `files`, or all that the label files list (`tagged`: only those with tags).

    splits: only faces of these; `test` faces come only when they are asked for. Pictures that the teacher called
    unusable are left out. Reads each source once; some seconds for all 33,250.
    """
    split_of = read_splits(data)
    seen = read_seen(data / "seen")
    doubts = read_doubts(data / "seen")
    written = read_answers(data / "seen" / "eight_answers.jsonl")
    wanted = set(files) if files is not None else None
    faces: dict[str, Face] = {}
    for name in ("utkface", "expressions"):
        mesh, moves = _mesh(data / name / "measurements.csv"), _Moves(data / name / "blendshapes.npz")
        for row in _rows(data / name / "labels.csv"):
            file = f"{name}/{row['file']}"
            look: Seen | None = seen.get(file)
            if split_of[file] not in splits:
                continue
            if (wanted is not None and file not in wanted) or (tagged and look is None) or (look and look.doubtful):
                continue
            faces[file] = Face(
                file=file,
                tags=look.tags if look else dict(NO_TAGS),
                raw=look.raw if look else {},
                caption=look.caption if look else "",
                answers=written.get(file, {}),
                years=float(row["age_years"]) if row.get("age_years") else None,
                gender=row.get("gender") or None,
                race=row.get("race") or None,
                expression=row.get("expression") or None,
                doubts=frozenset(doubts.get(file, ())),
                mesh=mesh.get(row["file"], {}),
                moves=moves.of(row["file"]),
                pixels=(pixels or {}).get(file),
            )
    return faces


def read_tagged(path: Path) -> dict[str, Face]:
    """Faces of any folder with tags in the form of `seen.csv` and nothing else: no labels, no measurements."""
    return {
        file: Face(file=file, tags=look.tags, raw=look.raw, caption=look.caption)
        for file, look in read_seen(path).items()
        if not look.doubtful
    }


_SIDES = re.compile(r"\b(left|right)(?=ward|wards|-hand|\b)", re.IGNORECASE)


def _swapped(text: str) -> str:
    """The text with left and right in each other's place, capitals kept."""

    def other(match: re.Match[str]) -> str:
        word = "right" if match[0].lower() == "left" else "left"
        return word.capitalize() if match[0][0].isupper() else word

    return _SIDES.sub(other, text)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def read_answers(path: Path) -> dict[str, dict[str, str]]:
    """file -> attribute key -> the written answer; empty where there is no such file."""
    if not path.is_file():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {row["file"]: {key: text for key, text in row.items() if key != "file"} for row in rows}


def _mesh(path: Path) -> dict[str, dict[str, float]]:
    if not path.is_file():
        return {}
    return {row["file"]: {key: float(row[key]) for key in MESH} for row in _rows(path) if row["found"] == "1"}


class _Moves:
    """The graded movements of one set of pictures."""

    def __init__(self, path: Path) -> None:
        self._row: dict[str, int] = {}
        if not path.is_file():
            return
        arrays = np.load(path)
        column = {str(name): index for index, name in enumerate(arrays["columns"])}
        values = arrays["blendshape"].astype(np.float32)
        self._values = {key: values[:, [column[c] for c in columns]].mean(1) for key, columns in MOVES.items()}
        self._row = {str(name): index for index, name in enumerate(arrays["name"])}

    def of(self, name: str) -> dict[str, float]:
        row = self._row.get(name)
        return {} if row is None else {key: float(values[row]) for key, values in self._values.items()}
