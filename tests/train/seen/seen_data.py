"""A few synthetic rows in the form of the seeing teacher's files."""

from __future__ import annotations

import csv
from pathlib import Path

PLAIN = {
    "hair_colour": "black",
    "hair_length": "short",
    "hair_texture": "straight",
    "facial_hair": "none",
    "glasses": "none",
    "headwear": "none",
    "makeup": "none",
    "earrings": "no",
    "covering": "none",
    "teeth": "no",
    "gaze": "camera",
    "expression": "neutral",
    "face_shape": "oval",
    "brows": "medium",
    "nose": "medium",
    "lips": "medium",
    "skin": "smooth",
    "light": "even",
    "background": "plain-light",
    "caption": "A face with short black hair looks at the camera.",
    "doubtful": "",
}


def write_seen(folder: Path, rows: list[dict[str, str]]) -> None:
    """Writes `folder/seen.csv`: each of `rows` names its `file` and what differs from `PLAIN`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "seen.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ["file", *PLAIN])
        writer.writeheader()
        writer.writerows(PLAIN | row for row in rows)
