"""What is measured of a face image: columns of a face-mesh table, statistics of pixels, and the bars that name them.

Knows no labels, no models and no wording. Measured names are given at the ends of a measurement's range only; the
middle stays unnamed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from facellm.labels import POSES
from train.faces.label_files import number, rows_by_file

if TYPE_CHECKING:
    import torch

# Columns of a measurements.csv beside `file` and `found`: angles in degrees (yaw > 0: to the viewer's left), ratios of
# distances on the mesh.
MEASUREMENTS = (
    "yaw_deg",
    "pitch_deg",
    "roll_deg",
    "mouth_open",
    "mouth_width",
    "smile_lift",
    "eye_open_left",
    "eye_open_right",
    "brow_raise",
    "face_ratio",
    "jaw_ratio",
    "lip_thickness",
    "nose_width",
)
PIXEL_STATS = ("brightness", "contrast", "sharpness", "saturation", "light_left_minus_right")
SIDE = 112  # px at which pixels are measured, nano's input
EDGE = 14  # px that are left out on each side

# Beyond +-14 degrees of yaw lie the outer 8 % of the aligned faces on each side, within +-9 the inner 70 %; between
# them nobody is asked, because the measurement does not separate well there.
YAW_TURNED_DEG = 14.0
YAW_FRONTAL_DEG = 9.0
PITCH_LEVEL_DEG = 7.8  # the set's median: the mesh's pitch carries this constant offset
PITCH_DEG = (5.0, 10.0)  # from that: level within the first, raised or lowered beyond the second
MOUTH_CLOSED, MOUTH_OPEN = 0.03, 0.15  # inner lip gap over mouth width
EYES_CLOSED, EYES_OPEN = 0.15, 0.26  # lid gap over eye width, mean of both eyes
# The ends of what varies from face to face: a value below the first has the first name, one above the second the other.
SHAPES = {
    "face shape": ("face_ratio", 0.80, 0.90, "long", "round"),
    "jaw": ("jaw_ratio", 0.79, 0.837, "tapered", "broad"),
    "nose": ("nose_width", 0.455, 0.53, "narrow", "broad"),
    "lips": ("lip_thickness", 0.127, 0.205, "thin", "full"),
    "brows": ("brow_raise", 0.165, 0.25, "low", "raised"),
}
# Mean grey of the image's middle, 0 to 1; absolute and far apart, since a quantile would call dark skin a dark picture
# and pale skin a bright one (docs/research/nano.md).
DARK, BALANCED, BRIGHT = 0.30, (0.40, 0.58), 0.68
GREY = 0.03  # twice the mean difference of the highest and the lowest colour channel: below, there is no colour
# Light on the left cheek less that on the right over their mean: even below the first, from one side above the second.
CHEEKS = (0.08, 0.25)
LEFT_CHEEK, RIGHT_CHEEK = (slice(58, 78), slice(22, 42)), (slice(58, 78), slice(70, 90))  # rows, columns at SIDE px


class Pixels(NamedTuple):
    """What one image's pixels show at 112 px.

    Attributes:
        light: Mean grey of its middle, 0 to 1.
        detail: Mean absolute Laplacian there.
        colour: As `GREY`.
        side: As `CHEEKS`.
    """

    light: float
    detail: float
    colour: float = 1.0
    side: float = 0.0


def read_measurements(path: Path, option: str, needs: Sequence[str] = ("file",)) -> dict[str, dict[str, float]]:
    """Reads a measurements.csv.

    Returns:
        file -> column -> value, for every image with a fitted mesh (`found` is 1, or not a column); empty cells are
        left out.

    Raises:
        FaceLLMError: Where the file cannot be read, a column of `needs` is missing, or a cell is no number.
    """
    found = {}
    for file, row in rows_by_file(path, option, needs).items():
        if row.get("found", "1") == "1":
            values = {name: number(row, name, path) for name in row if name in MEASUREMENTS}
            found[file] = {name: value for name, value in values.items() if value is not None}
    return found


def square(image: Image.Image, side: int) -> np.ndarray:
    """Scales an image to fit into a square whose borders are filled with the image's mean colour.

    Returns:
        uint8 (side, side, 3).
    """
    image = image.convert("RGB")
    mean = tuple(int(v) for v in np.asarray(image).reshape(-1, 3).mean(0))
    return np.asarray(ImageOps.pad(image, (side, side), Image.Resampling.LANCZOS, color=mean))


def measure_pixels(image: Image.Image) -> Pixels:
    """Measures one RGB image, scaled to `SIDE`."""
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    rgb = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32) / 255
    whole = np.asarray(small, np.float32) / 255
    grey = whole[EDGE:-EDGE, EDGE:-EDGE]
    laplacian = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return Pixels(
        light=float(grey.mean()),
        detail=float(np.abs(laplacian).mean()),
        colour=float(2 * (rgb.max(2) - rgb.min(2)).mean()),
        side=float(_cheeks(whole[None])[0]),
    )


def pixel_stats(pixels: torch.Tensor) -> torch.Tensor:
    """Measures a batch as nano's targets are measured.

    Args:
        pixels: (n, 3, h, w) in 0..1.

    Returns:
        (n, 5): `PIXEL_STATS` of the grey image's middle, each near 0..1.
    """
    import torch

    grey = (pixels * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)
    inner = grey[:, EDGE:-EDGE, EDGE:-EDGE]
    laplacian = (
        inner[:, 1:-1, 1:-1] * 4 - inner[:, :-2, 1:-1] - inner[:, 2:, 1:-1] - inner[:, 1:-1, :-2] - inner[:, 1:-1, 2:]
    )
    half = inner.shape[2] // 2
    return torch.stack(
        [
            inner.mean((1, 2)),
            inner.std((1, 2)) * 4,
            (laplacian.abs().mean((1, 2)) + 1e-4).log() / 4 + 1,
            (pixels.amax(1) - pixels.amin(1)).mean((1, 2)) * 2,
            (inner[:, :, :half].mean((1, 2)) - inner[:, :, half:].mean((1, 2))) * 4,
        ],
        dim=1,
    )


def cheek_difference(pixels: np.ndarray) -> np.ndarray:
    """Compares the light on the two cheeks.

    Args:
        pixels: (n, 3, 112, 112) in 0..1.

    Returns:
        (n,): the left cheek's luminance less the right one's, over their mean.
    """
    return _cheeks(pixels[:, 0] * 0.299 + pixels[:, 1] * 0.587 + pixels[:, 2] * 0.114)


def _cheeks(grey: np.ndarray) -> np.ndarray:
    left, right = (grey[:, rows, columns].mean((1, 2)) for rows, columns in (LEFT_CHEEK, RIGHT_CHEEK))
    return (left - right) / ((left + right) / 2 + 0.05)


def pose_label(yaw_deg: float) -> str | None:
    """Returns the head-pose label of a measured yaw; None where it is in between."""
    frontal, left, right = POSES
    if abs(yaw_deg) <= YAW_FRONTAL_DEG:
        return frontal
    if yaw_deg >= YAW_TURNED_DEG:
        return left
    return right if yaw_deg <= -YAW_TURNED_DEG else None


def mesh_labels(mesh: Mapping[str, float]) -> dict[str, str]:
    """Returns the labels of pose, mouth and eyes at the ends of their ranges."""
    labels: dict[str, str | None] = {}
    if "yaw_deg" in mesh:
        labels["pose"] = pose_label(mesh["yaw_deg"])
    if "mouth_open" in mesh:
        gap = mesh["mouth_open"]
        labels["mouth"] = "closed" if gap < MOUTH_CLOSED else "open" if gap > MOUTH_OPEN else None
    if "eye_open_left" in mesh and "eye_open_right" in mesh:
        gap = (mesh["eye_open_left"] + mesh["eye_open_right"]) / 2
        labels["eyes"] = "closed" if gap < EYES_CLOSED else "open" if gap > EYES_OPEN else None
    return {key: label for key, label in labels.items() if label}


def mesh_shapes(mesh: Mapping[str, float]) -> dict[str, str]:
    """Returns shapes of the face and how the chin is held, where they stand out."""
    facts: dict[str, str | None] = {}
    for fact, (name, low, high, below, above) in SHAPES.items():
        if name in mesh:
            facts[fact] = below if mesh[name] < low else above if mesh[name] > high else None
    if "pitch_deg" in mesh:
        pitch, (level, bent) = mesh["pitch_deg"] - PITCH_LEVEL_DEG, PITCH_DEG
        beyond = "lowered" if pitch > bent else "raised" if pitch < -bent else None
        facts["chin"] = "level" if abs(pitch) < level else beyond
    return {fact: value for fact, value in facts.items() if value}
