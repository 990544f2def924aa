"""What can be asked of a FaceLLM, wherever it runs: describe, ask, compare, profile, built on stream() and profiles().

Input: images as files, bytes, PIL images, arrays or FaceViews. Output: results with to_dict(). What this file does
not know: where the model is (model: in this process; remote: behind a server).
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from facellm.attributes import Attribute, select
from facellm.errors import FaceLLMError
from facellm.results import VARIANTS, Answer, Comparison, Delta, Report, Row
from facellm.vision.faces import FaceView, view_face
from facellm.vision.images import load_image

if TYPE_CHECKING:
    from facellm.engine.sampling import Sampling
    from facellm.profile import Profile

ImageSource = Any  # path, bytes, PIL image, numpy array, binary file, or a FaceView


class Questions(ABC):
    """The methods that FaceLLM and RemoteFaceLLM share. Safe to use from several threads.

    Where a method takes `variant`, None means FaceLLM, or the base where no FaceLLM was opened. Sampling is given as
    `sampling=Sampling(...)` or as its fields by keyword (max_new_tokens=64, temperature=0.7, ...); greedy by default.
    Images: path, bytes, PIL image, numpy array (h, w, 3) uint8, binary file, or a FaceView from `view()`. All but
    the last are searched for faces; `face` picks one (0: the largest), `whole=True` shows the model the whole image.
    All methods raise FaceLLMError (ImageError for a bad image).
    """

    variants: tuple[str, ...]  # the models that can be asked: ("base", "facellm"), or the one that there is

    @abstractmethod
    def stream(
        self,
        image: ImageSource,
        rows: Sequence[Row],
        sampling: Sampling | None = None,
        cancel: threading.Event | None = None,
        tiles: int = 1,
    ) -> Iterator[Delta]:
        """Text of all rows as it grows, rows of both models together; each row ends with a Delta that is `done`."""

    @abstractmethod
    def profiles(
        self, image: ImageSource, variants: Sequence[str] = VARIANTS, *, face: int = 0, whole: bool = False
    ) -> dict[str, Profile]:
        """{which: Profile} of several models."""

    def view(self, image: ImageSource, face: int = 0, whole: bool = False) -> FaceView:
        """What the model will be shown: the levelled crop of a face, its box in the photo, and a notice."""
        return image if isinstance(image, FaceView) else view_face(load_image(image), face, detect=not whole)

    def describe(
        self,
        image: ImageSource,
        attributes: str | Iterable[str | Attribute] | None = None,
        variant: str | None = None,
        *,
        system: str | None = None,
        face: int = 0,
        whole: bool = False,
        tiles: int = 1,
        sampling: Sampling | None = None,
        **settings: Any,
    ) -> Report:
        """Answers about the attributes (all eight by default), in the paper's order, asked together."""
        view = self.view(image, face, whole)
        variant = self._one(variant)
        rows = [Row(variant, a.question, system=system, key=a.key) for a in select(attributes)]
        answers = self._answers(view, rows, make_sampling(sampling, settings), tiles)
        return Report(variant, tuple(answers), face_of(view), view.notice)

    def ask(
        self,
        image: ImageSource,
        question: str,
        history: Sequence[tuple[str, str]] = (),
        variant: str | None = None,
        *,
        system: str | None = None,
        face: int = 0,
        whole: bool = False,
        tiles: int = 1,
        sampling: Sampling | None = None,
        **settings: Any,
    ) -> Answer:
        """The answer to one question.  history: earlier (question, answer) turns about the same image."""
        view = self.view(image, face, whole)
        row = Row(self._one(variant), question, tuple(map(tuple, history)), system)
        return self._answers(view, [row], make_sampling(sampling, settings), tiles)[0]

    def compare(
        self,
        image: ImageSource,
        question: str,
        history: Sequence[tuple[str, str]] = (),
        *,
        system: str | None = None,
        face: int = 0,
        whole: bool = False,
        tiles: int = 1,
        sampling: Sampling | None = None,
        **settings: Any,
    ) -> Comparison:
        """Base and FaceLLM on one question, asked together."""
        view = self.view(image, face, whole)
        rows = [Row(w, question, tuple(map(tuple, history)), system) for w in VARIANTS]
        return Comparison(*self._answers(view, rows, make_sampling(sampling, settings), tiles))

    def profile(self, image: ImageSource, variant: str | None = None, *, face: int = 0, whole: bool = False) -> Profile:
        """Probabilities of age group, gender, ethnicity, expression, pose, mouth, eyes, light and sharpness."""
        variant = self._one(variant)
        return self.profiles(image, (variant,), face=face, whole=whole)[variant]

    def _answers(self, view: FaceView, rows: Sequence[Row], sampling: Sampling, tiles: int) -> list[Answer]:
        """stream() to its end: the Answers in the rows' order."""
        answers = {d.row: d.answer for d in self.stream(view, rows, sampling, tiles=tiles) if d.done}
        return [answers[i] for i in range(len(rows))]

    def _one(self, variant: str | None) -> str:
        if variant is None:
            return self.variants[-1]
        if variant not in VARIANTS:
            raise FaceLLMError(f"There is no model {variant!r}; choose {' or '.join(VARIANTS)}.")
        return variant


def make_sampling(sampling: Sampling | None, settings: dict[str, Any]) -> Sampling:
    """The Sampling given, or one of the keyword settings.  Raises FaceLLMError for an unknown or doubled setting."""
    from facellm.engine.sampling import Sampling  # imports torch: not before something is asked

    known = Sampling.__dataclass_fields__
    for name in settings:
        if name not in known:
            raise FaceLLMError(f"There is no setting {name!r}; choose from {', '.join(known)}.")
    return replace(sampling or Sampling(), **settings)


def face_of(view: FaceView) -> dict[str, Any] | None:
    """The view's face as results carry it, with the size of the image that its box is measured in (see Report)."""
    if view.face is None:
        return None
    return {**view.face.to_dict(), "image_size": None if view.image_size is None else list(view.image_size)}
