"""Several callers at once: one batch, nobody's words changed by a neighbour, nobody held up, nothing left behind.

Requests only advance while somebody reads, so that one thread which reads several iterators in a chosen order decides
exactly who joins and leaves at which step.
"""

import gc
import os
import random
import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facellm import FaceLLMError
from facellm.engine import model_thread
from facellm.engine.decode import Batch
from facellm.engine.engine import Engine
from facellm.engine.network import Network
from facellm.engine.sampling import Sampler, Sampling
from facellm.engine.slots import SlotsCache
from facellm.errors import out_of_memory
from facellm.messages import build_messages, prompt_ids
from facellm.results import Row
from facellm.weights.load import open_model
from tests import tiny
from tests.reference import generate

PHOTOS = [tiny.picture(seed, 80) for seed in range(3)]
QUESTIONS = (
    "Hi",
    "Is the mouth open?",
    "What is the age group of the person? Answer with one of: 0-2, 3-9, 10-19, 20-29, more than 70.",
    "Describe the face pose of the image based on the visual information.",
)
LONGEST = 12


@pytest.fixture(scope="module")
def ending(tmp_path_factory):
    """A model whose answers end by themselves, at different lengths; that of `engine` writes on to the limit."""
    root = tmp_path_factory.mktemp("scheduler")
    base = tiny.make_tiny_internvl(root / "base", end_bias=1.0)
    adapter = tiny.make_tiny_adapter(base, root / "adapter")
    return open_model(str(base), adapter=str(adapter), device="cpu", dtype="float32")


_known = {}


def plain(engine, photo, row, length):
    """Token ids of a run of its own, by transformers' generate()."""
    key = (engine.loaded.folder, engine.loaded.report.sharing, photo, row.variant, row.question)
    if key not in _known:
        _known[key] = generate(engine.loaded, PHOTOS[photo], row, Sampling(max_new_tokens=LONGEST))[0]
    return _known[key][:length]


@pytest.fixture
def runs(monkeypatch):
    """What the decoder did, in order: ("join" or "step", rows that got a token)."""
    seen = []
    step, join = Batch.step, Batch.join

    def seen_step(self):
        seen.append(("step", len(self.running)))
        return step(self)

    def seen_join(self, sequences, *args):
        seen.append(("join", len(sequences)))
        return join(self, sequences, *args)

    monkeypatch.setattr(Batch, "step", seen_step)
    monkeypatch.setattr(Batch, "join", seen_join)
    return seen


def queue_of(engine):
    return next(iter(engine.scheduler.queues.values()))


def raising(error):
    def work(*_):
        raise error

    return work


def ids(deltas):
    return {d.row: list(d.answer.token_ids) for d in deltas if d.done}


