"""Waiting and failing, as a visitor sees it: the model still loading, a queue, no memory, a server that goes away."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from gradio.queueing import EventQueue
from gradio_client import Client, handle_file

from demo.runtime import sentences
from demo.runtime.jobs import MODEL
from demo.runtime.options import Options
from facellm.errors import FaceLLMError
from tests.demo.conftest import eventually, launch
from tests.demo.pages import DONE, set_slider, tab
from tests.served import InThread

pytestmark = pytest.mark.browser
QUESTION = "Is the mouth open?"


def choose(page, example: str = "collins.jpg") -> None:
    page.click(f'[data-example="{example}"]')
    page.wait_for_selector("#stage img.crop")


def ask(page, question: str = QUESTION) -> None:
    page.fill("#chat-box textarea", question)
    page.locator("#chat-box textarea").press("Enter")


@pytest.fixture
def another(options):
    """Launch a further page; closed after the test."""
    opened = []

    def launched(**changes):
        opened.append(launch(replace(options, port=17920, **changes)))
        return opened[-1]

    yield launched
    for running in opened:
        running.close()


class Held:
    """The page's model, busy with a request of somebody else's until `let_go`.  asked: what it was asked, in order."""

    QUESTION = "Hold the model."

    def __init__(self, site, portrait) -> None:
        self.asked, self.jobs = [], []
        self._site, self._portrait, self._real = site, str(portrait), site.ctx.host.stream
        self._go = threading.Event()
        # One at a time, so that the next one has to wait; the queue is made by its first request.
        queues = site.page._queue.event_queue_per_concurrency_id
        self.queue = queues.setdefault(MODEL["concurrency_id"], EventQueue("model", MODEL["concurrency_limit"]))

    def stream(self, view, rows, sampling, cancel, tiles=1):
        self.asked += [row.question for row in rows]
        if rows[0].question == self.QUESTION:
            assert self._go.wait(600)
        yield from self._real(view, rows, sampling, cancel, tiles)

    def join(self) -> None:
        """One more of somebody else's requests."""
        asked = {"photo": handle_file(self._portrait), "question": self.QUESTION, "max_new_tokens": 1}
        self.jobs.append(Client(self._site.url, verbose=False).submit(**asked, api_name="/chat"))
        waiting = len(self.jobs) - 1
        eventually(
            lambda: self.asked and len(self.queue.queue) == waiting, what="the request is neither held nor waits"
        )

    def let_go(self) -> None:
        """All of them are answered, and whatever waited has had its turn."""
        self._go.set()
        for job in self.jobs:
            job.result(timeout=600)
        eventually(lambda: not self.queue.queue and self.queue.current_concurrency == 0)


@pytest.fixture
def held(site, monkeypatch, portrait):
    made = Held(site, portrait)
    monkeypatch.setattr(made.queue, "concurrency_limit", 1)
    monkeypatch.setattr(site.ctx.host, "stream", made.stream)
    yield made
    made.let_go()


def test_the_page_opens_before_the_model_and_keeps_the_first_question(another, visit, local_site, monkeypatch):
    """Loading shows its steps; a failure is a sentence with a button; the question asked meanwhile is answered."""
    answers = [FaceLLMError("The hub cannot be reached."), local_site.ctx.host.model]
    come = threading.Semaphore(0)

    def open_model(_):
        assert come.acquire(timeout=600)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(Options, "open", open_model)
    here = another()
    here.ctx.host.start()
    page = visit(url=here.url, ready=False)
    page.wait_for_selector("#model-state .pill.loading >> text=/Reading the weights/")
    assert page.locator("#model-state progress").get_attribute("aria-label") == "Loading, step 3 of 4"
    choose(page)
    ask(page)
    page.wait_for_selector("#chat-status >> text=/The model is loading/")
    come.release()
    page.wait_for_selector("#model-state .notice >> text=/The hub cannot be reached/")
    page.wait_for_selector("#chat-status >> text=/The hub cannot be reached/")
    page.wait_for_selector("#chat-box button.submit-button")
    page.click("#model-retry")
    page.wait_for_selector("#model-state .pill.loading")
    ask(page)
    page.wait_for_selector("#chat-status >> text=/The model is loading/")
    come.release()
    page.wait_for_selector("#model-state .pill.ready")
    page.wait_for_selector(DONE)
    assert page.locator("#chat .bot.message").count() == 1
    assert not page.locator("#model-retry").is_visible()
    tab(page, "About")
    page.wait_for_selector("#model-card dl >> visible=true")


