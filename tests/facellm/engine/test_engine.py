"""The one-batch path equals separate generate() runs, stops where it should, and survives being cancelled."""

import itertools
import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facellm import ATTRIBUTES, FaceLLMError
from facellm.engine.decode import Batch
from facellm.engine.engine import Engine, cache_budget
from facellm.engine.sampling import Sampling
from facellm.results import Row
from facellm.weights.load import open_model
from tests import tiny
from tests.reference import generate

SHORT = Sampling(max_new_tokens=8)
BOTH = ("base", "facellm")


def assert_equal_to_plain(engine, photo, rows, sampling=SHORT, answers=None):
    answers = answers or engine.answer(photo, rows, sampling)
    for row, answer in zip(rows, answers, strict=True):
        ids, text = generate(engine.loaded, photo, row, sampling)
        assert (list(answer.token_ids), answer.text) == (ids, text), row
    return answers


@pytest.fixture
def steps(monkeypatch):
    """Number of rows that got a token each time the decoder ran: those that joined, or all."""
    counted = []
    step, join = Batch.step, Batch.join

    def counted_step(self):
        counted.append(len(self.running))
        return step(self)

    def counted_join(self, sequences, *args):
        counted.append(len(sequences))
        return join(self, sequences, *args)

    monkeypatch.setattr(Batch, "step", counted_step)
    monkeypatch.setattr(Batch, "join", counted_join)
    return counted


def test_sixteen_of_sixteen_rows_equal_plain_runs(engine, photo, steps):
    rows = [Row(w, a.question, key=a.key) for w in BOTH for a in ATTRIBUTES]
    answers = engine.answer(photo, rows, SHORT)
    assert steps[0] == 16 and len(steps) == 8  # one batch, one step a token
    assert_equal_to_plain(engine, photo, rows, answers=answers)
    assert [a.key for a in answers] == [a.key for a in ATTRIBUTES] * 2
    assert answers[0].text != answers[8].text


def test_system_prompts_and_history(engine, photo):
    rows = [
        Row("facellm", "Why?", history=(("Is the mouth open?", "It is closed."), ("And now?", "No."))),
        Row("base", "Why?", system="Be brief."),
        Row("facellm", "What is the age group of the person?", system="You are careful.", history=(("Hi", "Hello"),)),
        Row("base", "Hi"),
    ]
    assert_equal_to_plain(engine, photo, rows)


def test_the_second_turn_starts_from_the_first_ones_tokens(engine, photo, monkeypatch):
    first = engine.answer(photo, [Row("facellm", "Is the mouth open?")], SHORT)[0]
    read = []
    original = type(engine.networks["base"]).forward

    def forward(self, embeddings, *args):
        read.append(embeddings.shape[1])
        return original(self, embeddings, *args)

    monkeypatch.setattr(type(engine.networks["base"]), "forward", forward)
    row = Row("facellm", "Why?", history=(("Is the mouth open?", first.text or "No."),))
    answer = engine.answer(photo, [row], SHORT)[0]
    assert sum(read) - len(answer.token_ids) < 60  # the new turn alone, not image and first question again
    assert engine.features.misses == 1
    monkeypatch.undo()
    assert_equal_to_plain(engine, photo, [row], answers=[answer])


@pytest.fixture(scope="module")
def stopping(tmp_path_factory):
    """A model whose answers end early, at different lengths."""
    root = tmp_path_factory.mktemp("stopping")
    base = tiny.make_tiny_internvl(root / "base", end_bias=1.0)
    adapter = tiny.make_tiny_adapter(base, root / "adapter")
    return Engine(open_model(str(base), adapter=str(adapter), device="cpu", dtype="float32"))


def test_finished_rows_leave_the_batch(stopping, photo, steps):
    rows = [Row(w, a.question) for w in BOTH for a in ATTRIBUTES[:4]]
    sampling = Sampling(max_new_tokens=24)
    answers = stopping.answer(photo, rows, sampling)
    reasons = {a.finish_reason for a in answers}
    assert "stop" in reasons
    expected = [sum(a.tokens + (a.finish_reason == "stop") > i for a in answers) for i in range(len(steps))]
    assert steps == expected and len(set(steps)) > 1
    assert_equal_to_plain(stopping, photo, rows, sampling, answers)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    questions=st.lists(st.text("abcdef ?,", min_size=1, max_size=60).filter(str.strip), min_size=2, max_size=3),
    system=st.sampled_from([None, "Be brief."]),
    length=st.integers(1, 8),
)
def test_any_lengths_equal_plain_runs(stopping, photo, questions, system, length):
    rows = [Row(w, q, system=system) for w, q in zip(itertools.cycle(BOTH), questions, strict=False)]
    assert_equal_to_plain(stopping, photo, rows, Sampling(max_new_tokens=length))


def test_merged_checkpoints_take_turns(folders, photo, steps):
    loaded = open_model(str(folders.base), adapter=str(folders.merged), device="cpu", dtype="float32")
    engine = Engine(loaded)
    assert not engine.shared
    queues = engine.scheduler.queues.values()
    assert len(queues) == 2 and sum(q.budget * q.batch.network.token_bytes for q in queues) <= cache_budget(loaded)
    rows = [Row(w, q) for w in BOTH for q in ("Hi", "Is the mouth open?")]
    order = [d.row for d in engine.stream(photo, rows, SHORT) if d.done]
    assert steps[:4] == [2, 2, 2, 2] and len(steps) == 16
    assert set(order[:2]) == {0, 1}
    assert_equal_to_plain(engine, photo, rows)


