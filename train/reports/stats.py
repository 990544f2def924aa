"""The few statistics that the measuring commands share; rates are fractions of 1, never per cent."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from facellm.intervals import normal_quantile, wilson
from facellm.typed.calibration import TEMPERATURES

CONFIDENCE = 0.95
# Temperature scaling: Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 4.2.


@dataclass(frozen=True)
class Rate:
    """count out of total, with a Wilson 95 % interval; value, low and high are None where total is 0."""

    count: int
    total: int
    value: float | None
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def rate(count: int, total: int) -> Rate:
    """`count` of `total` with the Wilson score interval.  Raises ValueError unless 0 <= count <= total."""
    if not 0 <= count <= total:
        raise ValueError(f"{count} of {total} is not a rate.")
    if total == 0:
        return Rate(0, 0, None, None, None)
    return Rate(int(count), int(total), count / total, *wilson(count, total, CONFIDENCE))


def macro_rate(groups: Sequence[tuple[int, int]]) -> tuple[float, float, float] | None:
    """Mean of the groups' rates (count, total), each weighing the same, with a normal 95 % interval; None for none.

    The variance is that of a stratified mean; a group's own is taken at its Laplace estimate (count + 1) / (total + 2),
    so that a group that was answered without a mistake is not taken for certain.
    """
    groups = [(count, total) for count, total in groups if total]
    if not groups:
        return None
    mean = float(np.mean([count / total for count, total in groups]))
    smooth = [((count + 1) / (total + 2), total) for count, total in groups]
    error = np.sqrt(sum(p * (1 - p) / total for p, total in smooth)) / len(groups)
    half = normal_quantile(CONFIDENCE) * float(error)
    return mean, max(0.0, mean - half), min(1.0, mean + half)


@dataclass(frozen=True)
class Paired:
    """Two answers to the same questions. gain: second minus first, with its 95 % interval (Agresti and Min 2005: half
    a pair added to each of the four cells); p: McNemar's test, two-sided, by the binomial distribution of
    the discordant pairs."""

    both: int
    only_first: int
    only_second: int
    neither: int
    gain: float
    low: float
    high: float
    p: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def paired(first: Sequence[bool], second: Sequence[bool], level: float = CONFIDENCE) -> Paired:
    """McNemar's test on two rows of right/wrong over the same questions, the interval at `level`.

    Raises ValueError for unequal or no rows.
    """
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError("A paired comparison needs two equally long, non-empty rows of answers.")
    from scipy.special import bdtr

    both, one, two, none = (int(x.sum()) for x in (a & b, a & ~b, ~a & b, ~a & ~b))
    p = min(1.0, 2 * float(bdtr(min(one, two), one + two, 0.5)))  # two-sided; the binomial is symmetric at 1/2
    n = len(a) + 2
    p12, p21 = (one + 0.5) / n, (two + 0.5) / n
    half = normal_quantile(level) * np.sqrt(max(0.0, p12 + p21 - (p12 - p21) ** 2) / n)
    return Paired(
        both, one, two, none, (two - one) / len(a),
        max(-1.0, p21 - p12 - half), min(1.0, p21 - p12 + half), p,
    )  # fmt: skip


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns Holm's adjusted p-values (1979), in the order given."""
    if not len(p_values):
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels loads plotting modules that warn of their own future
        from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(p_values, method="holm")[1]]


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """(n, labels) log-scores -> probabilities of the same shape; -inf marks a label that is not offered."""
    from scipy.special import softmax as of_scipy

    return of_scipy(np.asarray(logits, np.float64) / temperature, axis=-1)


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Mean of -log p(label) in nats."""
    from scipy.special import log_softmax

    logs = log_softmax(np.asarray(logits, np.float64) / temperature, axis=-1)
    return float(-logs[np.arange(len(labels)), np.asarray(labels)].mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature in `TEMPERATURES` that minimises the negative log-likelihood of `labels` (Guo et al. 2017).

    logits (n, labels): log-scores; softmax(logits / T) are the calibrated probabilities. The likelihood is unimodal
    in 1/T, so a bounded search over log T finds it. Raises ValueError for no rows.
    """
    if len(labels) == 0:
        raise ValueError("A temperature cannot be fitted to no answers.")
    from scipy.optimize import minimize_scalar

    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(
        lambda t: negative_log_likelihood(logits, labels, float(np.exp(t))),
        bounds=(low, high), method="bounded", options={"xatol": 1e-4},
    )  # fmt: skip
    return float(np.exp(found.x))


def cross_fitted(logits: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Calibrated probabilities (n, labels), each row's temperature fitted on the other fold only.

    folds (n,): 0 or 1; rows of one image must share a fold. What is measured on the result was not fitted on it.
    """
    logits, labels, folds = np.asarray(logits, np.float64), np.asarray(labels), np.asarray(folds)
    result = np.empty_like(logits)
    for fold in (0, 1):
        here, other = folds == fold, folds != fold
        if not here.any():
            continue
        result[here] = softmax(logits[here], fit_temperature(logits[other], labels[other]))
    return result
