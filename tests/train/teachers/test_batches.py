"""The Batch API: files within limits, results in any order, failures, expiry, and a kill at every single step."""

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

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from tests.train.dataset.test_dataset import KEY, ROOT, arguments, records, stored
from tests.train.teachers.teacher_server import ANSWERS, TeacherServer, write_faces
from train.dataset.dataset import main
from train.faces.label_rows import read_labels
from train.teachers import openai
from train.teachers.batch import batches
from train.teachers.batch import parts as batch_parts
from train.teachers.batch.batches import BatchRun
from train.teachers.batch.parts import Parts
from train.teachers.openai import Settings
from train.teachers.plan import Plan
from train.teachers.price import PRICES
from train.teachers.store import AnswerStore

QUOTA = {"error": {"message": "no more", "code": "insufficient_quota"}}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(openai, "FIRST_WAIT", 0.001)
    server = TeacherServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder, 3)
    return read_labels(folder).rows


def plan_of(server, rows, **more):
    settings = Settings("gpt-4o-2024-11-20", server.url, timeout=60)
    return Plan(rows, ATTRIBUTES, settings, **({"price": PRICES["gpt-4o"]} | more))


def run(server, rows, out, most=50_000, said=None, cancel=False, **more):
    """(outcome, records) of a run to its end."""
    with AnswerStore(out) as store:
        say = (lambda text: None) if said is None else said.append
        made = BatchRun(plan_of(server, rows, **more), store, say, most=most, poll=0.01, cancel=cancel)
        outcome = asyncio.run(made())
    return outcome, records(out, "answer")


def check_whole(server, out, number=24):
    """Every answer once, every batch once, nothing on its way, half price."""
    answers = stored(out)
    assert len(answers) == len(set(answers)) == number == sum(server.good.values())
    names = [batch["metadata"]["facellm"] for batch in server.batches.batches.values()]
    assert len(names) == len(set(names))
    assert not list((out / "batches").iterdir())
    for record in records(out, "answer"):
        assert record["cost"] == pytest.approx((1000 * 2.5 + 100 * 10) / 2e6)
        assert record["answer"] == ANSWERS[record["attribute"]] and record["raw"]["choices"] and record["batch"]
        assert record["custom_id"] == f"{record['id']}-{record['attempt']}"


def test_files_within_the_limits_and_results_joined(server, rows, tmp_path, monkeypatch):
    outcome, _ = run(server, rows, tmp_path, most=10)
    assert (outcome.asked, outcome.kept, outcome.failed) == (24, 24, 0)
    check_whole(server, tmp_path)
    sizes = [batch["request_counts"]["total"] for batch in server.batches.batches.values()]
    assert sizes == [10, 10, 4]
    monkeypatch.setattr(batch_parts, "MOST_BYTES", 20_000)
    with AnswerStore(tmp_path / "bytes") as store:
        parts, plan = Parts(store.folder), plan_of(server, rows)
        part = parts.write(plan, ((row, [(a, plan.request(row, a), 0) for a in ATTRIBUTES]) for row in rows), 1e9, 99)
        file = parts.path(part, "jsonl")
        assert 15_000 < file.stat().st_size <= 20_000
        assert len(file.read_bytes().splitlines()) == len(part.requests) < 24


def test_failures_are_submitted_again(server, rows, tmp_path):
    def behave(asked):
        if asked["attribute"] == "pose" and asked["number"] == 1:
            return "status", 500, {"error": {"message": "oops"}}
        if asked["attribute"] == "skin" and asked["number"] == 1:
            return "raw", b'{"choices": []}', ""
        if asked["attribute"] == "detail" and asked["number"] == 1:
            return "message", {"content": None, "refusal": "No."}, "stop"
        if asked["attribute"] == "forensic":
            return "status", 400, {"error": {"message": "bad image"}}
        if asked["attribute"] == "lighting" and asked["number"] == 1:
            return "status", 400, {"error": {"message": "bad parameter"}}
        return None

    server.behave = behave
    outcome, answers = run(server, rows, tmp_path)
    kept = [(r["digest"], r["attribute"]) for r in answers if r["kept"]]
    assert len(kept) == len(set(kept)) == 18 and len(answers) == 24
    assert outcome.faults == {"status 500": 3, "malformed": 3, "rejected": 3, "refused": 3} and outcome.failed == 3
    assert outcome.reasons == {"refusal": 3, "refused": 3}
    assert [r["attempt"] for r in answers if r["attribute"] == "detail"] == [0, 0, 0, 1, 1, 1]
    assert len(server.batches.batches) == 2
    assert sum(r["kind"] == "fault" for r in records(tmp_path)) == 12
    closed = [r for r in answers if r.get("closed")]
    assert {r["attribute"] for r in closed} == {"forensic"} and {r["cost"] for r in closed} == {0}
    # Another run asks for the rejected ones, whose settings may be other by now, and not for those refused.
    outcome, _ = run(server, rows, tmp_path)
    assert (outcome.asked, outcome.kept) == (3, 3)


