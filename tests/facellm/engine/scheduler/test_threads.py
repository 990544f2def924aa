"""Many threads, models that take turns, likelihoods between steps, a forked process."""

import gc
import os
import random
import threading

import pytest
import torch

from facellm import FaceLLMError
from facellm.engine import model_thread
from facellm.engine.engine import Engine
from facellm.engine.sampling import Sampling
from facellm.results import Row
from facellm.weights.load import open_model
from tests.facellm.engine.scheduler.runs import LONGEST, PHOTOS, QUESTIONS, ids, plain


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
