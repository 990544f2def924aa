"""Glasses, hats and open mouths drawn on crops of the example portraits, each with the place where it was drawn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from facellm.vision.faces import Face, find_faces, view_face
from tests.paths import EXAMPLES

Box = tuple[float, float, float, float]
SIDE = 448  # px of a composed picture
# What each portrait has already is not drawn on it; an open mouth is, at the place of its own.
PORTRAITS: dict[str, set[str]] = {
    "collins.jpg": set(),
    "bluford.jpg": set(),
    "jemison.jpg": set(),
    "lindgren.jpg": set(),
    "ochoa.jpg": set(),
    "johnson.jpg": {"glasses"},
    "hopper.jpg": {"glasses", "hat"},
}
COLOURS = ((25, 25, 30), (120, 30, 35), (30, 60, 130), (235, 235, 230))


@dataclass(frozen=True)
class Composed:
    """A portrait with something drawn on it.

    Attributes:
        kind: "glasses", "hat" or "mouth".
        plain, image: Before and after, SIDE x SIDE px.
        box: Where it was drawn, in px: left, top, right, bottom.
    """

    kind: str
    portrait: str
    plain: Image.Image
    image: Image.Image
    box: Box


def _glasses(draw: ImageDraw.ImageDraw, face: Face, colour: tuple[int, int, int]) -> Box:
    (lx, ly), (rx, ry), *_ = face.landmarks or ()
    apart = rx - lx
    wide, high, line = 0.42 * apart, 0.30 * apart, max(4, round(apart / 16))
    for x, y in ((lx, ly), (rx, ry)):
        draw.ellipse((x - wide, y - high, x + wide, y + high), outline=colour, width=line)
    draw.line((lx + wide, ly, rx - wide, ry), fill=colour, width=line)
    draw.line((lx - wide, ly, lx - wide - 0.3 * apart, ly - 0.1 * apart), fill=colour, width=line)
    draw.line((rx + wide, ry, rx + wide + 0.3 * apart, ry - 0.1 * apart), fill=colour, width=line)
    out = wide + 0.3 * apart + line / 2
    return lx - out, min(ly, ry) - high - line / 2, rx + out, max(ly, ry) + high + line / 2


def _hat(draw: ImageDraw.ImageDraw, face: Face, colour: tuple[int, int, int]) -> Box:
    (lx, ly), (rx, ry), *_ = face.landmarks or ()
    apart, middle, brow = rx - lx, (lx + rx) / 2, min(ly, ry) - 0.45 * (rx - lx)
    draw.rectangle((middle - 1.05 * apart, 0, middle + 1.05 * apart, brow), fill=colour)
    band = tuple(int(0.6 * value) for value in colour)
    draw.rectangle((middle - 1.05 * apart, brow - 0.16 * apart, middle + 1.05 * apart, brow), fill=band)
    draw.rounded_rectangle((middle - 1.5 * apart, brow, middle + 1.5 * apart, brow + 0.14 * apart), 6, fill=colour)
    return middle - 1.5 * apart, 0, middle + 1.5 * apart, brow + 0.14 * apart


def _mouth(draw: ImageDraw.ImageDraw, face: Face, colour: tuple[int, int, int]) -> Box:
    *_, (lx, ly), (rx, ry) = face.landmarks or ()
    wide, x, y = 0.5 * (rx - lx), (lx + rx) / 2, (ly + ry) / 2
    box = (x - wide, y - 0.35 * wide, x + wide, y + 1.05 * wide)
    draw.ellipse(box, fill=(70, 15, 20), outline=(150, 60, 65), width=4)
    draw.chord((box[0] + 6, box[1] + 5, box[2] - 6, box[3] - 6), 200, 340, fill=(245, 243, 238))
    return box


KINDS = {"glasses": _glasses, "hat": _hat, "mouth": _mouth}


def composed(most: int) -> Iterator[Composed]:
    """The first `most` pictures, glasses, hats and mouths in turn, on portraits as they are and mirrored."""
    crops = {}
    for name, mirrored in itertools.product(PORTRAITS, (False, True)):
        view = view_face(Image.open(EXAMPLES / name).convert("RGB"))
        crop = view.image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        crop = ImageOps.mirror(crop) if mirrored else crop
        if faces := find_faces(crop):
            crops[name, mirrored] = crop, faces[0]
    styles = list(itertools.product(COLOURS, crops))
    ways = {kind: [style for style in styles if kind not in PORTRAITS[style[1][0]]] for kind in KINDS}
    for i, kind in itertools.islice(((i, kind) for i in itertools.count() for kind in KINDS), most):
        colour, key = ways[kind][i % len(ways[kind])]
        crop, face = crops[key]
        image = crop.copy()
        box = KINDS[kind](ImageDraw.Draw(image), face, colour)
        yield Composed(kind, key[0], crop, image, box)


def points_at(influence: tuple[tuple[float, ...], ...], box: Box) -> bool:
    """The pointing game: whether the middle of the region that speaks most for the answer lies in the box, give or take
    half a region."""
    rows = np.asarray(influence)
    row, column = np.unravel_index(int(rows.argmax()), rows.shape)
    high, wide = SIDE / rows.shape[0], SIDE / rows.shape[1]
    x, y = (column + 0.5) * wide, (row + 0.5) * high
    left, top, right, bottom = box
    return bool(left - wide / 2 <= x <= right + wide / 2 and top - high / 2 <= y <= bottom + high / 2)


def by_chance(side: int, box: Box) -> float:
    """The share of regions for which `points_at` holds: what a map that knows nothing reaches."""
    hits = 0
    for region in range(side * side):
        row, column = divmod(region, side)
        hits += points_at(tuple(tuple(float((r, c) == (row, column)) for c in range(side)) for r in range(side)), box)
    return hits / side**2
