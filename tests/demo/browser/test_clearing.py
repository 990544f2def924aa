"""Whatever is under way when the page is cleared: nothing of it comes back. docs/demo.md has these pairs as a table."""

from __future__ import annotations

import asyncio
import threading

import pytest

from demo.web.shield import Shield
from tests.demo.conftest import eventually
from tests.demo.pages import drop, tab
from tests.paths import ROOT

pytestmark = pytest.mark.browser

CARDS = (
    "[...document.querySelectorAll('.card .answer, .card-foot .foot')].map((part) => part.innerText).join('').trim()"
)


def ask(page) -> None:
    page.fill("#chat-box textarea", "Is the mouth open?")
    page.locator("#chat-box textarea").press("Enter")


def chat_in_mid_answer(page, scripted) -> None:
    ask(page)
    page.wait_for_selector(f"#chat .bot.message >> text={scripted.FIRST}")


def chat_while_the_model_loads(page, scripted) -> None:
    scripted.loading = True
    ask(page)
    page.wait_for_selector("#chat-status >> text=/The model is loading/")


def attributes_in_mid_answer(page, scripted) -> None:
    tab(page, "Attributes")
    page.click("#attributes-go")
    page.wait_for_selector(f".card .answer >> text={scripted.FIRST}")


def comparison_in_mid_answer(page, scripted) -> None:
    tab(page, "Compare")
    page.click("#compare-go")
    page.wait_for_selector(f"#pairs .side.base >> text={scripted.FIRST}")


def profile_in_mid_scoring(page, scripted) -> None:
    tab(page, "Profile")
    page.click("#profile-go")
    page.wait_for_selector("#profile-status >> text=/Scoring/")


def explanation_in_mid_measuring(page, scripted) -> None:
    scripted.hold = False
    tab(page, "Profile")
    page.click("#profile-go")
    page.wait_for_selector("#profile-download a")
    scripted.hold = True
    page.click("[data-why=mouth]")
    page.wait_for_selector("#why-status >> text=/Hiding/")


def two_photos_in_mid_answer(page, scripted) -> None:
    scripted.hold = False
    ask(page)
    page.wait_for_selector(f"#chat .bot.message >> text={scripted.text}")
    scripted.hold = True
    tab(page, "Compare")
    page.locator("#compare-what input[value=photos]").check()
    page.click('[data-second="hopper.jpg"]')
    page.wait_for_selector("#second-remove >> visible=true")
    page.fill("#two-question textarea, #two-question input", "Is the mouth open?")
    page.click("#two-go")
    page.wait_for_selector(f"#two-left .text >> text={scripted.FIRST}")


def another_photo(page) -> None:
    page.click("#another")
    page.wait_for_selector("#photo >> visible=true")


def another_face(page) -> None:
    page.click("#stage button.face[aria-pressed=false]")


def dropped_photo(page) -> None:
    drop(page, "body", ROOT / "demo" / "examples" / "collins.jpg")
    page.wait_for_selector("#stage >> text=/1 face found/")


def new_chat(page) -> None:
    tab(page, "Face chat")
    page.click("#chat-clear")


IN_FLIGHT = {
    chat_in_mid_answer: "chat",
    chat_while_the_model_loads: "chat",
    attributes_in_mid_answer: "attributes",
    comparison_in_mid_answer: "compare",
    profile_in_mid_scoring: "profile",
    explanation_in_mid_measuring: "why",
    two_photos_in_mid_answer: "two",
}
CLEARING = (another_photo, another_face, dropped_photo, new_chat)
PAIRS = [(f, c) for f in IN_FLIGHT for c in CLEARING if c is not new_chat or IN_FLIGHT[f] in ("chat", "two")]


def is_clear(page, name: str) -> bool:
    """Whether that tab shows nothing of an answer, nothing busy, and the button that starts."""
    if page.locator(f"#{name}-status .busy").count():
        return False
    if name == "why":
        return not page.locator("#why").is_visible() and not page.locator("#why-maps .maps").count()
    if name == "two":
        tab(page, "Compare")
        gone = not page.locator("#two-sides .two-answer, #two-second img").count()
        return gone and page.locator("#two-go").is_visible() and page.locator("#second-file").is_visible()
    if name == "chat":
        return not page.locator("#chat .message").count() and page.locator("#chat-box .submit-button").is_visible()
    left = {
        "attributes": lambda: page.evaluate(CARDS),
        "compare": page.locator("#pairs .side").count,
        "profile": page.locator(".plot").count,
    }
    return not left[name]() and page.locator(f"#{name}-go").is_visible()


@pytest.mark.parametrize(("in_flight", "clearing"), PAIRS, ids=lambda f: f.__name__)
def test_nothing_comes_back_after_a_clear(with_photo, site, scripted, in_flight, clearing):
    page = with_photo("two.jpg")
    scripted.hold = True
    in_flight(page, scripted)
    clearing(page)
    name = IN_FLIGHT[in_flight]
    eventually(lambda: is_clear(page, name), what="it was not cleared")
    scripted.go.set()
    eventually(lambda: site.ctx.runs.count() == 0, what="it goes on for a page that was cleared")
    page.wait_for_timeout(2000)
    assert is_clear(page, name), "what was cleared came back"


def test_what_is_asked_while_an_ended_run_says_its_last_is_answered(with_photo, scripted):
    page = with_photo()
    scripted.hold = scripted.linger = True
    chat_in_mid_answer(page, scripted)
    new_chat(page)
    eventually(lambda: is_clear(page, "chat"))
    scripted.hold = False
    ask(page)
    page.wait_for_selector(f"#chat .bot.message >> text={scripted.text}")
    scripted.go.set()
    page.wait_for_timeout(1000)
    assert page.locator("#chat .bot.message").count() == 1 and page.locator("#chat-box .submit-button").is_visible()


def test_a_question_asked_as_the_event_stream_ends_is_answered(with_photo, scripted, monkeypatch):
    """The server ends the stream because nothing is left to be told, and the page asks before it has read that."""
    call, joined, held = Shield.__call__, threading.Event(), threading.Event()

    async def slow_end(self, scope, receive, send):
        async def sending(message):
            body = message.get("body", b"")
            if b'"close_stream"' in body:
                held.set()
                while not joined.is_set():
                    await asyncio.sleep(0.02)
                await asyncio.sleep(0.2)  # the page knows of its event, if anything lets it know
            await send(message)
            if scope["path"].endswith("/queue/join") and body and held.is_set():
                joined.set()

        await call(self, scope, receive, sending if scope["type"] == "http" else send)

    page = with_photo()
    monkeypatch.setattr(Shield, "__call__", slow_end)
    page.click("#another")
    page.click('[data-example="hopper.jpg"]')
    eventually(held.is_set)
    page.wait_for_selector("#stage img.crop")
    ask(page)
    page.wait_for_selector(f"#chat .bot.message >> text={scripted.text}", timeout=20_000)


def test_the_documentation_lists_every_pair():
    text = (ROOT / "docs" / "demo.md").read_text(encoding="utf-8")
    table = text[text.index("| under way") :].split("\n\n")[0]
    assert table.count("| tested ") == len(PAIRS)