visit = st.fixed_dictionaries(
    {
        "photo": st.integers(0, len(PHOTOS) - 1),
        "rows": st.lists(
            st.tuples(st.sampled_from(("base", "facellm")), st.sampled_from(QUESTIONS)), min_size=1, max_size=4
        ),
        "length": st.integers(1, LONGEST),
        "comes": st.integers(0, 10),  # after so many readings of the others
        "leaves": st.sampled_from([None, None, 0, 1, 4]),  # after so many readings of his own
        "how": st.sampled_from(["cancel", "close"]),
    }
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(visits=st.lists(visit, min_size=2, max_size=5), order=st.randoms(use_true_random=False))
def test_rows_equal_plain_runs_whoever_comes_and_goes(ending, visits, order):
    engine = Engine(ending)
    rows = [[Row(w, q) for w, q in v["rows"]] for v in visits]
    cancels = [threading.Event() for _ in visits]
    ahead = sorted(range(len(visits)), key=lambda i: visits[i]["comes"])
    reading, got, read = {}, {i: [] for i in ahead}, 0
    while ahead or reading:
        while ahead and (visits[ahead[0]]["comes"] <= read or not reading):
            i = ahead.pop(0)
            sampling = Sampling(max_new_tokens=visits[i]["length"])
            reading[i] = engine.stream(PHOTOS[visits[i]["photo"]], rows[i], sampling, cancels[i])
        i = order.choice(sorted(reading))
        if len(got[i]) == visits[i]["leaves"]:
            if visits[i]["how"] == "close":
                reading.pop(i).close()
                continue
            cancels[i].set()
        delta = next(reading[i], None)
        read += 1
        if delta is None:
            del reading[i]
        else:
            got[i].append(delta)
    for i, v in enumerate(visits):
        closed = v["leaves"] is not None and v["how"] == "close"
        answers = {d.row: d.answer for d in got[i] if d.done}
        assert closed or len(answers) == len(rows[i])
        for n, answer in answers.items():
            right = plain(engine, v["photo"], rows[i][n], v["length"])
            if answer.finish_reason == "cancelled":
                assert list(answer.token_ids) == right[: answer.tokens]
            else:
                assert list(answer.token_ids) == right
            assert "".join(d.text for d in got[i] if d.row == n) == answer.text
    assert engine.scheduler.running == 0 and queue_of(engine).batch.cache.bytes == 0


def test_requests_share_one_batch(engine, runs):
    first = engine.stream(PHOTOS[0], [Row("base", QUESTIONS[1])], Sampling(max_new_tokens=LONGEST))
    second = engine.stream(PHOTOS[1], [Row("facellm", q) for q in QUESTIONS[:2]], Sampling(max_new_tokens=LONGEST))
    deltas = [next(first)]
    more = [next(second)]
    assert runs[0] == ("join", 1) and ("join", 2) in runs
    assert engine.scheduler.running == 3
    deltas += list(first)
    more += list(second)
    assert ("step", 3) in runs
    assert ids(deltas) == {0: plain(engine, 0, Row("base", QUESTIONS[1]), LONGEST)}
    assert ids(more) == {n: plain(engine, 1, Row("facellm", q), LONGEST) for n, q in enumerate(QUESTIONS[:2])}


def test_who_comes_later_waits_for_one_step_and_his_own_prompt(engine, runs):
    crowd = [engine.stream(PHOTOS[0], [Row("base", q)], Sampling(max_new_tokens=100)) for q in QUESTIONS]
    for visitor in crowd:
        next(visitor)
    before = len(runs)
    late = engine.stream(PHOTOS[1], [Row("facellm", "Hi")], Sampling(max_new_tokens=4))
    next(late)
    steps = [kind for kind, _ in runs[before:]]
    assert steps.index("join") <= 1  # under one at a time it would have been 400 steps
    for visitor in (*crowd, late):
        visitor.close()


def test_a_reader_who_stops_holds_nobody_up(engine):
    idle = engine.stream(PHOTOS[0], [Row("base", QUESTIONS[3])], Sampling(max_new_tokens=LONGEST))
    first = next(idle)
    row = Row("facellm", QUESTIONS[2])
    assert list(engine.answer(PHOTOS[1], [row], Sampling(max_new_tokens=LONGEST))[0].token_ids) == plain(
        engine, 1, row, LONGEST
    )
    assert ids([first, *idle]) == {0: plain(engine, 0, Row("base", QUESTIONS[3]), LONGEST)}


def test_nothing_is_computed_for_nobody(engine, runs):
    stream = engine.stream(PHOTOS[0], [Row("base", "Hi")], Sampling(max_new_tokens=100))
    next(stream)
    count = len(runs)
    assert engine.score(PHOTOS[1], "Which?", ["a"])  # the model thread has run again, and did not step for `stream`
    assert len(runs) == count
    stream.close()


def test_a_closed_iterator_frees_its_rows_at_once(engine, runs):
    row = Row("base", QUESTIONS[1])
    stays = engine.stream(PHOTOS[0], [row], Sampling(max_new_tokens=LONGEST))
    goes = engine.stream(PHOTOS[1], [Row("base", q) for q in QUESTIONS], Sampling(max_new_tokens=100))
    deltas = [next(stays), next(goes)][:1]
    assert engine.scheduler.running == 5
    goes.close()
    assert engine.scheduler.running == 1
    before = len(runs)
    assert ids([*deltas, *stays]) == {0: plain(engine, 0, row, LONGEST)}
    assert {rows for _, rows in runs[before:]} == {1}


def test_closed_while_the_model_runs_is_freed_within_that_step(engine, monkeypatch):
    goes = engine.stream(PHOTOS[1], [Row("base", q) for q in QUESTIONS], Sampling(max_new_tokens=100))
    next(goes)
    sizes, step = [], Batch.step

    def closing(self):
        sizes.append(len(self.running))
        goes.close()  # as a page that is closed does, from whichever thread
        return step(self)

    monkeypatch.setattr(Batch, "step", closing)
    engine.answer(PHOTOS[0], [Row("facellm", QUESTIONS[3])], Sampling(max_new_tokens=6))
    assert sizes[0] >= 4 and set(sizes[1:]) <= {1}
    assert engine.scheduler.running == 0


def test_cancelled_from_another_thread_ends_within_one_step(engine, monkeypatch):
    cancel, after, step = threading.Event(), [], Batch.step

    def cancelling(self):
        after.append(cancel.is_set())
        if len(after) == 3:
            cancel.set()  # while this step runs
        return step(self)

    monkeypatch.setattr(Batch, "step", cancelling)
    answer = engine.answer(PHOTOS[0], [Row("base", QUESTIONS[3])], Sampling(max_new_tokens=200), cancel)[0]
    assert answer.finish_reason == "cancelled" and after == [False] * 3


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


def test_likelihoods_come_between_two_steps(engine, runs):
    expected = engine.score(PHOTOS[1], "Which?", ["open", "closed"])
    row = Row("base", QUESTIONS[3])
    stream = engine.stream(PHOTOS[0], [row], Sampling(max_new_tokens=LONGEST))
    deltas = [next(stream)]
    assert engine.score(PHOTOS[1], "Which?", ["open", "closed"]) == expected
    assert ids([*deltas, *stream]) == {0: plain(engine, 0, row, LONGEST)}
    with pytest.raises(FaceLLMError, match="nothing to choose"):
        engine.score(PHOTOS[1], "Which?", [])


def test_models_that_cannot_share_a_batch_share_the_visitors(folders, runs):
    loaded = open_model(str(folders.base), adapter=str(folders.merged), device="cpu", dtype="float32")
    engine = Engine(loaded)
    row = [Row(w, QUESTIONS[1]) for w in ("base", "facellm")]
    first = engine.stream(PHOTOS[0], row, Sampling(max_new_tokens=LONGEST))
    second = engine.stream(PHOTOS[1], row, Sampling(max_new_tokens=LONGEST))
    got = [[next(first)], [next(second)]]
    got[0] += first
    got[1] += second
    assert ("step", 2) in runs  # one model's rows of both visitors
    for photo, deltas in enumerate(got):
        assert ids(deltas) == {n: plain(engine, photo, r, LONGEST) for n, r in enumerate(row)}


def test_sampled_rows_keep_their_own_words_beside_others(engine):
    warm = [Sampling(max_new_tokens=8, temperature=1.0, top_p=0.9, seed=s, repetition_penalty=1.2) for s in (1, 2)]
    row = Row("facellm", QUESTIONS[1])
    alone = [engine.answer(PHOTOS[i], [row], s)[0].token_ids for i, s in enumerate(warm)]
    visitors = [engine.stream(PHOTOS[i], [row], s) for i, s in enumerate((*warm, Sampling(max_new_tokens=8)))]
    got = [[next(v)] for v in visitors]
    assert engine.scheduler.running >= 2
    answers = [[*got[i], *v][-1].answer.token_ids for i, v in enumerate(visitors)]
    assert answers[:2] == alone


def test_many_threads_get_their_own_answers(ending):
    engine = Engine(ending)
    jobs = [(n % 3, Row(("base", "facellm")[n % 2], QUESTIONS[n % 4]), n % LONGEST + 1) for n in range(24)]
    expected = [plain(engine, *job) for job in jobs]
    results = [None] * len(jobs)
    start = threading.Barrier(len(jobs))

    def work(n):
        photo, row, length = jobs[n]
        start.wait()
        results[n] = list(engine.answer(PHOTOS[photo], [row], Sampling(max_new_tokens=length))[0].token_ids)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(jobs))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert results == expected


