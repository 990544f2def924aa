"""The box that a "Why?" opens, in a browser: from the keyboard, in words, over the face, and gone with its photo."""

from __future__ import annotations

import gradio as gr
import pytest
from axe_playwright_python.sync_playwright import Axe

from demo.page import languages
from demo.page.plots import TYPED
from demo.runtime.photos import EXAMPLES, read_photo
from demo.tabs.why.maps import full_colour
from demo.tabs.why.panel import Asked, asked
from facellm.errors import FaceLLMError
from facellm.typed.explanation import Explanation
from facellm.typed.question import make
from tests.demo.conftest import everywhere
from tests.demo.pages import drop, tab

pytestmark = pytest.mark.browser
FOCUS = "document.activeElement.closest('#why') !== null"


def measured(page) -> None:
    tab(page, "Profile")
    page.click("#profile-go")
    page.wait_for_selector("#profile-download a")


def opened(page, field: str = "expression") -> None:
    page.click(f"[data-why={field}]")
    page.wait_for_selector("#why .maps >> visible=true")


def words(page, variant: str) -> str:
    """The name that a screen reader gives to a model's map."""
    ids = page.get_attribute(f"#why .layers[aria-labelledby*={variant}]", "aria-labelledby").split()
    return " ".join(page.locator(f"#{one}").inner_text() for one in ids)


@everywhere
def test_from_the_keyboard_in_the_engines_words(with_photo, site, local_site):
    page = with_photo("two.jpg")
    measured(page)
    page.locator("[data-why=expression]").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#why[role=dialog] .maps >> visible=true")
    assert page.evaluate(FOCUS)
    view = read_photo(EXAMPLES / "two.jpg").seen(False)
    model = local_site.ctx.host.model
    first = model.explain(view, "expression", None, ("facellm",))["facellm"]
    told = model.explain(view, "expression", first.label)
    assert page.locator("#why h3 q").inner_text() == first.label
    for variant in ("facellm", "base"):
        assert words(page, variant) == told[variant].sentence
        assert page.locator(f"#why .layers[aria-labelledby*={variant}][role=img]").count() == 1
    for _ in range(4):  # around within the box
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUS)
    page.keyboard.press("Escape")
    page.wait_for_selector("#why", state="hidden")
    assert page.evaluate("document.activeElement.dataset.why") == "expression", "the focus came back"


@everywhere
def test_a_visitors_own_question_is_explained_with_its_own_answers(with_photo, site, local_site):
    page = with_photo()
    tab(page, "Profile")
    question, answers = ("#options-question textarea, #options-question input", "#options-answers textarea")
    page.fill(question, 'Is it a "suit & tie"?')
    page.fill(f"{answers}, #options-answers input", "yes / no <i>")
    page.click("#options-go")
    page.wait_for_selector("#options-scored .bars")
    page.fill(question, "Is this asked later?")
    page.click("#options-scored [data-why]")
    page.wait_for_selector("#why .maps >> visible=true")
    view, own = read_photo(EXAMPLES / "collins.jpg").seen(False), make('Is it a "suit & tie"?', ["yes", "no <i>"])
    model = local_site.ctx.host.model
    first = model.explain(view, own, None, ("facellm",))["facellm"]
    told = model.explain(view, own, first.label)
    assert page.locator("#why h3").inner_text().startswith('Is it a "suit & tie"? ')
    assert page.locator("#why h3 q").inner_text() == first.label
    for variant in ("facellm", "base"):
        assert words(page, variant) == told[variant].sentence
    shown = page.locator("#options-scored .row.top .track b").first.inner_text()
    assert page.locator("#why .track b").first.inner_text() == shown, "the box and the bars say the same"
    page.keyboard.press("Escape")
    page.wait_for_selector("#why", state="hidden")
    assert page.evaluate("document.activeElement.dataset.why") == TYPED, "the focus came back"


def test_the_slider_sets_the_maps_strength_and_base_stands_beside_facellm(with_photo, scripted):
    page = with_photo()
    measured(page)
    opened(page, "age_group")
    heat = "Number(getComputedStyle(document.querySelector('#why .heat')).opacity)"
    assert page.evaluate(heat) == pytest.approx(0.8)
    page.locator("#why-strength").focus()
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    assert page.evaluate(heat) == pytest.approx(0.5)
    left, right = (page.locator("#why figure").nth(i).bounding_box() for i in (0, 1))
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    assert page.locator("#why .track b").all_inner_texts() == ["90 %", "11 %"] * 2
    face = page.locator("#stage .crop").evaluate("(node) => node.src")
    assert page.locator("#why .layers img").first.evaluate("(node) => node.src") == face, "the crop that is shown"


