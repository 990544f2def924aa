"""Runs that end early: nothing is asked twice, nothing is lost, and runs are not mixed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from facellm.errors import FaceLLMError
from tests.paths import ROOT
from tests.train.evaluate.stand_ins import SETTINGS, Faulty, StandIn, halting, oracle
from train import journal
from train.evaluate.answering import read_replies
from train.evaluate.evaluate import evaluate

CHILD = """
import json, sys, time
from pathlib import Path
from train.evaluate import facexbench
from train.evaluate.answering import Reply
from train.evaluate.evaluate import evaluate

class Slow:
    variants = ("base",)
    def answer(self, questions, arm):
        for question in questions:
            with open(sys.argv[3], "a") as asked:
                asked.write(question.key + chr(10))
            yield Reply(question.key, question.correct, 1, 0.01)
            time.sleep(float(sys.argv[4]))

from train.evaluate import evaluation_report as report
report.plot_scores = report.plot_letters = lambda *_: "<svg></svg>"
evaluate(facexbench.read(sys.argv[1]), Slow(), Path(sys.argv[2]), {"model": "slow"}, variants=("base",))
"""


def test_resume_after_a_kill_asks_nothing_twice(made, tmp_path):
    first = StandIn(oracle, alive=20)
    with pytest.raises(KeyboardInterrupt):
        evaluate(made, first, tmp_path, SETTINGS, variants=("facellm",))
    path = tmp_path / "replies" / "facellm-generate.jsonl"
    with path.open("a") as half:  # the kill came in the middle of a line
        half.write('{"key": "cut off')
    second = StandIn(oracle)
    results = evaluate(made, second, tmp_path, SETTINGS, variants=("facellm",))
    assert max((first.asked + second.asked).values()) == 1
    assert sum(first.asked.values()) == 20 and sum(second.asked.values()) == len(made.questions) - 20
    assert results["models"]["facellm"]["generate"]["overall"]["accuracy"]["value"] == 1.0
    keys = [json.loads(line)["key"] for line in path.read_text().splitlines()]
    assert len(keys) == len(set(keys)) == len(made.questions)
    third = StandIn(oracle)
    evaluate(made, third, tmp_path, SETTINGS, variants=("facellm",))
    assert not third.asked


def test_resume_after_sigkill_asks_no_answered_question_twice(made, folder, tmp_path):
    replies, asked = tmp_path / "out" / "replies" / "base-generate.jsonl", tmp_path / "asked.txt"
    command = [sys.executable, "-c", CHILD, str(folder), str(tmp_path / "out"), str(asked)]
    child = subprocess.Popen([*command, "0.05"], cwd=ROOT)
    while not replies.is_file() or replies.read_bytes().count(b"\n") < 5:
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    before = set(read_replies(replies))
    assert 5 <= len(before) < len(made.questions)
    first = asked.read_text().splitlines()
    subprocess.run([*command, "0"], cwd=ROOT, check=True)
    second = asked.read_text().splitlines()[len(first) :]
    assert not before & set(second) and len(set(second)) == len(second)
    assert before | set(second) == set(read_replies(replies)) == {q.key for q in made.questions}
    assert json.loads((tmp_path / "out" / "results.json").read_text())["asked"] == len(made.questions)


def test_what_could_not_be_asked_is_listed_and_asked_again(made, tmp_path):
    bad = {made.questions[0].key, made.questions[5].key}

    def run(answerer):
        return evaluate(made, answerer, tmp_path, SETTINGS, variants=("base", "facellm"), blind=True)

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
    run(StandIn(halting))


def test_another_run_is_not_mixed_in(made, tmp_path):
    evaluate(made, StandIn(oracle), tmp_path, SETTINGS, variants=("base",), limit=1)
    with pytest.raises(FaceLLMError, match=r"another run .*setting"):
        evaluate(made, StandIn(oracle), tmp_path, {**SETTINGS, "setting": "in-context"}, variants=("base",))


def test_a_line_cut_inside_a_character_is_forgotten(tmp_path):
    path = tmp_path / "x.jsonl"
    whole = '{"key": "a", "text": "ä"}\n'.encode()
    path.write_bytes(whole + '{"key": "b", "text": "ä'.encode()[:-1])
    assert set(read_replies(path)) == {"a"}
    with journal.Journal(path) as out:
        out.append({"key": "b", "text": "B"})
    assert set(read_replies(path)) == {"a", "b"}
    path.write_bytes(b'{"key": "\xc3"}\n' + whole)
    with pytest.raises(FaceLLMError, match=r"x\.jsonl, line 1"):
        read_replies(path)


def test_a_torn_line_is_cut_off_without_writing_the_others_anew(tmp_path, monkeypatch):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"key": "a", "text": "A"}\n{"key')
    monkeypatch.setattr(Path, "write_bytes", halting)
    with journal.Journal(path):
        assert path.read_bytes() == b'{"key": "a", "text": "A"}\n'


def test_broken_reply_file_is_named(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"key": "a"\n{"key": "b", "text": "B"}\n')
    with pytest.raises(FaceLLMError, match=r"x\.jsonl, line 1"):
        read_replies(path)
