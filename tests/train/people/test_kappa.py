"""Kappas against values worked out by hand and in the literature; bootstrap over images."""

from __future__ import annotations

import numpy as np
import pytest

from train.people import kappa as audit_agreement
from train.people.kappa import clustered, cohen, cohen_kappa, fleiss, fleiss_kappa


def test_cohen_by_hand():
    # 20 both yes, 5 yes/no, 10 no/yes, 15 both no: p = 35/50, chance = .5 * .6 + .5 * .4 = .5, kappa = .2 / .5
    table = [["y", "y"]] * 20 + [["y", "n"]] * 5 + [["n", "y"]] * 10 + [["n", "n"]] * 15
    assert cohen_kappa(table) == pytest.approx(0.4)
    # Three labels: p = 6/10; chance = (4*5 + 3*3 + 3*2) / 100 = .35; kappa = .25 / .65
    three = (
        [["a", "a"]] * 3 + [["a", "b"]] + [["b", "b"]] * 2 + [["b", "a"]] + [["c", "c"]] + [["c", "a"]] + [["c", "c"]]
    )
    first, second = (np.array([row[k] for row in three]) for k in (0, 1))
    chance = sum(np.mean(first == x) * np.mean(second == x) for x in "abc")
    assert cohen_kappa(three) == pytest.approx((np.mean(first == second) - chance) / (1 - chance))
    assert cohen_kappa([]) is None and cohen_kappa([["y", "y"]] * 9) is None


def test_fleiss_as_published():
    # Fleiss 1971's worked example as it is usually retold: 10 subjects, 14 raters, 5 categories, kappa 0.210
    counts = (
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1), (7, 7, 0, 0, 0),
        (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    )  # fmt: skip
    table = [[label for label, n in zip("abcde", row, strict=True) for _ in range(n)] for row in counts]
    assert fleiss_kappa(table) == pytest.approx(0.210, abs=5e-4)
    assert fleiss_kappa([["a", "a", "a"]]) is None


def test_agreement_counts_and_intervals():
    first = ["supported"] * 30 + ["wrong"] * 10
    second = ["supported"] * 28 + ["not visible"] * 6 + ["wrong"] * 6
    images = [str(i // 2) for i in range(40)]
    found = cohen(("ada", "bo"), first, second, images)
    assert found.common == 40 and found.same.count == 28 + 6
    # Supported or not: 28 both, 2 only ada, none only bo, 10 neither: p = .95, chance = .75*.7 + .25*.3 = .6
    assert found.binary == pytest.approx((0.95 - 0.6) / 0.4)
    assert found.binary_ends[0] < found.binary < found.binary_ends[1] + 1e-9
    assert found.kappa_ends[0] < found.kappa < found.kappa_ends[1]
    more = fleiss(("ada", "bo", "cy"), [list(row) for row in zip(first, second, first, strict=True)], images)
    assert more.measure == "Fleiss" and more.same.count == 34 and more.to_dict()["same"]["total"] == 40


def test_events_that_come_by_image_widen_the_interval():
    rng = np.random.default_rng(1)
    images = [str(i) for i in range(60) for _ in range(8)]
    bad = rng.random(60) < 0.2
    together = [bool(bad[i]) for i in range(60) for _ in range(8)]
    alone = rng.permutation(together).tolist()
    wide, narrow = clustered(images, together), clustered(images, alone)
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])
    # Whole images of 0s and 1s: the interval is that of a rate over 60 images
    p = bad.mean()
    assert wide[1] - wide[0] == pytest.approx(2 * 1.96 * np.sqrt(p * (1 - p) / 60), rel=0.15)


@pytest.mark.parametrize("measure", ["Cohen", "Fleiss"])
def test_the_intervals_formulas_are_the_libraries(monkeypatch, measure):
    rng = np.random.default_rng(2)
    table = rng.choice(["supported", "wrong", "not visible"], (50, 2 if measure == "Cohen" else 4), p=[0.6, 0.3, 0.1])
    images = [str(i % 10) for i in range(50)]
    # Every image drawn once: the interval closes on the estimate.
    monkeypatch.setattr(audit_agreement, "_draws", lambda clusters: np.ones((3, 10)))
    found = audit_agreement._agreement(("x",), measure, table.tolist(), images)
    assert found.kappa_ends == pytest.approx((found.kappa, found.kappa))
    assert found.binary_ends == pytest.approx((found.binary, found.binary))


def test_where_a_bootstrap_cannot_tell():
    assert clustered(["a", "b"], [False, False]) is None
    assert clustered(["a", "a"], [True, False]) is None
    nearly = [["y", "y"]] * 39 + [["y", "n"]]  # most samples of images hold one label only
    assert cohen(("ada", "bo"), *zip(*nearly, strict=True), [str(i) for i in range(40)]).kappa_ends is None
    assert clustered(["a", "b"], [True, False]) == clustered(["a", "b"], [True, False])
