"""From the page's start to the question box by the keyboard, and the arrows within groups that are one stop."""

from __future__ import annotations

import pytest

from tests.demo.pages import DONE, starter

pytestmark = pytest.mark.browser
MOST = 7  # presses of Tab


def tabs_to_the_question(page) -> int:
    page.evaluate("() => { document.activeElement.blur(); window.scrollTo(0, 0); }")
    page.mouse.click(2, 2)  # from here on Tab starts at the page's beginning
    for presses in range(1, 60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#chat-box textarea')"):
            return presses
    raise AssertionError("the question box is not reached")


def focused(page, what: str) -> str:
    return page.evaluate(f"document.activeElement.{what}")


def test_the_question_is_few_tabs_away_with_and_without_a_photo(visit, scripted):
    page = visit()
    assert tabs_to_the_question(page) <= MOST
    page.click('[data-example="crew.jpg"]')
    page.wait_for_selector("#stage button.face")
    assert tabs_to_the_question(page) <= MOST
    page.keyboard.type("Is the mouth open?")
    page.keyboard.press("Enter")
    page.wait_for_selector(DONE)
    assert page.locator("#chat-clear").is_visible(), "there is a chat to leave"
    photo, tabs = page.locator("#stage").bounding_box(), page.locator("#tabs").bounding_box()
    assert photo["x"] + photo["width"] <= tabs["x"], "the photo stands at the left still"


def test_arrows_go_on_within_a_group(visit, scripted):
    page = visit()
    page.locator("[data-example]").first.focus()
    page.keyboard.press("ArrowRight")
    assert focused(page, "dataset.example") == "bluford.jpg"
    page.keyboard.press("ArrowDown")
    assert focused(page, "dataset.example") == "ochoa.jpg"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    assert focused(page, "dataset.example") == "coffee.jpg", "round to the last"
    stops = "[...document.querySelectorAll('[data-example]')].filter((one) => one.tabIndex === 0).length"
    page.wait_for_function(f"{stops} === 1")
    page.keyboard.press("Tab")
    assert focused(page, "dataset.example") is None, "the group is one stop"
    page.keyboard.press("Shift+Tab")
    assert focused(page, "dataset.example") == "coffee.jpg", "and remembers where it was"
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_selector("#stage img.crop")
    page.locator("#tab-chat-button").focus()
    page.keyboard.press("End")
    page.wait_for_selector("#tab-about-button[aria-selected=true]")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#chat-box >> visible=true")
    page.locator("#chat-variant input[value=facellm]").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#chat-variant input[value=base]").is_checked()
    page.locator(starter("pose")).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(DONE)
    assert scripted.asked[-1][0].variant == "base", "the arrow chose the model"
