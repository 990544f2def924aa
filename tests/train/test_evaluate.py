"""`evaluate` on all 14 sub-tasks: stand-in models of known skill, resuming, faults, and the tiny model itself."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from facellm.errors import FaceLLMError
from tests.tiny import make_tiny_adapter, make_tiny_internvl, picture
from tests.train.faces import edit, write_benchmark
from train import journal
from train.evaluation import facexbench
from train.evaluation.answering import Arm, Reply, read_replies, rotated, run_arm
from train.evaluation.evaluate import evaluate
from train.evaluation.facexbench import CATEGORIES
from train.evaluation.scoring import extract_published
from train.evaluation.sharding import Shard

SETTINGS = {"model": "stand-in", "setting": "zero-shot"}


@pytest.fixture(autouse=True)
def quick_plots(monkeypatch, request):
    """Plots are drawn only in the tests that look at them: they cost more than all the rest."""
    if request.node.name != "test_html_report_is_one_whole_page":
        for name in ("plot_scores", "plot_letters"):
            monkeypatch.setattr(f"train.evaluation.report.{name}", lambda *_: "<svg></svg>")


class StandIn:
    """Answers by a rule; counts what it was asked, and dies after `alive` replies."""

    which = ("base", "facellm")

    def __init__(self, rule, alive: int | None = None):
        self.rule, self.alive, self.asked = rule, alive, Counter()

    def answer(self, questions, arm):
        for question in questions:
            if self.alive is not None and sum(self.asked.values()) >= self.alive:
                raise KeyboardInterrupt
            self.asked[arm.name, question.key] += 1
            yield Reply(question.key, self.rule(question, arm), 1, 0.01)


def oracle(question, arm):
    return rotated(question, arm.rotation)[1]


def constant(letter):
    return lambda question, arm: letter


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_benchmark(tmp_path_factory.mktemp("facexbench") / "benchmark")


@pytest.fixture(scope="module")
def made(folder):
    return facexbench.read(folder)


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
        return oracle(question, arm) if arm.which == "facellm" else "B"

    results = evaluate(made, StandIn(rule), tmp_path, SETTINGS, which=("base", "facellm"))
    best = results["models"]["facellm"]["generate"]
    assert best["overall"]["accuracy"]["value"] == 1.0 and len(best["tasks"]) == 14 and len(best["categories"]) == 6
    share = sum(q.correct == "B" for q in made.questions)
    base = results["models"]["base"]["generate"]
    assert base["overall"]["accuracy"]["count"] == share and base["letters"]["chosen"] == {"B": len(made.questions)}
    pair = results["paired"]["generate"]["overall"]
    assert pair["only_first"] == 0 and pair["only_second"] == len(made.questions) - share and pair["p"] < 1e-6


@pytest.mark.parametrize("letter", "ABCD")
def test_a_constant_letter_scores_its_share(made, tmp_path, letter):
    results = evaluate(made, StandIn(constant(letter)), tmp_path, SETTINGS, which=("base",))
    for task, numbers in results["models"]["base"]["generate"]["tasks"].items():
        own = [q for q in made.questions if q.task == task]
        assert numbers["accuracy"]["count"] == sum(q.correct == letter for q in own), task
    # "D" is no option of a question with two, so nothing is read from it there.
    short = sum(len(q.options) == 2 for q in made.questions) if letter in "CD" else 0
    assert results["models"]["base"]["generate"]["overall"]["unparsed"] == short


def test_resume_after_a_kill_asks_nothing_twice(made, tmp_path):
    first = StandIn(oracle, alive=20)
    with pytest.raises(KeyboardInterrupt):
        evaluate(made, first, tmp_path, SETTINGS, which=("facellm",))
    path = tmp_path / "replies" / "facellm-generate.jsonl"
    with path.open("a") as half:  # the kill came in the middle of a line
        half.write('{"key": "cut off')
    second = StandIn(oracle)
    results = evaluate(made, second, tmp_path, SETTINGS, which=("facellm",))
    assert max((first.asked + second.asked).values()) == 1
    assert sum(first.asked.values()) == 20 and sum(second.asked.values()) == len(made.questions) - 20
    assert results["models"]["facellm"]["generate"]["overall"]["accuracy"]["value"] == 1.0
    keys = [json.loads(line)["key"] for line in path.read_text().splitlines()]
    assert len(keys) == len(set(keys)) == len(made.questions)
    third = StandIn(oracle)
    evaluate(made, third, tmp_path, SETTINGS, which=("facellm",))
    assert not third.asked


CHILD = """
import json, sys, time
from pathlib import Path
from train.evaluation import facexbench
from train.evaluation.answering import Reply
from train.evaluation.evaluate import evaluate

