"""The panel for the shared photo: upload, webcam, clipboard, drop, example; the photo with its faces boxed, the crop.

Input: what the visitor gives. Output: the visitor's `Photo` in `Photos`. What this file does not know: the model, the
tabs, how a face is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from demo.page import texts
from demo.runtime.host import sentence
from demo.runtime.photos import (
    CROP_SIDE,
    EXAMPLES,
    PREVIEW_SIDE,
    Photo,
    Photos,
    choose_face,
    data_uri,
    decode,
    jpeg,
    read_photo,
)

# file, caption: see examples/CREDITS.md; all in the public domain.
PORTRAITS = (
    ("collins.jpg", "Eileen Collins (NASA)"),
    ("hopper.jpg", "Grace Hopper (US Navy)"),
    ("two.jpg", "Two people"),
)

class PhotoInput(gr.Image):
    """gr.Image that hands over the uploaded file itself: orientation, HEIC and refusals are facellm's to decide."""

    is_template = True

    def preprocess(self, payload: Any) -> str | None:
        if payload is None:
            return None
        if payload.url and payload.url.startswith("data:"):
            return super().preprocess(payload)
        return payload.path
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

def stage(photo: Photo | None) -> str:
    """The photo with a box on every face (buttons where there are several), the crop beside it, and what was found."""
    if photo is None:
        return ""
    width, height = photo.size
    faces = photo.view.faces
    boxes = []
    for i, face in enumerate(faces):
        left, top, right, bottom = face.box
        x0, y0, x1, y1 = max(0, left), max(0, top), min(width, right), min(height, bottom)
        style = (
            f"left:{100 * x0 / width:.2f}%;top:{100 * y0 / height:.2f}%;"
            f"width:{100 * (x1 - x0) / width:.2f}%;height:{100 * (y1 - y0) / height:.2f}%"
        )
        chosen = i == photo.face_index
        if len(faces) == 1:
            boxes.append(f'<span class="face chosen" style="{style}"></span>')
        else:
            boxes.append(
                f'<button type="button" class="face{" chosen" if chosen else ""}" style="{style}" data-face="{i}" '
                f'aria-pressed="{str(chosen).lower()}" aria-label="Face {i + 1} of {len(faces)}">'
                f"<b>{i + 1}</b></button>"
            )
    if not faces:
        found = "<strong>No face found</strong>"
    elif len(faces) == 1:
        found = "<strong>1 face found</strong>"
    else:
        found = f"<strong>{len(faces)} faces found</strong>"
    crops = "This crop is what the model sees, unless the settings say “Whole photo”."
    note = photo.view.notice or (crops if faces else "The whole image is used.")
    if len(faces) > 1:
        note = f"Face {photo.face_index + 1} is chosen; click another box to change."
    picture = data_uri(jpeg(decode(photo.source), PREVIEW_SIDE))
    crop = data_uri(jpeg(photo.view.image, CROP_SIDE))
    seen = "The chosen face" if faces else "The whole image"
    return (
        f'<figure class="stage"><div class="frame"><img src="{picture}" alt="Your photo">{"".join(boxes)}</div>'
        f'<figcaption><img class="crop" src="{crop}" alt="{seen}">'
        f'<div role="status">{found}<span>{escape(note)}</span></div></figcaption></figure>'
    )

def problem(text: str) -> str:
    """A failure, announced to screen readers."""
    return f'<div class="notice bad" role="alert">{escape(text)}</div>' if text else ""

def _gallery() -> str:
    items = []
    for name, caption in PORTRAITS:
        small = data_uri(jpeg(decode((EXAMPLES / name).read_bytes()), 160, 80))
        items.append(
            f'<button type="button" data-example="{name}" aria-label="Use the example: {escape(caption)}" '
            f'title="{escape(caption)}"><img src="{small}" alt=""></button>'
        )
    return f'<div class="gallery"><span>or try</span>{"".join(items)}</div>'

_CLICK = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[%s]');
  if (button) trigger('%s', {%s: button.dataset.%s});
});
"""

@dataclass
class PhotoPanel:
    """The panel. changed: events after which the visitor's photo may be another one."""

    image: PhotoInput
    changed: list

def build(photos: Photos) -> PhotoPanel:
    """The panel at the page's left (above the tabs on a phone)."""
    image = PhotoInput(
        label="Photo of a face",
        sources=["upload", "webcam", "clipboard"],
        type="filepath",
        image_mode=None,
        height=270,
        buttons=[],
        elem_id="photo",
        placeholder=f"# Add a photo\ndrop it here or click to choose\n{texts.PHOTO_HINT}",
    )
    notice = gr.HTML("", elem_id="photo-notice")
    gallery = gr.HTML(
        _gallery(), elem_id="examples", js_on_load=_CLICK % ("data-example", "pick", "example", "example")
    )
    shown = gr.HTML("", elem_id="stage", visible=False, js_on_load=_CLICK % ("data-face", "face", "face", "face"))
    another = gr.Button("Choose another photo", size="sm", visible=False, elem_id="another")
    outputs = [image, notice, gallery, shown, another]

    def show(photo: Photo, session: str) -> tuple:
        photos.put(session, photo)
        return (
            gr.update(value=None, visible=False),
            "",
            gr.update(visible=False),
            gr.update(value=stage(photo), visible=True),
            gr.update(visible=True),
        )

    def empty(text: str = "") -> tuple:
        return (
            gr.update(value=None, visible=True),
            problem(text),
            gr.update(visible=True),
            gr.update(value="", visible=False),
            gr.update(visible=False),
        )

    def given(path: str | None, request: gr.Request) -> tuple:
        if path is None:  # the page cleared the component itself
            return tuple(gr.skip() for _ in outputs)
        try:
            return show(read_photo(path), request.session_hash)
        except Exception as error:  # a photo can fail in many ways; each becomes a sentence (worker.sentence)
            photos.drop(request.session_hash)
            return empty(sentence(error))

    def picked(request: gr.Request, event: gr.EventData) -> tuple:
        if event.example not in [name for name, _ in PORTRAITS]:
            return empty("There is no such example: click one of the pictures.")
        return given(str(EXAMPLES / event.example), request)

    def chosen(request: gr.Request, event: gr.EventData) -> tuple:
        photo = photos.get(request.session_hash)
        if photo is None:
            return empty("This photo was forgotten after a while without use: choose it again.")
        try:
            face_index = int(event.face)
            if face_index == photo.face_index:
                return tuple(gr.skip() for _ in outputs)
            return show(choose_face(photo, face_index), request.session_hash)
        except Exception as error:  # as in `given`
            return (gr.skip(), problem(sentence(error)), gr.skip(), gr.skip(), gr.skip())

    def removed(request: gr.Request) -> tuple:
        photos.drop(request.session_hash)
        return empty()

    common = {"outputs": outputs, "api_visibility": "private", "show_progress": "minimal"}
    waiting = {"show_progress_on": [image]}
    group = {"concurrency_id": "photo", "concurrency_limit": 2}
    changed = [
        image.change(given, [image], **common, **group, **waiting),
        gallery.pick(picked, None, **common, **group, **waiting),
        shown.face(chosen, None, **common, **group, show_progress_on=[shown]),
        another.click(removed, None, queue=False, **common, show_progress_on=[another]),
    ]
    return PhotoPanel(image, changed)
