"""Wilson's interval against published values and against statsmodels."""

from __future__ import annotations

import pytest

from facellm.intervals import normal_quantile, wilson


def test_published_values():
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, table I
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=5e-5)
    assert normal_quantile() == pytest.approx(1.959964, abs=1e-6)


@pytest.mark.parametrize(("count", "total"), [(0, 7), (7, 7), (3, 7), (81, 263), (1, 10_000)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilson_interval_equals_that_of_statsmodels(count, total, level):
    from statsmodels.stats.proportion import proportion_confint

    expected = proportion_confint(count, total, alpha=1 - level, method="wilson")
    assert wilson(count, total, level) == pytest.approx(expected, abs=1e-12)


def test_ends_halves_and_nothing_counted():
    assert wilson(0, 4)[0] == 0 and wilson(4, 4)[1] == 1
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(2, 4)[0] < wilson(2.5, 4)[0] < wilson(3, 4)[0]  # a tie counts half
    with pytest.raises(ValueError, match="3 of 2"):
        wilson(3, 2)
