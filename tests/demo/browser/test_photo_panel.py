"""The photo's panel in a browser: drops and pastes anywhere, errors, faces, what the model sees."""

from __future__ import annotations

import re

import pytest
from PIL import Image

from demo.runtime.photos import EXAMPLES
from tests.demo.conftest import eventually
from tests.demo.pages import drop, tab

pytestmark = pytest.mark.browser


@pytest.fixture
def bad(tmp_path):
    """A file that is no picture."""
    path = tmp_path / "bad.jpg"
    path.write_bytes(b"this is no picture")
    return path


def test_the_whole_page_takes_drops_also_while_a_photo_is_shown(visit, portrait, bad):
    page = visit()
    address = page.url
    drop(page, "#tabs", portrait)
    page.wait_for_selector("#stage >> text=/1 face found/")
    first = page.locator("#stage .frame img").get_attribute("src")
    drop(page, "#stage", EXAMPLES / "two.jpg")
    page.wait_for_selector("#stage >> text=/2 faces found/")
    assert page.locator("#stage .frame img").get_attribute("src") != first
    drop(page, "footer", bad, "text/plain")
    page.wait_for_selector("#photo-notice [role=alert]")
    assert page.locator("#stage >> text=/2 faces found/").is_visible(), "the photo that is shown stays"
    drop(page, "body", portrait)
    page.wait_for_selector("#stage >> text=/1 face found/")
    page.wait_for_selector("#photo-notice [role=alert]", state="hidden")
    assert page.url == address


def test_no_drop_reaches_the_browser(visit):
    """Where nobody takes a drop, the browser opens the file in place of the page."""
    page = visit()
    prevented = page.evaluate(
        """() => ['dragover', 'drop'].map((name) => ['body', '#tabs', 'footer', '#chat-box textarea'].map((where) => {
          const data = new DataTransfer();
          data.items.add(new File(['x'], 'x.txt', {type: 'text/plain'}));
          const event = new DragEvent(name, {dataTransfer: data, bubbles: true, cancelable: true});
          document.querySelector(where).dispatchEvent(event);
          return event.defaultPrevented;
        })).flat()"""
    )
    assert all(prevented) and len(prevented) == 8
    page.wait_for_selector("#photo-notice [role=alert]")


def test_a_picture_can_be_pasted_while_another_is_shown(with_photo):
    page = with_photo("two.jpg")
    page.evaluate(
        """async () => {
          const image = document.querySelector('#stage .crop');
          const canvas = Object.assign(document.createElement('canvas'), {width: 300, height: 300});
          canvas.getContext('2d').drawImage(image, 0, 0, 300, 300);
          const blob = await new Promise((done) => canvas.toBlob(done, 'image/png'));
          const data = new DataTransfer();
          data.items.add(new File([blob], 'pasted.png', {type: 'image/png'}));
          const told = {clipboardData: data, bubbles: true, cancelable: true};
          document.body.dispatchEvent(new ClipboardEvent('paste', told));
        }"""
    )
    page.wait_for_selector("#stage >> text=/1 face found/")


def test_an_earlier_files_error_does_not_stand_beside_the_next_file(visit, bad, tmp_path):
    page = visit()
    page.set_input_files("#photo input[type=file]", bad)
    page.wait_for_selector("#photo-notice >> text=/picture|image/")
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.truncate(21 * 2**20)
    page.set_input_files("#photo input[type=file]", large)
    page.wait_for_selector("#photo-notice >> text=/at most 20 MB/")
    page.wait_for_timeout(2000)
    assert page.locator(".notice >> visible=true").all_inner_texts() == [
        "The file has 21 MB: choose one of at most 20 MB."
    ], "one message, and it stays"
    page.set_input_files("#photo input[type=file]", bad)
    page.wait_for_selector("#photo-notice >> text=/at most 20 MB/", state="hidden")


def test_faces_are_numbered_from_the_left_and_badges_leave_them_free(visit, tmp_path):
    """The larger face stands at the right here."""
    turned = tmp_path / "turned.png"
    with Image.open(EXAMPLES / "two.jpg") as two:
        two.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(turned)
    page = visit()
    page.set_input_files("#photo input[type=file]", turned)
    page.wait_for_selector('[aria-label="Face 2 of 2"][aria-pressed=true]')
    assert "Face 2 is chosen" in page.locator("#stage").inner_text()
    boxes = [page.get_by_label(f"Face {n} of 2").bounding_box() for n in (1, 2)]
    badges = [page.locator(f"#stage button.face b >> nth={n}").bounding_box() for n in (0, 1)]
    assert boxes[0]["x"] < boxes[1]["x"]
    for box, badge in zip(boxes, badges, strict=True):
        assert badge["y"] + badge["height"] <= box["y"] + 2.5 or badge["y"] >= box["y"] + box["height"] - 2.5


def test_the_whole_photo_has_no_chosen_face(with_photo, scripted):
    page = with_photo("two.jpg")
    page.click("#settings button")
    page.get_by_label("Whole photo").check()
    page.wait_for_selector("#stage >> text=/The model sees the whole photo/")
    assert not page.locator("#stage .crop, #stage .face").count()
    assert "is chosen" not in page.locator("#stage").inner_text()
    page.get_by_label("Face crop").check()
    page.wait_for_selector("#stage >> text=/Face 1 is chosen/")
    assert page.locator("#stage .crop").is_visible()


def test_settings_read_well(with_photo):
    page = with_photo()
    assert page.get_by_role("button", name=re.compile("^Settings")).count() == 1, "two things of one name"
    page.click("#settings button")
    page.wait_for_selector("#settings .max_value >> visible=true")
    limits = page.locator("#settings .min_value, #settings .max_value")
    heights = "limits => limits.map((l) => l.getBoundingClientRect().height)"  # 0 while the accordion opens
    eventually(lambda: all(0 < h < 30 for h in limits.evaluate_all(heights)), what="a slider's limit breaks into lines")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_question_box_is_of_one_colour(visit, scheme):
    page = visit(color_scheme=scheme)
    tab(page, "Face chat")
    colours = page.locator("#chat-box").evaluate(
        """(box) => [box, ...box.querySelectorAll('*')].filter((e) => !e.closest('button'))
          .map((e) => getComputedStyle(e).backgroundColor).filter((c) => !/, 0\\)$|transparent/.test(c))"""
    )
    assert len(set(colours)) == 1, colours
