"""A small ShareGPT set with labels beside it, as `train dataset` writes it, about made pictures."""

from __future__ import annotations

import json
from pathlib import Path

from facellm.attributes import ATTRIBUTES
from tests.tiny import picture

GENDERS, RACES = ("Male", "Female"), ("White", "Black", "Asian", "Indian")


def answer(attribute: str, gender: str) -> str:
    """Two sentences."""
    who = "man" if gender == "Male" else "woman"
    return f"The image shows a {who}, between about 20 and 40 years old. This is the {attribute} part."


def make_set(folder: Path, images: int = 8, side: int = 64) -> Path:
    """`images` pictures x eight attributes; genders and groups take turns; the last quarter is the validation split."""
    (folder / "images").mkdir(parents=True)
    (folder / "jsonl").mkdir()
    rows: dict[str, list] = {"train": [], "val": []}
    lines: dict[str, list] = {"train": [], "validation": []}
    for i in range(images):
        name = f"images/{i}.png"
        picture(i, side).save(folder / name)
        gender, race = GENDERS[i % 2], RACES[i // 2 % 4]
        split = "train" if i < images * 3 / 4 else "val"
        for attribute in ATTRIBUTES:
            text = answer(attribute.key, gender)
            said = [("human", f"<image>\n{attribute.question}"), ("gpt", text)]
            turns = [{"from": who, "value": value} for who, value in said]
            rows[split].append({"conversations": turns, "images": [name]})
            line = {"image": name, "attribute": attribute.key, "question": attribute.question, "answer": text,
                    "age": "20-29", "gender": gender, "race": race, "teacher": "made"}  # fmt: skip
            lines["train" if split == "train" else "validation"].append(json.dumps(line))
    (folder / "dataset.json").write_text(json.dumps(rows["train"]))
    (folder / "dataset_val.json").write_text(json.dumps(rows["val"]))
    for name, own in lines.items():
        (folder / "jsonl" / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in own))
    return folder
