"""The page in a real browser: what a visitor does, in a headless Chromium."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import threading
from pathlib import Path

import pytest
from PIL import Image

from demo.page import texts
from facellm.attributes import ATTRIBUTES
from tests.demo.conftest import eventually, everywhere
from tests.demo.pages import DONE, drop, set_slider, tab

pytestmark = pytest.mark.browser


def link_bytes(page, selector: str) -> bytes:
    """What a download link saves."""
    with page.expect_download() as download:
        page.click(selector)
    return Path(download.value.path()).read_bytes()


def replies(page) -> list[str]:
    return page.locator("#chat .bot.message").all_inner_texts()


def wait_for_answer(page) -> None:
    """Also for the buttons to be as before: a last update may still draw the messages anew, and with them what is typed
    into one."""
    page.wait_for_selector(DONE)
    page.wait_for_selector("#chat-box button.submit-button")


def likes(site) -> int:
    path = site.ctx.votes.path
    return sqlite3.connect(path).execute("SELECT count(*) FROM likes").fetchone()[0] if path.exists() else 0


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
    assert page.locator("#intro a").evaluate_all("links => links.every((a) => a.href.startsWith('https://'))")
    assert page.locator("#examples button").count() >= 8 and page.locator("#examples .credit").is_visible()
    assert "not facts about a person" in page.locator("#consent").inner_text()
    page.click("#consent-read")
    page.reload()
    page.wait_for_selector("#tabs [role=tab]")
    assert not page.locator("#consent aside").is_visible()
    saved = page.request.get(f"{site.url}/gradio_api/deep_link?session_hash=x")
    assert saved.status in (403, 404, 405)


@everywhere
def test_chat_streams_and_answers_can_be_regenerated_edited_undone_liked_cleared(with_photo, site):
    page = with_photo()
    set_slider(page, "Max new tokens", 24)
    page.click('[data-attribute="structure"]')
    wait_for_answer(page)
    first = replies(page)
    assert len(first) == 1 and len(first[0]) > 3
    assert page.locator("#chat .user.message").first.inner_text().strip() == texts.STARTERS["structure"]

    page.click('[data-attribute="detail"]')  # the questions to start with stay
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


def test_stop_is_answered_while_a_profile_is_scored(with_photo, site, monkeypatch):
    """Scoring is one pass that nothing ends early: the page says that it is stopping, and shows no result."""
    page = with_photo()
    tab(page, "Profile")
    real, go = site.ctx.host.profiles, threading.Event()

    def profiles(view, variants=None):
        assert go.wait(600)
        return real(view, variants)

    monkeypatch.setattr(site.ctx.host, "profiles", profiles)
    page.click("#profile-go")
    page.wait_for_selector("#profile-status >> text=/Scoring/")
    page.click("#profile-stop")
    page.wait_for_selector("#profile-status >> text=/^Stopping/")
    go.set()
    page.wait_for_selector("#profile-status >> text=/^Stopped/")
    page.wait_for_selector("#profile-go >> visible=true")
    assert page.locator(".plot").count() == 0


@everywhere
def test_eight_cards_fill_at_the_same_time_and_the_report_downloads(with_photo, slowly, browser, tmp_path):
    page = with_photo(permissions=["clipboard-read", "clipboard-write"])
    slowly.hold = True
    tab(page, "Attributes")
    set_slider(page, "Max new tokens", 32)
    page.click("#attributes-go")
    page.wait_for_function(
        "[...document.querySelectorAll('.card')].filter(c => c.querySelector('.foot.writing') && "
        "c.querySelector('.answer').innerText.trim()).length >= 4"
    )
    slowly.go.set()
    page.wait_for_selector("#attributes-report a")
    titles = page.locator(".card h3").all_inner_texts()
    assert titles == [a.title for a in ATTRIBUTES]
    assert len(slowly) == 1 and len(slowly[0].rows) == 8, "eight cards are one batch"
    for foot in page.locator(".card .foot").all():
        assert " s" in foot.inner_text() and "tokens" not in foot.inner_text(), "tokens are behind details"
        assert "tokens" in (foot.locator(".more").text_content() or "")
    page.wait_for_function(
        "[...document.querySelectorAll('.card-foot button')].every(b => b.innerText === 'Ask again' && !b.disabled)"
    )

    report = json.loads(link_bytes(page, 'a[download="facellm-report.json"]'))
    assert [a["key"] for a in report["answers"]] == [a.key for a in ATTRIBUTES]
    assert report["photo"]["faces"] == 1
    markdown = link_bytes(page, 'a[download="facellm-report.md"]').decode()
    assert all(f"## {a.title}" in markdown for a in ATTRIBUTES)
    web = tmp_path / "report.html"
    web.write_bytes(link_bytes(page, 'a[download="facellm-report.html"]'))
    opened = browser.new_page()
    opened.goto(web.as_uri())
    assert opened.evaluate("document.querySelector('img').naturalWidth") > 50
    assert opened.locator("h2").all_inner_texts() == titles
    opened.close()

    page.locator("#card-pose").get_by_label(re.compile("copy", re.IGNORECASE)).click()
    pose = next(a["text"] for a in report["answers"] if a["key"] == "pose")
    page.wait_for_function("async text => (await navigator.clipboard.readText()).trim() === text.trim()", arg=pose)

    page.click("#ask-pose")
    page.wait_for_selector("#attributes-status >> text=/^1 answer in/")
    assert [r.key for r in slowly[-1].rows] == ["pose"]


@everywhere
def test_compare_blind_vote_is_stored_and_revealed(with_photo, site):
    page = with_photo()
    tab(page, "Compare")
    set_slider(page, "Max new tokens", 24)
    page.check("#compare-blind input")
    page.click("#compare-go")
    page.wait_for_selector("#vote-a >> visible=true")
    names = page.locator(".side h4").all_inner_texts()
    assert names == ["Answer A", "Answer B"], "names are hidden before the vote"
    before = len(site.ctx.votes.rows())
    page.click("#vote-a")
    page.wait_for_selector(".side.won")
    assert set(page.locator(".side h4").all_inner_texts()) == {"Base model", "FaceLLM"}
    rows = sqlite3.connect(site.ctx.votes.path).execute("SELECT key, winner, left FROM votes").fetchall()
    assert len(rows) == before + 1
    key, winner, left = rows[-1]
    assert key == "detail" and winner == left
    page.locator("#tally-box button").first.click()
    page.wait_for_selector(".rate >> visible=true")
    assert b"detail" in link_bytes(page, 'a[download="facellm-votes.csv"]')


def test_compare_marks_words_and_measures_both_sides(with_photo):
    page = with_photo(query="?tab=compare&attribute=pose")
    assert page.locator("#compare-question input").input_value() == "Face pose"
    set_slider(page, "Max new tokens", 24)
    page.click("#compare-go")
    page.wait_for_selector("#compare-status >> text=/one copy of the weights/")
    assert page.locator(".side h4").all_inner_texts() == ["Base model", "FaceLLM"]
    for side in page.locator(".side footer").all():
        side.locator("summary").click()
        assert "first words" in side.inner_text() and "tokens/s" in side.inner_text()


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


@everywhere
def test_profile_plots_table_and_download(with_photo):
    page = with_photo()
    tab(page, "Profile")
    page.click("#profile-go")
    page.wait_for_selector("#profile-download a")
    assert page.locator(".plot h3").all_inner_texts()[:2] == ["Age group", "Gender"]
    assert page.locator(".histogram .stem").count() == 18, "nine age groups of two models"
    page.locator("#profile-table-box button").first.click()
    page.wait_for_selector("#profile-table td >> visible=true")
    table = link_bytes(page, 'a[download="facellm-profile.csv"]').decode().splitlines()
    assert table[0] == "model,field,label,probability" and any(
        row.startswith("FaceLLM,Gender,Female,") for row in table
    )
    profiles = json.loads(link_bytes(page, 'a[download="facellm-profile.json"]'))
    for one in profiles.values():
        for field in one["fields"].values():
            assert sum(field["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_upload_bad_file_then_good_one(visit, portrait, tmp_path):
    page = visit()
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"this is no picture")
    page.set_input_files("#photo input[type=file]", bad)
    page.wait_for_selector("#photo-notice [role=alert]")
    assert len(page.locator("#photo-notice").inner_text()) > 20
    page.click("#chips button >> nth=0")
    page.wait_for_selector("#chat-status >> text=/Choose a photo first/")

    turned = tmp_path / "turned.jpg"  # stored lying on its side, with the orientation that puts it upright
    with Image.open(portrait) as image:
        exif = Image.Exif()
        exif[274] = 6
        image.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
    page.set_input_files("#photo input[type=file]", turned)
    page.wait_for_selector("#stage >> text=/1 face found/")
    box = page.locator("#stage .face").bounding_box()
    frame = page.locator("#stage .frame img").bounding_box()
    assert box["y"] + box["height"] < frame["y"] + 0.5 * frame["height"], "the face is in the upper half when upright"


def test_a_photo_can_be_pasted_and_dropped(visit, portrait):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async () => {
          const image = document.querySelector('[data-example="collins.jpg"] img');
          const canvas = Object.assign(document.createElement('canvas'), {width: 160, height: 160});
          canvas.getContext('2d').drawImage(image, 0, 0, 160, 160);
          const blob = await new Promise(done => canvas.toBlob(done, 'image/png'));
          await navigator.clipboard.write([new ClipboardItem({'image/png': blob})]);
        }"""
    )
    page.get_by_label("Paste from clipboard").click()
    page.wait_for_selector("#stage >> text=/1 face found/")
    page.click("#another")
    page.wait_for_selector("#photo >> visible=true")
    drop(page, '#photo [aria-label^="Drop"]', portrait)
    page.wait_for_selector("#stage >> text=/1 face found/")


