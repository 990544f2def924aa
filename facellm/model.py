"""The Python interface: load() a FaceLLM, then describe, ask, compare, profile or stream.

Input: images as files, bytes, PIL images, arrays or FaceViews. Output: results with to_dict(). What this file does
not know: how answers are computed (engine), how weights are opened (loading).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .attributes import Attribute, select
from .engine import Engine
from .errors import FaceLLMError
from .faces import FaceView, view_face
from .images import load_image
from .loading import LoadedModel, LoadReport, open_model
from .profile import Profile, measure, read_calibration
from .results import WHICH, Answer, Comparison, Delta, Report, Row
from .sampling import Sampling

ImageSource = Any  # path, bytes, PIL image, numpy array, binary file, or a FaceView


def load(
    name: str = "auto",
    *,
    adapter: str | None = None,
    quantization: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    base: bool = True,
) -> FaceLLM:
    """Open a FaceLLM: "auto", "nano", "1b", "2b", "8b", "14b", "38b", a folder or a hub id (each may end in @revision).

    adapter: a PEFT folder or hub id for a base, or a merged FaceLLM.  quantization: "none", "int8", "nf4".
    device: "cuda", "mps", "cpu".  dtype: "float32", "bfloat16", "float16".  base: False opens FaceLLM alone.
    Everything left out is chosen; `.report` says what and why.  Raises FaceLLMError with a sentence for the user.
    """
    return FaceLLM(open_model(name, adapter=adapter, quantization=quantization, device=device, dtype=dtype, base=base))


class FaceLLM:
    """An opened model. Safe to use from several threads; `which` names the models in it that can be asked.

    Where a method takes `which`, None means FaceLLM, or the base where no FaceLLM was opened. Sampling is given as
    `sampling=Sampling(...)` or as its fields by keyword (max_new_tokens=64, temperature=0.7, ...); greedy by default.
    Images: path, bytes, PIL image, numpy array (h, w, 3) uint8, binary file, or a FaceView from `view()`. All but
    the last are searched for faces; `face` picks one (0: the largest), `whole=True` shows the model the whole image.
    All methods raise FaceLLMError (ImageError for a bad image).
    """

    def __init__(self, loaded: LoadedModel):
        self.loaded = loaded
        self.engine = Engine(loaded)
        self._temperatures = _temperatures(loaded)

    @property
    def report(self) -> LoadReport:
        """What was opened, where, how, and why."""
        return self.loaded.report

    @property
    def which(self) -> tuple[str, ...]:
        """("base", "facellm"), or the one model that was opened."""
        return self.engine.which

    def view(self, image: ImageSource, face: int = 0, whole: bool = False) -> FaceView:
        """What the model will be shown: the levelled crop of a face, its box in the photo, and a notice."""
        return image if isinstance(image, FaceView) else view_face(load_image(image), face, detect=not whole)

    def stream(
        self,
        image: ImageSource,
        rows: Sequence[Row],
        sampling: Sampling | None = None,
        cancel: threading.Event | None = None,
        tiles: int = 1,
    ) -> Iterator[Delta]:
        """Text of all rows as it grows, rows of both models together; see Engine.stream."""
        return self.engine.stream(self.view(image).image, rows, sampling, cancel, tiles)

    def describe(
        self,
        image: ImageSource,
        attributes: str | Iterable[str | Attribute] | None = None,
        which: str | None = None,
        *,
        system: str | None = None,
        face: int = 0,
        whole: bool = False,
        tiles: int = 1,
        sampling: Sampling | None = None,
        **settings: Any,
    ) -> Report:
        """Answers about the attributes (all eight by default), in the paper's order, decoded in one batch."""
        view = self.view(image, face, whole)
        which = self._one(which)
        rows = [Row(which, a.question, system=system, key=a.key) for a in select(attributes)]
        answers = self.engine.answer(view.image, rows, make_sampling(sampling, settings), tiles=tiles)
        return Report(which, tuple(answers), _face(view), view.notice)

    def ask(
        self,
        image: ImageSource,
        question: str,
        history: Sequence[tuple[str, str]] = (),
        which: str | None = None,
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
        row = Row(self._one(which), question, tuple(map(tuple, history)), system)
        return self.engine.answer(view.image, [row], make_sampling(sampling, settings), tiles=tiles)[0]

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
        """Base and FaceLLM on one question, decoded together."""
        view = self.view(image, face, whole)
        rows = [Row(w, question, tuple(map(tuple, history)), system) for w in WHICH]
        return Comparison(*self.engine.answer(view.image, rows, make_sampling(sampling, settings), tiles=tiles))

    def profile(self, image: ImageSource, which: str | None = None, *, face: int = 0, whole: bool = False) -> Profile:
        """Probabilities of age group, gender, ethnicity, expression, pose, mouth, eyes, light and sharpness."""
        which = self._one(which)
        return self.profiles(image, (which,), face=face, whole=whole)[which]

    def profiles(
        self, image: ImageSource, which: Sequence[str] = WHICH, *, face: int = 0, whole: bool = False
    ) -> dict[str, Profile]:
        """{which: Profile} of several models in one pass."""
        view = self.view(image, face, whole)
        found = measure(self.engine, view.image, which, nano=self.loaded.is_nano, temperatures=self._temperatures)
        return {w: replace(p, face=_face(view), notice=view.notice) for w, p in found.items()}

    def _one(self, which: str | None) -> str:
        if which is None:
            return self.which[-1]
        if which not in WHICH:
            raise FaceLLMError(f"There is no model {which!r}; choose {' or '.join(WHICH)}.")
        return which


def make_sampling(sampling: Sampling | None, settings: dict[str, Any]) -> Sampling:
    """The Sampling given, or one of the keyword settings.  Raises FaceLLMError for an unknown or doubled setting."""
    known = Sampling.__dataclass_fields__
    for name in settings:
        if name not in known:
            raise FaceLLMError(f"There is no setting {name!r}; choose from {', '.join(known)}.")
    return replace(sampling or Sampling(), **settings)


def _face(view: FaceView) -> dict[str, Any] | None:
    return None if view.face is None else view.face.to_dict()


def _temperatures(loaded: LoadedModel) -> dict[str, dict[str, float]]:
    """The base's temperatures from its folder; FaceLLM's from its own, or from the base's that it was shipped in."""
    beside = read_calibration(loaded.folder)
    found = {"base": beside.get("base", {})}
    if loaded.report.facellm:
        place = Path(loaded.report.facellm)
        own = read_calibration(place) if place != loaded.folder else {}
        shipped = place.is_relative_to(loaded.folder)
        found["facellm"] = own.get("facellm") or (beside.get("facellm", {}) if shipped else {})
    return found
