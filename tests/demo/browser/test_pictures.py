"""Ways for a picture onto the page: uploads, drops, pastes, the webcam; one face of several."""

from __future__ import annotations

import pytest
from PIL import Image

from tests.demo.pages import DONE, drop, replies, set_slider, starter

pytestmark = pytest.mark.browser


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
    page.click(starter("pose"))
    page.wait_for_selector(DONE)
    page.get_by_label("Face 1 of 2").click()  # it is the chosen one
    page.wait_for_timeout(1000)
    assert len(replies(page)) == 1, "the conversation about this face was wiped"
