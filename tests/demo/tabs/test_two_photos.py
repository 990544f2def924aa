"""A second photo beside the first: read and kept with it, one question to both, the answers under their pictures."""

from __future__ import annotations

import threading

import pytest

from demo.runtime import parameters
from demo.runtime.photos import EXAMPLES, Photos, choose_face, read_photo
from demo.runtime.streaming import Cell, fill, fill_each
from demo.runtime.tickets import Ticket
from demo.tabs.two import section
from demo.tabs.two.second import Second, forget, keep, kept, read_second, show_answers
from facellm.errors import FaceLLMError
from tests.demo.conftest import eventually
from tests.demo.pages import drop, tab

browser_test = pytest.mark.browser
QUESTION = "Is this person smiling?"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def opened(page) -> None:
    tab(page, "Compare")
    page.locator("#compare-what input[value=photos]").check()
    page.wait_for_selector("#two-go >> visible=true")


def with_second(page, example: str = "hopper.jpg") -> None:
    opened(page)
    page.click(f'[data-second="{example}"]')
    page.wait_for_selector("#second-remove >> visible=true")


def ask(page) -> None:
    page.fill("#two-question textarea, #two-question input", QUESTION)
    page.click("#two-go")


def answers(page) -> list[str]:
    return page.locator("#two-sides .two-answer .text").all_inner_texts()


def test_the_second_photo_lives_with_the_first_beside_the_face_it_was_given_for(collins):
    crew = read_photo(EXAMPLES / "crew.jpg")
    assert kept(crew) is None and kept(None) is None
    keep(crew, Second(collins, beside=0))
    assert kept(crew).photo is collins
    other = choose_face(crew, 1)
    assert kept(other) is None, "another face has none"
    assert kept(choose_face(other, 0)).photo is collins, "and the first one's comes back"
    forget(other)
    assert kept(crew) is None, "forgotten for all faces"
    photos = Photos()
    photos.put("a", crew)
    keep(crew, Second(collins, beside=0))
    photos.put("a", read_photo(EXAMPLES / "crew.jpg"))
    assert kept(photos.get("a")).photo is collins, "the same photo, given again"
    photos.put("a", read_photo(EXAMPLES / "two.jpg"))
    assert kept(photos.get("a")) is None
    photos.drop("a")
    assert photos.get("a") is None


def test_what_cannot_be_a_second_photo_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(FaceLLMError, match="No face was found in the second photo"):
        read_second(EXAMPLES / "coffee.jpg")
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"this is no picture")
    with pytest.raises(FaceLLMError):
        read_second(bad)


def test_both_photos_are_answered_together_as_each_is_alone(host, collins):
    other = read_photo(EXAMPLES / "hopper.jpg")
    used = parameters.read("", 16)

    def cell() -> Cell:
        return Cell("facellm", QUESTION)

    together, drawn = [cell(), cell()], []
    for cells in fill_each(host, [collins.view, other.view], together, used, Ticket(), every=0):
        drawn.append([c.state for c in cells])
    assert ["writing", "writing"] in drawn, "both grow at the same time"
    alone = [cell(), cell()]
    for photo, one in zip((collins, other), alone, strict=True):
        for _ in fill(host, photo.view, [one], used, Ticket()):
            pass
    assert [c.answer["text"] for c in together] == [c.answer["text"] for c in alone]
    assert all(c.finished and c.tokens for c in together)


def test_a_stop_ends_both_answers(host, collins):
    ticket, cells = Ticket(), [Cell("base", QUESTION), Cell("base", QUESTION)]
    for _ in fill_each(host, [collins.view] * 2, cells, parameters.read("", 512), ticket, every=0):
        ticket.cancel.set()
    assert [c.state for c in cells] == ["stopped", "stopped"]


def test_words_that_one_answer_has_alone_are_marked_once_both_are_written():
    one, other = Cell("base", "q", text="The <mouth> is open.", state="done"), Cell("base", "q", text="The mouth is")
    assert "<mark>" not in show_answers([one, other])[0]
    other.text, other.state = "The mouth is closed.", "done"
    left, right = show_answers([one, other])
    assert "&lt;mouth&gt; is <mark>open</mark>" in left and "<mark>closed</mark>" in right


@browser_test
def test_one_question_to_both_answers_under_their_pictures(with_photo, scripted, site):
    page = with_photo("two.jpg")
    with_second(page, "crew.jpg")
    assert "4 faces found" in page.locator("#two-second").inner_text()
    page.locator("#two-variant input[value=base]").check()
    ask(page)
    page.wait_for_selector("#two-status .more")
    assert answers(page) == [scripted.text] * 2
    assert [[(row.variant, row.question) for row in rows] for rows in scripted.asked] == [[("base", QUESTION)]] * 2
    sides = [page.locator("#two-sides .side").nth(i) for i in (0, 1)]
    boxes = [side.bounding_box() for side in sides]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    for side in sides:
        picture, text = side.locator("img").first.bounding_box(), side.locator(".text").bounding_box()
        assert picture["y"] + picture["height"] <= text["y"], "the answer stands under its picture"
    shown = page.locator("#two-first img").get_attribute("src")
    page.locator("#stage button.face[aria-pressed=false]").click()
    page.wait_for_selector("#second-file >> visible=true")
    page.wait_for_function("(src) => document.querySelector('#two-first img')?.src !== src", arg=shown)
    assert not answers(page), "another face, another comparison"
    page.locator("#stage button.face[aria-pressed=false]").click()
    page.wait_for_selector("#second-remove >> visible=true")
    eventually(lambda: answers(page) == [scripted.text] * 2, what="it comes back with its face")
    page.reload()
    page.wait_for_selector("#stage img.crop")
    opened(page)
    eventually(lambda: answers(page) == [scripted.text] * 2, what="and with its page")
    page.click("#second-remove")
    page.wait_for_selector("#second-file >> visible=true")
    assert not answers(page) and page.locator("#stage img.crop").is_visible(), "the first photo stays"