def test_a_webcam_picture_is_taken(visit):
    page = visit(permissions=["camera"])
    page.get_by_label("Capture from camera").or_(page.get_by_label("webcam")).first.click()
    allow = page.locator("#photo").get_by_text("Click to Access Webcam").or_(page.locator("#photo button.access-btn"))
    if allow.first.is_visible():
        allow.first.click()
    page.wait_for_function("document.querySelector('#photo video')?.videoWidth > 0")
    page.get_by_label("capture photo").click()
    page.wait_for_selector("#stage >> text=/No face found/")
    page.wait_for_selector("#gate >> visible=true")


def test_several_faces_choose_by_click_and_by_keyboard(with_photo):
    page = with_photo("two.jpg")
    assert page.locator("#stage .face").count() == 2
    first = page.locator("#stage .crop").get_attribute("src")
    page.get_by_label("Face 2 of 2").click()
    page.wait_for_selector('[aria-label="Face 2 of 2"][aria-pressed=true]')
    second = page.locator("#stage .crop").get_attribute("src")
    assert first != second
    page.get_by_label("Face 1 of 2").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector('[aria-label="Face 1 of 2"][aria-pressed=true]')
    assert page.locator("#stage .crop").get_attribute("src") != second
    page.wait_for_selector("#chat-status >> text=/Another face, new conversation/")

    set_slider(page, "Max new tokens", 16)
    page.click('[data-attribute="pose"]')
    page.wait_for_selector(DONE)
    page.get_by_label("Face 1 of 2").click()  # it is the chosen one
    page.wait_for_timeout(1000)
    assert len(replies(page)) == 1, "the conversation about this face was wiped"


