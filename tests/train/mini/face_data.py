"""A handful of made-up faces in the form of the reference data: archives, labels, measurements, arrays, tags."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from facellm.labels import EXPRESSIONS
from tests.train.seen.seen_data import write_seen
from train.faces.measures import MEASUREMENTS
from train.mini.vision.face_table import BLENDSHAPES, DESCRIPTOR
from train.seen.known.face_record import MOVES

USED = [column for columns in MOVES.values() for column in columns]
SHAPES = (*USED, *(f"other{i}" for i in range(BLENDSHAPES - len(USED))))
TRAIN, VAL = 24, 8  # faces of each set


def picture(light: bool, rng: np.random.Generator) -> Image.Image:
    """A noisy square whose brightness is all that is to be learnt."""
    low, high = (150, 255) if light else (0, 100)
    return Image.fromarray(rng.integers(low, high, (5, 5, 3), dtype=np.uint8)).resize((100, 100))


def write_data(folder: Path, seed: int = 0) -> Path:
    """Writes `utkface/`, `expressions/` and `seen/`. Light faces are women with glasses, or happy; dark ones are men
    without, or neutral. Returns `folder`."""
    rng = np.random.default_rng(seed)
    names = [f"train/{i}.jpg" for i in range(TRAIN)] + [f"val/{i}.jpg" for i in range(VAL)]
    seen = []
    for set_name in ("utkface", "expressions"):
        place = folder / set_name
        place.mkdir(parents=True)
        rows = []
        for split in ("train", "val"):
            with zipfile.ZipFile(place / f"{split}.zip", "w") as archive:
                for name in (name for name in names if name.startswith(split)):
                    light = int(name.split("/")[1].removesuffix(".jpg")) % 2 == 0
                    content = io.BytesIO()
                    picture(light, rng).save(content, "JPEG")
                    archive.writestr(name, content.getvalue())
                    if set_name == "utkface":
                        age = {"age": "30-39", "age_years": 30} if light else {"age": "60-69", "age_years": 65}
                        rows.append({"file": name, "gender": "Female" if light else "Male", "race": "White"} | age)
                        seen.append(
                            {"file": f"utkface/{name}", "glasses": "glasses" if light else "none"}
                            | ({"teeth": "yes"} if light else {"hair_colour": "grey"})
                        )
                    else:
                        rows.append({"file": name, "expression": EXPRESSIONS[int(light)]})
        _write(place / "labels.csv", rows)
        _write(
            place / "measurements.csv",
            [
                {"file": name, "found": "1" if i % 5 else "0"}
                | {key: f"{rng.normal():.3f}" if i % 5 else "" for key in MEASUREMENTS}
                for i, name in enumerate(names)
            ],
        )
        np.savez(
            place / "blendshapes.npz",
            name=np.array(names[:-1]),
            blendshape=rng.random((len(names) - 1, BLENDSHAPES)).astype(np.float16),
            columns=np.array(SHAPES),
        )
    np.savez(
        folder / "utkface" / "face_descriptors.npz",
        name=np.array(names),
        descriptor=rng.normal(size=(len(names), DESCRIPTOR)).astype(np.float16),
    )
    write_seen(folder / "seen", seen)
    (folder / "seen" / "label_doubts.csv").write_text(
        "file,field,label,teacher_says,age_label\nutkface/train/0.jpg,gender,Female,Male,30-39\n"
    )
    return folder


def _write(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
