"""The teacher without an API: what it says of a face with measurements and without, and that it says so of itself."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from facellm.labels import AGE_GROUPS, GENDERS
from tests.train.dataset.run.running import records
from train.dataset.dataset import main
from train.faces.label_files import RACES
from train.faces.label_rows import read_labels
from train.lora.conversations import check_images, read_dataset
from train.nano.vision.faces import MEASUREMENTS
from train.teachers.checks import check
from train.teachers.measured.teacher import LEAST_WORDS, THRESHOLDS, MeasuredTeacher

# A frontal face with an open, smiling mouth, in the units of measurements.csv.
OPEN_SMILE = {"yaw_deg": 0, "pitch_deg": 8, "roll_deg": 0, "mouth_open": 0.3, "mouth_width": 0.6, "smile_lift": 0.2,
              "eye_open_left": 0.3, "eye_open_right": 0.3, "brow_raise": 0.2, "face_ratio": 0.95, "jaw_ratio": 0.9,
              "lip_thickness": 0.3, "nose_width": 0.6}  # fmt: skip
NEEDS_MESH = {"structure", "expression", "pose"}


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def faces(tmp_path):
    """Nine pictures, one of each age group, of all genders and races; light and noise differ."""
    folder, rng = tmp_path / "faces", np.random.default_rng(0)
    (folder / "val").mkdir(parents=True)
    with (folder / "fairface_label_val.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "age", "gender", "race", "service_test"])
        for i in range(9):
            noise = rng.normal(25 * i + 20, 4 + 6 * (i % 3), (64, 64, 3)) * [1, 0.8, 0.6]
            Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).save(folder / "val" / f"{i}.png")
            table.writerow([f"val/{i}.png", AGE_GROUPS[i], GENDERS[i % 2], RACES[i % len(RACES)], "True"])
    return folder


def write_measurements(file, rows):
    """rows: file -> measurements, or None for a face whose mesh was not found."""
    with file.open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["file", "found", *MEASUREMENTS])
        for name, row in rows.items():
            table.writerow([name, int(row is not None), *((row or {}).get(key, "") for key in MEASUREMENTS)])


def run(faces, out, *more):
    return main(["--images", str(faces), "--out", str(out), "--val", "0", *map(str, more)])


def test_without_a_key_and_without_measurements(faces, tmp_path, capsys):
    """Labels and pixels only: what only a mesh would show is set aside, not made up."""
    out = tmp_path / "out"
    assert run(faces, out) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["teacher"] == "measured" and manifest["complete"] and manifest["cost_usd"] is None
    assert manifest["failed_checks"]["unmeasured"] == manifest["set_aside"] >= 3 * 9
    answers = records(out, "answer")
    assert {(r["teacher"], r["model"], r["served_model"]) for r in answers} == {("measured",) * 3}
    kept = [record for record in answers if record["kept"]]
    assert {record["attribute"] for record in kept} == {"demographic", "skin", "lighting", "forensic", "detail"}
    text = " ".join(record["answer"] for record in kept)
    assert not re.search(r"\b(frontal|turned|tilted|mouth|lips|nose|jaw|smile|cheeks?|pose|expression)\b", text)
    assert all(record["raw"]["facts"] and not record["raw"]["mesh"] for record in kept)
    card = (out / "README.md").read_text()
    assert "No model saw the images" in card and "nothing was measured" in card
    lines = [json.loads(line) for line in (out / "jsonl" / "train.jsonl").read_text().splitlines()]
    assert {(line["teacher"], line["model"]) for line in lines} == {("measured", "measured")}
    assert "nothing to pay" in capsys.readouterr().err
    data = read_dataset(out)
    assert not check_images(data)

    before = {path: path.read_bytes() for path in out.rglob("*.json*")}
    assert run(faces, out) == 0  # nothing is left to write
    assert {path: path.read_bytes() for path in out.rglob("*.json*")} == before


def test_labels_are_worded_as_they_are(faces, tmp_path):
    assert run(faces, tmp_path / "out", "--attributes", "demographic") == 0
    texts = [record["answer"] for record in records(tmp_path / "out", "answer") if record["kept"]]
    assert len(texts) == 9
    said = "\n".join(texts)
    for words in ("baby boy", "20 to 29|20 and 29", "East Asian", "Latino or Hispanic", "Middle Eastern", "Southeast"):
        assert re.search(words, said), words
    assert "Others" not in said


def test_measurements_are_used(faces, tmp_path):
    turned = OPEN_SMILE | {"yaw_deg": 25, "mouth_open": 0.0, "smile_lift": 0.0, "face_ratio": 0.7}
    middle = OPEN_SMILE | {"mouth_open": 0.1, "smile_lift": 0.0}  # of the expression nothing may be said
    write_measurements(
        faces / "measurements.csv",
        {"val/3.png": OPEN_SMILE, "val/4.png": turned, "val/5.png": middle, "val/6.png": None},
    )
    out = tmp_path / "out"
    assert run(faces, out) == 0
    said = {(r["image"], r["attribute"]): r["answer"] for r in records(out, "answer") if r["kept"]}
    assert {a for name, a in said if name == "val/3.png"} == {a.key for a in ATTRIBUTES}
    assert "smile" in said["val/3.png", "expression"] and "open" in said["val/3.png", "expression"]
    assert re.search("frontal|front|camera", said["val/3.png", "pose"])
    assert "viewer's left" in said["val/4.png", "pose"]
    assert re.search("closed", said["val/4.png", "expression"]) and "smile" not in said["val/4.png", "expression"]
    assert re.search("long", said["val/4.png", "structure"]) and re.search("wide|round", said["val/3.png", "structure"])
    assert {a for name, a in said if name == "val/5.png"} == {a.key for a in ATTRIBUTES} - {"expression"}
    assert not NEEDS_MESH & {a for name, a in said if name == "val/6.png"}
    # Other measurements make other requests: the answers are written anew.
    write_measurements(faces / "measurements.csv", {"val/3.png": turned})
    assert run(faces, out) == 0
    again = {(r["image"], r["attribute"]): r["answer"] for r in records(out, "answer") if r["kept"]}
    assert "viewer's left" in again["val/3.png", "pose"]


def test_answers_do_not_depend_on_how_many_rows_there_are(faces, tmp_path):
    """Thresholds are those of the first run; a longer one words its rows alike."""
    out = tmp_path / "out"
    assert run(faces, out, "--limit", 4) == 0
    first = records(out)
    assert run(faces, out) == 0
    assert records(out)[: len(first)] == first and len(records(out)) > len(first)
    assert len({(r["image"], r["attribute"]) for r in records(out)}) == 9 * 8


def test_shards_merge_to_the_whole(faces, tmp_path):
    for part in (1, 2):
        assert run(faces, tmp_path / f"part{part}", "--shard", f"{part}/2") == 0
    out, whole = tmp_path / "out", tmp_path / "whole"
    parts = [str(tmp_path / f"part{part}") for part in (1, 2)]
    assert run(faces, out, "--merge", *parts) == 0
    assert run(faces, whole) == 0
    for name in ("dataset.json", "jsonl/train.jsonl"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_every_answer_passes_the_checks(faces, tmp_path):
    """All labels by all attributes, with a mesh: what is written is what the checks let pass, for several seeds."""
    write_measurements(faces / "measurements.csv", {f"val/{i}.png": OPEN_SMILE for i in range(9)})
    rows = read_labels(faces).rows
    teacher = MeasuredTeacher(rows, faces, tmp_path, None, 0)
    assert teacher.images_measured == 9
    found = []
    for row in rows:
        facts, mesh = teacher.facts_of(row)
        for attribute in ATTRIBUTES:
            for attempt in range(4):
                text = teacher.answer(row, facts, mesh, attribute.key, "r", attempt).text
                found.append(check(text, row, attribute.key, least=LEAST_WORDS))
    assert not any(found) and len(found) == 9 * 8 * 4


def test_thresholds_of_an_older_data_set_are_read(faces, tmp_path):
    """They held statistics of the cheeks as well."""
    rows = read_labels(faces).rows
    teacher = MeasuredTeacher(rows, faces, tmp_path, None, 0)
    teacher.save()
    kept = json.loads((tmp_path / THRESHOLDS).read_text())
    kept["skin"] = [[9.0, 0.04, 0.1]] * len(rows)
    (tmp_path / THRESHOLDS).write_text(json.dumps(kept))
    older = MeasuredTeacher(rows, faces, tmp_path, None, 0)
    assert [older.facts_of(row) for row in rows] == [teacher.facts_of(row) for row in rows]


def test_bad_measurements_are_told(faces, tmp_path):
    file = tmp_path / "m.csv"
    with pytest.raises(FaceLLMError, match="cannot be read"):
        run(faces, tmp_path / "out", "--measurements", file)
    file.write_text("file,found\nval/1.png,1\n")
    with pytest.raises(FaceLLMError, match="no column `yaw_deg`"):
        run(faces, tmp_path / "out", "--measurements", file)
    write_measurements(file, {"val/1.png": OPEN_SMILE | {"yaw_deg": "left"}})
    with pytest.raises(FaceLLMError, match="no number"):
        run(faces, tmp_path / "out", "--measurements", file)
