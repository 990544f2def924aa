"""Benchmarks from labelled faces: schema, options, balance, seeds, archives, refusals."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from facellm.errors import FaceLLMError
from tests.paths import SHARED
from tests.train.face_sets import write_face_set
from train.evaluate import benchmark, facexbench
from train.evaluate.prompts import ANSWER_WITH_LETTER, THINK_FIRST, choice_prompt, setting_prompt
from train.faces.measures import pose_label
from train.faces.sets import FaceSet, open_sets
from train.faces.tasks import TASKS

SHARED_DATA = SHARED / "data"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("benchmark")
    data = write_face_set(root / "people")
    benchmark.build([FaceSet(data)], root / "out")
    return data, root / "out"


def test_prompt_is_the_published_one():
    text = choice_prompt("Who?", ["Ada", 2], prepend="Task.", postpend="Letter.", context="Ignore it.")
    assert text == "Ignore it.\nTask.\nWho?\nLetter.\n(A) Ada\n(B) 2"
    assert choice_prompt("Who?", ["Ada"]) == "Who?\n(A) Ada"


@pytest.mark.parametrize(("question", "options"), [(" ", ["a", "b"]), ("Who?", []), ("Who?", ["x"] * 27)])
def test_prompt_refuses(question, options):
    with pytest.raises(FaceLLMError):
        choice_prompt(question, options)


def test_settings():
    texts = {"prepend_text": "Task.", "postpend_text": "Letter.", "context": "Ctx."}
    assert setting_prompt("zero-shot", "Q?", ["a"], texts) == "Ctx.\nQ?\nLetter.\n(A) a"
    assert setting_prompt("in-context", "Q?", ["a"], texts) == "Ctx.\nTask.\nQ?\nLetter.\n(A) a"
    assert setting_prompt("chain-of-thought", "Q?", ["a"], texts) == f"Ctx.\nQ?\n{THINK_FIRST}\n(A) a"
    with pytest.raises(FaceLLMError, match="zero-shot"):
        setting_prompt("few-shot", "Q?", ["a"], texts)


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_options_of_every_label(task):
    rng = random.Random(0)
    for label in task.labels:
        places = Counter()
        for _ in range(200):
            options, right = task.options_for(label, rng)
            assert len(options) == len(set(options)) == 4
            assert options[right] == task.words[label]
            places[right] += 1
        assert min(places.values()) > 25  # every place is used
    with pytest.raises(FaceLLMError, match="no label"):
        task.options_for("unheard of", rng)


def test_age_options_are_neighbours():
    rng, task = random.Random(1), TASKS["age"]
    runs = Counter()
    for _ in range(400):
        options, _ = task.options_for("30-39", rng)
        places = sorted(task.labels.index(o) for o in options)
        assert places == list(range(places[0], places[0] + 4))
        runs[places[0]] += 1
    assert set(runs) == {1, 2, 3, 4} and min(runs.values()) > 60


def test_gender_and_pose_have_decoys():
    assert set(TASKS["gender"].options_for("Male", random.Random(0))[0]) == {
        "Male", "Female", "Both", "None of the above",
    }  # fmt: skip
    assert "None of the above" in TASKS["headpose"].options_for("frontal", random.Random(0))[0]


def test_pose_label_leaves_the_middle_unnamed():
    assert pose_label(0) == "frontal" and pose_label(20) == "turned to the viewer's left"
    assert pose_label(-20) == "turned to the viewer's right" and pose_label(11.5) is None


def test_files_are_in_the_published_form(made):
    data, out = made
    files = sorted(p.name for p in out.glob("*.json"))
    assert files == [f"people_single_mcq_{t}_val.json" for t in ("age", "expression", "gender", "headpose", "race")]
    content = json.loads((out / files[0]).read_text())
    assert content["category"] == "bias_fairness" and content["sub-category"] == "age"
    assert content["num_images"] == "single" and content["postpend_text"] == ANSWER_WITH_LETTER
    read = facexbench.read(out)
    assert not read.problems and not read.notes
    labels = {row.split(",")[0]: row.split(",") for row in (data / "labels.csv").read_text().splitlines()}
    for q in read.questions:
        row = labels["/".join(q.images[0].parts[-2:])]
        assert row[0].startswith("val/")
        if q.task in ("age", "gender", "race"):
            assert q.answer == row[{"age": 1, "gender": 2, "race": 3}[q.task]]


def test_each_image_is_written_once_and_unchanged(made):
    data, out = made
    source = FaceSet(data)
    paths = sorted((out / "images").rglob("*.jpg"))
    assert len(paths) == 36
    assert paths[0].read_bytes() == source.read("/".join(paths[0].parts[-2:]))


def test_balance(made):
    _, out = made
    by_task = {t: Counter(q.answer for q in facexbench.read(out).questions if q.task == t) for t in TASKS}
    assert set(by_task["headpose"].values()) == {9}  # 9 each of frontal, left, right; the in-between ones are not asked
    assert set(by_task["expression"]) == {"neutral", "happy", "surprise", "sad", "anger", "disgust"}
    assert len(set(by_task["expression"].values())) == 1


def test_seed_decides_everything(made, tmp_path):
    data, out = made
    benchmark.build([FaceSet(data)], tmp_path / "again")
    benchmark.build([FaceSet(data)], tmp_path / "other", seed=1)
    for path in out.glob("*.json"):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
        assert (tmp_path / "other" / path.name).read_bytes() != path.read_bytes()


def test_plain_folder_limit_and_fairface_races(tmp_path):
    data = write_face_set(tmp_path / "ff", 14, archive=False, races=("East Asian", "Middle Eastern", "Latino_Hispanic"))
    written = benchmark.build([FaceSet(data)], tmp_path / "out", tasks=["race"], per_task=5)
    assert written == {"ff_single_mcq_race_val.json": 5}
    answers = {q.answer for q in facexbench.read(tmp_path / "out").questions}
    assert answers <= {"East Asian", "Middle Eastern", "Latino_Hispanic"}


def _spoil_member(data):
    """The archive's directory stays whole; the bytes of its first images do not."""
    raw = bytearray((data / "val.zip").read_bytes())
    raw[60:-600] = bytes(len(raw) - 660)
    (data / "val.zip").write_bytes(raw)


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        (lambda d: (d / "labels.csv").unlink(), [], "labels.csv"),
        (lambda d: (d / "labels.csv").write_text("name,age\n"), [], "column `file`"),
        (lambda d: (d / "labels.csv").write_bytes("file,age\nval/ä.jpg,20-29\n".encode("latin-1")), [], "UTF-8"),
        (lambda d: (d / "labels.csv").write_text("file,age\nval/1.jpg,3-9\n,20-29\n"), [], "labels.csv, line 3"),
        (lambda d: (d / "labels.csv").write_text("age,file\n20-29\n"), [], "labels.csv, line 2"),
        (lambda d: (d / "labels.csv").write_text("file,age\n.,20-29\n"), [], "No image of the split"),
        (lambda d: (d / "measurements.csv").write_text("file,yaw_deg\nval/2.jpg,left\n"), [], "yaw_deg is 'left'"),
        (lambda d: (d / "val.zip").write_bytes(b"PK no archive"), [], "val.zip cannot be read as a zip archive"),
        (_spoil_member, [], "val.zip: val/"),
        (lambda d: None, ["--split", "nowhere"], "nowhere"),
        (lambda d: None, ["--tasks", "age,height"], "height"),
        (lambda d: None, ["--per-task", "0"], "at least 1"),
        (lambda d: None, ["--data", "missing-folder"], "missing-folder"),
    ],
)
def test_bad_input_is_a_sentence(tmp_path, capsys, change, arguments, words):
    from train.__main__ import main

    data = write_face_set(tmp_path / "people", 4)
    change(data)
    assert main(["benchmark", "--data", str(data), "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and "\n" not in error and "Traceback" not in error


def test_a_folder_of_labelled_folders(tmp_path):
    for name in ("one", "two"):
        write_face_set(tmp_path / "data" / name, 4)
    assert [s.name for s in open_sets([tmp_path / "data"])] == ["one", "two"]
    assert [s.name for s in open_sets([tmp_path / "data" / "two"])] == ["two"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is not beside this checkout")
def test_shared_faces_are_read_in_place(tmp_path):
    sets = [FaceSet(SHARED_DATA / name) for name in ("utkface", "expressions")]
    written = benchmark.build(sets, tmp_path, per_task=3)
    assert written == {
        "utkface_single_mcq_age_val.json": 3, "utkface_single_mcq_gender_val.json": 3,
        "utkface_single_mcq_race_val.json": 3, "utkface_single_mcq_headpose_val.json": 3,
        "expressions_single_mcq_expression_val.json": 3, "expressions_single_mcq_headpose_val.json": 3,
    }  # fmt: skip
    assert not facexbench.read(tmp_path).problems
