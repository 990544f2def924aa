"""Pictures whose corners tell how they lie, as files of any format."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

# A picture whose four corners tell every turn and mirroring apart: red, green / blue, white.
WIDTH, HEIGHT = 96, 64
CORNERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))


def picture(width=WIDTH, height=HEIGHT) -> Image.Image:
    small = Image.new("RGB", (2, 2))
    small.putdata(CORNERS)
    return small.resize((width, height), Image.Resampling.NEAREST)


def encoded(image: Image.Image, fmt: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, fmt, **options)
    return file.getvalue()


def corners(image: Image.Image) -> list[tuple]:
    x, y = image.width // 8, image.height // 8
    return [
        image.getpixel(p)
        for p in ((x, y), (-x % image.width, y), (x, -y % image.height), (-x % image.width, -y % image.height))
    ]


def near(found, expected, tolerance=40) -> bool:
    return bool((np.abs(np.array(found, int) - np.array(expected, int)) <= tolerance).all())