def test_a_new_photo_starts_a_new_conversation(with_photo):
    page = with_photo()
    set_slider(page, "Max new tokens", 16)
    page.click('[data-attribute="pose"]')
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


def columns(page) -> int:
    """How many columns the cards of the attributes stand in."""
    lefts = page.locator(".card").evaluate_all("cards => cards.map(c => c.getBoundingClientRect().left)")
    return len(set(lefts))


def test_phone_width_has_no_sideways_scrolling(with_photo):
    page = with_photo(viewport={"width": 390, "height": 844})
    for name in ("Face chat", "Attributes", "Compare", "Profile", "About"):
        tab(page, name)
        page.wait_for_timeout(150)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    tab(page, "Attributes")
    eventually(lambda: columns(page) == 1, what="more than one column of cards")


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


def test_the_crop_on_the_page_is_the_face(with_photo, slowly, tmp_path):
    """What is shown beside the photo is what the model is shown."""
    page = with_photo()
    set_slider(page, "Max new tokens", 16)
    page.click('[data-attribute="pose"]')
    page.wait_for_selector(DONE)
    source = page.locator("#stage .crop").get_attribute("src")
    path = tmp_path / "crop.jpg"
    path.write_bytes(base64.b64decode(source.split(",", 1)[1]))
    with Image.open(path) as shown:
        seen = slowly[-1].view.image.resize(shown.size)
        a, b = shown.convert("L").resize((16, 16)), seen.convert("L").resize((16, 16))
        assert max(abs(x - y) for x, y in zip(a.tobytes(), b.tobytes(), strict=True)) < 24
