"""Queues, quotas, costs, and kills at every step: nothing is paid twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from facellm.errors import FaceLLMError
from tests.paths import ROOT
from tests.train.dataset.run.running import KEY, arguments, records, stored
from tests.train.teachers.batches.running import Kill, check_whole, plan_of, run
from tests.train.teachers.teacher_server import TeacherServer, write_faces
from train.dataset.dataset import main
from train.teachers import openai
from train.teachers.batch import batches
from train.teachers.batch import parts as batch_parts
from train.teachers.batch.batches import BatchRun
from train.teachers.batch.parts import Parts
from train.teachers.store import AnswerStore

QUOTA = {"error": {"message": "no more", "code": "insufficient_quota"}}


def test_a_full_queue_is_waited_for(server, rows, tmp_path):
    full = ("failed", [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}])
    seen = []

    def outcome(batch):
        seen.append(batch["id"])
        return full if len(seen) == 1 else "completed"

    server.batches.outcome = outcome
    run(server, rows, tmp_path, most=12)
    check_whole(server, tmp_path)
    server.batches.outcome = lambda batch: full
    with pytest.raises(FaceLLMError, match="--batch-requests"):
        run(server, rows, tmp_path / "more", most=12)


def test_quota_ends_the_run_after_everything_is_stored(server, rows, tmp_path):
    server.behave = lambda asked: ("status", 429, QUOTA) if asked["order"] > 10 else None
    with pytest.raises(FaceLLMError, match="no quota left"):
        run(server, rows, tmp_path)
    assert len(stored(tmp_path)) == 10 and len(records(tmp_path, "fault")) == 14
    server.behave = lambda asked: None
    run(server, rows, tmp_path)
    check_whole(server, tmp_path)


def test_max_cost_holds(server, rows, tmp_path):
    """0.00596 USD is the dearest that a request can become; five fit, cost 0.00175 each, and so on until none does."""
    with pytest.raises(FaceLLMError, match="Stopped at --max-cost"):
        run(server, rows, tmp_path, max_cost=0.03)
    spent = sum(record["cost"] for record in records(tmp_path, "answer"))
    assert 0.02 < spent <= 0.03 and len(server.batches.batches) > 1


def test_cancelling_keeps_what_is_done(server, rows, tmp_path):
    with AnswerStore(tmp_path) as store:  # submitted, and the process ended
        wait = BatchRun(plan_of(server, rows), store, lambda text: wait.stop() if "submitted" in text else None)
        asyncio.run(wait())
    assert len(Parts(tmp_path).live) == 1 and not stored(tmp_path)
    server.batches.looks = 10**9
    run(server, rows, tmp_path, cancel=True)
    assert len(stored(tmp_path)) == 12 and len(server.batches.batches) == 1
    server.batches.looks = 1
    run(server, rows, tmp_path)
    check_whole(server, tmp_path)


def test_a_lost_answer_to_submitting_pays_once(server, rows, tmp_path):
    server.batches.behave = lambda event, number: ("lost",) if event in ("create", "upload") and number < 3 else None
    server.batches.outcome = lambda batch: "completed"
    run(server, rows, tmp_path, most=8)
    check_whole(server, tmp_path)
    assert server.batches.events["create"] == 3 and server.batches.events["list"] >= 2


def test_calls_are_tried_again(server, rows, tmp_path):
    order = {1: ("status", 500, {"error": {"message": "oops"}}), 2: ("status", 200, []), 3: ("raw", b"not JSON")}
    server.batches.behave = lambda event, number: order.get(number)
    said = []
    run(server, rows, tmp_path, said=said)
    check_whole(server, tmp_path)
    assert any("in_progress" in text for text in said)


def test_a_server_without_batches_is_told(server, rows, tmp_path):
    server.batches.behave = lambda event, number: ("status", 404, {"error": {"message": "no such path"}})
    with pytest.raises(FaceLLMError, match="takes no batch files"):
        run(server, rows, tmp_path)
    server.batches.behave = lambda event, number: (
        ("status", 404, {"error": {"message": "gone"}}) if event == "retrieve" else None
    )
    with pytest.raises(FaceLLMError, match="does not know batch batch-0"):
        run(server, rows, tmp_path)


class Steps:
    """Counts the places at which a process can die: before each change on disk and each call, which is after the one
    that came before it."""

    def __init__(self, monkeypatch):
        self.left, self.names = None, []
        for owner, name in (
            (batch_parts.Parts, "save"),
            (batch_parts.Parts, "remove"),
            (AnswerStore, "append"),
        ):
            monkeypatch.setattr(owner, name, self.wrap(name, getattr(owner, name)))
        for name in ("upload", "submit", "look", "fetch"):
            whole = getattr(batches.BatchApi, name)
            monkeypatch.setattr(batches.BatchApi, name, self.wrap_call(name, whole))

    def step(self, name):
        self.names.append(name)
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Kill

    def wrap(self, name, function):
        def wrapped(*args, **kwargs):
            self.step(name)
            return function(*args, **kwargs)

        return wrapped

    def wrap_call(self, name, function):
        async def wrapped(*args, **kwargs):
            self.step(name)
            return await function(*args, **kwargs)

        return wrapped


def test_killed_at_every_step(monkeypatch, rows, tmp_path):
    """After a kill at any step the same command brings every answer, and no batch and no answer is paid twice."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(openai, "FIRST_WAIT", 0.001)
    steps = Steps(monkeypatch)

    def start(server, out):
        try:
            with AnswerStore(out) as store:
                asyncio.run(BatchRun(plan_of(server, rows[:1]), store, lambda text: None, most=5, poll=0.001)())
        except Kill:
            return False
        return True

    place, seen = 0, set()
    while True:
        with ExitStack() as stack:
            server = TeacherServer()
            stack.callback(server.close)
            server.batches.outcome = lambda batch: ("expired", 3) if len(batch["_lines"]) == 5 else "completed"
            out = tmp_path / str(place)
            steps.left, steps.names = place, []
            done = start(server, out)
            seen.add(steps.names[-1])
            steps.left = None
            if not done:
                assert start(server, out)
            check_whole(server, out, 8)
            assert len({tuple(r.items()) for r in map(_flat, records(out, "fault"))}) == 2  # expired: 2 of 5 lines
        if done:
            break
        place += 1
    assert seen == {"save", "remove", "append", "upload", "submit", "look", "fetch"} and place > 20