class Slow:
    which = ("base",)
    def answer(self, questions, arm):
        for question in questions:
            with open(sys.argv[3], "a") as asked:
                asked.write(question.key + chr(10))
            yield Reply(question.key, question.correct, 1, 0.01)
            time.sleep(float(sys.argv[4]))

from train.evaluation import report
report.plot_scores = report.plot_letters = lambda *_: "<svg></svg>"
evaluate(facexbench.read(sys.argv[1]), Slow(), Path(sys.argv[2]), {"model": "slow"}, which=("base",))
"""


def test_resume_after_sigkill_asks_no_answered_question_twice(made, folder, tmp_path):
    replies, asked = tmp_path / "out" / "replies" / "base-generate.jsonl", tmp_path / "asked.txt"
    command = [sys.executable, "-c", CHILD, str(folder), str(tmp_path / "out"), str(asked)]
    child = subprocess.Popen([*command, "0.05"], cwd=Path(__file__).parents[2])
    while not replies.is_file() or replies.read_bytes().count(b"\n") < 5:
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    before = set(read_replies(replies))
    assert 5 <= len(before) < len(made.questions)
    first = asked.read_text().splitlines()
    subprocess.run([*command, "0"], cwd=Path(__file__).parents[2], check=True)
    second = asked.read_text().splitlines()[len(first) :]
    assert not before & set(second) and len(set(second)) == len(second)
    assert before | set(second) == set(read_replies(replies)) == {q.key for q in made.questions}
    assert json.loads((tmp_path / "out" / "results.json").read_text())["asked"] == len(made.questions)


def _halting(*_):
    raise AssertionError("this is not to be called")


class Faulty(StandIn):
    """Cannot ask the questions whose keys it is given."""

    def __init__(self, faults):
        super().__init__(oracle)
        self.faults = set(faults)

    def answer(self, questions, arm):
        for reply in super().answer(questions, arm):
            yield Reply(reply.key, "", error="its image is broken") if reply.key in self.faults else reply


def test_what_could_not_be_asked_is_listed_and_asked_again(made, tmp_path):
    bad = {made.questions[0].key, made.questions[5].key}

    def run(answerer):
        return evaluate(made, answerer, tmp_path, SETTINGS, which=("base", "facellm"), blind=True)

    first = run(Faulty(bad))["models"]["base"]["generate"]
    assert first["questions"] == len(made.questions) - 2 and len(first["errors"]) == 2
    for name in ("report.md", "report.html"):
        report = (tmp_path / name).read_text()
        assert "Not asked" in report
        for key in bad:
            for arm in ("base, generate", "FaceLLM, generate", "base, generate, blind"):
                assert f"{arm}: {key}: its image is broken." in report
    before = (tmp_path / "replies" / "base-generate.jsonl").read_bytes()
    again = Faulty(bad)
    run(again)
    assert {key for _, key in again.asked} == bad  # asked again, and the same fault is not written once more
    assert (tmp_path / "replies" / "base-generate.jsonl").read_bytes() == before
    mended = StandIn(oracle)
    found = run(mended)
    assert {key for _, key in mended.asked} == bad and set(mended.asked.values()) == {1}
    assert found["models"]["base"]["generate"]["overall"]["accuracy"]["total"] == len(made.questions)
    assert "Not asked" not in (tmp_path / "report.md").read_text()
    run(StandIn(_halting))


# --- parts -------------------------------------------------------------------------------------------------------


def test_parts_are_merged_without_loss(made, tmp_path, monkeypatch, folder, capsys):
    from train.__main__ import main

    settings = {**SETTINGS, "benchmark": made.digest}
    whole = evaluate(made, StandIn(oracle), tmp_path / "whole", settings, which=("base", "facellm"), permute=True)
    parts = []
    for number in (1, 2, 3):
        out, answerer = tmp_path / f"part{number}", StandIn(oracle)
        part = evaluate(made, answerer, out, settings, which=("base", "facellm"), permute=True, shard=Shard(number, 3))
        assert part["shard"] == f"{number}/3" and "part" in (out / "report.md").read_text()
        parts.append((out, {key for _, key in answerer.asked}))
    assert sum(len(keys) for _, keys in parts) == len(made.questions) == len(set().union(*(k for _, k in parts)))
    for question in made.questions:  # a question's part hangs on its image
        same = [q.key for q in made.questions if q.images == question.images]
        assert len({number for number, (_, keys) in enumerate(parts) if set(same) & keys}) == 1
    command = ["evaluate", str(folder), "--out", str(tmp_path / "merged"), "--merge"]
    assert main([*command, *(str(out) for out, _ in parts)]) == 0
    merged = json.loads((tmp_path / "merged" / "results.json").read_text())
    for name in ("models", "paired", "permuted", "asked", "settings"):
        assert merged[name] == json.loads(json.dumps(whole[name])), name
    assert main([*command[:3], str(tmp_path / "less"), "--merge", *(str(out) for out, _ in parts[:2])]) == 2
    assert "were answered by no part" in capsys.readouterr().err


def test_parts_that_do_not_fit_are_refused(made, folder, tmp_path, capsys):
    from train.__main__ import main

    for name, model, letter in (("a", "x", "A"), ("b", "y", "A"), ("c", "x", "B")):
        evaluate(made, StandIn(constant(letter)), tmp_path / name, {"model": model}, which=("base",), limit=1)

    def merged(*names):
        paths = [str(tmp_path / name) for name in names]
        code = main(["evaluate", str(folder), "--out", str(tmp_path / "m"), "--merge", *paths])
        return code, capsys.readouterr().err

    assert merged("a", "b") == (2, f"{tmp_path / 'b'} was asked otherwise than {tmp_path / 'a'} (different: model).\n")
    assert "another part with 'A'" in merged("a", "c")[1]
    assert "holds no run.json" in merged("a", "nowhere")[1]
    assert "another benchmark" in merged("a", "a")[1]
    for text in ("0/2", "3/2", "half"):
        with pytest.raises(FaceLLMError, match="give i/n"):
            Shard.parse(text)
    assert Shard.parse("2/4") == Shard(2, 4)


def _merge(folder, out, *parts):
    from train.__main__ import main

    return main(["evaluate", str(folder), "--out", str(out), "--merge", *map(str, parts)])


def test_a_refused_merge_leaves_the_folder_as_it_was(made, folder, tmp_path, capsys):
    settings = {**SETTINGS, "benchmark": made.digest}
    evaluate(made, StandIn(constant("A")), tmp_path / "part", settings, which=("base",))
    evaluate(made, StandIn(constant("B")), tmp_path / "other", {**settings, "model": "other"}, which=("base",))
    evaluate(made, StandIn(constant("A")), tmp_path / "foreign", SETTINGS, which=("base",))

    def content():
        return {p: p.read_bytes() for p in (tmp_path / "other").rglob("*") if p.is_file()}

    before = content()
    assert _merge(folder, tmp_path / "other", tmp_path / "part") == 2
    assert "holds answers of another run (different: model)" in capsys.readouterr().err
    assert _merge(folder, tmp_path / "other", tmp_path / "foreign") == 2 and content() == before
    capsys.readouterr()
    assert _merge(folder, tmp_path / "new", tmp_path / "foreign") == 2 and not (tmp_path / "new").exists()
    assert "another benchmark" in capsys.readouterr().err
    (tmp_path / "part" / "run.json").write_text("{")
    assert _merge(folder, tmp_path / "new", tmp_path / "part") == 2
    assert "run.json cannot be read" in capsys.readouterr().err


def test_a_merge_starts_from_what_its_folder_holds_and_an_answer_wins_over_a_fault(made, folder, tmp_path):
    settings, bad = {**SETTINGS, "benchmark": made.digest}, made.questions[0].key
    number = next(n for n in (1, 2) if made.questions[0] in Shard(n, 2).share(made.questions, made.folder))
    one, two = tmp_path / "one", tmp_path / "two"
    evaluate(made, Faulty({bad}), one, settings, which=("base",), shard=Shard(number, 2))
    evaluate(made, StandIn(oracle), two, settings, which=("base",), shard=Shard(3 - number, 2))
    assert _merge(folder, one, two) == 0  # into the folder of the one part
    results = json.loads((one / "results.json").read_text())["models"]["base"]["generate"]
    assert results["questions"] == len(made.questions) - 1 and results["errors"] == [f"{bad}: its image is broken"]
    assert f"base, generate: {bad}: its image is broken." in (one / "report.md").read_text()
    evaluate(made, StandIn(oracle), tmp_path / "mended", settings, which=("base",), shard=Shard(number, 2))
    assert _merge(folder, one, tmp_path / "mended") == 0
    results = json.loads((one / "results.json").read_text())["models"]["base"]["generate"]
    assert results["questions"] == len(made.questions) and not results["errors"]


def test_another_run_is_not_mixed_in(made, tmp_path):
    evaluate(made, StandIn(oracle), tmp_path, SETTINGS, which=("base",), limit=1)
    with pytest.raises(FaceLLMError, match=r"another run .*setting"):
        evaluate(made, StandIn(oracle), tmp_path, {**SETTINGS, "setting": "in-context"}, which=("base",))


def test_a_line_cut_inside_a_character_is_forgotten(tmp_path):
    path = tmp_path / "x.jsonl"
    whole = '{"key": "a", "text": "ä"}\n'.encode()
    path.write_bytes(whole + '{"key": "b", "text": "ä'.encode()[:-1])
    assert set(read_replies(path)) == {"a"}
    with journal.appending(path) as out:
        journal.append(out, {"key": "b", "text": "B"})
    assert set(read_replies(path)) == {"a", "b"}
    path.write_bytes(b'{"key": "\xc3"}\n' + whole)
    with pytest.raises(FaceLLMError, match=r"x\.jsonl, line 1"):
        read_replies(path)


def test_a_torn_line_is_cut_off_without_writing_the_others_anew(tmp_path, monkeypatch):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"key": "a", "text": "A"}\n{"key')
    monkeypatch.setattr(Path, "write_bytes", _halting)
    with journal.appending(path):
        assert path.read_bytes() == b'{"key": "a", "text": "A"}\n'


def test_broken_reply_file_is_named(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"key": "a"\n{"key": "b", "text": "B"}\n')
    with pytest.raises(FaceLLMError, match=r"x\.jsonl, line 1"):
        read_replies(path)


def test_refusals_unparsed_and_disagreement_are_counted(made, tmp_path):
    texts = ["I'm sorry, but I can't help with that.", "A young face, so the answer is B", "Nice weather.", "C"]
    number = {q.key: i for i, q in enumerate(made.questions)}
    results = evaluate(
        made, StandIn(lambda q, arm: texts[number[q.key] % 4]), tmp_path, SETTINGS, which=("base",)
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
    results = evaluate(made, stand_in, tmp_path, SETTINGS, which=("base",), scorer="published")
    share = sum(q.correct == "A" for q in made.questions)
    assert results["models"]["base"]["generate"]["overall"]["accuracy"]["count"] == share


def test_predictions_are_in_the_published_results_format(made, tmp_path):
    evaluate(made, StandIn(oracle), tmp_path, SETTINGS, which=("base",))
    right = total = 0
    for path in (tmp_path / "predictions" / "base-generate").glob("*.json"):
        data = json.loads(path.read_text())
        assert {"category", "sub-category", "num_images", "questions"} <= set(data)
        for question in data["questions"].values():
            total += 1
            right += extract_published(question["prediction"], question["options"]) == question["correct_answer_option"]
    assert right == total == len(made.questions)


def test_permutation_finds_letter_bias(made, tmp_path):
    biased = evaluate(made, StandIn(constant("A")), tmp_path / "a", SETTINGS, which=("base",), permute=True)
    fair = evaluate(made, StandIn(oracle), tmp_path / "b", SETTINGS, which=("base",), permute=True)
    biased, fair = (r["permuted"]["base"]["generate"] for r in (biased, fair))
    assert biased["by_place"]["A"]["value"] == 1 and biased["by_place"]["B"]["value"] == 0
    assert biased["recall_std"] > 0.4 and biased["steady"]["value"] == 0
    assert fair["recall_std"] == 0 and fair["steady"]["value"] == 1 and fair["voted"]["value"] == 1


def test_every_order_of_a_question_is_as_many_as_it_has_options(made, tmp_path):
    assert {len(q.options) for q in made.questions} == {2, 4}
    found = evaluate(made, StandIn(oracle), tmp_path, SETTINGS, which=("base",), permute=True)
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

    results = evaluate(made, StandIn(rule), tmp_path, SETTINGS, which=("base",), blind=True)
    assert seen[True] == seen[False] == len(made.questions)
    assert results["models"]["base"]["generate"]["overall"]["accuracy"]["value"] == 1
    assert results["blind"]["base"]["generate"]["overall"]["accuracy"]["value"] < 0.6


def test_html_report_is_one_whole_page(made, tmp_path):
    evaluate(made, StandIn(oracle), tmp_path, SETTINGS, which=("base", "facellm"), permute=True, blind=True)
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!doctype html>") and page.count("<svg") == 2 and "<script" not in page
    for words in ("tools_retrieval", "FaceLLM-38B (published", "60.5", "Without any image", "Option order", "p (Holm)"):
        assert words in page, words
    assert page.count("<table") == page.count("</table>") >= 8


def test_overlap_lists_questions_whose_image_was_trained_on(made, folder, tmp_path):
    train = tmp_path / "train"
    train.mkdir()
    copied = made.questions[0]
    from PIL import Image

    Image.open(copied.images[0]).resize((64, 64)).save(train / "copy.jpg", quality=80)
    picture(999_999).save(train / "other.png")
    results = evaluate(made, StandIn(oracle), tmp_path / "out", SETTINGS, which=("base",), overlap=train)
    found = results["overlap"]
    assert copied.key in {key for key, name, _ in found["pairs"] if name == "copy.jpg"}
    assert found["without"]["base-generate"]["total"] < found["with"]["base-generate"]["total"]
    for name in ("report.md", "report.html"):
        assert f"{copied.key}: a near copy of copy.jpg, " in (tmp_path / "out" / name).read_text()


def test_overlap_lists_the_first_questions_and_counts_the_others(made, tmp_path):
    from train.evaluation.report import LISTED

    train = tmp_path / "train"
    train.mkdir()
    shown = [q for q in made.questions if q.num_images == "single"]
    for number, question in enumerate(shown):
        (train / f"{number}.png").write_bytes(question.images[0].read_bytes())
    results = evaluate(made, StandIn(oracle), tmp_path / "out", SETTINGS, which=("base",), overlap=train)
    count = len({key for key, _, _ in results["overlap"]["pairs"]})
    report = (tmp_path / "out" / "report.md").read_text()
    assert count >= len(shown) > LISTED
    assert report.count(": a near copy of ") == LISTED
    assert f"- and {count - LISTED} more; results.json lists all." in report


def test_overlap_goes_on_where_images_do_not_open(tmp_path):
    folder = write_benchmark(tmp_path / "benchmark", 1)
    path = folder / "images" / "made_single_mcq_age" / "question_1.png"
    picture(1, 400).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-900])  # opens, but does not decode
    train = tmp_path / "train"
    train.mkdir()
    picture(999_999).save(train / "fine.png")
    (train / "broken.png").write_bytes((train / "fine.png").read_bytes()[:-400])
    out = tmp_path / "out"
    evaluate(facexbench.read(folder), StandIn(oracle), out, SETTINGS, which=("base",), overlap=train)
    report = (out / "report.md").read_text()
    assert f"made_single_mcq_age.json#1: its image {path} does not open" in report
    assert f"1 images of {train} do not open and match nothing; the first: broken.png." in report
    (train / "more.zip").write_bytes(b"PK no archive")
    with pytest.raises(FaceLLMError, match=r"more\.zip is neither a folder nor a zip archive"):
        evaluate(facexbench.read(folder), StandIn(_halting), tmp_path / "b", SETTINGS, which=("base",), overlap=train)


# --- what is wrong with the input --------------------------------------------------------------------------------


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
    results = evaluate(read, StandIn(oracle), tmp_path / "out", SETTINGS, which=("base",))
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


# --- the tiny model ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from facellm.loading import open_model

    root = tmp_path_factory.mktemp("tiny")
    base = make_tiny_internvl(root / "base", end_bias=0.5)
    adapter = make_tiny_adapter(base, root / "adapter")
    return base, adapter, open_model(str(base), adapter=str(adapter), device="cpu", dtype="float32")


def test_batched_scores_and_texts_equal_the_engine(tiny):
    from facellm.engine import Engine, Row, Sampling
    from train.evaluation.batched import Ask, Batched

    _, _, loaded = tiny
    images = {i: picture(i) for i in range(3)}
    questions = ["What is it?", "Describe the face pose of the image.", "Is the mouth open or closed?"]
    asks = [Ask(q, (i,), ("open", "closed", "A")) for i in images for q in questions]
    engine, batched = Engine(loaded), Batched(loaded, images.__getitem__, rows=4)
    for which in ("base", "facellm"):
        for index, scores, _ in batched.score(asks, which):
            ask = asks[index]
            expected = engine.score(images[ask.images[0]], ask.prompt, ask.labels, which)
            assert scores == pytest.approx(expected, abs=2e-4)
        for index, found in batched.generate(asks, which, 12):
            ask = asks[index]
            answer = engine.answer(images[ask.images[0]], [Row(which, ask.prompt)], Sampling(max_new_tokens=12))[0]
            assert found.text == answer.text.strip() and found.tokens >= answer.tokens


def test_questions_of_an_image_stand_in_one_row(tiny):
    from train.evaluation.batched import Ask, Batched, Row

    _, _, loaded = tiny
    asks = [Ask(f"Question {i}?", (i % 2,), ("A", "B")) for i in range(6)] + [Ask("No image?", (), ("A",))] * 2
    batched = Batched(loaded, lambda key: picture(key))
    prompts = [batched.ids(ask) for ask in asks]
    groups = list(batched._groups(asks, prompts))
    assert sorted(groups) == [[0, 2, 4], [1, 3, 5], [6], [7]]
    row = Row([0, 2], [prompts[0], prompts[2]], [[[5, 6]], [[7, 6]]])
    assert row.ids[: row.shared] == prompts[0][: row.shared] and len(row.ids) < len(prompts[0]) + len(prompts[2])
    start = len(prompts[0]) + 1  # behind the first question and the label token that is read
    seen = row.visible()
    assert seen[start, : row.shared].all() and not seen[start, row.shared : start].any()
    assert row.positions[start] == row.shared and not seen.triu(1).any()


def test_multi_image_prompt_has_marks_and_all_images(tiny):
    from train.evaluation.batched import Ask, Batched

    _, _, loaded = tiny
    batched = Batched(loaded, lambda key: picture(key))
    token = loaded.processor.image_token_id
    ids = batched.ids(Ask("Who?", (1, 2, 3)))
    assert ids.count(token) == 3 * loaded.processor.image_seq_length
    text = loaded.processor.tokenizer.decode(ids)
    assert "Image 1: " in text and "Image 3: " in text and text.index("Image 3") < text.index("Who?")
    assert "Image" not in loaded.processor.tokenizer.decode(batched.ids(Ask("Who?", (1,))))
    one, two = ([s for _, s, _ in batched.score([Ask("Who?", k, ("A", "B"))], "base")] for k in ((1, 2), (2, 1)))
    assert one != two  # the order of the images matters
    assert [s for _, s, _ in batched.score([Ask("Who?", (), ("A", "B"))], "base")] != one


def test_command_on_the_tiny_model(tiny, folder, tmp_path, capsys):
    from train.__main__ import main

    base, adapter, _ = tiny
    command = ["evaluate", str(folder), "--model", str(base), "--adapter", str(adapter), "--both", "--method", "both",
               "--limit", "2", "--device", "cpu", "--out", str(tmp_path / "out")]  # fmt: skip
    assert main(command) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["asked"] == 28 and set(results["models"]) == {"base", "facellm"}
    assert results["models"]["base"]["likelihood"]["overall"]["unparsed"] == 0  # a letter is always the likeliest
    compared = results["methods"]["facellm"]
    assert compared["same"]["total"] == 28 and set(compared["seconds"]) == {"generate", "likelihood"}
    assert all(seconds > 0 for seconds in compared["seconds"].values())
    assert "likelihood, s" in (tmp_path / "out" / "report.md").read_text()
    assert "Sub-tasks, by likelihood" in capsys.readouterr().out
    before = {p: p.read_bytes() for p in (tmp_path / "out" / "replies").iterdir()}
    assert len(before) == 4 and main(command) == 0
    assert before == {p: p.read_bytes() for p in before}  # nothing was asked again


def test_the_number_format_is_chosen_and_part_of_the_settings(tiny, folder, tmp_path, capsys):
    from train.__main__ import main

    command = ["evaluate", str(folder), "--model", str(tiny[0]), "--base", "--method", "likelihood", "--limit", "1",
               "--device", "cpu", "--out", str(tmp_path / "out")]  # fmt: skip
    assert main([*command, "--dtype", "bfloat16"]) == 0
    assert json.loads((tmp_path / "out" / "results.json").read_text())["settings"]["dtype"] == "bfloat16"
    assert main([*command, "--dtype", "float32"]) == 2  # answers of both formats do not mix
    assert "dtype" in capsys.readouterr().err


def test_parts_of_weights_in_two_folders_are_one_run(tiny, folder, tmp_path, capsys):
    from train.__main__ import main

    base, adapter, _ = tiny
    copies = [(tmp_path / name / "base", tmp_path / name / "adapter") for name in ("here", "there")]
    for own_base, own_adapter in copies:
        shutil.copytree(base, own_base)
        shutil.copytree(adapter, own_adapter)

    def ask(place, out, *more):
        own_base, own_adapter = copies[place]
        return main(["evaluate", str(folder), "--model", str(own_base), "--adapter", str(own_adapter), "--method",
                     "likelihood", "--limit", "1", "--device", "cpu", "--out", str(tmp_path / out), *more])  # fmt: skip

    assert ask(0, "one", "--shard", "1/2") == ask(1, "two", "--shard", "2/2") == 0
    assert str(copies[1][1]) in (tmp_path / "two" / "run.json").read_text()  # told, but not compared
    merged = ["--limit", "1", "--merge", str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(tmp_path / "all")]
    assert main(["evaluate", str(folder), *merged]) == 0
    assert json.loads((tmp_path / "all" / "results.json").read_text())["asked"] == 14
    assert ask(1, "one", "--shard", "1/2") == 0  # goes on with the moved weights
    capsys.readouterr()
    make_tiny_internvl(copies[1][0], seed=3, end_bias=0.5)  # another base below the same adapter
    assert ask(1, "one", "--shard", "1/2") == 2
    assert "(different: fingerprint)" in capsys.readouterr().err


def test_tiny_images_and_other_formats_are_asked_and_a_mended_one_later(tiny, tmp_path):
    from train.evaluation.answering import ModelAnswerer

    folder, out = write_benchmark(tmp_path / "benchmark", 1), tmp_path / "out"
    age, gender, race, expression, headpose = (
        folder / "images" / f"made_single_mcq_{task}" / "question_1.png"
        for task in ("age", "gender", "race", "expression", "headpose")
    )
    picture(1).resize((12, 10)).save(age)
    picture(2).resize((1, 1)).save(gender)
    picture(3).save(race, "BMP")
    picture(4).save(expression, "TIFF")
    picture(5, 400).save(headpose, "JPEG")
    headpose.write_bytes(headpose.read_bytes()[:-900])  # opens, but does not decode

    def run():
        read, answerer = facexbench.read(folder), ModelAnswerer(tiny[2])
        found = evaluate(read, answerer, out, SETTINGS, which=("base",), methods=("likelihood",))
        return found["models"]["base"]["likelihood"]

    assert [e.partition(":")[0] for e in run()["errors"]] == ["made_single_mcq_headpose.json#1"]
    told = "base, likelihood: made_single_mcq_headpose.json#1: 'question_1.png' is damaged"
    assert told in (out / "report.md").read_text()
    picture(5).save(headpose)
    found = run()
    assert found["questions"] == 14 and not found["errors"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--both"], "leave out --both"),
        (["--base", "--limit", "0"], "at least 1"),
    ],
)
def test_command_refuses_in_a_sentence(tiny, folder, tmp_path, capsys, arguments, words):
    from train.__main__ import main

    assert main(["evaluate", str(folder), "--model", str(tiny[0]), *arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in error


def test_prompt_longer_than_the_model_is_reported_not_asked(tiny, tmp_path):
    from train.evaluation.answering import ModelAnswerer

    folder = write_benchmark(tmp_path / "benchmark", 1)
    edit(folder / "made_zero_mcq_tools_retrieval.json", lambda d: d.update(context="api " * 4000))
    read = facexbench.read(folder)
    answerer = ModelAnswerer(tiny[2])
    results = evaluate(read, answerer, tmp_path / "out", SETTINGS, which=("base",), methods=("likelihood",))
    numbers = results["models"]["base"]["likelihood"]
    assert numbers["questions"] == 13 and "the model has 2048" in numbers["errors"][0]


def test_run_arm_reports_progress(made, tmp_path):
    told = []
    run_arm(made.questions[:3], StandIn(oracle), Arm("base", "generate"), tmp_path / "a.jsonl",
            lambda done, n: told.append((done, n)))  # fmt: skip
    assert told == [(1, 3), (2, 3), (3, 3)]
