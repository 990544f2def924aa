"""What is known of the labelled faces that models are measured on: profile labels and facts for free text, by image."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from facellm.labels import POSES
from train.faces.measures import (
    BALANCED,
    BRIGHT,
    CHEEKS,
    DARK,
    GREY,
    Pixels,
    measure_pixels,
    mesh_labels,
    mesh_shapes,
)
from train.faces.sets import Face, FaceSet

# Quantiles of fine detail over the split's images: below and above.
BLURRED, SHARP = 0.25, 0.75
REFERENCE = 500  # images of each set over which the quantiles are taken at least: a few dozen would shift them
# Task of a set's labels -> field of the profile.
_FIELDS = {"age": "age_group", "gender": "gender", "race": "ethnicity", "expression": "expression"}


@dataclass(frozen=True)
class Known:
    """What is known of one image.

    Attributes:
        source: The set that it comes from.
        name: Its name there.
        labels: Profile field -> label.
        years: Age in years, None where unknown.
        measured: Fact of `claims.MEASURED` -> its value.
    """

    source: FaceSet
    name: str
    labels: Mapping[str, str]
    years: float | None
    measured: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.source.name}/{self.name}"

    def image(self) -> Image.Image:
        """Opens the image, in RGB.  Raises FaceLLMError where it does not open."""
        return self.source.image(self.name)


def read_known(sets: Sequence[FaceSet], split: str | None, limit: int | None = None, seed: int = 0) -> list[Known]:
    """Reads and measures the images of a split.

    Whether a picture is blurred is judged beside `REFERENCE` pictures of each set, also where fewer are chosen.

    Args:
        sets: The labelled folders.
        split: First folder of the images' names; None for all.
        limit: Images of each set at most.
        seed: Decides their order.

    Raises:
        FaceLLMError: For an image that does not open.
    """
    chosen: list[tuple[FaceSet, Face]] = []
    measured: list[Pixels] = []
    compared: list[Pixels] = []
    for source in sets:
        faces = sorted((f for f in source.faces(split) if source.has(f.name)), key=lambda f: f.name)
        random.Random(f"{seed}:{source.name}").shuffle(faces)
        chosen += [(source, face) for face in faces[:limit]]
        read = faces if limit is None else faces[: max(limit, REFERENCE)]
        figures = [measure_pixels(source.image(face.name)) for face in read]
        compared += figures
        measured += figures[:limit]
    found = []
    for (source, face), more, image in zip(chosen, pixel_labels(measured, compared), measured, strict=True):
        mesh = source.measurements.get(face.name, {})
        labels = {_FIELDS[task]: label for task, label in face.labels.items() if task in _FIELDS}
        labels |= mesh_labels(mesh) | more
        frontal = labels.get("pose") == POSES[0]  # else a cheek's place may show the background
        seen = mesh_shapes(mesh) | _pixel_facts(image, frontal)
        found.append(Known(source, face.name, labels, source.labels.years.get(face.name), seen))
    return found


def _pixel_facts(image: Pixels, frontal: bool) -> dict[str, str]:
    """Colour and, of a frontal face, the side of the light."""
    facts, (even, apart) = {"colour": "none" if image.colour < GREY else "some"}, CHEEKS
    if frontal and (abs(image.side) < even or abs(image.side) > apart):
        facts["light side"] = "even" if abs(image.side) < even else "left" if image.side > 0 else "right"
    return facts


def pixel_labels(measured: Sequence[Pixels], compared: Sequence[Pixels]) -> list[dict[str, str]]:
    """Names lighting and sharpness of every measured image, sharpness by its place among the compared ones."""
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