def _flat(record):
    return {key: record[key] for key in ("fault", "batch", "custom_id")}


def test_command_killed_between_submitting_and_fetching(server, tmp_path, capsys):
    """The real process and SIGKILL; without --batch the same folder is refused meanwhile."""
    faces, out = tmp_path / "faces", tmp_path / "out"
    write_faces(faces, 2)
    command = arguments(server, faces, out, "--batch", "--poll", 0.05, "--batch-requests", 9)
    server.batches.looks = 10**9
    process = subprocess.Popen(
        [sys.executable, "-m", "train", "dataset", *command], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    while server.batches.events["retrieve"] < 2:
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(FaceLLMError, match=r"16 requests .* in 2 batches; fetch them with --batch"):
        main(arguments(server, faces, out))
    server.batches.looks = 1
    assert main(command) == 0
    check_whole(server, out, 16)
    said = capsys.readouterr().err
    assert "by batch" in said and KEY not in said
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"] and manifest["cost_usd"] == pytest.approx(16 * 0.00175, abs=1e-3)
    assert Path(out / "dataset.json").exists()


def test_damaged_state_is_told(tmp_path):
    (tmp_path / "batches").mkdir()
    (tmp_path / "batches" / "x.json").write_text("{")
    with pytest.raises(FaceLLMError, match=r"x\.json is damaged"):
        Parts(tmp_path)
