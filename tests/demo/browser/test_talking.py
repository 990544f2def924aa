"""Chat in a browser: answers stream, are edited, stopped and liked; visitors do not meet."""

from __future__ import annotations

import json
import sqlite3

import pytest

from demo.page import texts
from tests.demo.conftest import eventually, everywhere
from tests.demo.pages import DONE, link_bytes, replies, set_slider, starter, tab

pytestmark = pytest.mark.browser


def wait_for_answer(page) -> None:
    """Also for the buttons to be as before: a last update may still draw the messages anew, and with them what is typed
    into one."""
    page.wait_for_selector(DONE)
    page.wait_for_selector("#chat-box button.submit-button")


def likes(site) -> int:
    path = site.ctx.votes.path
    return sqlite3.connect(path).execute("SELECT count(*) FROM likes").fetchone()[0] if path.exists() else 0


@everywhere
def test_chat_streams_and_answers_can_be_regenerated_edited_undone_liked_cleared(with_photo, site):
    page = with_photo()
    set_slider(page, "Max new tokens", 24)
    page.click(starter("structure"))
    wait_for_answer(page)
    first = replies(page)
    assert len(first) == 1 and len(first[0]) > 3
    assert page.locator("#chat .user.message").first.inner_text().strip() == texts.STARTERS["structure"]

    page.click(starter("detail"))  # the questions to start with stay
    page.wait_for_function("document.querySelectorAll('#chat .bot.message').length == 2")
    wait_for_answer(page)

    page.get_by_label("Retry").last.click()
    page.wait_for_selector("#chat-status >> text=/regenerated/")
    wait_for_answer(page)
    assert len(replies(page)) == 2

    page.get_by_label("Undo").last.click()
    page.wait_for_function("document.querySelectorAll('#chat .bot.message').length == 1")
    box = page.locator("#chat-box textarea")
    assert box.input_value() == texts.STARTERS["detail"]

    box.fill("Is the mouth open?")
    box.press("Enter")
    page.wait_for_function("document.querySelectorAll('#chat .bot.message').length == 2")
    wait_for_answer(page)
    assert page.locator("#chat .user.message").last.inner_text().strip() == "Is the mouth open?"

    page.get_by_label("Edit").last.click()
    page.locator("#chat textarea.edit-textarea").fill("Are the eyes open?")
    page.get_by_label("Submit").click()
    page.wait_for_function(
        "[...document.querySelectorAll('#chat .user.message')].at(-1).innerText.trim() == 'Are the eyes open?'"
    )
    wait_for_answer(page)
    page.wait_for_function("document.querySelectorAll('#chat .bot.message').length == 2")
    asked = page.locator("#chat .user.message").all_inner_texts()
    kept = [texts.STARTERS["structure"], "Are the eyes open?"]
    assert [q.strip() for q in asked] == kept, "nothing but the edited one"

    before = likes(site)
    page.get_by_label("Like", exact=True).last.click()
    page.wait_for_selector("#chat-status >> text=/stored without the photo/")
    assert likes(site) == before + 1

    page.click("#chat-clear")
    eventually(lambda: replies(page) == [], what="the conversation is still there")


@everywhere
def test_stop_ends_the_model_in_mid_answer(with_photo, site, slowly):
    page = with_photo()
    slowly.hold = True
    page.fill("#chat-box textarea", "Describe this image.")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#chat .bot.message')?.innerText.trim().length > 3")
    assert site.ctx.runs.count() == 1
    page.keyboard.press("Escape")
    page.wait_for_selector("#chat-status >> text=/stopped/")
    assert slowly[-1].cancel.is_set()
    eventually(lambda: site.ctx.runs.count() == 0, what="the model is still busy after stop")
    eventually(lambda: not site.engine.lock.locked(), what="the model goes on after stop")
    page.wait_for_selector("#chat-box button.submit-button")


def test_closing_the_page_frees_the_model(with_photo, site, slowly):
    page = with_photo()
    slowly.hold = True
    page.fill("#chat-box textarea", "Describe this image.")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#chat .bot.message')?.innerText.trim().length > 1")
    page.close()
    eventually(lambda: slowly[-1].cancel.is_set(), what="the model went on for a closed page")
    eventually(lambda: site.ctx.runs.count() == 0)


def test_a_question_is_shown_as_it_was_typed(with_photo):
    page = with_photo()
    tab(page, "Compare")
    set_slider(page, "Max new tokens", 16)
    page.locator("#compare-question input").click()
    page.get_by_role("option", name="Your own question").click()
    hostile = "${1+1} {{value}} <img src=x onerror=\"document.title='owned'\"> \\` ?"
    page.fill("#compare-own textarea, #compare-own input", hostile)
    page.click("#compare-go")
    page.wait_for_selector("#compare-status >> text=/one copy of the weights/")
    assert page.locator(".pair h3").inner_text() == hostile
    assert "owned" not in page.title()


def test_a_new_photo_starts_a_new_conversation(with_photo):
    page = with_photo()
    set_slider(page, "Max new tokens", 16)
    page.click(starter("pose"))
    page.wait_for_selector(DONE)
    page.click("#another")
    page.click('[data-example="hopper.jpg"]')
    page.wait_for_selector("#chat-status >> text=/New photo, new conversation/")
    assert replies(page) == []


def test_two_visitors_do_not_meet(with_photo, site, slowly):
    """Both ask at the same time about different photos; each gets the model's answer about their own."""
    pages = {name: with_photo(f"{name}.jpg") for name in ("collins", "hopper")}
    for page in pages.values():
        set_slider(page, "Max new tokens", 16)
        tab(page, "Attributes")
    for page in pages.values():
        page.click("#attributes-go")
    reports = {}
    for name, page in pages.items():
        page.wait_for_selector("#attributes-report a")
        reports[name] = json.loads(link_bytes(page, 'a[download="facellm-report.json"]'))
    crops = {name: page.locator("#stage .crop").get_attribute("src") for name, page in pages.items()}
    assert crops["collins"] != crops["hopper"]
    assert slowly[-1].view.image.tobytes() != slowly[-2].view.image.tobytes()
    assert [s.sampling.max_new_tokens for s in slowly] == [16, 16]
    for name, report in reports.items():
        alone = site.ctx.host.model.describe(f"demo/examples/{name}.jpg", max_new_tokens=16)
        assert [a["text"] for a in report["answers"]] == [a.text for a in alone.answers]
