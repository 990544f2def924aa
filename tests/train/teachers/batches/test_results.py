"""Files, results, failures and refusals of a batch run."""

from __future__ import annotations

import asyncio

import pytest

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from tests.train.dataset.run.running import records, stored
from tests.train.teachers.batches.running import Kill, check_whole, plan_of, run
from train.teachers.batch import batches
from train.teachers.batch import parts as batch_parts
from train.teachers.batch.batches import BatchRun
from train.teachers.batch.parts import Parts
from train.teachers.openai import Settings
from train.teachers.plan import Plan
from train.teachers.store import AnswerStore


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
