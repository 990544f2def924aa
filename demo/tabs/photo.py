"""The panel for the shared photo: upload, webcam, clipboard, drop, example; the photo with its faces boxed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from demo.page import texts
from demo.page.components import HIDDEN, PhotoInput, Updates, seen, sent
from demo.page.downloads import data_uri
from demo.page.render import render
from demo.runtime.examples import PICTURES
from demo.runtime.photos import (
    CROP_SIDE,
    EXAMPLES,
    PREVIEW_SIDE,
    Photo,
    Photos,
    choose_face,
    decode,
    jpeg,
    read_photo,
)
from demo.runtime.sentences import sentence

# file -> caption: see examples/CREDITS.md; all in the public domain.
PORTRAITS = {
    "collins.jpg": "Eileen Collins (NASA)",
    "bluford.jpg": "Guion Bluford (NASA)",
    "hopper.jpg": "Grace Hopper (US Navy)",
    "lindgren.jpg": "Kjell Lindgren (NASA)",
    "jemison.jpg": "Mae Jemison (NASA)",
    "johnson.jpg": "Katherine Johnson (NASA)",
    "ochoa.jpg": "Ellen Ochoa (NASA)",
    "two.jpg": "Two people (US Navy, NASA)",
    "crew.jpg": "Four people (NASA)",
    "coffee.jpg": "No face: a cup of coffee (Rachel Michetti)",
}

ON_CLICK = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-%(name)s]');
  if (!button || button.getAttribute('aria-pressed') === 'true') return;
  trigger('%(name)s', {%(name)s: button.dataset.%(name)s});
});
"""

# The page's script refuses a file that is too large before it is sent.
ON_REFUSED = """
window.addEventListener('facellm-refused', (event) => {
  const {text, where} = event.detail;
  if (where === '%(where)s') trigger('refused', {text});
});
"""


# In px: the stage at its largest on a phone, and a number's height.
STAGE_WIDTH, STAGE_HEIGHT, BADGE = 350, 420, 26


@dataclass(frozen=True)
class Box:
    """A face as the stage shows it.

    Attributes:
        index: Its place in the photo's list of faces, the largest first.
        number: What the visitor calls it, counted from the left.
        high: There is no room for its number above it.
        left: Left edge in percent of the photo's width; so is `width`, `top` and `height` of its height.
    """

    index: int
    number: int
    chosen: bool
    high: bool
    left: float
    top: float
    width: float
    height: float


def boxes(photo: Photo) -> list[Box]:
    """The faces of a photo from left to right."""
    width, height = photo.size
    faces = sorted(enumerate(photo.view.faces), key=lambda item: item[1].box[0] + item[1].box[2])
    made = []
    for number, (index, face) in enumerate(faces, 1):
        left, top, right, bottom = face.box
        x0, y0, x1, y1 = max(0, left), max(0, top), min(width, right), min(height, bottom)
        percents = 100 * x0 / width, 100 * y0 / height, 100 * (x1 - x0) / width, 100 * (y1 - y0) / height
        shown = min(STAGE_HEIGHT, STAGE_WIDTH * height / width)
        made.append(Box(index, number, index == photo.face_index, percents[1] * shown < 100 * BADGE, *percents))
    return made


def stage(photo: Photo, whole: bool = False) -> str:
    """The photo with a box on every face (buttons where there are several), what the model sees, and what was found.

    Args:
        whole: The model is shown the whole photo: no face is chosen.
    """
    faces = boxes(photo)
    count = len(faces)
    number = next((face.number for face in faces if face.chosen), 0)
    if whole or not faces:
        note = "The model sees the whole photo."
    elif count == 1:
        note = "This crop is what the model sees."
    else:
        note = f"Face {number} is chosen; click another box to change."
    return render(
        "stage",
        picture=data_uri(jpeg(decode(photo.source), PREVIEW_SIDE)),
        faces=[] if whole else faces,
        crop="" if whole or not faces else data_uri(jpeg(photo.view.image, CROP_SIDE)),
        found="No face found" if not count else "1 face found" if count == 1 else f"{count} faces found",
        note=note,
    )


def gallery(kind: str, names: Iterable[str]) -> str:
    """Example photos to click.

    Args:
        kind: Of the buttons' `data-` attribute, and of the event that a click triggers.
        names: Files among PORTRAITS.
    """
    portraits = [(name, PORTRAITS[name], f"{PICTURES}/{name}") for name in names]
    return render("gallery", kind=kind, portraits=portraits)


def too_large(event: gr.EventData) -> str:
    """What stands at a photo that the page's script refused."""
    return render("notice", text=sent(event, "text"))


