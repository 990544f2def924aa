"""Runs under way, without a browser: tickets, parameters, cells that fill, answers that are none, sentences."""

from __future__ import annotations

import re
import time

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from demo import layout
from demo.page.components import Line
from demo.runtime import jobs, parameters
from demo.runtime.host import Host, Status
from demo.runtime.options import Options
from demo.runtime.sentences import sentence
from demo.runtime.streaming import Cell, fill
from demo.runtime.tickets import Runs, Ticket
from demo.runtime.usable import usable
from demo.tabs import settings
from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from tests.demo.stand_ins import context, stand_in


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "…?!",
        '{"age": 30}',
        "```json",
        'The face {"age": 30, "gender"',
        "the the the the the the",
        "a very round face, a very round face, a very round face, a very round face",
    ],
)
def test_broken_text_is_no_answer(text):
    assert not usable(text)


@pytest.mark.parametrize(
    "text", ["Yes.", "4", "It is very, very bright.", "The nose, the mouth and the chin [all] {fit}."]
)
def test_plain_text_is_an_answer(text):
    assert usable(text)


def test_json_that_was_asked_for_is_an_answer():
    assert usable('{"age": 30}', "Answer as JSON: how old?")


@examples(deadline=None)
@given(st.one_of(st.none(), st.text(), st.floats(), st.integers()))
def test_any_value_gives_parameters_or_a_sentence(value):
    for name in ("max_new_tokens", "temperature", "top_p", "seed", "tiles"):
        try:
            made = parameters.read(**{name: value}, look="whole")
        except FaceLLMError as error:
            assert "must be a number" in str(error)
        else:
            assert 1 <= made.max_new_tokens <= 512 and 0 <= made.temperature <= 2 and 0 < made.top_p <= 1


def test_a_seed_out_of_range_reaches_the_sentence_that_says_so():
    with gr.Blocks():
        seed = settings.build()[4]
    with pytest.raises(FaceLLMError, match=r"Seed is -1: .* from 0 to 2147483647\."):
        parameters.read(seed=seed.preprocess(-1))


def test_tiles_count_for_the_whole_photo_only():
    assert parameters.read(tiles=6).tiles == 1 and parameters.read(tiles=6, look="whole").tiles == 6


def test_a_stop_pressed_while_waiting_counts_and_a_second_click_replaces_the_first():
    runs = Runs()
    waiting = runs.take("visitor", "chat")
    assert runs.stop("visitor", "chat") is waiting and waiting.cancel.is_set() and not waiting.begun
    assert runs.begin("visitor", "chat", waiting.number) is waiting
    first = runs.take("visitor", "chat")
    assert runs.begin("visitor", "chat", first.number) is first
    assert runs.stop("visitor", "chat") is first and first.cancel.is_set() and not first.discarded
    second = runs.take("visitor", "chat")
    assert first.discarded and not second.cancel.is_set()
    assert runs.begin("visitor", "chat", first.number) is None, "overtaken: its turn in the queue finds nothing to do"
    assert runs.begin("visitor", "chat", second.number) is second
    other = runs.take("another", "chat")
    runs.discard("visitor")
    assert second.discarded and not other.cancel.is_set()
    assert runs.active("another", "chat") and not runs.active("visitor", "chat")
    runs.done(other)
    assert runs.count() == 0


def test_questions_asked_in_mid_answer_wait_for_its_end_and_a_stop_gives_them_back():
    runs = Runs()
    assert runs.follow("visitor", "chat", "b") == [], "nothing runs: it is asked at once"
    ticket = runs.take("visitor", "chat", ("a",))
    for number, question in enumerate("bcd", 1):
        assert len(runs.follow("visitor", "chat", question)) == number
    with pytest.raises(FaceLLMError, match="wait already"):
        runs.follow("visitor", "chat", "e")
    runs.done(ticket)
    after = runs.next(ticket)
    assert after.given == ("a", "b") and after.following == ["c", "d"] and after.begun
    assert runs.stop("visitor", "chat").following == ["c", "d"] and runs.next(after) is None
    assert runs.follow("visitor", "chat", "f") == []


def test_what_is_discarded_ends_as_the_clearing_action_left_the_page(collins):
    """Its last value is sent again at the end; a refused turn changes nothing."""
    ctx = context(stand_in())
    ctx.photos.put("", collins)
    with gr.Blocks():
        job = jobs.Job(ctx, "chat", gr.HTML(), lambda on: {})
    ticket = ctx.runs.take("", "chat")

    def work(ticket, photo):
        yield job.say(Line("writing", "busy"))
        raise FaceLLMError("Broken.")

    steps = list(job.run(ticket, work))
    assert "writing" in steps[0][job.line] and "Broken." in steps[1][job.line] and ctx.runs.count() == 0
    ticket = ctx.runs.take("", "chat")
    job.clear("", {job.line: "New photo"})
    assert ticket.discarded and ticket.left == {job.line: "New photo"}


def test_one_tab_can_be_discarded_alone():
    runs = Runs()
    refused, kept = runs.take("visitor", "profile"), runs.take("visitor", "chat")
    runs.discard("visitor", "profile")
    assert refused.cancel.is_set() and not runs.active("visitor", "profile")
    assert not kept.cancel.is_set() and runs.active("visitor", "chat")
    runs.discard("visitor", "profile")


def test_cells_fill_to_what_the_model_says(host, model, collins):
    few = parameters.read(max_new_tokens=6)
    cells = [Cell("facellm", a.question, a.key) for a in ATTRIBUTES]
    rounds = list(fill(host, collins.view, cells, few, Ticket(), every=0))
    assert len(rounds) > 3 and all(c.finished for c in cells)
    answers = model.describe(collins.view, max_new_tokens=6)
    assert [c.text for c in cells] == [a.text if usable(a.text) else "" for a in answers.answers]


def test_closing_and_cancelling_stop_the_model(host, model, collins):
    ticket = Ticket()
    cells = [Cell("facellm", "Describe this image.")]
    stream = fill(host, collins.view, cells, parameters.read(max_new_tokens=512), ticket, every=0)
    next(stream)
    stream.close()
    assert ticket.cancel.is_set() and not model.engine.lock.locked()
    stopped = Ticket()
    stopped.cancel.set()
    (last,) = list(fill(host, collins.view, cells, parameters.read(max_new_tokens=512), stopped, every=60))[-1:]
    assert last[0].state == "stopped"


def test_waiting_ends_when_the_visitor_stops():
    host = Host(Options())
    host._state = Status("loading", "Reading the weights", 3)
    ticket = Ticket()
    waiting = jobs.loading(host, ticket)
    assert "step 3" in next(waiting).text
    ticket.cancel.set()
    with pytest.raises(jobs.Stopped):
        next(waiting)


def test_ticking_seconds_are_outside_what_a_screen_reader_announces():
    host = Host(Options())
    host._state, host._since = Status("loading", "Reading the weights", 3, 4), time.monotonic() - 12
    line = next(jobs.loading(host, Ticket())).html()
    for html in (line, layout.pill(host.status, {})):
        (said,) = re.findall(r'role="status">([^<]*)<', html)
        assert "eading the weights" in said and "12 s" not in said and "12 s" in html


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OutOfMemoryError("CUDA"), "ran out of memory"),
        (KeyError("x"), "reference"),
        (FaceLLMError("Do this."), "Do this"),
    ],
)
def test_errors_are_sentences(error, says):
    assert says in sentence(error) and "Traceback" not in sentence(error)
