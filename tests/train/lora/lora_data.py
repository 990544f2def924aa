"""A tiny base and a small data set about made pictures, for the tests of training."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tiny import make_tiny_internvl, picture

QUESTIONS = (
    "Describe the face pose of the image",
    "Is the mouth open?",
    "What is the age group?",
    "Describe this image.",
)


def rows(first: int, last: int) -> list[dict]:
    """ShareGPT rows about images first..last-1, four each; the answers depend on the image's number alone."""
    return [
        {
            "conversations": [
                {"from": "human", "value": f"<image>\n{question}"},
                {"from": "gpt", "value": ("yes", "The head is turned to the left.", "20-29", "A face.")[(i + k) % 4]},
            ],
            "images": [f"images/{i}.png"],
        }
        for i in range(first, last)
        for k, question in enumerate(QUESTIONS)
    ]


def make_data(folder: Path, train: int = 16, val: int = 4) -> Path:
    (folder / "images").mkdir(parents=True)
    for i in range(train + val):
        picture(i).save(folder / "images" / f"{i}.png")
    (folder / "dataset.json").write_text(json.dumps(rows(0, train)))
    (folder / "val.json").write_text(json.dumps(rows(train, train + val)))
    return folder


def make_world(folder: Path) -> tuple[Path, Path]:
    """(data folder, base folder)"""
    return make_data(folder / "data"), make_tiny_internvl(folder / "base", end_bias=0.5)
