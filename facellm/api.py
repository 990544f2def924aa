"""A FaceLLM opened in this process: `load` one, then ask it what `facellm.interface.Questions` lists.

Neither torch nor transformers is imported before a model is opened.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from facellm.errors import ParameterError
from facellm.interface import ImageSource, Questions, blank_of, face_of
from facellm.profile import KNOWN_FIELDS, Field, Profile, fields_for, read_calibration, softmax
from facellm.results import VARIANTS, Delta, Row
from facellm.typed.explanation import Explanation
from facellm.typed.question import Fit, TypedQuestion, make, read_folder
from facellm.vision.faces import FaceView

if TYPE_CHECKING:
    from facellm.engine.sampling import Sampling
    from facellm.weights.load import LoadedModel, LoadReport


REGIONS = 6  # a side of a map, where the model has so many image tokens


class FaceLLM(Questions):
    """A model opened in this process; see `Questions` for what can be asked and `load` for how to open one."""

    def __init__(self, loaded: LoadedModel):
        from facellm.engine.engine import Engine

        self.loaded = loaded
        self.engine = Engine(loaded)
        # The base's temperatures are in its folder, FaceLLM's in its own or in the base's that it was shipped in.
        beside = read_calibration(loaded.folder)
        self._temperatures = {"base": beside.get("base", {})}
        if loaded.report.facellm:
            place = Path(loaded.report.facellm)
            own = read_calibration(place) if place != loaded.folder else {}
            shipped = place.is_relative_to(loaded.folder)
            self._temperatures["facellm"] = own.get("facellm") or (beside.get("facellm", {}) if shipped else {})

    @property
    def report(self) -> LoadReport:
        """What was opened, where, how, and why."""
        return self.loaded.report

    @property
    def variants(self) -> tuple[str, ...]:
        return self.engine.variants

    def stream(
        self,
        image: ImageSource,
        rows: Sequence[Row],
        sampling: Sampling | None = None,
        cancel: threading.Event | None = None,
        tiles: int = 1,
    ) -> Iterator[Delta]:
        return self.engine.stream(self.view(image).image, rows, sampling, cancel, tiles)

    @property
    def fields(self) -> tuple[Field, ...]:
        return fields_for(self.loaded.label_set, self.loaded.declared.fields)

    @property
    def answers(self) -> tuple[str, ...]:
        return self.loaded.declared.answers

    def profiles(
        self, image: ImageSource, variants: Sequence[str] = VARIANTS, *, face: int = 0, whole: bool = False
    ) -> dict[str, Profile]:
        """Scores all labels of all fields, for all `variants`, behind one image prefix."""
        view = self.view(image, face, whole)
        fields = self.fields
        scores = self.engine.score_many(view.image, [(f.question, f.labels) for f in fields], tuple(variants))
        return {variant: self._profile(view, variant, fields, scores[variant]) for variant in variants}

    def profile_many(
        self, images: Sequence[ImageSource], variant: str | None = None, *, face: int = 0, whole: bool = False
    ) -> list[Profile]:
        from facellm.engine.offline import Ask, OfflineEngine

        variant = self._one(variant)
        self.engine.check_variant(variant)
        views = [self.view(image, face, whole) for image in images]
        fields = self.fields
        asks = [Ask(f.question, (i,), f.labels) for i in range(len(views)) for f in fields]

        def score() -> dict[int, list[float]]:
            engine = OfflineEngine(self.loaded, lambda i: views[i].image)
            return {index: values for index, values, _ in engine.score(asks, variant)}

        found = self.engine.scheduler.exclusive(score)
        n = len(fields)
        return [
            self._profile(view, variant, fields, [found[i * n + j] for j in range(n)]) for i, view in enumerate(views)
        ]

    def _profile(self, view: FaceView, variant: str, fields: Sequence[Field], scores: Sequence[list[float]]) -> Profile:
        temperatures = self._temperatures.get(variant) or {}
        probabilities = {
            f.key: dict(zip(f.labels, softmax(values, temperatures.get(f.key, 1.0)), strict=True))
            for f, values in zip(fields, scores, strict=True)
        }
        return Profile(variant, probabilities, bool(temperatures), face_of(view), view.notice)

    def _as_typed(self, field: Field) -> TypedQuestion:
        """A field as a question with its options, calibrated as the profile is."""
        fits = {v: Fit(known[field.key]) for v, known in self._temperatures.items() if field.key in known}
        return replace(make(field.ask, field.labels, field.key), fits=fits)

    @cached_property
    def questions(self) -> tuple[TypedQuestion, ...]:
        return read_folder(self.loaded.folder)

    @cached_property
    def weights_digest(self) -> str:
        from facellm.weights.fingerprint import answering_digest

        return answering_digest(self.loaded)

    def option_scores(
        self, view: FaceView, questions: Sequence[TypedQuestion], variants: Sequence[str], blank: bool = False
    ) -> dict[str, list[list[float]]]:
        shown = blank_of(view) if blank else view.image
        return self.engine.score_many(shown, [(q.question, q.options) for q in questions], tuple(variants))

    def explain(
        self,
        image: ImageSource,
        question: str | TypedQuestion,
        label: str | None = None,
        variants: Sequence[str] | None = None,
        *,
        side: int | None = None,
        face: int = 0,
        whole: bool = False,
        cancel: threading.Event | None = None,
    ) -> dict[str, Explanation]:
        from facellm.engine.likelihood.explain import influence, occluded_scores, tokens_a_side

        known = fields_for(self.loaded.label_set, [f.key for f in KNOWN_FIELDS])
        field = next((f for f in known if f.key == question), None)
        asked = self._as_typed(field) if field else self._asked(question)
        if label is not None and label not in asked.options:
            sentence = f"{label!r} is no answer to {asked.ask!r}; choose from {', '.join(asked.options)}."
            raise ParameterError(sentence, "label")
        view = self.view(image, face, whole)
        found = {}
        for variant in self.variants if variants is None else [self._one(v) for v in variants]:
            self.engine.check_variant(variant)
            regions = side or min(REGIONS, tokens_a_side(self.engine.networks[variant]))
            scores = occluded_scores(self.engine, view.image, asked.question, asked.options, variant, regions, cancel)
            blind = self.option_scores(view, [asked], (variant,), blank=True)[variant][0]
            # As the profile and `choose` say it: a map beside other probabilities than theirs would contradict them.
            logits = [asked.logits(variant, row, self.weights_digest)[0] for row in (*scores.tolist(), blind)]
            shown, anyway = (dict(zip(asked.options, softmax(row), strict=True)) for row in (logits[0], logits[-1]))
            chosen = label or max(shown, key=shown.__getitem__)
            rows = influence(logits[:-1], asked.options.index(chosen), regions)
            found[variant] = Explanation(
                variant,
                asked.question,
                chosen,
                shown,
                anyway,
                tuple(tuple(row) for row in rows),
            )
        return found


def load(
    name: str = "auto",
    *,
    adapter: str | None = None,
    quantization: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    base: bool | None = True,
    offload_encoder: bool = False,
) -> FaceLLM:
    """Opens a FaceLLM in this process. What is left out is chosen; `.report` says how, and why.

    Args:
        name: "auto", "embedded" (the best that needs no hub), "nano", "1b", "2b", "8b", "14b", "38b", a folder or a hub
            id (each may end in @revision).
        adapter: A PEFT folder or hub id for a base, or a merged FaceLLM.
        quantization: "none", "int8" or "nf4".
        device: "cuda", "cuda:1", "mps" or "cpu".
        dtype: "float32", "bfloat16" or "float16".
        base: False opens FaceLLM alone, None the base only where it is no second set of weights.
        offload_encoder: Keeps the image encoder in main memory (meant for a 38b on a card of 24 GB).

    Returns:
        The opened model.

    Raises:
        FaceLLMError: Where it cannot be opened, in one sentence.
    """
    from facellm.weights.load import open_model

    options = {"adapter": adapter, "quantization": quantization, "device": device, "dtype": dtype}
    return FaceLLM(open_model(name, **options, base=base, offload_encoder=offload_encoder))
