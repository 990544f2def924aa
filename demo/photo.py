"""The shared photo: given once, looked at by all tabs. Upload, webcam, clipboard, example; the face found in it.

Input: a file from the page. Output: a `Photo` in the visitor's own state and the stage that shows it. What this file
does not know: the model, the tabs.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import io
import threading
import time
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from facellm.errors import FaceLLMError

from . import texts
from .worker import sentence

if TYPE_CHECKING:
    from PIL import Image

EXAMPLES = Path(__file__).parent / "examples"
# file, caption: see examples/CREDITS.md; all in the public domain.
PORTRAITS = (
    ("collins.jpg", "Eileen Collins (NASA)"),
    ("hopper.jpg", "Grace Hopper (US Navy)"),
    ("two.jpg", "Two people"),
)

# Longest side in px: of the preview sent to the browser, of the crop in a report, of what is kept for the model (more
# than the largest tile, 448 px, with room for the whole photo).
PREVIEW_SIDE, CROP_SIDE, KEPT_SIDE = 720, 320, 1344
# Seconds that an idle visitor's photo stays in memory, and how many photos do.
FORGET_AFTER = 1800
MOST_PHOTOS = 500


class PhotoInput(gr.Image):
    """gr.Image that hands over the uploaded file itself: orientation, HEIC and refusals are facellm's to decide."""

    is_template = True

    def preprocess(self, payload: Any) -> str | None:
        if payload is None:
            return None
        if payload.url and payload.url.startswith("data:"):
            return super().preprocess(payload)
        return payload.path


@dataclass(frozen=True, eq=False)
class Photo:
    """One visitor's photo. ident: hash of its pixels and face.  view: what the model sees (FaceView, image <= 1344 px).

    source: the upright photo as JPEG bytes.  size: its width and height in px.  which: index of the chosen face.
    """

    ident: str
    view: Any
    source: bytes
    size: tuple[int, int]
    which: int = 0

    def seen(self, whole: bool) -> Any:
        """The FaceView to ask about: the face's crop, or the whole photo."""
        if not whole or self.view.face is None:
            return self.view
        faces = importlib.import_module("facellm.faces")
        return _bounded(faces.view_face(_decode(self.source), detect=False))


class Photos:
    """Each visitor's photo, by session, in memory only: dropped when the page closes, or after half an hour unused."""

    def __init__(self, forget_after: float = FORGET_AFTER, most: int = MOST_PHOTOS) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Photo]] = {}
        self._forget_after, self._most = forget_after, most

    def put(self, session: str, photo: Photo) -> None:
        """Keep this visitor's photo in place of an earlier one; the longest unused go when there are too many."""
        with self._lock:
            self._kept.pop(session, None)
            self._kept[session] = (time.monotonic(), photo)
            limit = time.monotonic() - self._forget_after
            stale = [s for s, (used, _) in self._kept.items() if used < limit]
            stale += list(self._kept)[: max(0, len(self._kept) - self._most)]
            for key in stale:
                self._kept.pop(key, None)

    def get(self, session: str) -> Photo | None:
        """This visitor's photo, None where there is none (any more)."""
        with self._lock:
            found = self._kept.pop(session, None)
            if found is None or time.monotonic() - found[0] > self._forget_after:
                return None
            self._kept[session] = (time.monotonic(), found[1])
            return found[1]

    def drop(self, session: str) -> None:
        """Forget this visitor's photo."""
        with self._lock:
            self._kept.pop(session, None)

    def count(self) -> int:
        """How many photos are held."""
        return len(self._kept)


def jpeg(image: Image.Image, side: int, quality: int = 88) -> bytes:
    """The picture as JPEG bytes, longest side at most `side` px."""
    small = image.copy()
    small.thumbnail((side, side))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=quality)
    return out.getvalue()


def data_uri(data: bytes, kind: str = "image/jpeg") -> str:
    """Bytes as a data: address, so that no copy lies on the server."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _decode(data: bytes) -> Image.Image:
    from PIL import Image

    return Image.open(io.BytesIO(data)).convert("RGB")


def _bounded(view: Any) -> Any:
    if max(view.image.size) <= KEPT_SIDE:
        return view
    small = view.image.copy()
    small.thumbnail((KEPT_SIDE, KEPT_SIDE))
    return replace(view, image=small)


def _ident(view: Any) -> str:
    return hashlib.sha256(view.image.tobytes()).hexdigest()[:16]


def read_photo(source: Any) -> Photo:
    """Load a photo and find its faces; the largest is chosen.  Raises ImageError with a sentence for a bad file."""
    image = importlib.import_module("facellm.images").load_image(source)
    view = _bounded(importlib.import_module("facellm.faces").view_face(image))
    return Photo(_ident(view), view, jpeg(image, 2048, 92), image.size)


def choose_face(photo: Photo, which: int) -> Photo:
    """The same photo with another of its faces chosen.  Raises FaceLLMError for a face that is not there."""
    if not 0 <= which < len(photo.view.faces):
        raise FaceLLMError(f"There is no face {which + 1} in this photo: it has {len(photo.view.faces)}.")
    faces = importlib.import_module("facellm.faces")
    face = photo.view.faces[which]
    scaled = _decode(photo.source)
    view = _bounded(replace(photo.view, image=faces.crop_face(scaled, face), face=face))
    return replace(photo, ident=_ident(view), view=view, which=which)


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
        chosen = i == photo.which
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
    note = photo.view.notice or ("This crop is what the model sees." if faces else "The whole image is used.")
    if len(faces) > 1:
        note = f"Face {photo.which + 1} is chosen; click another box to change."
    picture = data_uri(jpeg(_decode(photo.source), PREVIEW_SIDE))
    crop = data_uri(jpeg(photo.view.image, CROP_SIDE))
    return (
        f'<figure class="stage"><div class="frame"><img src="{picture}" alt="Your photo">{"".join(boxes)}</div>'
        f'<figcaption><img class="crop" src="{crop}" alt="What the model sees">'
        f'<div role="status">{found}<span>{escape(note)}</span></div></figcaption></figure>'
    )


def problem(text: str) -> str:
    """A failure, announced to screen readers."""
    return f'<div class="notice bad" role="alert">{escape(text)}</div>' if text else ""


def _gallery() -> str:
    items = []
    for name, caption in PORTRAITS:
        small = data_uri(jpeg(_decode((EXAMPLES / name).read_bytes()), 160, 80))
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
            return show(choose_face(photo, int(event.face)), request.session_hash)
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
