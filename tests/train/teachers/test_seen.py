"""The teacher that saw: answers from tags, captions and labels, written ones as they are, through the usual checks."""

from __future__ import annotations

import asyncio
import csv
import json

import numpy as np
import pytest
from PIL import Image

from facellm.attributes import ATTRIBUTES, select
from facellm.errors import FaceLLMError
from tests.train.seen.seen_data import write_seen
from train.dataset.dataset import main
from train.faces.label_rows import read_labels
from train.teachers.checks import check
from train.teachers.measured.writer import MeasuredRun
from train.teachers.plan import Plan
from train.teachers.seen.seen_teacher import LEAST_WORDS, WORDING_VERSION, SeenTeacher
from train.teachers.store import AnswerStore

GENDERS, AGES = ("Male", "Female"), ("20-29", "50-59", "3-9", "more than 70")


@pytest.fixture
def faces(tmp_path):
    """Eight labelled pictures, six of which the teacher looked at; one has written answers."""
    folder, rng = tmp_path / "made", np.random.default_rng(0)
    folder.mkdir()
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "age", "gender", "race"])
        for number in range(8):
            noise = rng.integers(40, 200, (48, 48, 3)).astype(np.uint8)
            Image.fromarray(noise).save(folder / f"{number}.png")
            table.writerow([f"{number}.png", AGES[number % 4], GENDERS[number % 2], "White"])
    rows = [{"file": f"made/{n}.png", "glasses": ("glasses", "none")[n % 2], "caption": ""} for n in range(6)]
    rows[3]["caption"] = "An older woman with short dark hair looks quietly ahead, a pale wall behind her."
    write_seen(tmp_path / "seen", rows)
    written = "Her skin is fair and smooth, with a few fine lines that show only around the eyes, and no marks."
    (tmp_path / "seen" / "eight_answers.jsonl").write_text(json.dumps({"file": "made/1.png", "skin": written}) + "\n")
    return folder, written


def test_answers_are_kept_by_the_usual_checks_and_written_ones_are_used(faces, tmp_path):
    folder, written = faces
    rows = read_labels(folder, folder / "labels.csv").rows
    teacher = SeenTeacher(rows, folder, None, 0)
    assert teacher.images_seen == 6 and teacher.settings.teacher == "seen" and teacher.settings.answers
    plan = Plan(rows, select(None), teacher.settings, tries=3, prompt_version=WORDING_VERSION)
    out = tmp_path / "out"
    out.mkdir()
    with AnswerStore(out) as store:
        outcome = asyncio.run(MeasuredRun(plan, store, print, teacher)())
        assert outcome.reasons["unmeasured"] >= 2 * 8
        kept = {(row.file, a.key): store.kept(plan.request(row, a)) for row in rows for a in ATTRIBUTES}
    texts = {key: record["answer"] for key, record in kept.items() if record}
    assert texts["1.png", "skin"] == written
    assert len(texts) >= 6 * 6 and not any(file in ("6.png", "7.png") for file, _ in texts)
    assert "glasses" in texts["0.png", "detail"] + texts["0.png", "forensic"]
    for (file, key), text in texts.items():
        row = next(row for row in rows if row.file == file)
        assert not check(text, row, key, least=LEAST_WORDS)


def test_the_same_seed_writes_the_same_and_another_one_something_else(faces):
    folder, _ = faces
    rows = read_labels(folder, folder / "labels.csv").rows

    def texts(seed):
        teacher = SeenTeacher(rows, folder, None, seed)
        read, looked = teacher.facts_of(rows[0])
        return [teacher.answer(rows[0], read, looked, a.key, "r", 0).text for a in ATTRIBUTES]

    assert texts(0) == texts(0) != texts(1)


def test_missing_tags_are_told(faces, tmp_path):
    folder, _ = faces
    rows = read_labels(folder, folder / "labels.csv").rows
    with pytest.raises(FaceLLMError, match=r"no seen\.csv"):
        SeenTeacher(rows, folder, tmp_path / "nowhere", 0)
    write_seen(tmp_path / "other", [{"file": "else/1.png"}])
    with pytest.raises(FaceLLMError, match="none of these images"):
        SeenTeacher(rows, folder, tmp_path / "other", 0)


def test_the_verb_writes_a_set_whose_card_says_who_saw(faces, tmp_path):
    folder, _ = faces
    options = ["--images", folder, "--labels", folder / "labels.csv", "--out", tmp_path / "out", "--val", "0"]
    assert main([*map(str, options), "--teacher", "seen"]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["teacher"] == "seen" and manifest["complete"] and manifest["set_aside"] >= 2 * 8
    text = (tmp_path / "out" / "README.md").read_text()
    assert "vision-language model" in text and "No person" in text and "0.0%" in text
    with pytest.raises(FaceLLMError, match="seen teacher needs none"):
        main([*map(str, options), "--teacher", "seen", "--batch"])