def test_a_batch_of_refusals_alone_closes_nothing(server, rows, tmp_path):
    no = ("status", 400, {"error": {"message": "image_url is only supported by certain models"}})
    server.behave = lambda asked: no
    with pytest.raises(FaceLLMError, match=r"24 requests in a row brought no answer .*only supported.*--model"):
        run(server, rows, tmp_path)
    assert not stored(tmp_path) and len(server.batches.batches) == 1
    server.behave = lambda asked: no if asked["attribute"] == "skin" else None
    run(server, rows[:1], tmp_path)
    outcome, _ = run(server, rows[:1], tmp_path)
    assert not outcome.asked and len(server.batches.batches) == 2  # closed, because others were answered


def test_tries_end(server, rows, tmp_path):
    oops = ("status", 500, {"error": {"message": "oops"}})
    server.behave = lambda asked: oops if asked["attribute"] == "skin" else None
    with AnswerStore(tmp_path) as store:
        plan = plan_of(server, rows[:1])
        settings = Settings("gpt-4o-2024-11-20", server.url, timeout=60, tries=3)
        plan = Plan(plan.rows, plan.attributes, settings)
        outcome = asyncio.run(BatchRun(plan, store, lambda text: None, poll=0.01)())
    assert outcome.faults == {"status 500": 3} and outcome.failed == 1 and outcome.kept == 7
    assert len(server.batches.batches) == 3


def keep_lines(server, number):
    """The first files that a server gives hold so many lines."""
    return lambda event, count: (
        ("raw", b"".join(server.batches._content("file-1")[1].splitlines(keepends=True)[:number]))
        if event == "content"
        else None
    )


def test_a_result_that_is_late_is_waited_for(server, rows, tmp_path):
    """The server says that the batch is done, but has no output file yet, then one that is not whole."""
    looks = []

    def show(batch):
        if batch["status"] == "completed":
            looks.append(batch)
            if len(looks) < 3:
                return {key: value for key, value in batch.items() if key != "output_file_id"}
            server.batches.behave = keep_lines(server, 20) if len(looks) == 3 else lambda event, number: None
        return batch

    server.batches.show = show
    said = []
    outcome, _ = run(server, rows, tmp_path, said=said)
    check_whole(server, tmp_path)
    assert len(looks) == 4 and not outcome.faults and len(server.batches.batches) == 1
    assert [text for text in said if "gives" in text][-1].endswith("ended with 24 answers, of which the server gives "
                                                                   "20 so far.")  # fmt: skip


def test_a_result_that_stays_short_is_never_paid_again(server, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "SHORT_LOOKS", 3)
    server.batches.behave = keep_lines(server, 20)
    with pytest.raises(FaceLLMError, match=r"Batch batch-0 has answers that the server counts as done but does not"):
        run(server, rows, tmp_path)
    assert server.batches.events["content"] == 3 and len(server.batches.batches) == 1 and not stored(tmp_path)
    server.batches.behave = lambda event, number: None
    run(server, rows, tmp_path)
    check_whole(server, tmp_path)
    assert len(server.batches.batches) == 1
    server.batches.behave = keep_lines(server, 0)
    with pytest.raises(FaceLLMError, match="--cancel"):
        run(server, rows[:1], tmp_path / "other")
    server.batches.behave = lambda event, number: None
    lost = next(iter(server.batches.batches["batch-1"]["_lines"]))["custom_id"]
    file = server.batches.batches["batch-1"]["output_file_id"]
    name, content = server.batches.files[file]
    left = b"".join(line for line in content.splitlines(keepends=True) if lost.encode() not in line)
    server.batches.files[file] = (name, left)
    outcome, answers = run(server, rows[:1], tmp_path / "other", cancel=True)  # what there is, on request
    assert len(answers) == 7 and outcome.faults == {"missing": 1} and len(server.batches.batches) == 2


def test_a_torn_fetched_file_is_fetched_again(server, rows, tmp_path):
    class Dies(BatchRun):
        def _take_in(self, part):
            raise Kill

    with AnswerStore(tmp_path) as store, pytest.raises(Kill):
        asyncio.run(Dies(plan_of(server, rows), store, lambda text: None, poll=0.01)())
    (part,) = Parts(tmp_path).live
    assert part.stage == batch_parts.FETCHED
    file = Parts(tmp_path).path(part, "output.jsonl")
    file.write_bytes(file.read_bytes()[:-30])
    run(server, rows, tmp_path)
    check_whole(server, tmp_path)
    assert server.batches.events["content"] == 2


def test_what_an_expired_batch_brought_is_kept_and_billed(server, rows, tmp_path):
    ends = [("expired", 5), ("cancelled", 2)]
    server.batches.outcome = lambda batch: ends.pop(0) if ends else "completed"
    outcome, _ = run(server, rows, tmp_path)
    check_whole(server, tmp_path)
    assert outcome.faults == {"expired": 19, "batch error": 17}
    assert [b["request_counts"]["completed"] for b in server.batches.batches.values()] == [5, 2, 17]


def test_a_refused_file_ends_the_run(server, rows, tmp_path):
    why = [{"code": "invalid_json", "message": "bad line", "line": 3}]
    server.batches.outcome = lambda batch: ("failed", why)
    with pytest.raises(FaceLLMError, match=r"refused a batch: bad line \(line 3\)"):
        run(server, rows, tmp_path)
    assert not list((tmp_path / "batches").iterdir())  # the same command asks anew


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


class Kill(BaseException):
    """Stands in for SIGKILL at a step; what is on disk is what a kill would leave."""


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
