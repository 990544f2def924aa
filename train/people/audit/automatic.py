"""A first pass without a person: sentences held against labels, measurements and the picture's pixels.

Each becomes a mark of the annotator "auto", "supported" or "wrong", with what it was held against. A sentence whose
claims nothing here covers gets no mark, nor does one whose measurement lies in the middle of its range: a filter, not a
verdict. On answers that were written from the same labels and measurements (the measured teacher), the pass repeats the
teacher's errors: only the pixel checks, whose bars are absolute and not the teacher's, are independent there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from facellm.claims import AGE_SLACK, age_claim, claims, found
from facellm.errors import FaceLLMError
from facellm.labels import AGE_GROUPS
from facellm.vision.images import load_image
from train.faces.measures import mesh_labels, read_measurements
from train.people.audit.items import Item
from train.people.audit.judgements import AUTO, Mark

SIDE, EDGE = 112, 14  # px: as train.faces.measures measures, the middle of the picture at this side
# Absolute bars on the pixels of the middle; between a pair nothing is said. Set on 300 aligned face crops, of which 100
# pairs were looked at: pictures that looked dark had a mean grey of 0.16 to 0.26, well lit dark skin began at 0.31;
# detail (mean absolute Laplacian) 0.036 still looked smeared, 0.042 crisp.
DARK, NOT_DARK = 0.28, 0.40
BRIGHT, NOT_BRIGHT = 0.60, 0.45
BALANCED, UNBALANCED = (0.40, 0.65), (0.28, 0.78)
SHARP, NOT_SHARP = 0.042, 0.030
BLURRED, NOT_BLURRED = 0.026, 0.042
GREY, COLOURED = 0.02, 0.06  # mean of the largest minus the smallest channel
TILTED_DEG, UPRIGHT_DEG = 7.0, 3.0  # roll; the measured teacher's (train.faces.facts)
_SPAN = {group: (70, 120) if group == AGE_GROUPS[-1] else tuple(map(int, group.split("-"))) for group in AGE_GROUPS}
# Label -> the word by which `facellm.claims` would name it; groups that it has no word for are not judged.
_ETHNICITY = {
    "White": "White", "Black": "Black", "Indian": "Indian", "Asian": "Asian", "East Asian": "Asian",
    "Southeast Asian": "Asian",
}  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """fits: values that a claim may have.  fails: values that it must not have, None for all others.  figure: what
    this rests on, in words."""

    fits: frozenset[str]
    fails: frozenset[str] | None
    figure: str

    def verdict(self, value: str) -> bool | None:
        """Whether a claim of that value holds; None where this does not tell."""
        if value in self.fits:
            return True
        return False if self.fails is None or value in self.fails else None


@dataclass(frozen=True)
class Known:
    """What is known of an image.

    Attributes:
        facts: By their names in `facellm.claims`.
        age: Years from-to of the label's group; None where unknown.
    """

    facts: Mapping[str, Fact]
    age: tuple[int, int] | None = None


def check(items: Sequence[Item], measurements: Path | None = None) -> list[Mark]:
    """The automatic marks of all items.

    Raises FaceLLMError where the measurements cannot be read; an image that cannot be opened is judged by labels alone.
    """
    mesh = read_measurements(measurements, "--measurements") if measurements else {}
    known: dict[str, Known] = {}
    marks = []
    for item in items:
        if item.image not in known:
            known[item.image] = know(item, _row(item.image, mesh))
        for number, sentence in enumerate(item.sentences):
            verdict = judge(sentence, known[item.image])
            if verdict is not None:
                marks.append(Mark(item.key, number, AUTO, *verdict))
    return marks


def judge(sentence: str, known: Known) -> tuple[str, str] | None:
    """(mark, note) of one sentence; None where it claims nothing that is known. One wrong claim makes it wrong."""
    held, broken = [], []
    # `claims` settles gender ("neither clearly male nor female"); `found` also has facts of shape.
    named = {fact: next(iter(values)) for fact, values in found(sentence).items() if len(values) == 1}
    named.pop("gender", None)
    for fact, value in {**named, **claims(sentence)}.items():
        holds = known.facts[fact].verdict(value) if fact in known.facts else None
        if holds is not None:
            (held if holds else broken).append(f"{fact} {value} against {known.facts[fact].figure}")
    span = age_claim(sentence)
    if span and known.age:
        apart = span[0] - AGE_SLACK > known.age[1] or span[1] + AGE_SLACK < known.age[0]
        (broken if apart else held).append(f"age {span[0]}-{span[1]} against {known.age[0]}-{known.age[1]}")
    if broken:
        return "wrong", "; ".join(broken)
    return ("supported", "; ".join(held)) if held else None


def know(item: Item, mesh: Mapping[str, float] | None = None) -> Known:
    """Everything that labels, mesh and pixels say of an item's image."""
    single = _mesh_facts(mesh or {})
    if item.labels.get("gender"):
        single["gender"] = item.labels["gender"]
    if item.labels.get("race") in _ETHNICITY:
        single["ethnicity"] = _ETHNICITY[item.labels["race"]]
    facts = {fact: Fact(frozenset({value}), None, value) for fact, value in single.items()}
    with suppress(FaceLLMError, OSError):  # labels and mesh still hold
        facts |= _pixel_facts(load_image(item.path))
    return Known(facts, _SPAN.get(item.labels.get("age", "")))


def _mesh_facts(mesh: Mapping[str, float]) -> dict[str, str]:
    """pose, mouth, eyes, tilt at the ends of their measurements' ranges."""
    facts = mesh_labels(mesh)
    if "roll_deg" in mesh:
        roll = abs(mesh["roll_deg"])
        tilt = "tilted" if roll > TILTED_DEG else "upright" if roll < UPRIGHT_DEG else None
        facts |= {"tilt": tilt} if tilt else {}
    return facts


def _pixel_facts(image: Image.Image) -> dict[str, Fact]:
    """lighting, sharpness, colour"""
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32) / 255
    middle = small[EDGE:-EDGE, EDGE:-EDGE]
    grey = middle @ np.array([0.299, 0.587, 0.114], np.float32)
    light = float(grey.mean())
    edges = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    detail = float(np.abs(edges).mean())
    colour = float((small.max(2) - small.min(2)).mean())
    return {
        "lighting": _fact(
            f"a mean grey of {light:.2f}",
            dark=(light < DARK, light > NOT_DARK),
            bright=(light > BRIGHT, light < NOT_BRIGHT),
            balanced=(BALANCED[0] < light < BALANCED[1], not UNBALANCED[0] <= light <= UNBALANCED[1]),
        ),
        "sharpness": _fact(
            f"a detail of {detail:.3f}",
            sharp=(detail > SHARP, detail < NOT_SHARP),
            blurred=(detail < BLURRED, detail > NOT_BLURRED),
        ),
        "colour": _fact(
            f"a mean colour of {colour:.3f}", none=(colour < GREY, colour > COLOURED),
            some=(colour > COLOURED, colour < GREY),
        ),
    }  # fmt: skip


def _fact(figure: str, **values: tuple[bool, bool]) -> Fact:
    """value=(it fits, it fails)"""
    fits = frozenset(value for value, (fit, _) in values.items() if fit)
    return Fact(fits, frozenset(value for value, (_, fail) in values.items() if fail), figure)


def _row(image: str, mesh: Mapping[str, Mapping[str, float]]) -> Mapping[str, float] | None:
    """Under the name as written, or without its first folder."""
    return mesh.get(image) or mesh.get(image.partition("/")[2])