class PhotoPanel:
    """The panel at the page's left (above the tabs on a phone); `wire` makes it work.

    Attributes:
        gate: Stands at the answers of a photo without a face, until the visitor wants them anyway.
        changed: Events after which the visitor's photo may be another one.
    """

    def __init__(self) -> None:
        self.image = PhotoInput(
            label="Photo of a face",
            sources=["upload", "webcam", "clipboard"],
            type="filepath",
            image_mode=None,
            height=270,
            buttons=[],
            elem_id="photo",
            placeholder=f"# Add a photo\ndrop it here or click to choose\n{texts.PHOTO_HINT}",
        )
        # Takes what is dropped or pasted anywhere on the page, also while a photo is shown; the page's script fills it.
        # Of any type: a file that is no picture is refused here, in a sentence that stays.
        self.dropped = gr.UploadButton("Photo", type="filepath", visible="hidden", elem_id="dropped")
        self.notice = gr.HTML("", elem_id="photo-notice", js_on_load=ON_REFUSED % {"where": "photo"})
        self.gallery = gr.HTML(
            gallery("example", PORTRAITS), elem_id="examples", js_on_load=ON_CLICK % {"name": "example"}
        )
        self.shown = gr.HTML("", elem_id="stage", visible=HIDDEN, js_on_load=ON_CLICK % {"name": "face"})
        self.another = gr.Button("Choose another photo", size="sm", visible=HIDDEN, elem_id="another")
        self.changed: Sequence[Any] = ()

    def make_gate(self) -> None:
        """Put the gate where the answers are."""
        self.gate = gr.HTML(
            render("gate", text=texts.NO_FACE), visible=HIDDEN, elem_id="gate", js_on_load=ON_CLICK % {"name": "anyway"}
        )

    def show(self, photo: Photo, look: str) -> Updates:
        """The panel with a photo."""
        return {
            self.image: gr.update(value=None, visible=HIDDEN),
            self.notice: "",
            self.gallery: seen(False),
            self.shown: gr.update(value=stage(photo, look == "whole"), visible=True),
            self.another: seen(True),
            self.gate: seen(photo.view.face is None and not photo.anyway),
        }

    def empty(self, problem: str = "") -> Updates:
        """The panel without a photo, and why."""
        return {
            self.image: gr.update(value=None, visible=True),
            self.notice: render("notice", text=problem),
            self.gallery: seen(True),
            self.shown: gr.update(value="", visible=HIDDEN),
            self.another: seen(False),
            self.gate: seen(False),
        }

    def wire(self, photos: Photos, look: gr.Radio, opens: Sequence[Callable] = ()) -> None:
        """Have the panel keep the visitor's photo in `photos`.

        Args:
            photos: All visitors' photos.
            look: The setting of what the model sees.
            opens: Events of other parts of the page that choose a face.
        """

        def given(path: str | None, look_: str, request: gr.Request) -> Updates:
            if path is None:  # the page cleared the component itself
                return {self.notice: gr.skip()}
            try:
                photo = read_photo(path)
            except Exception as error:  # a photo can fail in many ways; each becomes a sentence
                return refused(sentence(error), request)
            photos.put(request.session_hash, photo)
            return self.show(photo, look_)

        def refused(problem: str, request: gr.Request) -> Updates:
            """A photo that is shown stays."""
            if photos.get(request.session_hash) is None:
                return self.empty(problem)
            return {self.image: None, self.notice: render("notice", text=problem)}

        def picked(look_: str, request: gr.Request, event: gr.EventData) -> Updates:
            if sent(event, "example") not in PORTRAITS:
                return self.empty("There is no such example: click one of the pictures.")
            return given(str(EXAMPLES / sent(event, "example")), look_, request)

        def chosen(look_: str, request: gr.Request, event: gr.EventData) -> Updates:
            photo = photos.get(request.session_hash)
            if photo is None:
                return self.empty(texts.FORGOTTEN)
            try:
                photo = choose_face(photo, int(sent(event, "face") or -1))
            except Exception as error:  # as in `given`
                return refused(sentence(error), request)
            photos.put(request.session_hash, photo)
            return self.show(photo, look_)

        def removed(request: gr.Request) -> Updates:
            photos.drop(request.session_hash)
            return self.empty()

        def looked(look_: str, request: gr.Request) -> Updates:
            photo = photos.get(request.session_hash)
            return self.show(photo, look_) if photo is not None else {self.notice: gr.skip()}

        def anyway(request: gr.Request) -> Updates:
            photo = photos.get(request.session_hash)
            if photo is not None:
                photos.put(request.session_hash, replace(photo, anyway=True))
            return {self.gate: seen(False)}

        outputs = list(self.empty())
        common: dict[str, Any] = {"outputs": outputs, "api_visibility": "private", "show_progress": "minimal"}
        reads: dict[str, Any] = {**common, "concurrency_id": "photo", "concurrency_limit": 2}
        quick: dict[str, Any] = {**common, "queue": False}
        for event in (self.image.upload, self.dropped.upload):  # what an earlier file got said is of no use any more
            event(lambda: "", None, [self.notice], queue=False, api_visibility="private", show_progress="hidden")
        self.notice.refused(too_large, None, [self.notice], queue=False, api_visibility="private")
        self.changed = [
            self.image.change(given, [self.image, look], show_progress_on=[self.image], **reads),
            self.dropped.upload(given, [self.dropped, look], show_progress_on=[self.image, self.shown], **reads),
            self.gallery.example(picked, [look], show_progress_on=[self.image], **reads),
            self.shown.face(chosen, [look], show_progress_on=[self.shown], **reads),
            self.another.click(removed, None, show_progress_on=[self.another], **quick),
            *(event(chosen, [look], show_progress_on=[self.shown], **reads) for event in opens),
        ]
        look.change(looked, [look], show_progress_on=[self.shown], **quick)
        self.gate.anyway(anyway, None, show_progress_on=[self.gate], **quick)
