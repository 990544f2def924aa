"""A visitor's photo: read, its faces found, one chosen; each visitor's kept in memory, apart, for a while.

Input: a file, a session. Output: a `Photo`. What this file does not know: Gradio, the model, how a photo is shown.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facellm.errors import FaceLLMError

if TYPE_CHECKING:
    from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"

# Longest side in px: of the preview sent to the browser, of the crop in a report, of what is kept for the model (more
# than the largest tile, 448 px, with room for the whole photo).
PREVIEW_SIDE, CROP_SIDE, KEPT_SIDE = 720, 320, 1344
# Seconds that an idle visitor's photo stays in memory, and how many photos do.
FORGET_AFTER = 1800
MOST_PHOTOS = 500


@dataclass(frozen=True, eq=False)
class Photo:
    """One visitor's photo.

    Attributes:
        digest: Hash of the whole photo.
        view: What the model sees (FaceView, image <= 1344 px).
        source: The upright photo as JPEG bytes.
        size: Its width and height in px.
        face_index: Index of the chosen face.
        anyway: The visitor wants answers although no face was found.
    """

    digest: str
    view: Any
    source: bytes
    size: tuple[int, int]
    face_index: int = 0
    anyway: bool = False

    @property
    def ident(self) -> tuple[str, int]:
        """(which photo, which of its faces): what a conversation is about."""
        return self.digest, self.face_index

    def seen(self, whole: bool) -> Any:
        """The FaceView to ask about: the face's crop, or the whole photo."""
        if not whole or self.view.face is None:
            return self.view
        faces = importlib.import_module("facellm.vision.faces")
        return _bounded(faces.view_face(decode(self.source), detect=False))


class Photos:
    """Each visitor's photo, by session, in memory only: dropped when the page closes, or after half an hour unused."""

    def __init__(self, forget_after: float = FORGET_AFTER, most: int = MOST_PHOTOS) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Photo]] = {}
        self._forgotten: set[str] = set()
        self._forget_after, self._most = forget_after, most

    def put(self, session: str, photo: Photo) -> None:
        """Keep this visitor's photo in place of an earlier one; the longest unused go when there are too many."""
        with self._lock:
            self._kept.pop(session, None)
            self._kept[session] = (time.monotonic(), photo)
            self._forgotten.discard(session)
            self._forget(list(self._kept)[: max(0, len(self._kept) - self._most)])

    def sweep(self) -> set[str]:
        """Forget what was not used for too long.  Returns the sessions whose photo was forgotten since the last sweep:
        copies of it on the way to the page have to go too."""
        with self._lock:
            limit = time.monotonic() - self._forget_after
            self._forget([s for s, (used, _) in self._kept.items() if used < limit])
            forgotten, self._forgotten = self._forgotten, set()
            return forgotten

    def _forget(self, sessions: list[str]) -> None:
        for session in sessions:
            del self._kept[session]
        self._forgotten.update(sessions)

    def get(self, session: str) -> Photo | None:
        """This visitor's photo, None where there is none (any more)."""
        with self._lock:
            found = self._kept.get(session)
            if found is None:
                return None
            if time.monotonic() - found[0] > self._forget_after:
                self._forget([session])
                return None
            del self._kept[session]  # to the end: the longest unused come first
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


def decode(data: bytes) -> Image.Image:
    """The picture of JPEG bytes."""
    from PIL import Image

    return Image.open(io.BytesIO(data)).convert("RGB")


def _bounded(view: Any) -> Any:
    if max(view.image.size) <= KEPT_SIDE:
        return view
    small = view.image.copy()
    small.thumbnail((KEPT_SIDE, KEPT_SIDE))
    return replace(view, image=small)


def read_photo(source: Any) -> Photo:
    """Load a photo and find its faces; the largest is chosen.  Raises ImageError with a sentence for a bad file."""
    image = importlib.import_module("facellm.vision.images").load_image(source)
    view = _bounded(importlib.import_module("facellm.vision.faces").view_face(image))
    source = jpeg(image, 2048, 92)
    return Photo(hashlib.sha256(source).hexdigest()[:16], view, source, image.size)


def choose_face(photo: Photo, face_index: int) -> Photo:
    """The same photo with another of its faces chosen.  Raises FaceLLMError for a face that is not there."""
    if not 0 <= face_index < len(photo.view.faces):
        raise FaceLLMError(f"There is no face {face_index + 1} in this photo: it has {len(photo.view.faces)}.")
    faces = importlib.import_module("facellm.vision.faces")
    face = photo.view.faces[face_index]
    scaled = decode(photo.source)
    view = _bounded(replace(photo.view, image=faces.crop_face(scaled, face), face=face))
    return replace(photo, view=view, face_index=face_index)