def test_each_visitor_chooses_among_the_models_that_the_operator_allows(another, visit, local_site, monkeypatch):
    """A model is loaded, with progress, when somebody first chooses it; others stay with theirs."""
    opened, go = [], threading.Event()

    def open_model(options):
        opened.append(options.model)
        assert options.model == "nano" or go.wait(600)
        return local_site.ctx.host.model

    monkeypatch.setattr(Options, "open", open_model)
    here = another(model="nano", adapter=None, models=("nano", "8b"))
    here.ctx.host.start()
    page, other = visit(url=here.url), visit(url=here.url)
    assert opened == ["nano"]
    page.locator("#model-pick input").click()
    page.get_by_role("option", name="8b").click()
    page.wait_for_selector("#model-state .pill.loading >> text=/Reading the weights/")
    choose(page)
    ask(page)
    page.wait_for_selector("#chat-status >> text=/The model is loading/")
    assert (
        other.locator("#model-state .ready").is_visible() and other.locator("#model-pick input").input_value() == "nano"
    )
    go.set()
    page.wait_for_selector("#model-state .pill.ready")
    page.wait_for_selector(DONE)
    assert opened == ["nano", "8b"] and page.locator("#model-pick input").input_value() == "8b"


def test_the_place_in_the_queue_is_shown_and_stop_gives_it_up(with_photo, site, held):
    page = with_photo()
    held.join()
    held.join()
    ask(page)
    page.wait_for_selector("#chat-status >> text=/Waiting in the queue, 1 before you/")
    page.click("#chat-box button.stop-button")
    page.wait_for_selector("#chat-status >> text=/^Stopped/")
    page.wait_for_selector("#chat-box button.submit-button")
    held.let_go()
    eventually(lambda: site.ctx.runs.count() == 0)
    assert held.asked == [held.QUESTION] * 2, "the model was asked what had been given up"
    assert page.locator("#chat .bot.message").count() == 0


def test_a_question_overtaken_by_a_new_photo_is_not_asked(with_photo, held):
    """It still has its place in the queue when the photo changes; the model must not answer it about the new one."""
    page = with_photo()
    held.join()
    ask(page)
    page.wait_for_selector("#chat-status >> text=/Waiting in the queue, you are next/")
    page.click("#another")
    choose(page, "hopper.jpg")
    page.wait_for_selector("#chat-status >> text=/New photo, new conversation/")
    held.let_go()
    assert held.asked == [held.QUESTION], "the model was asked the old question about the new photo"
    assert page.locator("#chat .message").count() == 0


def test_a_full_queue_is_a_sentence_and_the_buttons_come_back(with_photo, site, monkeypatch, expected):
    expected.append("503 (Service Unavailable)")
    page = with_photo()
    tab(page, "Profile")
    monkeypatch.setattr(site.page._queue, "max_size", 0)
    page.click("#profile-go")
    page.wait_for_selector("#profile-status >> text=/Too many people/")
    page.wait_for_selector("#profile-go >> visible=true")
    monkeypatch.undo()
    assert site.ctx.runs.count() == 0
    page.click("#profile-go")
    page.wait_for_selector("#profile-download a")


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


def test_no_memory_is_a_sentence_and_the_next_request_works(with_photo, site, monkeypatch):
    page = with_photo()
    tab(page, "Attributes")
    set_slider(page, "Max new tokens", 16)
    freed = []

    def stream(*_):
        yield from ()
        raise OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(site.ctx.host, "stream", stream)
    monkeypatch.setattr(sentences, "free_memory", lambda: freed.append(True))
    page.click("#attributes-go")
    page.wait_for_selector("#attributes-status [role=alert] >> text=/ran out of memory/")
    page.wait_for_selector("#attributes-go >> visible=true")
    assert freed
    monkeypatch.undo()
    page.click("#attributes-go")
    page.wait_for_selector("#attributes-report a")


def test_a_file_that_is_too_large_is_a_sentence(visit, tmp_path):
    page = visit()
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.truncate(21 * 2**20)
    page.set_input_files("#photo input[type=file]", large)
    page.wait_for_selector("#photo-notice >> text=/at most 20 MB/")
    choose(page)


def test_a_server_that_goes_away_is_a_sentence_and_works_again_when_it_is_back(another, visit, local_site):
    from facellm.server.app import make_app

    model = local_site.ctx.host.model
    server = InThread(make_app(model))
    here = another(model="auto", adapter=None, backend_url=server.url)
    here.ctx.host.start()
    page = visit(url=here.url)
    assert f"127.0.0.1:{server.port}" in page.locator("#model-state").inner_text()
    choose(page)
    set_slider(page, "Max new tokens", 16)
    server.stop()
    ask(page)
    page.wait_for_selector("#chat-status [role=alert] >> text=/cannot be reached/")
    page.wait_for_selector("#chat-box button.submit-button")
    page.wait_for_selector("#model-state .pill.lost >> text=/cannot be reached/")
    with InThread(make_app(model), server.port):
        page.wait_for_selector("#model-state .pill.ready")
        ask(page, "Are the eyes open?")
        page.wait_for_selector(DONE)


def test_a_page_waits_for_a_server_that_is_not_there_yet(another, visit, local_site):
    from facellm.server.app import make_app

    app = make_app(local_site.ctx.host.model)
    with InThread(app) as server:
        port = server.port
    here = another(model="auto", adapter=None, backend_url=f"http://127.0.0.1:{port}")
    here.ctx.host.start()
    page = visit(url=here.url, ready=False)
    page.wait_for_selector("#model-state >> text=/cannot be reached/")
    with InThread(make_app(local_site.ctx.host.model), port):
        page.wait_for_selector("#model-state .pill.ready")
