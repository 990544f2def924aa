"""Intervals, paired tests and calibration against values worked out by hand or published."""

from __future__ import annotations

import numpy as np
import pytest

from facellm.typed import calibration
from train.reports import stats


def test_wilson_interval_of_a_known_case():
    # Newcombe 1998, table I: 81 of 263, Wilson without continuity correction: 0.2553 to 0.3662.
    found = stats.rate(81, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert stats.rate(0, 29).low == 0 and round(stats.rate(0, 29).high, 4) == 0.1170
    assert stats.rate(0, 0).value is None and str(stats.rate(0, 0)) == "-"
    with pytest.raises(ValueError, match="3 of 2"):
        stats.rate(3, 2)


def test_macro_rate_weighs_labels_alike():
    mean, low, high = stats.macro_rate([(90, 100), (1, 2), (0, 0)])
    assert mean == pytest.approx(0.7)
    assert low < mean < high
    assert stats.macro_rate([]) is None
    assert stats.macro_rate([(5, 5)])[1] < 1  # five of five is not certainty


def test_mcnemar_exact_by_hand():
    # 1 against 9 discordant: two-sided binomial 2 * (1 + 10) / 2**10.
    first = [True] * 1 + [False] * 9 + [True] * 20
    second = [False] * 1 + [True] * 9 + [True] * 20
    found = stats.paired(first, second)
    assert (found.both, found.only_first, found.only_second, found.neither) == (20, 1, 9, 0)
    assert found.p == pytest.approx(22 / 1024)
    assert found.gain == pytest.approx(8 / 30)
    assert found.low < found.gain < found.high


def test_mcnemar_without_any_difference_and_with_many():
    assert stats.paired([True, False], [True, False]).p == 1.0
    # 10 of 40 discordant: 2 * P(X <= 10), X binomial (40, 1/2)
    found = stats.paired([True] * 10 + [False] * 30, [False] * 10 + [True] * 30)
    assert found.p == pytest.approx(0.00222, abs=2e-5)
    with pytest.raises(ValueError, match="equally long"):
        stats.paired([True], [])


def test_holm():
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([]) == []


def test_calibration_error_by_hand():
    # Two answers at 0.9 (one right), two at 0.6 (both right): 0.5 * |0.5 - 0.9| + 0.5 * |1 - 0.6|.
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    assert calibration.expected_calibration_error(p, np.array([0, 1, 0, 1])) == pytest.approx(0.4)
    rows = calibration.reliability(p, np.array([0, 1, 0, 1]))
    assert [r["count"] for r in rows] == [2, 2] and sum(r["share"] for r in rows) == 1
    assert calibration.expected_calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0
    with pytest.raises(ValueError, match="at least one"):
        calibration.expected_calibration_error(np.empty((0, 2)), np.empty(0))


def _drawn(n: int, temperature: float, seed: int = 0):
    """Logits whose labels follow softmax(logits / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, 4))
    p = stats.softmax(logits, temperature)
    return logits, (p.cumsum(1) > rng.random((n, 1))).argmax(1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_found_again(temperature):
    logits, labels = _drawn(20_000, temperature)
    assert stats.fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


def test_fitted_temperature_is_a_minimum_and_calibrates():
    logits, labels = _drawn(5_000, 2.5)
    fitted = stats.fit_temperature(logits, labels)
    best = stats.negative_log_likelihood(logits, labels, fitted)
    assert all(best <= stats.negative_log_likelihood(logits, labels, fitted * k) for k in (0.8, 0.95, 1.05, 1.25))
    before = calibration.expected_calibration_error(stats.softmax(logits), labels)
    after = calibration.expected_calibration_error(stats.softmax(logits, fitted), labels)
    assert after < 0.03 < before


def test_cross_fitting_never_looks_at_the_rows_it_measures():
    logits, labels = _drawn(2_000, 2.0)
    folds = np.arange(2_000) % 2
    calibrated = stats.cross_fitted(logits, labels, folds)
    expected = stats.softmax(logits[folds == 0], stats.fit_temperature(logits[folds == 1], labels[folds == 1]))
    assert np.allclose(calibrated[folds == 0], expected)
    changed = labels.copy()
    changed[folds == 0] = 0
    assert np.allclose(stats.cross_fitted(logits, changed, folds)[folds == 0], expected)


def test_a_label_that_is_not_offered_keeps_no_probability():
    p = stats.softmax(np.array([[0.0, -np.inf, 0.0]]), 2.0)
    assert p.tolist() == [[0.5, 0.0, 0.5]]
