"""Wilson's score interval of a proportion, for the demo's votes and the reports of the measuring commands."""

from __future__ import annotations

import math
from statistics import NormalDist


def normal_quantile(level: float = 0.95) -> float:
    """Returns how many standard deviations either side of the mean hold `level` of a normal distribution (1.96)."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def wilson(count: float, total: int, level: float = 0.95) -> tuple[float, float]:
    """Returns Wilson's score interval of the proportion `count / total`.

    E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", Journal of the American
    Statistical Association 22 (1927), 209-212. Written out because scipy and statsmodels take seconds to import and
    the demo needs neither.

    Args:
        count: Successes; a tie may count half.
        total: Trials.
        level: Confidence level, as a fraction of 1.

    Returns:
        The interval's ends, in 0..1; (0, 1) where `total` is 0.

    Raises:
        ValueError: Unless 0 <= count <= total.
    """
    if not 0 <= count <= total:
        raise ValueError(f"{count} of {total} is not a proportion.")
    if total == 0:
        return 0.0, 1.0
    p, z = count / total, normal_quantile(level)
    centre = p + z * z / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At the ends the interval touches 0 or 1 exactly; rounding must not leave it a hair short.
    return (centre - half) / scale if count else 0.0, (centre + half) / scale if count < total else 1.0
