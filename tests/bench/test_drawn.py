"""The composed portraits of the pointing game: things lie where they are said to, and a map is judged by its peak."""

from __future__ import annotations

import numpy as np
from PIL import ImageChops

from tests.bench.by_hand.drawn import SIDE, by_chance, composed, points_at


def test_what_is_drawn_lies_in_its_box():
    for one in composed(6):
        changed = np.asarray(ImageChops.difference(one.image, one.plain)).max(axis=-1) > 12
        left, top, right, bottom = (round(edge) for edge in one.box)
        inside = np.zeros_like(changed)
        inside[max(0, top - 2) : bottom + 3, max(0, left - 2) : right + 3] = True
        assert changed.any() and not (changed & ~inside).any(), (one.kind, one.portrait)
        assert changed[inside].mean() > 0.05, "a picture of nothing would make any map right"


def test_the_peak_decides():
    corner = (0.0, 0.0, SIDE / 4, SIDE / 4)
    rows = [[0.0] * 4 for _ in range(4)]
    rows[0][0] = 1.0
    assert points_at(tuple(map(tuple, rows)), corner)
    rows[3][3] = 2.0
    assert not points_at(tuple(map(tuple, rows)), corner), "another region is stronger"
    assert by_chance(4, corner) == 4 / 16, "the region and its neighbours, to half a region"
    assert by_chance(4, (0, 0, SIDE, SIDE)) == 1
