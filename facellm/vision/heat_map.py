"""A map of influences laid over the picture that it was measured on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

FOR, AGAINST = (230, 85, 13), (33, 102, 172)  # orange and blue, told apart by who sees no red or green
OPACITY = 0.65


def heat_map(
    image: Image.Image, influence: Sequence[Sequence[float]], opacity: float = OPACITY, largest: float | None = None
) -> Image.Image:
    """Lays a map over a picture: orange where a region speaks for the answer, blue where against it.

    Args:
        image: An RGB picture.
        influence: Rows of the map, from the top left.
        opacity: Of the colour where the influence is largest, 0 to 1.
        largest: The influence that gets full colour, so that several maps share a scale; None takes this map's own.

    Returns:
        An RGB picture of the same size.
    """
    values = np.asarray(influence, np.float32)
    scale = largest if largest is not None else float(np.abs(values).max())
    share = np.clip(values / scale, -1, 1) if scale > 0 else values * 0
    grown = Image.fromarray(share).resize(image.size, Image.Resampling.BICUBIC)  # (h, w) in -1..1
    weight = np.clip(np.asarray(grown), -1, 1)[..., None]
    colour = np.where(weight > 0, np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    grey = np.asarray(image.convert("L"), np.float32)[..., None].repeat(3, -1)
    base = 0.5 * np.asarray(image, np.float32) + 0.5 * grey
    mixed = base + np.abs(weight) * opacity * (colour - base)
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))
