"""Pictures without a face: of every kind, of one size, the same again from the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from train.mini.vision import negatives


@pytest.mark.parametrize("kind", sorted(negatives.DRAWN))
def test_every_kind_is_drawn(kind: str) -> None:
    drawn = negatives.draw(3, 64, np.random.default_rng(0), kinds=(kind,))
    assert drawn.shape == (3, 64, 64, 3) and drawn.dtype == np.uint8
    assert (drawn == negatives.draw(3, 64, np.random.default_rng(0), kinds=(kind,))).all()
    assert not (drawn[0] == drawn[1]).all()


def test_corners_keep_away_from_the_middle() -> None:
    crop = np.zeros((1, 100, 100, 3), np.uint8)
    crop[0, 31:69, 31:69] = 255  # where a face is
    drawn = [negatives.corner(crop[0], np.random.default_rng(seed), 40) for seed in range(20)]
    assert max(np.asarray(picture).max() for picture in drawn) == 0


def test_none_asked_none_given() -> None:
    assert negatives.draw(0, 32, np.random.default_rng(0)).shape == (0, 32, 32, 3)
