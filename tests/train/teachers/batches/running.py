"""How the tests of the Batch API run it and check what it leaves."""

from __future__ import annotations

import asyncio

import pytest

from facellm.attributes import ATTRIBUTES
from tests.train.dataset.run.running import records, stored
from tests.train.teachers.teacher_server import ANSWERS
from train.teachers.batch.batches import BatchRun
from train.teachers.openai import Settings
from train.teachers.plan import Plan
from train.teachers.price import PRICES
from train.teachers.store import AnswerStore


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


class Kill(BaseException):
    """Stands in for SIGKILL at a step; what is on disk is what a kill would leave."""
