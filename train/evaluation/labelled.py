"""What is known of the labelled faces that models are measured on: profile labels and facts for free text, by image.

Input: `FaceSet`s (labels.csv, measurements.csv). Output: `Known`, one per image. What this file does not know: models.
Measured labels are given at the ends of a measurement's range only; the middle stays unnamed.
"""

from __future__ import annotations

import io
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from facellm.profile import EXPRESSIONS
from train.evaluation.benchmark import FaceSet
from train.evaluation.tasks import pose_label

# The measured teacher's thresholds (train.nano.facts, train.nano.corpus): inner lip gap over mouth width, and lid gap
# over eye width (mean of both eyes).
MOUTH_CLOSED, MOUTH_OPEN = 0.03, 0.15
EYES_CLOSED, EYES_OPEN = 0.15, 0.26
# Mean grey of the image's middle, 0 to 1; absolute, since a quantile would call a dark skin a dark picture.
DARK, BALANCED, BRIGHT = 0.30, (0.40, 0.58), 0.68
# Quantiles of fine detail over the split's images: below and above.
BLURRED, SHARP = 0.25, 0.75
REFERENCE = 500  # images of each set over which the quantiles are taken at least: a few dozen would shift them
SIDE = 112  # px at which brightness and detail are measured, nano's input


@dataclass(frozen=True)
class Known:
    """source, name: which image.  labels: profile field -> label.  years: age in years, None where unknown."""

    source: FaceSet
    name: str
    labels: Mapping[str, str]
    years: float | None

    @property
    def key(self) -> str:
        return f"{self.source.name}/{self.name}"

    def image(self) -> Image.Image:
        with Image.open(io.BytesIO(self.source.read(self.name))) as image:
            return image.convert("RGB")


def read_known(sets: Sequence[FaceSet], split: str | None, limit: int | None = None, seed: int = 0) -> list[Known]:
    """The split's images, at most `limit` of each set, in an order that hangs on the seed; with pixel labels.

    Whether a picture is dark or blurred is judged beside `REFERENCE` pictures of each set, also where fewer are chosen.
    """
    chosen: list[tuple[FaceSet, Any]] = []
    measured: list[tuple[float, float]] = []
    compared: list[tuple[float, float]] = []
    for source in sets:
        faces = sorted((f for f in source.faces(split) if source.has(f.name)), key=lambda f: f.name)
        random.Random(f"{seed}:{source.name}").shuffle(faces)
        chosen += [(source, face) for face in faces[:limit]]
        read = faces if limit is None else faces[: max(limit, REFERENCE)]
        figures = [_brightness_and_detail(source.read(face.name)) for face in read]
        compared += figures
        measured += figures[:limit]
    pixels = _pixel_labels(measured, compared)
    found = []
    for (source, face), more in zip(chosen, pixels, strict=True):
        labels = {
            field: face.labels[task]
            for field, task in (("age_group", "age"), ("gender", "gender"), ("ethnicity", "race"))
            if task in face.labels
        }
        if face.labels.get("expression") in EXPRESSIONS:
            labels["expression"] = face.labels["expression"]
        labels |= _mesh_labels(source.measurements.get(face.name, {})) | more
        years = source.rows[face.name].get("age_years")
        found.append(Known(source, face.name, labels, float(years) if years else None))
    return found


def _mesh_labels(mesh: Mapping[str, str]) -> dict[str, str]:
    labels: dict[str, str | None] = {}
    if mesh.get("found", "1") != "1":
        return {}
    if mesh.get("yaw_deg"):
        labels["pose"] = pose_label(float(mesh["yaw_deg"]))
    if mesh.get("mouth_open"):
        gap = float(mesh["mouth_open"])
        labels["mouth"] = "closed" if gap < MOUTH_CLOSED else "open" if gap > MOUTH_OPEN else None
    if mesh.get("eye_open_left") and mesh.get("eye_open_right"):
        gap = (float(mesh["eye_open_left"]) + float(mesh["eye_open_right"])) / 2
        labels["eyes"] = "closed" if gap < EYES_CLOSED else "open" if gap > EYES_OPEN else None
    return {field: label for field, label in labels.items() if label}


def _pixel_labels(
    measured: Sequence[tuple[float, float]], compared: Sequence[tuple[float, float]]
) -> list[dict[str, str]]:
    """lighting and sharpness of every measured image, by its place among the compared ones."""
    if not measured:
        return []
    stats = np.array(compared)
    blurred, sharp = np.quantile(stats[:, 1], [BLURRED, SHARP])
    found = []
    for light, detail in measured:
        labels = {}
        if light < DARK or light > BRIGHT or BALANCED[0] < light < BALANCED[1]:
            labels["lighting"] = "dark" if light < DARK else "bright" if light > BRIGHT else "balanced"
        if detail < blurred or detail > sharp:
            labels["sharpness"] = "blurred" if detail < blurred else "sharp"
        found.append(labels)
    return found


def _brightness_and_detail(raw: bytes) -> tuple[float, float]:
    """Mean grey (0 to 1) and mean absolute Laplacian of the middle of the image at 112 px."""
    with Image.open(io.BytesIO(raw)) as image:
        small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    grey = np.asarray(small, np.float32)[14:-14, 14:-14] / 255
    laplacian = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return float(grey.mean()), float(np.abs(laplacian).mean())