def test_dora_rows_equal_plain_runs(folders, photo, tmp_path):
    adapter = tiny.make_tiny_adapter(folders.base, tmp_path / "dora", use_dora=True)
    engine = Engine(open_model(str(folders.base), adapter=str(adapter), device="cpu", dtype="float32"))
    assert not engine.shared
    assert_equal_to_plain(engine, photo, [Row(w, "Hi") for w in BOTH])


def test_streamed_text_adds_up(engine, photo):
    rows = [Row(w, "Describe this image.") for w in BOTH]
    text = ["", ""]
    for delta in engine.stream(photo, rows, SHORT):
        text[delta.row] += delta.text
        if delta.done:
            assert delta.answer.text == text[delta.row]
            assert delta.answer.finish_reason == "length" and delta.answer.tokens == 8
            assert 0 < delta.answer.first_token_seconds <= delta.answer.seconds


def test_sampling_does_not_depend_on_neighbours(engine, photo):
    warm = Sampling(max_new_tokens=8, temperature=1.0, top_p=0.9, seed=5)
    rows = [Row("facellm", a.question) for a in ATTRIBUTES[:3]]
    together = engine.answer(photo, rows, warm)
    assert [engine.answer(photo, [r], warm)[0].token_ids for r in rows] == [a.token_ids for a in together]
    other = engine.answer(photo, [Row("facellm", rows[0].question, seed=6)], warm)[0]
    assert other.token_ids != together[0].token_ids and other.seed == 6


def test_repetition_penalty_equals_generates(engine, photo):
    assert_equal_to_plain(engine, photo, [Row("base", "Hi")], Sampling(max_new_tokens=8, repetition_penalty=1.3))


def test_cancelling_stops_within_one_step(engine, photo, steps):
    rows = [Row(w, a.question) for w in BOTH for a in ATTRIBUTES[:3]]
    cancel = threading.Event()
    answers = {}
    for delta in engine.stream(photo, rows, Sampling(max_new_tokens=200), cancel):
        if not cancel.is_set() and len(steps) == 3:
            cancel.set()
        if delta.done:
            answers[delta.row] = delta.answer
    assert len(steps) == 3
    assert len(answers) == 6
    assert {a.finish_reason for a in answers.values()} == {"cancelled"}
    assert all(a.tokens == 3 for a in answers.values())
    assert_equal_to_plain(engine, photo, rows[2:4])


def test_cancelled_before_the_start(engine, photo, steps):
    cancel = threading.Event()
    cancel.set()
    deltas = list(engine.stream(photo, [Row("base", "Hi")], SHORT, cancel))
    assert steps == [] and [d.answer.finish_reason for d in deltas] == ["cancelled"]
    assert deltas[0].answer.first_token_seconds is None


def test_a_failing_step_leaves_the_next_call_right(engine, photo, monkeypatch):
    row = Row("base", "Hi")
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "argmax", lambda *a, **k: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))
        with pytest.raises(FaceLLMError, match="memory is full"):
            engine.answer(photo, [row, Row("facellm", "Hi")], SHORT)
    assert len(engine.features) == len(engine.prefixes) == 0
    assert_equal_to_plain(engine, photo, [row, Row("facellm", "Hi")])


def test_two_threads_at_once_keep_their_own_text(engine, photo):
    other = tiny.picture(9, 120)
    jobs = [(photo, "Hi"), (other, "Hi"), (photo, "Is the mouth open?")]
    expected = [engine.answer(p, [Row(w, q) for w in BOTH], SHORT) for p, q in jobs]
    results = [None] * len(jobs)

    def work(i):
        results[i] = engine.answer(jobs[i][0], [Row(w, jobs[i][1]) for w in BOTH], SHORT)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert [[a.token_ids for a in r] for r in results] == [[a.token_ids for a in r] for r in expected]


def test_features_once_per_image_and_bounded(engine, photo):
    for _ in range(2):
        engine.answer(photo, [Row(w, "Hi") for w in BOTH], Sampling(max_new_tokens=1))
    assert engine.features.misses == 1
    for seed in range(10):
        engine.answer(tiny.picture(seed, 60), [Row("base", "Hi")], Sampling(max_new_tokens=1))
    assert len(engine.features) == 11
    assert engine.prefixes.bytes <= engine.prefixes.max_bytes and len(engine.prefixes) <= 64
    engine.clear()
    assert len(engine.features) == len(engine.prefixes) == 0


def test_tiles_show_more_of_a_scene(engine):
    wide = tiny.picture(1, 90).resize((270, 90))
    one, many = (engine.answer(wide, [Row("base", "Hi")], SHORT, tiles=t)[0] for t in (1, 3))
    assert one.token_ids != many.token_ids


def test_more_rows_than_a_batch_holds(engine, photo, monkeypatch, steps):
    monkeypatch.setattr("facellm.engine.scheduler.MAX_ROWS", 3)
    rows = [Row("base", f"Question {i}") for i in range(5)]
    answers = engine.answer(photo, rows, Sampling(max_new_tokens=2))
    assert steps == [3, 3, 2, 2]
    assert [a.question for a in answers] == [r.question for r in rows]


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        ([], {}, "no question"),
        ([Row("gpt", "Hi")], {}, "'gpt' was not opened"),
        ([Row("base", " ")], {}, "question is empty"),
        ([Row("base", "Hi")], {"tiles": 13}, "between 1 and 12"),
        ([Row("base", "word " * 2100)], {}, "start a new conversation"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_once(engine, photo, rows, options, says):
    with pytest.raises(FaceLLMError, match=says):
        engine.stream(photo, rows, SHORT, **options)
