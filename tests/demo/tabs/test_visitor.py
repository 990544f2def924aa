"""What a visitor of the page expects, in a browser: halves that agree, all faces, own answers, coming back, sharing."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from demo.page import languages
from tests.demo.pages import DONE, set_slider, tab

pytestmark = pytest.mark.browser
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def saved(page, selector: str) -> bytes:
    with page.expect_download() as download:
        page.click(selector)
    return Path(download.value.path()).read_bytes()


def ask(page, question: str = "Is the mouth open?") -> None:
    page.fill("#chat-box textarea", question)
    page.locator("#chat-box textarea").press("Enter")
    page.wait_for_selector(DONE)


def test_chat_cards_and_profile_say_the_same(with_photo, scripted):
    page = with_photo(permissions=["clipboard-read", "clipboard-write"])
    scripted.text = "The first words. The person is smiling. The mouth is open."
    scripted.calibrated = {"expression": "happiness", "mouth": "closed"}
    ask(page)
    page.wait_for_selector("#chat .claim >> nth=1")
    assert page.locator("#chat .claim").all_inner_texts() == ["smiling 90 %", "but by the profile: mouth closed 90 %"]
    assert page.locator("#chat .claim.against").count() == 1
    page.locator("#chat .bot.message").hover()
    page.locator("#chat").get_by_label("Copy message").last.click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()).includes('The mouth is open.')")
    assert "claim" not in page.evaluate("navigator.clipboard.readText()"), "the model's words alone are copied"
    tab(page, "Attributes")
    page.click("#attributes-go")
    page.wait_for_selector("#card-pose .claim.against")
    tab(page, "Profile")
    page.click("#profile-go")
    page.wait_for_selector("#profile-download a")
    top = page.locator(".plot", has=page.get_by_role("heading", name="Mouth")).locator(".row.top")
    assert "closed" in top.inner_text() and "90 %" in top.inner_text()


def test_all_faces_are_measured_sorted_opened_and_saved(with_photo, scripted):
    page = with_photo("crew.jpg")
    scripted.calibrated = {"gender": "Female"}
    tab(page, "Profile")
    page.click("#profile-everyone")
    page.wait_for_selector("#profile-status >> text=/4 faces measured/")
    rows = page.locator(".people tbody tr")
    assert rows.count() == 4 and "Female 90 %" in rows.first.inner_text()
    page.locator(".people [data-sort]").first.click()
    page.locator(".people [data-sort]").first.click()
    numbers = page.locator(".people tbody th span").all_inner_texts()
    assert numbers == ["4", "3", "2", "1"] and page.locator("[aria-sort=descending]").count() == 1
    sheet = saved(page, 'a[download="facellm-faces.csv"]').decode().splitlines()
    assert sheet[0] == "face,field,label,probability" and sum("Gender,Female" in row for row in sheet) == 4
    page.get_by_label("Open face 3").click()
    page.wait_for_selector('[aria-label="Face 3 of 4"][aria-pressed=true]')
    page.wait_for_selector(".people tr.chosen >> text=/3/")
    assert rows.count() == 4, "the table is about all faces, whichever is open"
    page.reload()
    page.wait_for_selector("#stage button.face")
    tab(page, "Profile")
    page.wait_for_selector("#profile-everyone >> visible=true")
    page.click("#another")
    page.click('[data-example="collins.jpg"]')
    page.wait_for_selector("#stage >> text=/1 face found/")
    page.wait_for_selector("#profile-everyone", state="hidden")


def test_ones_own_answers_are_scored_by_both_models(with_photo):
    page = with_photo()
    tab(page, "Profile")
    page.fill("#options-question input, #options-question textarea", "Wears a tie?")
    page.click("#options-go")
    page.wait_for_selector("#profile-status [role=alert] >> text=/two or more answers/")
    page.fill("#options-answers input, #options-answers textarea", "yes / no")
    page.click("#options-go")
    page.wait_for_selector("#options-scored .bars")
    assert page.locator("#options-scored .label").all_inner_texts() == ["yes", "no"]
    for variant in ("facellm", "base"):
        bars = page.locator(f"#options-scored .bar.{variant}")
        widths = bars.evaluate_all("all => all.map((bar) => parseFloat(bar.style.width))")
        assert len(widths) == 2 and sum(widths) == pytest.approx(100, abs=0.3)


def test_who_loads_the_page_again_finds_photo_chat_and_settings(with_photo, visit, scripted):
    page = with_photo(permissions=["clipboard-read", "clipboard-write"])
    set_slider(page, "Max new tokens", 64)
    ask(page)
    tab(page, "Compare")
    page.wait_for_function("location.search.includes('tab=compare')")
    page.click("#copy-link")
    page.wait_for_selector("#copy-link >> text=Copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert "tab=compare" in link and "tokens=64" in link
    page.reload()
    page.wait_for_selector("#stage img.crop")
    page.wait_for_selector("#compare-go >> visible=true")
    tab(page, "Face chat")
    page.wait_for_selector(f"#chat .bot.message >> text={scripted.text}")
    page.wait_for_timeout(1000)
    assert page.locator("#chat .bot.message").count() == page.locator("#chat .user.message").count() == 1
    ask(page, "Are the eyes open?")
    page.wait_for_function("document.querySelectorAll('#chat .bot.message').length == 2")
    assert scripted.asked[-1][0].history == (("Is the mouth open?", scripted.text),)
    other = visit(link.split("/", 3)[3])
    other.wait_for_selector("#compare-go >> visible=true")
    assert not other.locator("#stage img").count(), "another tab has no photo of it"
    other.click("#settings button")
    other.wait_for_selector("#settings .max_value >> visible=true")
    assert other.get_by_label("number input for Max new tokens").input_value() == "64"


def test_a_conversation_is_saved_and_its_answer_shared_without_the_face(with_photo, scripted):
    page = with_photo()
    ask(page)
    told = json.loads(saved(page, 'a[download="facellm-chat.json"]'))
    assert told["turns"][0]["question"] == "Is the mouth open?" and told["turns"][0]["answer"] == scripted.text
    assert f"**FaceLLM:** {scripted.text}" in saved(page, 'a[download="facellm-chat.md"]').decode()
    plain = Image.open(io.BytesIO(saved(page, "[data-share=none]")))
    blurred = Image.open(io.BytesIO(saved(page, "[data-share=blurred]"))).convert("L")
    assert plain.size[0] == blurred.size[0] == 1080 and blurred.size[1] > plain.size[1] + 300
    strip = blurred.crop((0, 0, 1080, 450))
    steps = [abs(strip.getpixel((x, 200)) - strip.getpixel((x + 2, 200))) for x in range(0, 1070, 2)]
    assert max(steps) < 24, "no edge of the photo is left"


def test_on_a_phone_photo_and_question_stay_in_reach(with_photo, scripted):
    page = with_photo(**PHONE)
    box = page.locator("#chat-box").bounding_box()
    assert box["y"] + box["height"] <= 844, "the question box is in the first screen"
    assert not page.locator("#chat-keys").is_visible(), "a touch screen has no Esc"
    ask(page)
    tab(page, "Attributes")
    page.click("#attributes-go")
    page.wait_for_selector("#attributes-report a")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight / 2)")
    page.wait_for_timeout(300)
    strip = page.locator("#stage").bounding_box()
    assert 0 <= strip["y"] < 5 and strip["height"] < 170, "the photo stays as a strip"


def test_the_question_is_one_key_away_and_the_photo_stays_in_sight(visit, scripted):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.closest('#chat-box') !== null")
    assert page.locator("#chat-keys").is_visible()
    page.click('[data-example="collins.jpg"]')
    page.wait_for_selector("#stage img.crop")
    tab(page, "Attributes")
    page.click("#attributes-go")
    page.wait_for_selector("#attributes-report a")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(300)
    photo = page.locator("#stage .frame img").bounding_box()
    assert photo["y"] >= 0 and photo["y"] + photo["height"] <= 900


@pytest.mark.parametrize(("locale", "words"), [("de-DE", "Gespräch"), ("zh-CN", "人脸对话")])
def test_the_page_speaks_the_browsers_language_and_says_that_answers_do_not(with_photo, scripted, locale, words):
    page = with_photo(locale=locale)
    told = languages.translations()[locale[:2]]
    page.wait_for_selector(f"#tabs [role=tab] >> text={words}")
    page.wait_for_selector(f"#intro >> text={told['Answers come in English.']}")
    assert page.get_attribute("#chat-box textarea", "placeholder") == told["Ask about this face…"]
    scripted.text = "The first words. Stop"
    page.click(f"#chips >> text={told['Smiling or serious?']}")
    page.wait_for_selector(DONE)
    assert "The first words. Stop" in page.locator("#chat .bot.message").inner_text(), "a model's words are its own"
    left = page.evaluate(
        """(words) => {
          const walker = document.createTreeWalker(document.querySelector('gradio-app'), NodeFilter.SHOW_TEXT);
          const found = [];
          while (walker.nextNode()) {
            const node = walker.currentNode;
            const shown = node.parentElement.checkVisibility() && !node.parentElement.closest('.message');
            if (shown && words.includes(node.data.trim())) found.push(node.data.trim());
          }
          return found;
        }""",
        [english for english, said in told.items() if english != said],
    )
    assert not left, left
