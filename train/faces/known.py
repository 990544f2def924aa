"""What is known of the labelled faces that models are measured on: profile labels and facts for free text, by image.

Input: `FaceSet`s (labels.csv, measurements.csv). Output: `Known`, one per image. What this file does not know: models.
Measured labels are given at the ends of a measurement's range only; the middle stays unnamed.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from facellm.errors import FaceLLMError
from facellm.labels import EXPRESSIONS, POSES
from train.evaluate.benchmark import FaceSet
from train.faces.tasks import pose_label

# The measured teacher's thresholds (train.faces.facts, train.nano.language.corpus): inner lip gap over mouth width, and lid gap
# over eye width (mean of both eyes).
MOUTH_CLOSED, MOUTH_OPEN = 0.03, 0.15
EYES_CLOSED, EYES_OPEN = 0.15, 0.26
# The ends of what varies from face to face: a value below the first has the first name, one above the second the other.
# Ratios of distances on the mesh, as the data's measurements.csv names them.
SHAPES = {
    "face shape": ("face_ratio", 0.80, 0.90, "long", "round"),
    "jaw": ("jaw_ratio", 0.79, 0.837, "tapered", "broad"),
    "nose": ("nose_width", 0.455, 0.53, "narrow", "broad"),
    "lips": ("lip_thickness", 0.127, 0.205, "thin", "full"),
    "brows": ("brow_raise", 0.165, 0.25, "low", "raised"),
}
PITCH_LEVEL_DEG = 7.8  # the set's median: the mesh's pitch carries this constant offset
PITCH_DEG = (5.0, 10.0)  # from that: level within the first, raised or lowered beyond the second
# Mean grey of the image's middle, 0 to 1; absolute, since a quantile would call a dark skin a dark picture.
DARK, BALANCED, BRIGHT = 0.30, (0.40, 0.58), 0.68
# Quantiles of fine detail over the split's images: below and above.
BLURRED, SHARP = 0.25, 0.75
REFERENCE = 500  # images of each set over which the quantiles are taken at least: a few dozen would shift them
GREY = 0.03  # twice the mean difference of the highest and the lowest colour channel: below, there is no colour
# Light on the left cheek less that on the right over their mean: even below the first, from one side above the second.
CHEEKS = (0.08, 0.25)
LEFT_CHEEK, RIGHT_CHEEK = (slice(58, 78), slice(22, 42)), (slice(58, 78), slice(70, 90))  # rows, columns at 112 px
SIDE = 112  # px at which brightness and detail are measured, nano's input


class Pixels(NamedTuple):
    """One image at 112 px. light: mean grey of its middle, 0 to 1.  detail: mean absolute Laplacian there.
    colour: as `GREY`.  side: as `CHEEKS`."""

    light: float
    detail: float
    colour: float = 1.0
    side: float = 0.0


@dataclass(frozen=True)
class Known:
    """source, name: which image.  labels: profile field -> label.  years: age in years, None where unknown.
    measured: fact of `claims.MEASURED` -> its value."""

    source: FaceSet
    name: str
    labels: Mapping[str, str]
    years: float | None
    measured: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.source.name}/{self.name}"

    def image(self) -> Image.Image:
        """In RGB.  Raises FaceLLMError where it does not open."""
        return _opened(self.source, self.name)


def read_known(sets: Sequence[FaceSet], split: str | None, limit: int | None = None, seed: int = 0) -> list[Known]:
    """The split's images, at most `limit` of each set, in an order that hangs on the seed; with pixel labels.

    Whether a picture is dark or blurred is judged beside `REFERENCE` pictures of each set, also where fewer are chosen.
    Raises FaceLLMError for an image that does not open and for a measurement that is no number.
    """
    chosen: list[tuple[FaceSet, Any]] = []
    measured: list[Pixels] = []
    compared: list[Pixels] = []
    for source in sets:
        faces = sorted((f for f in source.faces(split) if source.has(f.name)), key=lambda f: f.name)
        random.Random(f"{seed}:{source.name}").shuffle(faces)
        chosen += [(source, face) for face in faces[:limit]]
        read = faces if limit is None else faces[: max(limit, REFERENCE)]
        figures = [_measure(_opened(source, face.name)) for face in read]
        compared += figures
        measured += figures[:limit]
    pixels = _pixel_labels(measured, compared)
    found = []
    for (source, face), more, image in zip(chosen, pixels, measured, strict=True):
        labels = {
            key: face.labels[task]
            for key, task in (("age_group", "age"), ("gender", "gender"), ("ethnicity", "race"))
            if task in face.labels
        }
        if face.labels.get("expression") in EXPRESSIONS:
            labels["expression"] = face.labels["expression"]
        mesh = partial(source.measured, face.name)
        labels |= mesh_labels(mesh) | more
        frontal = labels.get("pose") == POSES[0]  # else a cheek's place may show the background
        seen = _shapes(mesh) | _pixel_facts(image, frontal)
        found.append(Known(source, face.name, labels, source.years(face.name), seen))
    return found


def mesh_labels(mesh: Callable[[str], float | None]) -> dict[str, str]:
    """pose, mouth, eyes at the ends of their ranges.  mesh: a measurement by its name, None where there is none."""
    labels: dict[str, str | None] = {}
    if (yaw := mesh("yaw_deg")) is not None:
        labels["pose"] = pose_label(yaw)
    if (gap := mesh("mouth_open")) is not None:
        labels["mouth"] = "closed" if gap < MOUTH_CLOSED else "open" if gap > MOUTH_OPEN else None
    left, right = mesh("eye_open_left"), mesh("eye_open_right")
    if left is not None and right is not None:
        gap = (left + right) / 2
        labels["eyes"] = "closed" if gap < EYES_CLOSED else "open" if gap > EYES_OPEN else None
    return {key: label for key, label in labels.items() if label}


def _shapes(mesh: Callable[[str], float | None]) -> dict[str, str]:
    """Shapes of the face and how the chin is held."""
    facts: dict[str, str | None] = {}
    for fact, (name, low, high, below, above) in SHAPES.items():
        if (value := mesh(name)) is not None:
            facts[fact] = below if value < low else above if value > high else None
    if (pitch := mesh("pitch_deg")) is not None:
        pitch, (level, bent) = pitch - PITCH_LEVEL_DEG, PITCH_DEG
        beyond = "lowered" if pitch > bent else "raised" if pitch < -bent else None
        facts["chin"] = "level" if abs(pitch) < level else beyond
    return {fact: value for fact, value in facts.items() if value}


def _pixel_facts(image: Pixels, frontal: bool) -> dict[str, str]:
    """Colour and, of a frontal face, the side of the light."""
    facts, (even, apart) = {"colour": "none" if image.colour < GREY else "some"}, CHEEKS
    if frontal and (abs(image.side) < even or abs(image.side) > apart):
        facts["light side"] = "even" if abs(image.side) < even else "left" if image.side > 0 else "right"
    return facts


def _pixel_labels(measured: Sequence[Pixels], compared: Sequence[Pixels]) -> list[dict[str, str]]:
    """lighting and sharpness of every measured image, by its place among the compared ones."""
    if not measured:
        return []
    blurred, sharp = np.quantile([image.detail for image in compared], [BLURRED, SHARP])
    found = []
    for image in measured:
        light, detail, labels = image.light, image.detail, {}
        if light < DARK or light > BRIGHT or BALANCED[0] < light < BALANCED[1]:
            labels["lighting"] = "dark" if light < DARK else "bright" if light > BRIGHT else "balanced"
        if detail < blurred or detail > sharp:
            labels["sharpness"] = "blurred" if detail < blurred else "sharp"
        found.append(labels)
    return found


def _opened(source: FaceSet, name: str) -> Image.Image:
    raw = source.read(name)
    try:
        with Image.open(io.BytesIO(raw)) as image:
            return image.convert("RGB")
    except Exception as error:  # Pillow's readers raise anything at damaged data
        raise FaceLLMError(
            f"{source.folder}: the image {name} is damaged or in an unknown format; replace it or remove its label."
        ) from error


def _measure(image: Image.Image) -> Pixels:
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    rgb = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32) / 255
    whole = np.asarray(small, np.float32) / 255
    grey = whole[14:-14, 14:-14]
    laplacian = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    left, right = whole[LEFT_CHEEK].mean(), whole[RIGHT_CHEEK].mean()
    return Pixels(
        light=float(grey.mean()),
        detail=float(np.abs(laplacian).mean()),
        colour=float(2 * (rgb.max(2) - rgb.min(2)).mean()),
        side=float((left - right) / ((left + right) / 2 + 0.05)),
    )
