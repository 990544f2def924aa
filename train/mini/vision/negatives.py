"""Pictures without a face, made by code: drawn scenes, noise, writing, charts, and corners of photographs.

They teach the tower and the pairs to say that no face is visible. A kind is drawn by name, so that kinds can be kept
out of training and measured with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

CORNER_SHARE = (0.13, 0.2)  # side of a corner over that of the crop: aligned faces do not reach so far out
NO_FACE = "no_face"  # folder in the names of such pictures
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;-"


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def _place(
    rng: np.random.Generator, side: int, low: float = 0.05, high: float = 0.6
) -> tuple[float, float, float, float]:
    """A box (left, top, right, bottom) whose sides are `low` to `high` of the picture's."""
    width, height = rng.uniform(low * side, high * side, 2)
    left, top = rng.uniform(-0.2 * side, side, 2)
    return left, top, left + width, top + height


def clouds(rng: np.random.Generator, side: int) -> Image.Image:
    """Noise of several scales in two colours: sky, marble, grass or cloth."""
    field, weight = np.zeros((side, side)), 0.0
    for octave in range(int(rng.integers(1, 3)), 7):
        cells = 2**octave
        coarse = Image.fromarray((rng.random((cells, max(2, int(cells * rng.uniform(0.3, 1))))) * 255).astype(np.uint8))
        strength = rng.uniform(0.4, 0.9) ** octave
        field += strength * np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), float) / 255
        weight += strength
    field = np.clip((field / weight - 0.5) * rng.uniform(1, 3) + 0.5, 0, 1)[:, :, None]
    mixed = field * np.array(_colour(rng)) + (1 - field) * np.array(_colour(rng))
    return Image.fromarray(mixed.astype(np.uint8))


def shapes(rng: np.random.Generator, side: int) -> Image.Image:
    """Discs, boxes, triangles and lines that overlap at random."""
    picture = Image.new("RGB", (side, side), _colour(rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 14))):
        kind, box = int(rng.integers(0, 4)), _place(rng, side)
        if kind == 0:
            draw.ellipse(box, fill=_colour(rng))
        elif kind == 1:
            draw.rectangle(box, fill=_colour(rng))
        elif kind == 2:
            draw.polygon([tuple(rng.uniform(0, side, 2)) for _ in range(3)], fill=_colour(rng))
        else:
            draw.line(box, fill=_colour(rng), width=int(rng.integers(1, 9)))
    return picture


def writing(rng: np.random.Generator, side: int) -> Image.Image:
    """Lines of letters, as on a page or a sign."""
    picture = Image.new("RGB", (side, side), _colour(rng))
    draw, ink, size = ImageDraw.Draw(picture), _colour(rng), int(rng.integers(9, 40))
    for top in range(int(rng.integers(2, 20)), side, int(size * rng.uniform(1.1, 1.8))):
        words = ["".join(rng.choice(list(_LETTERS), int(rng.integers(1, 11)))) for _ in range(10)]
        draw.text((int(rng.integers(2, 15)), top), " ".join(words), fill=ink, font_size=size)
    return picture.rotate(float(rng.uniform(-8, 8)), fillcolor=_colour(rng))


def pattern(rng: np.random.Generator, side: int) -> Image.Image:
    """Stripes, checks, gratings or a plain gradient."""
    across, down = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    angle, waves = rng.uniform(0, np.pi), rng.uniform(1, 24)
    wave = np.sin(2 * np.pi * waves * (across * np.cos(angle) + down * np.sin(angle)))
    kind = int(rng.integers(0, 4))
    if kind == 0:
        field = (wave > 0).astype(float)
    elif kind == 1:
        field = ((np.sin(2 * np.pi * waves * across) * np.sin(2 * np.pi * waves * down)) > 0).astype(float)
    elif kind == 2:
        field = (wave + 1) / 2
    else:
        field = across * np.cos(angle) ** 2 + down * np.sin(angle) ** 2
    mixed = field[:, :, None] * np.array(_colour(rng)) + (1 - field[:, :, None]) * np.array(_colour(rng))
    return Image.fromarray(mixed.astype(np.uint8))


