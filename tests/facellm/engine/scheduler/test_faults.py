"""Full memory and faults in mid-batch: they end what they must, with a sentence, and nothing else."""

import pytest
import torch

from facellm import FaceLLMError
from facellm.engine.decode import Batch
from facellm.engine.network import Network
from facellm.engine.sampling import Sampler, Sampling
from facellm.engine.slots import SlotsCache
from facellm.errors import out_of_memory
from facellm.messages import build_messages, prompt_ids
from facellm.results import Row
from tests.facellm.engine.scheduler.runs import LONGEST, PHOTOS, QUESTIONS, ids, plain, queue_of


def raising(error):
    def work(*_):
        raise error

    return work


def test_memory_bounds_the_rows(engine, runs):
    queue = queue_of(engine)
    row = Row("base", QUESTIONS[1])
    length = len(prompt_ids(engine.processor, build_messages(row.question))) + LONGEST
    queue.budget = 3 * length
    visitors = [engine.stream(p, [row, row], Sampling(max_new_tokens=LONGEST)) for p in PHOTOS]
    widest = 0
    got = [[] for _ in visitors]
    while visitors:
        for n, visitor in enumerate(visitors):
            delta = next(visitor, None) if visitor else None
            got[n] += [delta] if delta else []
            visitors[n] = visitor if delta else None
            widest = max(widest, engine.scheduler.running)
        if not any(visitors):
            break
    assert widest == 3  # three rows of that length and no more
    for photo, deltas in enumerate(got):
        assert ids(deltas) == {n: plain(engine, photo, row, LONGEST) for n in (0, 1)}
    queue.budget = 1  # too little for any: then one after another
    runs.clear()
    assert len(engine.answer(PHOTOS[0], [row, row], Sampling(max_new_tokens=2))) == 2
    assert {rows for _, rows in runs} == {1}


def test_memory_that_runs_out_when_joining_makes_him_wait(engine, monkeypatch):
    join, failed = Batch.join, []

    def short(self, sequences, *args):
        if self.running:
            failed.append(len(sequences))
            raise torch.OutOfMemoryError("no")
        return join(self, sequences, *args)

    monkeypatch.setattr(Batch, "join", short)
    row = Row("base", QUESTIONS[3])
    first = engine.stream(PHOTOS[0], [row], Sampling(max_new_tokens=LONGEST))
    deltas = [next(first)]
    other = engine.answer(PHOTOS[1], [row], Sampling(max_new_tokens=LONGEST))[0]
    assert failed == [1]
    assert list(other.token_ids) == plain(engine, 1, row, LONGEST)
    assert ids([*deltas, *first]) == {0: plain(engine, 0, row, LONGEST)}


def test_who_fails_at_his_first_token_leaves_the_others_alone(engine, monkeypatch):
    row = Row("base", QUESTIONS[3])
    first = engine.stream(PHOTOS[0], [row], Sampling(max_new_tokens=LONGEST))
    deltas = [next(first)]
    sample = Sampler.sample

    def sampled(self, logits):
        if any(s.seed == 13 for s in self.settings):
            raise RuntimeError("no such token")
        return sample(self, logits)

    monkeypatch.setattr(Sampler, "sample", sampled)
    with pytest.raises(RuntimeError, match="no such token"):
        engine.answer(PHOTOS[1], [row, row], Sampling(max_new_tokens=4, seed=13))
    assert ids([*deltas, *first]) == {0: plain(engine, 0, row, LONGEST)}


def test_a_failing_step_is_told_to_everybody_and_the_next_request_is_right(engine, monkeypatch):
    row = Row("base", QUESTIONS[3])
    visitors = [engine.stream(p, [row], Sampling(max_new_tokens=50)) for p in PHOTOS[:2]]
    for visitor in visitors:
        next(visitor)
    with monkeypatch.context() as patch:
        patch.setattr(Batch, "step", raising(torch.OutOfMemoryError("no")))
        for visitor in visitors:
            with pytest.raises(FaceLLMError, match="memory is full"):
                list(visitor)
    assert engine.scheduler.running == 0
    assert list(engine.answer(PHOTOS[0], [row], Sampling(max_new_tokens=LONGEST))[0].token_ids) == plain(
        engine, 0, row, LONGEST
    )


