"""The second photo: read, kept with the first one, and both of them as the page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.page import texts
from demo.page.downloads import data_uri
from demo.page.render import render
from demo.runtime.photos import Photo, decode, jpeg, read_photo
from demo.runtime.streaming import Cell
from demo.tabs.photo import boxes
from demo.tabs.rounds import blocks
from facellm.errors import FaceLLMError
from facellm.vision.faces import crop_face

THUMB, FACE = 200, 96  # px, longest side: of a photo's chosen face, of each face to choose from
_KEY = "second"  # among what is known of the first photo: the second one lives and goes with it


@dataclass(frozen=True)
class Second:
    """A photo beside the visitor's first one, and what was last asked about both.

    Attributes:
        photo: The photo; its chosen face is asked about, at first the largest.
        beside: Index of the first photo's face that it stands beside.
        question: What was asked; empty while nothing was.
        answers: What was said of the first photo and of this one; empty while nothing was.
    """

    photo: Photo
    beside: int
    question: str = ""
    answers: tuple[Cell, ...] = ()


def read_second(path: str | Path) -> Photo:
    """Reads a file as the second photo.

    Raises:
        FaceLLMError: With a sentence, for a file that cannot be used, and a photo without a face.
    """
    photo = read_photo(path)
    if photo.view.face is None:
        raise FaceLLMError(texts.NO_SECOND_FACE)
    return photo


def keep(first: Photo, second: Second) -> None:
    """Keeps a second photo for as long as the first one is kept, in place of an earlier one."""
    first.known[_KEY] = second


def kept(first: Photo | None) -> Second | None:
    """The photo that stands beside the chosen face of the first one; None where there is none."""
    second: Second | None = first.known.get(_KEY) if first is not None else None
    return second if first is not None and second is not None and second.beside == first.face_index else None


def forget(first: Photo | None) -> None:
    """Forgets the second photo, and what was said of both."""
    if first is not None:
        first.known.pop(_KEY, None)


def show_photo(title: str, photo: Photo | None, missing: str, choose: bool = False) -> str:
    """A photo's face with what is to be known of it.

    Args:
        title: Which photo it is.
        photo: The photo; None where there is none yet.
        missing: What stands there then.
        choose: Its other faces can be chosen here.
    """
    count = len(photo.view.faces) if photo is not None else 0
    picture = data_uri(jpeg(photo.view.image, THUMB)) if photo is not None else ""
    faces = []
    if photo is not None and choose and count > 1:
        whole = decode(photo.source)
        faces = [
            (face.index, face.number, face.chosen, data_uri(jpeg(crop_face(whole, photo.view.faces[face.index]), FACE)))
            for face in boxes(photo)
        ]
    return render("two_photo", title=title, picture=picture, count=count, faces=faces, missing=missing)


def show_answers(cells: Sequence[Cell]) -> list[str]:
    """The answers about both photos, the first one's first; blank where nothing was asked.

    Words that only one of them says are marked once both are written.
    """
    if not cells:
        return ["", ""]
    one, other = cells
    sides = ((one, other), (other, one))
    return [render("two_answer", cell=a, blocks=blocks(a, b), broken=texts.BROKEN) for a, b in sides]
