"""How well annotators agree: Cohen's and Fleiss' kappa with intervals, and rates with intervals that respect images.

scikit-learn computes Cohen's kappa and statsmodels Fleiss'; intervals are percentiles of a bootstrap that draws whole
images, because labels about one image are not independent.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from train.reports import stats

DRAWS = 2000  # bootstrap samples
SEED = 0
SUPPORTED = "supported"


@dataclass(frozen=True)
class Agreement:
    """names: who.  measure: "Cohen" or "Fleiss".  common: how many labels all gave.  same: rate of equal ones.
    kappa: of the labels as they are; binary: of `SUPPORTED` against all others; None where it is not defined.
    kappa_ends, binary_ends: 95 % intervals by a bootstrap over images, None where they are not defined."""

    names: tuple[str, ...]
    measure: str
    common: int
    same: stats.Rate
    kappa: float | None
    kappa_ends: tuple[float, float] | None
    binary: float | None
    binary_ends: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def cohen(names: Sequence[str], first: Sequence[str], second: Sequence[str], clusters: Sequence[str]) -> Agreement:
    """Of two rows of labels about the same things; clusters: the image of each."""
    return _agreement(tuple(names), "Cohen", list(zip(first, second, strict=True)), clusters)


def fleiss(names: Sequence[str], table: Sequence[Sequence[str]], clusters: Sequence[str]) -> Agreement:
    """Of any number of annotators; table: one row of labels a thing, one label an annotator."""
    return _agreement(tuple(names), "Fleiss", table, clusters)


def cohen_kappa(table: Sequence[Sequence[str]]) -> float | None:
    """table: (n, 2) labels.  None where there is nothing to compare, or both gave one and the same label throughout."""
    if not len(table) or len({label for row in table for label in row}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score

    first, second = zip(*table, strict=True)
    return float(cohen_kappa_score(first, second))


def fleiss_kappa(table: Sequence[Sequence[str]]) -> float | None:
    """table: (n, annotators) labels.  None as for `cohen_kappa`."""
    if not len(table) or len({label for row in table for label in row}) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels loads plotting modules that warn of their own future
        from statsmodels.stats.inter_rater import aggregate_raters
        from statsmodels.stats.inter_rater import fleiss_kappa as of_statsmodels

    counts, _ = aggregate_raters(np.asarray(table))
    return float(of_statsmodels(counts))


def _agreement(
    names: tuple[str, ...], measure: str, table: Sequence[Sequence[str]], clusters: Sequence[str]
) -> Agreement:
    kappa = cohen_kappa if measure == "Cohen" else fleiss_kappa
    binary = [[str(label == SUPPORTED) for label in row] for row in table]
    same = sum(len(set(row)) == 1 for row in table)
    return Agreement(
        names, measure, len(table), stats.rate(same, len(table)),
        kappa(table), _kappa_ends(measure, table, clusters), kappa(binary), _kappa_ends(measure, binary, clusters),
    )  # fmt: skip


def _kappa_ends(measure: str, table: Sequence[Sequence[str]], clusters: Sequence[str]) -> tuple[float, float] | None:
    """Percentile interval of a kappa over samples of whole clusters, all samples at once from sums over each cluster.

    The same formulas as the libraries', which would need a call for every sample.
    """
    labels = sorted({label for row in table for label in row})
    weights = _draws(clusters)
    if len(labels) < 2 or weights is None:
        return None
    codes = np.array([[labels.index(label) for label in row] for row in table])  # (n, annotators)
    if measure == "Cohen":
        cells = np.eye(len(labels) ** 2)[codes[:, 0] * len(labels) + codes[:, 1]]
        drawn = (weights @ _sums(clusters, cells)).reshape(-1, len(labels), len(labels))
        total = drawn.sum((1, 2))
        agreed = np.trace(drawn, axis1=1, axis2=2) / total
        chance = (drawn.sum(1) * drawn.sum(2)).sum(1) / total**2
    else:
        raters = codes.shape[1]
        counts = np.eye(len(labels))[codes].sum(1)  # (n, labels): how many gave each
        sums = weights @ _sums(clusters, np.column_stack([counts, (counts**2).sum(1), np.ones(len(codes))]))
        total = sums[:, -1]
        agreed = (sums[:, -2] / total - raters) / (raters * (raters - 1))
        chance = ((sums[:, : len(labels)] / (total * raters)[:, None]) ** 2).sum(1)
    defined = chance < 1 - 1e-12
    if defined.mean() < 0.9:  # too many samples hold one label only
        return None
    return _ends((agreed[defined] - chance[defined]) / (1 - chance[defined]))


def clustered(clusters: Sequence[str], events: Sequence[bool]) -> tuple[float, float] | None:
    """95 % interval of the rate of `events`, whole clusters drawn with replacement.

    None for fewer than two clusters, and where all events are the same: a bootstrap then gives no width, which would
    look like certainty.
    """
    weights = _draws(clusters)
    if len(set(events)) < 2 or weights is None:
        return None
    drawn = weights @ _sums(clusters, np.column_stack([np.asarray(events, float), np.ones(len(events))]))
    return _ends(drawn[:, 0] / drawn[:, 1])


def _draws(clusters: Sequence[str]) -> np.ndarray | None:
    """(DRAWS, clusters): how often each cluster is drawn in each sample; None for fewer than two."""
    count = len(set(clusters))
    if count < 2:
        return None
    return np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(float)


def _sums(clusters: Sequence[str], rows: np.ndarray) -> np.ndarray:
    """(n, columns) -> (clusters, columns), clusters in the order of their names."""
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.zeros((place.max() + 1, rows.shape[1]))
    np.add.at(sums, place, rows)
    return sums


def _ends(values: np.ndarray) -> tuple[float, float]:
    tail = 50 * (1 - stats.CONFIDENCE)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