def test_a_flat_map_says_so(with_photo, scripted):
    page = with_photo(locale="de-DE")
    scripted.influence = ((0.01, 0.0), (0.0, -0.02))
    page.click("#tabs [data-tab-id=profile]")
    page.click("#profile-go")
    page.wait_for_selector("#profile-download a")
    opened(page, "mouth")
    told = languages.translations()["de"]
    flat = told["No region of the picture moves the answer {}: the map is flat."].replace("{}", "'open'")
    assert words(page, "facellm").startswith(flat)
    assert page.locator("#why .tag").first.inner_text() == told["flat map"]
    assert not page.locator("#why .heat").count() and not page.locator("#why-strength").count()


def test_stop_close_and_ask_again(with_photo, scripted, site):
    page = with_photo()
    measured(page)
    scripted.hold = True
    page.click("[data-why=mouth]")
    page.click("#why-stop")
    scripted.go.set()
    page.wait_for_selector("#why-status >> text=Stopped.")
    assert not page.locator("#why .maps").count() and page.locator("#why").is_visible()
    page.click("#why-close")
    page.wait_for_selector("#why", state="hidden")
    scripted.hold = False
    opened(page, "eyes")
    assert page.locator("#why h3").inner_text().startswith("Eyes")


def test_a_claim_on_a_card_can_be_asked_why_and_a_new_photo_closes_it(with_photo, scripted, portrait):
    page = with_photo("two.jpg")
    scripted.text = "The first words. The person is smiling. The mouth is open."
    scripted.calibrated = {"expression": "happiness", "mouth": "closed"}
    tab(page, "Attributes")
    page.click("#ask-pose")
    page.wait_for_selector("#card-pose .whys")
    assert page.locator("#card-pose .whys button").all_inner_texts() == ["Expression", "Mouth"]
    page.click("#card-pose [data-why=mouth]")
    page.wait_for_selector("#why h3 >> text=closed")
    page.wait_for_selector("#why .maps >> visible=true")
    drop(page, "body", portrait)
    page.wait_for_selector("#why", state="hidden")
    page.wait_for_selector("#stage >> text=/1 face found/")
    assert not page.locator("#why-maps .maps").count()


def test_what_cannot_be_asked_is_a_sentence_in_the_box(with_photo, scripted):
    page = with_photo()
    measured(page)
    page.locator("[data-why=mouth]").evaluate("(node) => { node.dataset.why = 'name'; }")
    page.click("[data-why=name]")
    page.wait_for_selector("#why-status [role=alert]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#why", state="hidden")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_has_no_serious_accessibility_findings(with_photo, scripted, scheme):
    page = with_photo(color_scheme=scheme, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    measured(page)
    opened(page)
    box = page.locator("#why").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["y"] > 100, "the photo's strip stays in sight"
    assert page.locator("#why").evaluate("(node) => node.scrollWidth <= node.clientWidth")
    found = Axe().run(page, context="#why").response["violations"]
    serious = [(one["id"], one["nodes"][0]["html"][:160]) for one in found if one["impact"] in ("serious", "critical")]
    assert not serious, serious


def test_what_a_button_asks_about_is_checked_again():
    def read(sensitive=True, **data):
        return asked(gr.EventData(None, data), sensitive)

    own = read(field=TYPED, ask=" Tie? ", options=["yes", "no"])
    assert own.question == make("Tie?", ["yes", "no"]) and own.title == "Tie?"
    assert read(field="mouth", ask="", options=[]) == Asked("Mouth", "mouth")
    other = read(field=TYPED, ask="Tie?", options=["no", "yes"])
    assert len({own.key, other.key, read(field="mouth").key}) == 3, "each is measured for itself"
    for data in (
        {"field": "name"},
        {"field": TYPED},
        {"field": TYPED, "ask": "Tie?", "options": "yes"},
        {"field": TYPED, "ask": "Tie?", "options": ["yes"]},
        {"field": TYPED, "ask": "Tie?" * 999, "options": ["yes", "no"]},
        {"field": TYPED, "ask": "", "options": ["yes", "no"]},
        {"field": "expression", "sensitive": False},
        {"field": TYPED, "ask": "Tie?", "options": ["happy", "sad"], "sensitive": False},
    ):
        with pytest.raises(FaceLLMError):
            read(**data)


def test_flat_maps_do_not_set_the_scale():
    def of(*influence: float) -> Explanation:
        return Explanation("base", "Mouth?", "open", {"open": 0.9}, {"open": 0.5}, (influence,))

    assert full_colour([of(0.1, -0.4), of(0.01, 0.0)]) == 0.4
    assert full_colour([of(0.01, 0.0)]) == 0
