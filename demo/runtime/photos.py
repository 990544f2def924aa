"""A visitor's photo: read, its faces found, one chosen; each visitor's kept in memory, apart, for a while."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from facellm.errors import FaceLLMError
from facellm.vision.faces import FaceView, crop_face, view_face
from facellm.vision.images import load_image

EXAMPLES = Path(__file__).parents[1] / "examples"

# Longest side in px: of the preview sent to the browser, of the crop in a report, of what is kept for the model (more
# than the largest tile, 448 px, with room for the whole photo).
PREVIEW_SIDE, CROP_SIDE, KEPT_SIDE = 720, 320, 1344
# Seconds that an idle visitor's photo stays in memory, and how many photos do.
FORGET_AFTER = 1800
MOST_PHOTOS = 500
# Seconds for a closed page to be loaded again in the same tab.
COME_BACK = 30
# A photo of 50 megapixels takes hundreds of MB while it is decoded: however many come at once, two are read at a time.
_READING = threading.BoundedSemaphore(2)


@dataclass(frozen=True, eq=False)
class Photo:
    """One visitor's photo.

    Attributes:
        digest: Hash of the whole photo.
        view: What the model sees, at most KEPT_SIDE px a side.
        source: The upright photo as JPEG bytes.
        size: Its width and height in px.
        face_index: Index of the chosen face.
        anyway: The visitor wants answers although no face was found.
        known: What was measured of it, and what was said about it: it lives and goes with the photo.
    """

    digest: str
    view: FaceView
    source: bytes
    size: tuple[int, int]
    face_index: int = 0
    anyway: bool = False
    known: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def ident(self) -> tuple[str, int]:
        """(which photo, which of its faces): what a conversation is about."""
        return self.digest, self.face_index

    def seen(self, whole: bool) -> FaceView:
        """Returns what to ask about: the face's crop, or the whole photo."""
        if not whole or self.view.face is None:
            return self.view
        return _bounded(view_face(decode(self.source), detect=False))


class Photos:
    """Each visitor's photo, by session, in memory only: dropped when the page closes, or after half an hour unused.

    Args:
        forget_after: Seconds that an unused photo is kept.
        most: How many photos are kept.
    """

    def __init__(self, forget_after: float = FORGET_AFTER, most: int = MOST_PHOTOS) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Photo]] = {}
        self._forgotten: set[str] = set()
        self._left: set[str] = set()  # sessions whose page was closed: no later use keeps their photo longer
        self._keys: dict[str, str] = {}  # a browser tab's key -> its session
        self._forget_after, self._most = forget_after, most

    def put(self, session: str, photo: Photo) -> None:
        """Keeps this visitor's photo in place of an earlier one; the longest unused go when there are too many.

        What is known of a photo stays known where the same one is given again.
        """
        with self._lock:
            _, before = self._kept.pop(session, (0.0, None))
            if before is not None and before.digest == photo.digest:
                photo = replace(photo, known=before.known)
            self._kept[session] = (time.monotonic(), photo)
            self._forgotten.discard(session)
            self._left.discard(session)
            self._forget(list(self._kept)[: max(0, len(self._kept) - self._most)])

    def sweep(self) -> set[str]:
        """Forgets what was not used for too long.

        Returns:
            The sessions whose photo was forgotten since the last sweep: copies of it on the way to the page have to go
            too.
        """
        with self._lock:
            limit = time.monotonic() - self._forget_after
            self._forget([s for s, (used, _) in self._kept.items() if used < limit])
            forgotten, self._forgotten = self._forgotten, set()
            return forgotten

    def _forget(self, sessions: list[str]) -> None:
        for session in sessions:
            del self._kept[session]
        self._forgotten.update(sessions)
        self._left.difference_update(sessions)

    def get(self, session: str) -> Photo | None:
        """This visitor's photo, None where there is none (any more)."""
        with self._lock:
            found = self._kept.get(session)
            if found is None:
                return None
            if time.monotonic() - found[0] > self._forget_after:
                self._forget([session])
                return None
            if session not in self._left:
                del self._kept[session]  # to the end: the longest unused come first
                self._kept[session] = (time.monotonic(), found[1])
            return found[1]

    def adopt(self, session: str, key: str) -> Photo | None:
        """The photo of a visitor who loads the page again in the same browser tab; None where there is none.

        Args:
            session: The new session.
            key: What the tab has called itself since it was opened; random, and known to it alone.
        """
        with self._lock:
            self._keys = {k: s for k, s in self._keys.items() if s in self._kept or k == key}
            before, self._keys[key] = self._keys.get(key), session
            used, photo = self._kept.get(before or "", (0.0, None))
        if photo is None or time.monotonic() - used > self._forget_after:
            return None
        self.put(session, photo)
        return photo

    def leave(self, session: str) -> None:
        """The visitor's page was closed: the photo is forgotten soon, unless the tab comes back to it."""
        with self._lock:
            if found := self._kept.get(session):
                self._kept[session] = (time.monotonic() - self._forget_after + COME_BACK, found[1])
                self._left.add(session)

    def drop(self, session: str) -> None:
        """Forgets this visitor's photo."""
        with self._lock:
            self._kept.pop(session, None)
            self._left.discard(session)

    def count(self) -> int:
        """How many photos are held."""
        return len(self._kept)


def jpeg(image: Image.Image, side: int, quality: int = 88) -> bytes:
    """Returns the picture as JPEG bytes, its longest side at most `side` px."""
    small = image.copy()
    small.thumbnail((side, side))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=quality)
    return out.getvalue()


def decode(data: bytes) -> Image.Image:
    """Returns the picture of JPEG bytes."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def _bounded(view: FaceView) -> FaceView:
    if max(view.image.size) <= KEPT_SIDE:
        return view
    small = view.image.copy()
    small.thumbnail((KEPT_SIDE, KEPT_SIDE))
    return replace(view, image=small)


def read_photo(given: str | Path | Image.Image) -> Photo:
    """Loads a photo and finds its faces; the largest is chosen.

    Raises:
        ImageError: With a sentence, for a file that cannot be used.
    """
    with _READING:
        image = load_image(given)
        source = jpeg(image, 2048, 92)
        return Photo(hashlib.sha256(source).hexdigest()[:16], _bounded(view_face(image)), source, image.size)


def choose_face(photo: Photo, face_index: int) -> Photo:
    """Returns the same photo with another of its faces chosen.

    Raises:
        FaceLLMError: For a face that is not there.
    """
    if not 0 <= face_index < len(photo.view.faces):
        raise FaceLLMError(f"There is no face {face_index + 1} in this photo: it has {len(photo.view.faces)}.")
    face = photo.view.faces[face_index]
    view = _bounded(replace(photo.view, image=crop_face(decode(photo.source), face), face=face))
    return replace(photo, view=view, face_index=face_index)