@pytest.mark.parametrize(
    ("says", "memory"),
    [
        ("MPS backend out of memory (MPS allocated: 17.9 GB, other allocations: 2.1 GB)", True),
        ("[enforce fail at alloc_cpu.cpp:80] DefaultCPUAllocator: not enough memory: you tried to allocate 9 B.", True),
        ("no such kernel", False),
    ],
)
def test_full_memory_is_known_on_every_device(engine, monkeypatch, says, memory):
    row = Row("base", QUESTIONS[3])
    engine.answer(PHOTOS[0], [row], Sampling(max_new_tokens=2))
    with monkeypatch.context() as patch:
        patch.setattr(Batch, "step", raising(RuntimeError(says)))
        with pytest.raises(FaceLLMError if memory else RuntimeError, match="memory is full" if memory else says):
            engine.answer(PHOTOS[0], [row])
    assert (len(engine.features) == len(engine.prefixes) == 0) is memory


def test_this_machines_own_words_for_full_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(caught.value) and out_of_memory(MemoryError()) and not out_of_memory(ValueError("memory"))


def test_an_answer_that_cannot_be_kept_for_the_next_turn_is_still_an_answer(engine, monkeypatch):
    locked, row = [], Row("base", QUESTIONS[3])

    def store_prefix(self, sequence, image_key):
        locked.append(engine.lock.locked())
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(Batch, "store_prefix", store_prefix)
    first = engine.stream(PHOTOS[0], [row], Sampling(max_new_tokens=LONGEST))
    deltas = [next(first)]
    other = engine.answer(PHOTOS[1], [row], Sampling(max_new_tokens=2))[0]
    assert locked == [True] and len(engine.prefixes) == 0
    assert list(other.token_ids) == plain(engine, 1, row, 2)
    assert ids([*deltas, *first]) == {0: plain(engine, 0, row, LONGEST)}


@pytest.mark.parametrize("leaves", ["done", "closed"])
def test_memory_that_runs_out_when_a_row_leaves_ends_its_batch_with_a_sentence(engine, monkeypatch, leaves):
    row = Row("base", QUESTIONS[3])
    goes = engine.stream(PHOTOS[0], [row], Sampling(max_new_tokens=LONGEST))
    next(goes)
    stays = engine.stream(PHOTOS[1], [row], Sampling(max_new_tokens=100))
    next(stays)
    assert engine.scheduler.running == 2
    keep = SlotsCache.keep

    def short(self, order):
        if order:
            raise torch.OutOfMemoryError("no")
        keep(self, order)

    with monkeypatch.context() as patch:
        patch.setattr(SlotsCache, "keep", short)
        if leaves == "done":
            assert [*goes][-1].done
        else:
            goes.close()
        with pytest.raises(FaceLLMError, match="memory is full"):
            list(stays)
    assert engine.scheduler.running == 0 and queue_of(engine).batch.cache.bytes == 0
    assert ids(engine.stream(PHOTOS[1], [row], Sampling(max_new_tokens=LONGEST))) == {0: plain(engine, 1, row, LONGEST)}


def test_a_request_that_cannot_be_prepared_fails_alone(engine, monkeypatch):
    row = Row("base", QUESTIONS[3])
    first = engine.stream(PHOTOS[0], [row], Sampling(max_new_tokens=LONGEST))
    deltas = [next(first)]
    with monkeypatch.context() as patch:
        patch.setattr(Network, "encode", raising(RuntimeError("no such kernel")))
        with pytest.raises(RuntimeError, match="no such kernel"):
            engine.answer(PHOTOS[1], [row])
    assert ids([*deltas, *first]) == {0: plain(engine, 0, row, LONGEST)}
