"""Who comes, who leaves, who stops reading: everybody gets the answer that he would get alone."""

import threading

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facellm.engine.decode import Batch
from facellm.engine.engine import Engine
from facellm.engine.sampling import Sampling
from facellm.results import Row
from tests.facellm.engine.scheduler.runs import LONGEST, PHOTOS, QUESTIONS, ids, plain, queue_of

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
