"""How the page looks and reads: first load, phone width, dark mode, keyboard, motion, accessibility."""

from __future__ import annotations

import pytest

from tests.demo.conftest import eventually
from tests.demo.pages import DONE, tab

pytestmark = pytest.mark.browser


def test_first_load_is_complete_and_private(visit, site):
    page = visit()
    assert page.locator("h1").inner_text() == "FaceLLM"
    assert "ready" in page.locator("#model-state").inner_text()
    assert [t.inner_text() for t in page.get_by_role("tab").all()] == [
        "Face chat",
        "Attributes",
        "Compare",
        "Profile",
        "About",
    ]
    assert "FaceLLM-nano, 30 million parameters" in page.locator("#intro").inner_text()
    assert page.locator("#read-more a").evaluate_all("links => links.every((a) => a.href.startsWith('https://'))")
    assert page.locator("#examples button").count() >= 8 and page.locator("#examples .credit").is_visible()
    assert "not facts about a person" in page.locator("#consent").inner_text()
    page.click("#consent-read")
    page.reload()
    page.wait_for_selector("#tabs [role=tab]")
    assert not page.locator("#consent aside").is_visible()
    saved = page.request.get(f"{site.url}/gradio_api/deep_link?session_hash=x")
    assert saved.status in (403, 404, 405)


def columns(page) -> int:
    """How many columns the cards of the attributes stand in."""
    lefts = page.locator(".cards .card").evaluate_all("cards => cards.map(c => c.getBoundingClientRect().left)")
    return len(set(lefts))


def test_phone_width_has_no_sideways_scrolling(with_photo):
    page = with_photo(viewport={"width": 390, "height": 844})
    for name in ("Face chat", "Attributes", "Compare", "Profile", "About"):
        tab(page, name)
        page.wait_for_timeout(150)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    tab(page, "Attributes")
    eventually(lambda: columns(page) == 1, what="more than one column of cards")


def test_on_a_phone_an_answer_is_in_sight_when_it_comes(with_photo):
    page = with_photo(viewport={"width": 390, "height": 844})
    page.fill("#chat-box textarea", "Is the mouth open?")
    page.click("#chat-box button.submit-button")
    page.wait_for_selector(DONE)
    edges = """() => ['#stage', '#chat .bot.message', '#chat-box'].map((one) => {
      const box = document.querySelector(one).getBoundingClientRect();
      return [box.top, box.bottom];
    })"""

    def in_sight() -> bool:
        strip, answer, box = page.evaluate(edges)
        return strip[1] <= answer[0] and answer[1] <= box[0]

    eventually(in_sight, seconds=10, what="the answer is behind the photo's strip or the question box")


def test_dark_mode_follows_the_system_and_the_button(visit):
    light = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    page = visit(color_scheme="dark")
    assert sum(page.evaluate(light)) < 150
    page.wait_for_selector("#theme[aria-pressed=true]")
    page.click("#theme")
    assert sum(page.evaluate(light)) > 600
    page.reload()
    page.wait_for_selector("#theme[aria-pressed=false]")
    assert sum(page.evaluate(light)) > 600, "the choice was lost"


def test_keyboard_alone(visit, slowly):
    page = visit()
    slowly.hold = True
    page.locator('[data-example="collins.jpg"]').focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#stage img.crop")
    page.get_by_role("tab", name="Face chat").focus()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#chat-box') !== null"):
            break
    page.keyboard.type("Is the head turned?")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#chat .bot.message')?.innerText.trim().length > 1")
    page.keyboard.press("Escape")
    page.wait_for_selector("#chat-status >> text=/stopped/")
    page.get_by_role("tab", name="Profile").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#profile-go >> visible=true")


def test_motion_is_reduced_when_asked(visit):
    page = visit(reduced_motion="reduce")
    page.evaluate("document.querySelector('#model-state .pill').classList.replace('ready', 'loading')")
    assert page.evaluate("getComputedStyle(document.querySelector('.pill i')).animationName") == "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_accessibility_findings(with_photo, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = with_photo("two.jpg", color_scheme=scheme)
    page.click("#settings button")
    serious = []
    for name in ("Face chat", "Attributes", "Compare", "Profile", "About"):
        tab(page, name)
        page.wait_for_timeout(200)
        if name == "Profile":
            page.click("#profile-go")
            page.wait_for_selector("#profile-download a")
        for finding in Axe().run(page).response["violations"]:
            if finding["impact"] in ("serious", "critical"):
                nodes = [n["html"][:160] for n in finding["nodes"][:3]]
                serious.append(f"{name}: {finding['id']} ({finding['impact']}): {nodes}")
    assert not serious, "\n".join(serious)
