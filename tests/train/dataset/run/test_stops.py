"""Faults, kills, quotas and limits: every question is answered once, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from facellm.errors import FaceLLMError
from tests.paths import ROOT
from tests.train.dataset.run.running import arguments, records, stored
from tests.train.kills import run_with_kills
from tests.train.teachers.teacher_server import TeacherServer, write_faces
from train.dataset.dataset import main
from train.teachers.store import AnswerStore, identity


def wait_for(condition, process):
    """Until the condition holds; as long as it takes, but not for a process that has ended."""
    while not condition():
        assert process.poll() is None
        time.sleep(0.02)


def test_many_faults_and_every_question_answered_once(server, faces, tmp_path):
    out = tmp_path / "out"
    faults = [
        ("status", 429, {"error": {"message": "slow"}}),
        ("status", 429, {"error": {"message": "slow"}}, {"Retry-After": "0.1"}),
        ("status", 500, {"error": {"message": "oops"}}),
        ("cut",),
        ("raw", b'{"choices": [{"mess', "application/json"),
        ("hang", 60),
    ]
    sent = []

    def behave(asked):
        if asked["order"] % 3 or asked["number"] > 2:
            return None
        sent.append(faults[asked["order"] // 3 % len(faults)])
        return sent[-1]

    server.behave = behave
    assert main(arguments(server, faces, out, "--timeout", 3, "--tries", 50, "--concurrency", 6)) == 0
    answers = stored(out)
    assert len(answers) == len(set(answers)) == 48 and set(answers) == set(server.good)
    # Every request is accounted for: it brought the answer that is stored, or a fault that is. (A machine that takes
    # more than the timeout for a good answer makes more faults, and they are accounted for as well.)
    kept = records(out, "fault")
    assert len(kept) + 48 == len(server.requests)
    assert {action[0] for action in sent} == {"status", "cut", "raw", "hang"} and len(kept) >= len(sent)
    manifest = json.loads((out / "manifest.json").read_text())
    assert sum(manifest["faults"].values()) == len(kept) and manifest["complete"]


def test_killed_and_started_again(server, faces, tmp_path):
    """SIGKILL in the middle, twice: no answer that was stored is asked for again, in the end there are all."""
    out, gate, most = tmp_path / "out", threading.Event(), [0]

    def behave(asked):
        if asked["order"] > most[0]:  # so that no process is done before it is killed, however late that is
            gate.wait(600)

    server.behave = behave
    command = [sys.executable, "-m", "train", "dataset", *arguments(server, faces, out, "--concurrency", 2)]
    for _ in range(2):
        most[0] = len(server.requests) + 8
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        wait_for(lambda: len(server.requests) >= most[0] + 2, process)  # two are on their way
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with (out / "answers.jsonl").open("ab") as file:
        file.write(b'{"kind": "answer", "id": "torn')  # as if the last kill had hit a write
    before, asked = stored(out), len(server.requests)
    assert 8 <= len(before) == len(set(before)) <= 16
    gate.set()
    server.behave = lambda asked: None
    assert main(arguments(server, faces, out)) == 0
    assert not set(server.keys_asked[asked:]) & set(before)
    after = stored(out)
    assert len(after) == len(set(after)) == 48 and after[: len(before)] == before
    assert len(server.requests) <= 48 + 2 * 2  # at most what was on its way at each kill came twice


def test_ctrl_c_stores_what_is_on_its_way(server, faces, tmp_path):
    out, gate = tmp_path / "out", threading.Event()
    server.behave = lambda asked: None if asked["order"] <= 6 else gate.wait(600) and None
    command = [sys.executable, "-m", "train", "dataset", *arguments(server, faces, out, "--concurrency", 3)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(server.requests) >= 9, process)
    process.send_signal(signal.SIGINT)
    said = ""
    while "Stopping" not in said:  # it heard the signal before anything more is answered
        said += (line := process.stderr.readline())
        assert line
    gate.set()
    said += process.communicate(timeout=600)[1]
    assert process.returncode == 1 and "Traceback" not in said
    assert len(stored(out)) == len(server.requests) == sum(server.good.values()) == 9


def test_max_cost_holds(server, faces, tmp_path):
    out = tmp_path / "out"
    more = ("--price", "100,100", "--max-tokens", 100, "--max-cost", 2.0)  # 0.11 USD an answer
    with pytest.raises(FaceLLMError, match="--max-cost"):
        main(arguments(server, faces, out, *more))
    manifest = json.loads((out / "manifest.json").read_text())
    assert 0 < manifest["cost_usd"] <= 2.0 and not manifest["complete"]
    with pytest.raises(FaceLLMError, match="--max-cost"):  # all runs together
        main(arguments(server, faces, out, *more))
    assert sum(record["cost"] for record in records(out)) <= 2.0
    with pytest.raises(FaceLLMError, match="--price"):
        main(arguments(server, faces, out, "--model", "mine", "--max-cost", 1))


def test_dry_run_asks_nothing(server, faces, tmp_path, capsys):
    assert main(arguments(server, faces, tmp_path / "out", "--dry-run")) == 0
    assert not server.requests and not (tmp_path / "out").exists()
    assert "6 images, 48 questions, 48 to ask" in (said := capsys.readouterr().err) and "USD" in said


def test_quota_keeps_what_was_answered(server, faces, tmp_path):
    out = tmp_path / "out"
    gone = ("status", 429, {"error": {"message": "no more", "code": "insufficient_quota"}})
    server.behave = lambda asked: gone if asked["order"] > 10 else None
    with pytest.raises(FaceLLMError, match="no quota left"):
        main(arguments(server, faces, out, "--concurrency", 2))
    assert len(stored(out)) == 10 and len(json.loads((out / "dataset.json").read_text())) == 10
    assert len(server.requests) <= 12
    server.behave = lambda asked: None
    assert main(arguments(server, faces, out)) == 0
    assert set(server.good.values()) == {1}


def test_bad_rows_are_told_before_anything_is_asked(server, tmp_path, capsys):
    faces = tmp_path / "faces"
    write_faces(faces, 3, [{"age": "9-Mar"}, {"race": "Elf"}])
    with pytest.raises(FaceLLMError, match=r"line 3 \(val/2.jpg\): unknown race 'Elf'.*--skip-bad"):
        main(arguments(server, faces, tmp_path / "out"))
    assert not server.requests
    assert "age '9-Mar' read as '3-9'" in capsys.readouterr().err
    assert main(arguments(server, faces, tmp_path / "out", "--skip-bad", "--attributes", "skin,pose")) == 0
    assert len(server.requests) == 4


def test_one_process_an_output(tmp_path):
    with AnswerStore(tmp_path), pytest.raises(FaceLLMError, match="Another process"), AnswerStore(tmp_path):
        pass
    with AnswerStore(tmp_path):
        pass


def test_damaged_store_is_told(tmp_path):
    (tmp_path / "answers.jsonl").write_text('{"kind": "fault", "fault": "timeout"}\nnonsense\n')
    with pytest.raises(FaceLLMError, match="line 2"), AnswerStore(tmp_path):
        pass


def test_another_server_or_parameter_is_another_request(server, faces, tmp_path):
    """Answers of a test server are never taken for real ones."""
    parts = {"image": "a", "model": "m", "base_url": server.url, "seed": 0}
    assert identity(**parts) == identity(**dict(reversed(parts.items())))
    assert len({identity(**parts), *(identity(**(parts | {key: "x"})) for key in parts)}) == 5
    out, other = tmp_path / "out", TeacherServer()
    try:
        more = ("--limit", 1, "--attributes", "skin")
        assert main(arguments(server, faces, out, *more)) == 0
        assert main(arguments(other, faces, out, *more)) == 0
        assert main(arguments(server, faces, out, *more, "--detail", "low")) == 0
    finally:
        other.close()
    assert len(server.requests) == 2 and len(other.requests) == 1


def test_resume_goes_on(server, faces, tmp_path):
    out = tmp_path / "out"
    assert main(arguments(server, faces, out, "--limit", 1)) == 0
    assert main(arguments(server, faces, out, "--resume", "--limit", 2)) == 0
    assert len(stored(out)) == len(server.requests) == 16


def test_killed_at_random_moments_under_faults(server, faces, tmp_path):
    """A few of the kills that tests.bench.by_hand.bench_dataset does twenty of."""
    account = run_with_kills(server, faces, tmp_path / "out", images=6, kills=2, concurrency=3, seed=0)
    assert account.sent >= 10