@browser_test
def test_another_face_of_the_second_photo_can_be_asked_about(with_photo, scripted):
    page = with_photo()
    with_second(page, "crew.jpg")
    faces, picture = page.locator("#two-second [data-other]"), page.locator("#two-second .two-photo img")
    assert [faces.nth(i).get_attribute("aria-label") for i in range(4)] == [f"Face {i} of 4" for i in (1, 2, 3, 4)]
    assert page.locator("#two-second [aria-pressed=true]").count() == 1
    ask(page)
    page.wait_for_selector("#two-status .more")
    before = picture.get_attribute("src")
    page.locator("#two-second [data-other][aria-pressed=false]").last.click()
    page.wait_for_function("(src) => document.querySelector('#two-second .two-photo img').src !== src", arg=before)
    assert not answers(page), "another face, nothing asked about it yet"
    ask(page)
    page.wait_for_selector("#two-status .more")
    assert len(answers(page)) == 2
    page.reload()
    page.wait_for_selector("#stage img.crop")
    opened(page)
    page.wait_for_selector("#two-second .two-photo img >> visible=true")
    assert picture.get_attribute("src") != before, "it is kept"


@browser_test
def test_what_is_missing_or_bad_is_a_sentence(visit, scripted, portrait, tmp_path):
    page = visit()
    opened(page)
    ask(page)
    page.wait_for_selector("#two-status [role=alert] >> text=/Choose a photo first/")
    drop(page, "#two-sides", portrait)
    page.wait_for_selector("#second-notice [role=alert] >> text=/Choose a photo first/")
    page.click('[data-example="collins.jpg"]')
    page.wait_for_selector("#two-first img")
    page.click("#two-go")
    page.wait_for_selector("#two-status [role=alert] >> text=/Choose the second photo first/")
    bad, large = tmp_path / "bad.jpg", tmp_path / "large.jpg"
    bad.write_bytes(b"this is no picture")
    with large.open("wb") as file:
        file.truncate(21 * 2**20)
    page.set_input_files("#compare-photos input[type=file]", large)
    page.wait_for_selector("#second-notice >> text=/at most 20 MB/")
    page.set_input_files("#compare-photos input[type=file]", bad)
    page.wait_for_selector("#second-notice >> text=/picture|image/")
    page.set_input_files("#compare-photos input[type=file]", EXAMPLES / "coffee.jpg")
    page.wait_for_selector("#second-notice >> text=/No face was found in the second photo/")
    assert not page.locator("#photo-notice [role=alert]").count(), "the first photo has nothing to do with it"
    drop(page, "#two-sides", EXAMPLES / "hopper.jpg")
    page.wait_for_selector("#second-remove >> visible=true")
    assert not page.locator("#second-notice [role=alert]").count()
    assert page.locator("#stage >> text=/1 face found/").is_visible() and not scripted.asked
    page.fill("#two-question textarea, #two-question input", "")
    page.click("#two-go")
    page.wait_for_selector("#two-status [role=alert] >> text=/Write a question first/")


@browser_test
def test_a_second_photo_that_is_read_while_the_first_one_goes_is_not_kept(with_photo, scripted, site, monkeypatch):
    page = with_photo()
    reading, go = threading.Event(), threading.Event()

    def slowly(path):
        reading.set()
        assert go.wait(60)
        return read_second(path)

    monkeypatch.setattr(section, "read_second", slowly)
    opened(page)
    page.click('[data-second="hopper.jpg"]')
    eventually(reading.is_set)
    drop(page, "#side", EXAMPLES / "two.jpg")
    page.wait_for_selector("#stage >> text=/2 faces found/")
    go.set()
    page.wait_for_timeout(2000)
    assert page.locator("#second-file").is_visible() and not page.locator("#two-second img").count()


@browser_test
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_has_no_serious_accessibility_findings(with_photo, scripted, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = with_photo(color_scheme=scheme, **PHONE)
    opened(page)
    sides = page.evaluate("document.documentElement.scrollWidth")
    for part in ("#two-variant", "#two-question", "#two-go", "#two-sides .side", "#second-examples"):
        box = page.locator(part).first.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390 and sides <= 390, part
    with_second(page)
    ask(page)
    page.wait_for_selector("#two-status .more")
    one, other = (page.locator("#two-sides .side").nth(i).bounding_box() for i in (0, 1))
    assert one["y"] + one["height"] <= other["y"], "one under the other, each with its picture"
    found = Axe().run(page, context="#tab-compare").response["violations"]
    serious = [(f["id"], f["nodes"][0]["html"][:160]) for f in found if f["impact"] in ("serious", "critical")]
    assert not serious, serious
