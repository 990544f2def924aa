"""A FaceLLM in this process: load() one, then describe, ask, compare, profile or stream (see interface).

Input: a model's name. Output: a FaceLLM. What this file does not know: how answers are computed (engine), how weights
are opened (loading), which questions there are (interface).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from facellm.engine.engine import Engine
from facellm.engine.sampling import Sampling
from facellm.interface import ImageSource, Questions, face_of
from facellm.profile import Profile, measure, read_calibration
from facellm.results import VARIANTS, Delta, Row
from facellm.weights.load import LoadedModel, LoadReport, open_model


def load(
    name: str = "auto",
    *,
    adapter: str | None = None,
    quantization: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    base: bool | None = True,
    keep_encoder: bool = True,
) -> FaceLLM:
    """Open a FaceLLM: "auto", "nano", "1b", "2b", "8b", "14b", "38b", a folder or a hub id (each may end in @revision).

    adapter: a PEFT folder or hub id for a base, or a merged FaceLLM.  quantization: "none", "int8", "nf4".
    device: "cuda", "mps", "cpu".  dtype: "float32", "bfloat16", "float16".  base: False opens FaceLLM alone,
    None the base only where it is no second set of weights.
    keep_encoder: False keeps the image encoder in main memory (meant for a 38b on a card of 24 GB).
    Everything left out is chosen; `.report` says what and why.  Raises FaceLLMError with a sentence for the user.
    """
    options = {"adapter": adapter, "quantization": quantization, "device": device, "dtype": dtype}
    return FaceLLM(open_model(name, **options, base=base, keep_encoder=keep_encoder))


class FaceLLM(Questions):
    """A model opened in this process; `variant` names the models in it. What can be asked: see Questions."""

    def __init__(self, loaded: LoadedModel):
        self.loaded = loaded
        self.engine = Engine(loaded)
        self._temperatures = _temperatures(loaded)

    @property
    def report(self) -> LoadReport:
        """What was opened, where, how, and why."""
        return self.loaded.report

    @property
    def variants(self) -> tuple[str, ...]:
        """("base", "facellm"), or the one model that was opened."""
        return self.engine.variants

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

    def profiles(
        self, image: ImageSource, variants: Sequence[str] = VARIANTS, *, face: int = 0, whole: bool = False
    ) -> dict[str, Profile]:
        """{which: Profile} of several models in one pass."""
        view = self.view(image, face, whole)
        found = measure(self.engine, view.image, variants, nano=self.loaded.is_nano, temperatures=self._temperatures)
        return {w: replace(p, face=face_of(view), notice=view.notice) for w, p in found.items()}


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
