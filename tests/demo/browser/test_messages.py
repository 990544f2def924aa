"""What the page says stays until the visitor does something; what was said to it is not lost."""

from __future__ import annotations

import pytest
from PIL import Image

from demo.page import texts
from facellm.attributes import ATTRIBUTES
from tests.demo.conftest import eventually
from tests.demo.pages import DONE, tab

pytestmark = pytest.mark.browser

STARTS = {"Face chat": "chat", "Attributes": "attributes", "Compare": "compare", "Profile": "profile"}
QUESTION = "Is the mouth open?"


def start(page, title: str) -> None:
    """Have that tab ask the model."""
    tab(page, title)
    if title == "Face chat":
        ask(page, QUESTION)
    else:
        page.click(f"#{STARTS[title]}-go")


def ask(page, question: str) -> None:
    page.fill("#chat-box textarea", question)
    page.locator("#chat-box textarea").press("Enter")


def stays(page, selector: str, text: str) -> None:
    """The text appears, and is still there two seconds later."""
    page.wait_for_selector(f"{selector} >> text={text}")
    page.wait_for_timeout(2000)
    assert text in page.locator(selector).inner_text(), "the message vanished"


def test_without_a_photo_every_tab_says_so_and_keeps_saying_it(visit):
    page = visit()
    for title, name in STARTS.items():
        start(page, title)
        stays(page, f"#{name}-status", "Choose a photo first")
    assert page.input_value("#chat-box textarea") == QUESTION, "what was written is kept"


def test_enter_on_an_empty_box_leaves_the_conversation_as_it_is(with_photo, scripted):
    page = with_photo()
    ask(page, QUESTION)
    page.wait_for_selector(DONE)
    page.locator("#chat-box textarea").press("Enter")
    stays(page, "#chat-status", texts.QUESTION_FIRST)
    assert page.locator("#chat .user.message").count() == page.locator("#chat .bot.message").count() == 1


def test_what_was_typed_before_the_photo_came_is_kept(visit, portrait):
    page = visit()
    page.fill("#chat-box textarea", QUESTION)
    page.set_input_files("#photo input[type=file]", portrait)
    page.wait_for_selector("#stage img.crop")
    page.wait_for_timeout(2000)
    assert page.input_value("#chat-box textarea") == QUESTION


def test_a_stop_while_the_model_loads_is_no_failure(with_photo, scripted, site):
    page = with_photo()
    scripted.loading = True
    for title, name in STARTS.items():
        start(page, title)
        page.wait_for_selector(f"#{name}-status >> text=/The model is loading/")
        page.keyboard.press("Escape")
        stays(page, f"#{name}-status", texts.STOPPED)
        assert not page.locator(f"#{name}-status [role=alert]").count()
    assert not scripted.asked and site.ctx.runs.count() == 0
    assert not page.locator(".foot").count(), "a card still waits"


def test_a_question_in_mid_answer_waits_for_its_end(with_photo, scripted):
    page = with_photo()
    scripted.hold = True
    ask(page, QUESTION)
    page.wait_for_selector(f"#chat .bot.message >> text={scripted.FIRST}")
    ask(page, "Are the eyes open?")
    stays(page, "#chat-waiting", "Are the eyes open?")
    assert page.locator("#chat .bot.message").count() == 1 and page.input_value("#chat-box textarea") == ""
    scripted.go.set()
    page.wait_for_function("document.querySelectorAll('#chat .bot.message').length == 2")
    page.wait_for_selector("#chat-box button.submit-button")
    assert [rows[0].question for rows in scripted.asked] == [QUESTION, "Are the eyes open?"]
    assert scripted.asked[1][0].history == ((QUESTION, scripted.text),)
    assert page.locator("#chat-waiting").inner_text().strip() == ""


def test_a_stop_gives_a_waiting_question_back(with_photo, scripted):
    page = with_photo()
    scripted.hold = True
    ask(page, QUESTION)
    page.wait_for_selector(f"#chat .bot.message >> text={scripted.FIRST}")
    ask(page, "Are the eyes open?")
    page.wait_for_selector("#chat-waiting >> text=Are the eyes open?")
    page.keyboard.press("Escape")
    page.wait_for_selector("#chat-box button.submit-button")
    eventually(lambda: page.input_value("#chat-box textarea") == "Are the eyes open?")
    assert len(scripted.asked) == 1


BROKEN = {"empty": "", "json": '{"age": 30, "gender": "Female"}', "repeated": "open " * 12}
SHOWN = {"Face chat": "#chat .bot.message", "Attributes": "#card-pose", "Compare": "#pairs .side.facellm"}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=list(BROKEN))
def test_broken_text_is_never_shown_as_an_answer(with_photo, scripted, broken):
    page = with_photo()
    scripted.text = broken
    for title, shown in SHOWN.items():
        start(page, title)
        stays(page, shown, texts.BROKEN)
        assert not broken or broken.strip() not in page.locator(shown).inner_text()
    tab(page, "Face chat")
    scripted.text = "Yes, it is open."
    page.get_by_label("Retry").last.click()
    page.wait_for_selector("#chat .bot.message >> text=Yes, it is open.")
    assert scripted.asked[-1][0].history == (), "broken text does not go back to the model"


def test_without_a_face_nothing_is_answered_until_the_visitor_asks_anyway(visit, scripted, tmp_path):
    page = visit()
    square = tmp_path / "square.png"
    Image.new("RGB", (300, 300), "blue").save(square)
    page.set_input_files("#photo input[type=file]", square)
    page.wait_for_selector("#gate >> text=/No face was found/")
    for title, name in STARTS.items():
        start(page, title)
        stays(page, f"#{name}-status", "No face was found")
    assert not scripted.asked
    page.click("#gate button")
    page.wait_for_selector("#gate button", state="hidden")
    start(page, "Face chat")
    page.wait_for_selector(DONE)
    assert len(scripted.asked) == 1


def test_questions_to_start_with_are_plain_and_stay(with_photo, scripted):
    page = with_photo()
    page.click(f"#chips >> text={texts.STARTERS['pose']}")
    page.wait_for_selector(DONE)
    assert page.locator("#chat .user.message").inner_text().strip() == texts.STARTERS["pose"]
    pose = next(a for a in ATTRIBUTES if a.key == "pose")
    assert scripted.asked[0][0].question == pose.question, "the model is asked what it was trained on"
    assert page.locator("#chips button").count() == len(ATTRIBUTES)
    assert page.locator("#chips button").first.is_visible()
