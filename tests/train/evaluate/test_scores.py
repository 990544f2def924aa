"""`evaluate` on all 14 sub-tasks with models of known skill: scores, letters, orders of options, the reports."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.train.evaluate.stand_ins import SETTINGS, StandIn, constant, oracle
from train.evaluate.answering import Arm, rotated, run_arm
from train.evaluate.evaluate import evaluate
from train.evaluate.extraction import extract_published
from train.evaluate.facexbench import CATEGORIES


def test_all_sub_tasks_are_read(made):
    assert not made.problems and not made.notes
    assert {q.task for q in made.questions} == {t for tasks in CATEGORIES.values() for t in tasks}
    assert {len(q.images) for q in made.questions if q.num_images == "multiple"} == {2, 3}
    tools = next(q for q in made.questions if q.task == "tools_retrieval")
    assert tools.texts["context"].startswith("Ignore the black image") and len(tools.images) == 1
    counts = next(q for q in made.questions if q.task == "crowd_counting")
    assert set(counts.options) == {"3", "7", "12", "40"}


def test_oracle_is_always_right_and_beats_a_constant(made, tmp_path):
    def rule(question, arm):
        return oracle(question, arm) if arm.variant == "facellm" else "B"

    results = evaluate(made, StandIn(rule), tmp_path, SETTINGS, variants=("base", "facellm"))
    best = results["models"]["facellm"]["generate"]
    assert best["overall"]["accuracy"]["value"] == 1.0 and len(best["tasks"]) == 14 and len(best["categories"]) == 6
    share = sum(q.correct == "B" for q in made.questions)
    base = results["models"]["base"]["generate"]
    assert base["overall"]["accuracy"]["count"] == share and base["letters"]["chosen"] == {"B": len(made.questions)}
    pair = results["paired"]["generate"]["overall"]
    assert pair["only_first"] == 0 and pair["only_second"] == len(made.questions) - share and pair["p"] < 1e-6


@pytest.mark.parametrize("letter", "ABCD")
def test_a_constant_letter_scores_its_share(made, tmp_path, letter):
    results = evaluate(made, StandIn(constant(letter)), tmp_path, SETTINGS, variants=("base",))
    for task, numbers in results["models"]["base"]["generate"]["tasks"].items():
        own = [q for q in made.questions if q.task == task]
        assert numbers["accuracy"]["count"] == sum(q.correct == letter for q in own), task
    # "D" is no option of a question with two, so nothing is read from it there.
    short = sum(len(q.options) == 2 for q in made.questions) if letter in "CD" else 0
    assert results["models"]["base"]["generate"]["overall"]["unparsed"] == short


def test_refusals_unparsed_and_disagreement_are_counted(made, tmp_path):
    texts = ["I'm sorry, but I can't help with that.", "A young face, so the answer is B", "Nice weather.", "C"]
    number = {q.key: i for i, q in enumerate(made.questions)}
    results = evaluate(
        made, StandIn(lambda q, arm: texts[number[q.key] % 4]), tmp_path, SETTINGS, variants=("base",)
    )["models"]["base"]["generate"]  # fmt: skip
    n = len(made.questions)
    assert results["overall"]["refused"]["count"] == n // 4
    two = sum(len(q.options) == 2 and number[q.key] % 4 == 3 for q in made.questions)  # "C" of two options
    assert results["overall"]["unparsed"] == n // 2 + two
    assert results["scorers_differ"] >= n // 4
    report = (tmp_path / "report.md").read_text()
    assert "refusals, %" in report and "no letter found" in report
    assert f"Answers that refuse: base {n // 4} of {n}." in report and "Tool use: base " in report


def test_published_scorer_reads_the_article(made, tmp_path):
    stand_in = StandIn(constant("A young face, so the answer is B"))
    results = evaluate(made, stand_in, tmp_path, SETTINGS, variants=("base",), scorer="published")
    share = sum(q.correct == "A" for q in made.questions)
    assert results["models"]["base"]["generate"]["overall"]["accuracy"]["count"] == share


def test_predictions_are_in_the_published_results_format(made, tmp_path):
    evaluate(made, StandIn(oracle), tmp_path, SETTINGS, variants=("base",))
    right = total = 0
    for path in (tmp_path / "predictions" / "base-generate").glob("*.json"):
        data = json.loads(path.read_text())
        assert {"category", "sub-category", "num_images", "questions"} <= set(data)
        for question in data["questions"].values():
            total += 1
            right += extract_published(question["prediction"], question["options"]) == question["correct_answer_option"]
    assert right == total == len(made.questions)


def test_permutation_finds_letter_bias(made, tmp_path):
    biased = evaluate(made, StandIn(constant("A")), tmp_path / "a", SETTINGS, variants=("base",), permute=True)
    fair = evaluate(made, StandIn(oracle), tmp_path / "b", SETTINGS, variants=("base",), permute=True)
    biased, fair = (r["permuted"]["base"]["generate"] for r in (biased, fair))
    assert biased["by_place"]["A"]["value"] == 1 and biased["by_place"]["B"]["value"] == 0
    assert biased["recall_std"] > 0.4 and biased["steady"]["value"] == 0
    assert fair["recall_std"] == 0 and fair["steady"]["value"] == 1 and fair["voted"]["value"] == 1


def test_every_order_of_a_question_is_as_many_as_it_has_options(made, tmp_path):
    assert {len(q.options) for q in made.questions} == {2, 4}
    found = evaluate(made, StandIn(oracle), tmp_path, SETTINGS, variants=("base",), permute=True)
    bias = found["permuted"]["base"]["generate"]
    assert bias["steady"]["total"] == bias["voted"]["total"] == len(made.questions)


def test_rotation_moves_options_and_letter_together(made):
    for question in made.questions[:20]:
        for by in range(4):
            options, letter = rotated(question, by)
            assert options["ABCD".index(letter)] == question.right
            assert sorted(options) == sorted(question.options)


def test_blind_arm_is_asked_without_images(made, tmp_path):
    seen = Counter()

    def rule(question, arm):
        seen[arm.blind] += 1
        return "A" if arm.blind else oracle(question, arm)

    results = evaluate(made, StandIn(rule), tmp_path, SETTINGS, variants=("base",), blind=True)
    assert seen[True] == seen[False] == len(made.questions)
    assert results["models"]["base"]["generate"]["overall"]["accuracy"]["value"] == 1
    assert results["blind"]["base"]["generate"]["overall"]["accuracy"]["value"] < 0.6


def test_html_report_is_one_whole_page(made, tmp_path):
    evaluate(made, StandIn(oracle), tmp_path, SETTINGS, variants=("base", "facellm"), permute=True, blind=True)
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!doctype html>") and page.count("<svg") == 2 and "<script" not in page
    for words in ("tools_retrieval", "FaceLLM-38B (published", "60.5", "Without any image", "Option order", "p (Holm)"):
        assert words in page, words
    assert page.count("<table") == page.count("</table>") >= 8


def test_run_arm_reports_progress(made, tmp_path):
    told = []
    run_arm(made.questions[:3], StandIn(oracle), Arm("base", "generate"), tmp_path / "a.jsonl",
            lambda done, n: told.append((done, n)))  # fmt: skip
    assert told == [(1, 3), (2, 3), (3, 3)]