def landscape(rng: np.random.Generator, side: int) -> Image.Image:
    """A sky above hills, a sea or houses with windows."""
    picture = clouds(rng, side).filter(ImageFilter.GaussianBlur(3))
    draw, horizon = ImageDraw.Draw(picture), side * rng.uniform(0.3, 0.7)
    if rng.random() < 0.5:
        heights = horizon + np.cumsum(rng.normal(0, side / 40, 24))
        ridge = list(zip(np.linspace(0, side, 24).tolist(), heights.tolist(), strict=True))
        draw.polygon([*ridge, (side, side), (0, side)], fill=_colour(rng))
    else:
        left = 0.0
        while left < side:
            width, top = rng.uniform(15, 60), horizon + rng.uniform(-40, 40)
            draw.rectangle((left, top, left + width, side), fill=_colour(rng))
            window = _colour(rng)
            for y in range(int(top) + 6, side, 14):
                for x in range(int(left) + 4, int(left + width) - 6, 11):
                    draw.rectangle((x, y, x + 5, y + 7), fill=window)
            left += width + rng.uniform(0, 10)
    return picture


def chart(rng: np.random.Generator, side: int) -> Image.Image:
    """Axes with bars, a curve or points."""
    paper = (255, 255, 255) if rng.random() < 0.6 else _colour(rng)
    picture = Image.new("RGB", (side, side), paper)
    draw, ink, count = ImageDraw.Draw(picture), _colour(rng), int(rng.integers(4, 16))
    draw.line((20, 10, 20, side - 20, side - 10, side - 20), fill=(0, 0, 0), width=2)
    xs, heights = np.linspace(28, side - 20, count), rng.uniform(0.05, 0.9, count) * (side - 40)
    kind = int(rng.integers(0, 3))
    points = [(float(x), side - 20 - float(height)) for x, height in zip(xs, heights, strict=True)]
    if kind == 0:
        for x, y in points:
            draw.rectangle((x - 4, y, x + 4, side - 20), fill=ink)
    elif kind == 1:
        draw.line(points, fill=ink, width=3)
    else:
        for x, y in points:
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=ink)
    return picture


DRAWN: dict[str, Callable[[np.random.Generator, int], Image.Image]] = {
    make.__name__: make for make in (clouds, shapes, writing, pattern, landscape, chart)
}


def corner(crop: np.ndarray, rng: np.random.Generator, side: int) -> Image.Image:
    """A corner of a face crop, uint8 (s, s, 3), brought to `side`: background, hair or cloth, and no face."""
    size = round(len(crop) * rng.uniform(*CORNER_SHARE))
    top = 0 if rng.random() < 0.7 else len(crop) - size  # below, a neck or a chin may reach into a corner
    left = 0 if rng.random() < 0.5 else len(crop) - size
    return Image.fromarray(crop[top : top + size, left : left + size]).resize((side, side), Image.Resampling.BICUBIC)


def draw(
    count: int, side: int, rng: np.random.Generator, crops: np.ndarray | None = None, kinds: tuple[str, ...] = ()
) -> np.ndarray:
    """uint8 (count, side, side, 3): pictures without a face, of kinds chosen at random.

    crops: uint8 (n, s, s, 3), from whose corners some are cut; None: all are drawn.  kinds: of `DRAWN`; empty: all.
    """
    makers = [DRAWN[name] for name in kinds or DRAWN]
    pictures = []
    for _ in range(count):
        if crops is not None and rng.random() < 0.4:
            picture = corner(np.asarray(crops[int(rng.integers(len(crops)))]), rng, side)
        else:
            picture = makers[int(rng.integers(len(makers)))](rng, side)
            if rng.random() < 0.3:
                picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 4))))
        pictures.append(np.asarray(picture.convert("RGB")))
    return np.stack(pictures) if pictures else np.empty((0, side, side, 3), np.uint8)


def named(count: int, side: int, crops: np.ndarray, seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """(name, uint8 (side, side, 3)) of pictures without a face; a name is the same picture for the same crops."""
    kinds = [*DRAWN, corner.__name__, corner.__name__]
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        kind = kinds[number % len(kinds)]
        if kind in DRAWN:
            picture = DRAWN[kind](rng, side)
        else:
            picture = corner(np.asarray(crops[int(rng.integers(len(crops)))]), rng, side)
        yield f"{NO_FACE}/{kind}/{number}", np.asarray(picture.convert("RGB"))


def kind_of(name: str) -> str | None:
    """The kind of a picture that `named` made, None for any other name."""
    folder, _, rest = name.partition("/")
    return rest.partition("/")[0] if folder == NO_FACE else None
