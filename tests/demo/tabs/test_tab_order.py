"""Tab goes over the page as the eye does, few stops lie before the question box, arrows go on within a group."""

from __future__ import annotations

import itertools

import pytest

from tests.demo.pages import DONE, starter

pytestmark = pytest.mark.browser
# Stops on the way to the question box: the link that skips to it, the page's tools, the consent line; all of the photo;
# settings, tabs, model.
MOST = 7
# Where the focus is: the part of the page, and the place in the window of what a group's stop stands for.
PLACE = """() => {
  const one = document.activeElement, box = one.closest('#header, #consent, #side, #main');
  const {x, y, height} = (one.closest('#giving .gallery, .frame, [role=radiogroup]') ?? one).getBoundingClientRect();
  return [box.id, Math.round(y + scrollY), Math.round(x), Math.round(height)];
}"""


def stops_to_the_question(page) -> list[list]:
    """Presses Tab from the page's start to the question box; returns the PLACE of every stop before it."""
    page.evaluate("() => { document.activeElement.blur(); window.scrollTo(0, 0); }")
    page.mouse.click(2, 2)  # from here on Tab starts at the page's beginning
    places = []
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#chat-box textarea')"):
            return places
        places.append(page.evaluate(PLACE))
    raise AssertionError("the question box is not reached")


def focused(page, what: str) -> str:
    return page.evaluate(f"document.activeElement.{what}")


def test_the_question_is_few_tabs_away_with_and_without_a_photo(visit, scripted):
    page = visit()
    assert len(stops_to_the_question(page)) <= MOST
    page.click('[data-example="crew.jpg"]')
    page.wait_for_selector("#stage button.face")
    assert len(stops_to_the_question(page)) <= MOST, "four faces are one stop"
    page.keyboard.type("Is the mouth open?")
    page.keyboard.press("Enter")
    page.wait_for_selector(DONE)
    assert page.locator("#chat-clear").is_visible(), "there is a chat to leave"
    photo, tabs = page.locator("#stage").bounding_box(), page.locator("#tabs").bounding_box()
    assert photo["x"] + photo["width"] <= tabs["x"], "the photo stands at the left still"


@pytest.mark.parametrize("example", [None, "crew.jpg"])
def test_tab_goes_as_the_eye_does_on_a_wide_page(visit, scripted, example):
    page = visit()
    if example:
        page.click(f'[data-example="{example}"]')
        page.wait_for_selector("#stage button.face")
        page.wait_for_timeout(500)
    assert page.locator("#side").bounding_box()["x"] < page.locator("#main").bounding_box()["x"]
    stops = stops_to_the_question(page)
    parts = [part for i, (part, *_) in enumerate(stops) if not i or stops[i - 1][0] != part]
    assert parts == ["header", "consent", "side", "main"], "each part is gone through once, from the left"
    for (part, y, x, height), (after, below, right, _) in itertools.pairwise(stops):
        row = abs(below - y) < max(height, 8)
        assert part != after or (right > x if row else below > y), (part, y, x, below, right)


def test_arrows_go_on_within_a_group(visit, scripted):
    page = visit()
    page.locator("[data-example]").first.focus()
    page.keyboard.press("ArrowRight")
    assert focused(page, "dataset.example") == "bluford.jpg"
    page.keyboard.press("ArrowDown")
    assert focused(page, "dataset.example") == "ochoa.jpg"
    page.keyboard.press("Home")
    assert focused(page, "dataset.example") is None, "the photo's box and the examples are one group"
    page.keyboard.press("ArrowLeft")
    assert focused(page, "dataset.example") == "coffee.jpg", "round to the last"
    stops = "[...document.querySelectorAll('[data-example]')].filter((one) => one.tabIndex === 0).length"
    page.wait_for_function(f"{stops} === 1")
    page.keyboard.press("Tab")
    assert focused(page, "dataset.example") is None, "the group is one stop"
    page.keyboard.press("Shift+Tab")
    assert focused(page, "dataset.example") == "coffee.jpg", "and remembers where it was"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector("#stage img.crop")
    page.click("#another")
    page.click('[data-example="crew.jpg"]')
    page.get_by_label("Face 1 of 4").focus()
    page.keyboard.press("ArrowDown")
    assert focused(page, "id") == "another", "below the photo"
    page.keyboard.press("ArrowLeft")
    assert focused(page, "getAttribute('aria-label')") == "Face 4 of 4"
    page.keyboard.press("Enter")
    page.wait_for_selector('[aria-label="Face 4 of 4"][aria-pressed=true]')
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
