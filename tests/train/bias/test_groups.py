"""Rates by group and gaps: against values worked out by hand, against fairlearn, against scipy's permutation test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.train.bias.bias_data import Fair, make_rows
from train.bias import gaps as bias_gaps
from train.bias import groups as bias_groups
from train.bias.bias import profile_labels
from train.bias.groups import ACCURACY, FPR, TPR, Bootstrap
from train.faces.label_rows import LabelRow
from train.reports import stats


def row(i, gender, race="White", age="20-29"):
    return LabelRow(i, f"{i}.jpg", age, gender, race, Path())


def find(measures, task, metric, grouping, positive=None):
    return next(m for m in measures if (m.task, m.metric, m.grouping, m.positive) == (task, metric, grouping, positive))


@pytest.fixture(scope="module")
def by_hand():
    """Four White and four Black faces, two women and two men each; of the Black women one is called a man, of the
    Black men one a woman."""
    rows = [row(i, ("Female", "Male")[i % 2], ("White", "Black")[i // 4]) for i in range(8)]
    gender = {r.file: r.gender for r in rows} | {"4.jpg": "Male", "5.jpg": "Female"}
    said = {"gender": gender, "ethnicity": {r.file: r.race for r in rows}, "age_group": {r.file: r.age for r in rows}}
    truth = bias_groups.table(rows)
    return truth, said, bias_groups.measures(truth, said, Bootstrap(8, 200, 0))


def test_rates_by_hand(by_hand):
    _, _, measures = by_hand
    accuracy = find(measures, "gender", ACCURACY, ("ethnicity",))
    assert accuracy.overall == 0.75
    black, white = accuracy.groups
    assert (black["group"], black["images"], black["hits"], black["value"], black["rest"]) == ("Black", 4, 2, 0.5, -0.5)
    assert (white["value"], white["high"]) == (1.0, 1.0) and white["low"] == stats.rate(4, 4).low  # not certain
    assert 0 <= black["low"] < 0.5 < black["high"] <= 1
    tpr, fpr = (find(measures, "gender", m, ("ethnicity",), "Female") for m in (TPR, FPR))
    assert [(r["group"], r["images"], r["value"]) for r in tpr.groups] == [("Black", 2, 0.5), ("White", 2, 1.0)]
    assert [(r["group"], r["images"], r["value"]) for r in fpr.groups] == [("Black", 2, 0.5), ("White", 2, 0.0)]
    cells = {r["group"]: r["value"] for r in find(measures, "gender", ACCURACY, ("gender", "ethnicity")).groups}
    assert cells == {"Female, Black": 0.5, "Female, White": 1.0, "Male, Black": 0.5, "Male, White": 1.0}


def test_representation_by_hand(by_hand):
    truth, said, _ = by_hand
    told = {**said, "gender": {**said["gender"], "0.jpg": "Male", "7.jpg": None}}
    found = {(r["task"], r["label"]): r for r in bias_groups.shares(truth, told, Bootstrap(8, 200, 0))}
    # Without image 7: 4 of 7 are women, and of the 7 words 2 are (images 2 and 6) and one is the man called a woman.
    assert found["gender", "Female"]["data"] == pytest.approx(4 / 7)
    assert found["gender", "Female"]["said"] == pytest.approx(3 / 7)
    assert found["gender", "Female"]["difference"] == pytest.approx(-1 / 7)
    assert found["gender", "Male"]["difference"] == pytest.approx(1 / 7)
    assert found["ethnicity", "Black"]["difference"] == 0


@pytest.fixture(scope="module")
def drawn():
    rows = make_rows(300, 3)
    said = profile_labels(list(Fair(0.25).predict(rows, "base")))
    truth = bias_groups.table(rows)
    return truth, said, bias_groups.measures(truth, said, Bootstrap(300, 300, 0))


@pytest.mark.parametrize("grouping", [("ethnicity",), ("band",), ("gender", "ethnicity", "band")])
def test_measures_equal_fairlearn(drawn, grouping):
    from fairlearn.metrics import MetricFrame, count, false_positive_rate, true_positive_rate
    from sklearn.metrics import accuracy_score

    truth, said, measures = drawn
    told = truth["file"].map(said["gender"])
    women = (truth["gender"] == "Female").astype(int), (told == "Female").astype(int)
    for metric, of, (y, p) in (
        (ACCURACY, accuracy_score, (truth["gender"], told)),
        (TPR, true_positive_rate, women),
        (FPR, false_positive_rate, women),
    ):
        frame = MetricFrame(metrics={"v": of, "n": count}, y_true=y, y_pred=p, sensitive_features=truth[list(grouping)])
        ours = find(measures, "gender", metric, grouping, None if metric == ACCURACY else "Female")
        assert ours.overall == pytest.approx(frame.overall["v"])
        for group in ours.groups:
            if group["images"]:
                names = tuple(group["group"].split(", "))
                theirs = frame.by_group["v"][names if len(names) > 1 else names[0]]
                assert group["value"] == pytest.approx(theirs), (metric, names)
        if len(grouping) == 1:
            assert bias_gaps.gap(ours, 1, 10)["gap"] == pytest.approx(frame.difference()["v"])


def test_intervals_are_of_the_right_width(drawn):
    """By image and at 95 %: close to Wilson's, since here every image gives one answer."""
    for group in find(drawn[2], "gender", ACCURACY, ("ethnicity",)).groups:
        wilson = stats.rate(group["hits"], group["images"])
        assert group["low"] == pytest.approx(wilson.low, abs=0.05)
        assert group["high"] == pytest.approx(wilson.high, abs=0.05)


