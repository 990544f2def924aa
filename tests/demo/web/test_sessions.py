"""A page that was closed, and a photo that was not used for long, leave nothing of the photo in the app."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import httpx
import pytest

from demo.runtime import photos
from demo.runtime.options import Options
from demo.runtime.photos import FORGET_AFTER
from demo.web import sessions as forgetting
from tests.demo.conftest import eventually, launch

LONG_AGO = FORGET_AFTER + 1  # seconds


@pytest.fixture(scope="module")
def here():
    """A page without a model that sweeps all the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forgetting, "EVERY", 0.05)
        running = launch(Options(port=17940))
        yield running
        running.close()


@pytest.fixture
def http(here):
    with httpx.Client(base_url=f"{here.url}/gradio_api", timeout=120) as client:
        yield client


def pick(here, http, session: str) -> None:
    """That visitor clicks an example portrait."""
    listener = next(i for i, fn in here.page.fns.items() if fn.name == "picked")
    event = {"session_hash": session, "fn_index": listener, "data": ["face"]}
    event["event_data"] = {"example": "collins.jpg"}
    assert http.post("/queue/join", json=event).status_code == 200
    with http.stream("GET", "/queue/data", params={"session_hash": session}) as told:
        assert any("process_completed" in line for line in told.iter_lines())
    assert held(here, session)


@pytest.mark.parametrize("name", ["picked", "second_picked", "chosen", "chip"])
def test_an_event_without_what_the_pages_script_sends_is_answered(here, http, caplog, capfd, name):
    listener, fn = next((i, fn) for i, fn in here.page.fns.items() if fn.name == name)
    event = {"session_hash": f"forged-{name}", "fn_index": listener, "data": [None] * len(fn.inputs)}
    assert http.post("/queue/join", json={**event, "event_data": {"nothing": 1}}).status_code == 200
    with http.stream("GET", "/queue/data", params={"session_hash": event["session_hash"]}) as told:
        last = next(line for line in told.iter_lines() if "process_completed" in line)
    assert '"success":true' in last.replace(" ", ""), "a sentence for the page, or nothing"
    assert "Traceback" not in capfd.readouterr().err


def held(here, session: str) -> bool:
    """Whether the app still has that visitor's picture."""
    sessions = here.app.state_holder.session_data
    return session in sessions and 'alt="Your photo"' in str(list(sessions[session].components))


def test_closing_the_page_leaves_nothing_of_the_photo(here, http, monkeypatch):
    monkeypatch.setattr(photos, "COME_BACK", 1.0)
    pick(here, http, "closing")
    with http.stream("GET", "/heartbeat/closing") as beats:
        next(beats.iter_lines())
    eventually(lambda: not held(here, "closing"), seconds=60, what="the preview outlived the page")
    eventually(lambda: here.ctx.photos.get("closing") is None, seconds=60, what="looking at it kept the photo")


def test_what_was_not_used_for_long_is_swept(here, http):
    for session in ("idle", "asking", "busy"):
        pick(here, http, session)
    here.app.state_holder.time_last_used["idle"] = datetime.now() - timedelta(seconds=LONG_AGO)
    photo = here.ctx.photos.get("asking")  # its page still looks after its server, which is no use of the photo
    here.ctx.photos._kept["asking"] = (time.monotonic() - LONG_AGO, photo)
    swept = lambda: not held(here, "idle") and not held(here, "asking") and here.ctx.photos.get("asking") is None  # noqa: E731
    eventually(swept, seconds=60, what="a photo was not swept")
    assert held(here, "busy") and here.ctx.photos.get("busy")
