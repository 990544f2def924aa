"""Cards, comparison and profile in a browser: they fill, can be stopped, saved and voted on."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import threading

import pytest
from PIL import Image

from facellm.attributes import ATTRIBUTES
from tests.demo.conftest import everywhere
from tests.demo.pages import DONE, link_bytes, set_slider, starter, tab

pytestmark = pytest.mark.browser


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
    titles = page.locator(".cards .card h3").all_inner_texts()
    assert titles == [a.title for a in ATTRIBUTES]
    assert len(slowly) == 1 and len(slowly[0].rows) == 8, "eight cards are one batch"
    for foot in page.locator(".card .foot").all():
        assert " s" in foot.inner_text() and "tokens" not in foot.inner_text(), "tokens are behind details"
        assert "tokens" in (foot.locator(".more").text_content() or "")
    page.wait_for_function(
        "[...document.querySelectorAll('.cards [id^=ask-]')].every(b => b.innerText === 'Ask again' && !b.disabled)"
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
    names = page.locator("#pairs .side h4").all_inner_texts()
    assert names == ["Answer A", "Answer B"], "names are hidden before the vote"
    before = len(site.ctx.votes.rows())
    page.click("#vote-a")
    page.wait_for_selector("#pairs .side.won")
    assert set(page.locator("#pairs .side h4").all_inner_texts()) == {"Base model", "FaceLLM"}
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
    assert page.locator("#pairs .side h4").all_inner_texts() == ["Base model", "FaceLLM"]
    for side in page.locator("#pairs .side footer").all():
        side.locator("summary").click()
        assert "first words" in side.inner_text() and "tokens/s" in side.inner_text()


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


def test_the_crop_on_the_page_is_the_face(with_photo, slowly, tmp_path):
    """What is shown beside the photo is what the model is shown."""
    page = with_photo()
    set_slider(page, "Max new tokens", 16)
    page.click(starter("pose"))
    page.wait_for_selector(DONE)
    source = page.locator("#stage .crop").get_attribute("src")
    path = tmp_path / "crop.jpg"
    path.write_bytes(base64.b64decode(source.split(",", 1)[1]))
    with Image.open(path) as shown:
        seen = slowly[-1].view.image.resize(shown.size)
        a, b = shown.convert("L").resize((16, 16)), seen.convert("L").resize((16, 16))
        assert max(abs(x - y) for x, y in zip(a.tobytes(), b.tobytes(), strict=True)) < 24