def test_a_thousand_random_cancels_leave_nothing_behind(engine):
    dice = random.Random(4)
    modules = list(engine.loaded.model.modules())

    def hooks():
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in modules)

    def held():
        engine.clear()
        gc.collect()
        tensors = [o for o in gc.get_objects() if type(o) is torch.Tensor]
        return len(tensors), sum(t.nbytes for t in tensors)

    def cycle():
        cancel, photo = threading.Event(), dice.randrange(3)
        rows = [Row(dice.choice(("base", "facellm")), dice.choice(QUESTIONS)) for _ in range(dice.randint(1, 2))]
        stream = engine.stream(PHOTOS[photo], rows, Sampling(max_new_tokens=50), cancel)
        for _ in range(dice.randint(0, 3)):
            next(stream, None)
        if dice.random() < 0.5:
            cancel.set()
        return stream

    def cycles(count):
        open_ones = []
        for _ in range(count):
            open_ones.append(cycle())
            if len(open_ones) > 2 or dice.random() < 0.4:
                gone = open_ones.pop(dice.randrange(len(open_ones)))
                if dice.random() < 0.3:
                    next(gone, None)
                gone.close()
        for stream in open_ones:
            stream.close()

    hooked = hooks()
    cycles(20)
    before = held()
    cycles(1000)
    assert engine.scheduler.running == 0 and not engine.scheduler._requests and not engine.lock.locked()
    count, size = held()
    assert count <= before[0] and size <= before[1] + 64  # the adapter's mask is of the last batch's rows
    assert hooks() == hooked
    row = Row("base", QUESTIONS[1])
    assert list(engine.answer(PHOTOS[2], [row], Sampling(max_new_tokens=LONGEST))[0].token_ids) == plain(
        engine, 2, row, LONGEST
    )


def test_a_forked_process_runs_a_thread_of_its_own():
    assert model_thread.submit(threading.get_native_id).result(60) != threading.get_native_id()
    child = os.fork()
    if not child:
        os._exit(0 if model_thread.submit(lambda: 7).result(60) == 7 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