def test_null_by_hand_and_by_shuffling():
    # Two groups of two, two hits: both in one group in 2 of 6 deals (gap 1), else one each (gap 0).
    null = bias_gaps.null_gaps([2, 2], 2, 6000, np.random.default_rng(0))
    assert set(null) == {0.0, 1.0} and null.mean() == pytest.approx(1 / 3, abs=0.02)
    from scipy.stats import permutation_test

    rng = np.random.default_rng(1)
    groups = [(rng.random(n) < p).astype(float) for n, p in ((40, 0.7), (60, 0.85), (30, 0.8))]

    def largest(*samples, axis):
        means = np.stack([s.mean(axis) for s in samples])
        return means.max(0) - means.min(0)

    theirs = permutation_test(groups, largest, n_resamples=3000, vectorized=True, alternative="greater", rng=rng)
    ours = bias_gaps.null_gaps([40, 60, 30], int(sum(g.sum() for g in groups)), 3000, rng)
    assert ours.mean() == pytest.approx(theirs.null_distribution.mean(), abs=0.01)
    assert (ours >= theirs.statistic - 1e-12).mean() == pytest.approx(theirs.pvalue, abs=0.03)


def test_a_fair_model_has_gaps_but_none_beyond_chance(drawn):
    found = bias_gaps.gaps(drawn[2], permutations=2000)
    assert len(found) > 40 and all(g["gap"] > 0 for g in found if g["groups"] > 2)
    assert not any(g["significant"] for g in found)
    assert np.mean([g["gap"] for g in found]) == pytest.approx(np.mean([g["null_mean"] for g in found]), abs=0.03)
    assert [g["p_holm"] for g in found] == sorted(g["p_holm"] for g in found)


@pytest.fixture
def few(monkeypatch):
    """Accuracy by ethnicity and by gender alone."""
    monkeypatch.setattr(bias_groups, "GROUPINGS", (("ethnicity",), ("gender",)))
    monkeypatch.setattr(bias_groups, "RATED", {})


def test_composition_alone_is_no_gap_among_alike(few):
    """The old are misjudged whoever they are, and one group is mostly old: a gap, but none among people alike."""
    rng = np.random.default_rng(2)
    old = [rng.random() < (0.8 if i % 2 else 0.2) for i in range(800)]
    rows = [row(i, "Male", ("White", "Black")[i % 2], "60-69" if old[i] else "20-29") for i in range(800)]
    wrong = {r.file: rng.random() < (0.5 if old[r.line] else 0.05) for r in rows}
    said = {"gender": {r.file: "Female" if wrong[r.file] else "Male" for r in rows},
            "ethnicity": {r.file: r.race for r in rows}, "age_group": {r.file: r.age for r in rows}}  # fmt: skip
    measures = bias_groups.measures(bias_groups.table(rows), said, Bootstrap(800, 50, 0))
    measure = find(measures, "gender", ACCURACY, ("ethnicity",))
    images, hits = measure.strata
    assert images.sum() == 800 and hits.sum() == 800 - sum(wrong.values()) and images.shape == (2, 2)
    found = bias_gaps.gap(measure, 10, 2000)
    assert found["p"] < 0.001 and found["lowest"] == "Black" and found["p_alike"] > 0.05
    # A group that is misjudged at every age is a gap among people alike, too.
    said["gender"] = {r.file: "Female" if r.race == "Black" and rng.random() < 0.3 else "Male" for r in rows}
    measures = bias_groups.measures(bias_groups.table(rows), said, Bootstrap(800, 50, 0))
    assert bias_gaps.gap(find(measures, "gender", ACCURACY, ("ethnicity",)), 10, 2000)["p_alike"] < 0.001


def test_small_groups_do_not_make_a_gap(few):
    rows = [row(i, "Female", "White" if i < 40 else "Black" if i < 80 else "Asian") for i in range(83)]
    said = {"gender": {r.file: "Female" if r.race != "Asian" else "Male" for r in rows},
            "ethnicity": {r.file: r.race for r in rows}, "age_group": {r.file: r.age for r in rows}}  # fmt: skip
    truth = bias_groups.table(rows)
    measures = bias_groups.measures(truth, said, Bootstrap(83, 50, 0))
    found = bias_gaps.gap(find(measures, "gender", ACCURACY, ("ethnicity",)), 10, 100)
    assert found["gap"] == 0 and found["p"] == 1 and found["left_out"] == ["Asian"]
    assert bias_gaps.gap(find(measures, "gender", ACCURACY, ("gender",)), 10, 100) is None
    sentences = list(bias_groups.empty_groups(truth))
    assert any("no image of the gender group 'Male'" in s for s in sentences)
    assert any("no gap by gender can be measured" in s for s in sentences)


def test_fine_and_coarse_ethnicities_meet():
    """FairFace's seven groups stay the groups; a model that knows five is right in its own words."""
    rows = [row(0, "Male", "East Asian"), row(1, "Male", "Middle Eastern"), row(2, "Male", "Southeast Asian")]
    said = {"gender": {}, "age_group": {}, "ethnicity": {"0.jpg": "Asian", "1.jpg": "Others", "2.jpg": "White"}}
    truth = bias_groups.table(rows)
    right, told = bias_groups.said_table(truth, said)
    assert (right["ethnicity"] == told["ethnicity"]).tolist() == [True, True, False]
    assert truth["ethnicity"].tolist() == ["East Asian", "Middle Eastern", "Southeast Asian"]
    fine = {**said, "ethnicity": {"0.jpg": "East Asian", "1.jpg": "White", "2.jpg": "East Asian"}}
    right, told = bias_groups.said_table(truth, fine)
    assert (right["ethnicity"] == told["ethnicity"]).tolist() == [True, False, False]
