"""What can be wrong with a benchmark's files: a sentence each, and the rest is scored."""

from __future__ import annotations

import pytest

from facellm.errors import FaceLLMError
from tests.train.evaluate.stand_ins import SETTINGS, StandIn, oracle
from tests.train.face_sets import edit, write_benchmark
from train.evaluate import facexbench
from train.evaluate.evaluate import evaluate


def _break(question_change=None, file_change=None):
    def change(data):
        if question_change:
            question_change(data["questions"]["2"])
        if file_change:
            file_change(data)

    return change


@pytest.mark.parametrize(
    ("change", "left_out", "words"),
    [
        (_break(lambda q: q.update(image_paths=["images/nowhere.png"])), 1, ("question 2", "nowhere.png", "missing")),
        (_break(lambda q: q.update(image_paths=[])), 1, ("question 2", "no image")),
        (_break(lambda q: q.update(correct_answer_option="E")), 1, ("question 2", "correct_answer_option", "'E'")),
        (_break(lambda q: q.pop("correct_answer_option")), 1, ("question 2", "None")),
        (_break(lambda q: q.update(options=["one"])), 1, ("question 2", "options")),
        (_break(lambda q: q.update(question_text="")), 1, ("question 2", "question_text")),
        (_break(file_change=lambda d: d["questions"].update({"2": "text"})), 1, ("question 2", "not an object")),
        (_break(file_change=lambda d: d.update({"sub-category": "ear_shape"})), 4, ("ear_shape", "14")),
        (_break(file_change=lambda d: d.update({"sub-category": ["age"]})), 4, ("['age']", "14")),
        (_break(file_change=lambda d: d.update(questions=[1, 2])), 4, ("FaceXBench's form",)),
    ],
)
def test_faults_are_sentences_and_the_rest_is_scored(tmp_path, change, left_out, words):
    folder = write_benchmark(tmp_path / "benchmark")
    edit(folder / "made_single_mcq_age.json", change)
    read = facexbench.read(folder)
    assert len(read.questions) == 56 - left_out and len(read.problems) == 1
    assert all(w in read.problems[0] for w in ("made_single_mcq_age.json", *words))
    results = evaluate(read, StandIn(oracle), tmp_path / "out", SETTINGS, variants=("base",))
    assert results["models"]["base"]["generate"]["overall"]["accuracy"]["value"] == 1
    assert read.problems[0] in (tmp_path / "out" / "report.md").read_text()


def test_oddities_are_kept_and_noted(tmp_path):
    folder = write_benchmark(tmp_path / "benchmark")
    edit(folder / "made_single_mcq_race.json", _break(lambda q: q.update(answer="Martian")))
    edit(folder / "made_single_mcq_age.json", _break(file_change=lambda d: d.update(category="tools_use")))
    (folder / "images" / "made_zero_mcq_tools_retrieval" / "question_1.png").unlink()
    read = facexbench.read(folder)
    assert len(read.questions) == 56 and not read.problems and len(read.notes) == 3
    assert any("Martian" in n and "the letter is scored" in n for n in read.notes)
    assert any("asked without" in n for n in read.notes)


def test_image_that_is_no_image(tmp_path):
    folder = write_benchmark(tmp_path / "benchmark")
    (folder / "images" / "made_single_mcq_age" / "question_3.png").write_text("not a picture")
    read = facexbench.read(folder)
    assert "question 3" in read.problems[0] and "does not open" in read.problems[0]


def test_nothing_to_read(tmp_path):
    with pytest.raises(FaceLLMError, match="There is no folder"):
        facexbench.read(tmp_path / "missing")
    with pytest.raises(FaceLLMError, match="no JSON"):
        facexbench.read(tmp_path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(FaceLLMError, match=r"a\.json is not JSON"):
        facexbench.read(tmp_path)
