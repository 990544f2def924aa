"""How well annotators agree: Cohen's and Fleiss' kappa with intervals, and rates with intervals that respect images.

Input: rows of labels, and which image each belongs to. Output: numbers. scikit-learn computes Cohen's kappa and
statsmodels Fleiss'; intervals are percentiles of a bootstrap that draws whole images, because labels about one image
hang together. What this file does not know: sentences, annotators' marks, files.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from train import stats

DRAWS = 2000  # bootstrap samples of a rate
KAPPA_DRAWS = 500  # of a kappa, which takes a library call each
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
    return _agreement(
        tuple(names), "Cohen", [list(row) for row in zip(first, second, strict=True)], clusters, cohen_kappa
    )


def fleiss(names: Sequence[str], table: Sequence[Sequence[str]], clusters: Sequence[str]) -> Agreement:
    """Of any number of annotators; table: one row of labels a thing, one label an annotator."""
    return _agreement(tuple(names), "Fleiss", table, clusters, fleiss_kappa)


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
    names: tuple[str, ...], measure: str, table: Sequence[Sequence[str]], clusters: Sequence[str],
    kappa: Callable[[Sequence[Sequence[str]]], float | None],
) -> Agreement:  # fmt: skip
    binary = [[str(label == SUPPORTED) for label in row] for row in table]
    same = sum(len(set(row)) == 1 for row in table)
    return Agreement(
        names, measure, len(table), stats.rate(same, len(table)),
        kappa(table), bootstrap(clusters, lambda rows: kappa([table[r] for r in rows]), KAPPA_DRAWS),
        kappa(binary), bootstrap(clusters, lambda rows: kappa([binary[r] for r in rows]), KAPPA_DRAWS),
    )  # fmt: skip


def clustered(clusters: Sequence[str], events: Sequence[bool]) -> tuple[float, float] | None:
    """95 % interval of the rate of `events`, whole clusters drawn with replacement.

    None for fewer than two clusters, and where all events are the same: a bootstrap then gives no width, which would
    look like certainty.
    """
    if len(set(events)) < 2:
        return None
    values = np.asarray(events, float)
    return bootstrap(clusters, lambda rows: float(values[rows].mean()))


def bootstrap(
    clusters: Sequence[str], statistic: Callable[[np.ndarray], float | None], draws: int = DRAWS
) -> tuple[float, float] | None:
    """Percentile interval of `statistic` (given row numbers) over samples of whole clusters.

    Samples in which it is not defined are left out; None where more than a tenth are, or with fewer than two clusters.
    """
    names = list(dict.fromkeys(clusters))
    if len(names) < 2:
        return None
    number = {name: place for place, name in enumerate(names)}
    members: list[list[int]] = [[] for _ in names]
    for row, name in enumerate(clusters):
        members[number[name]].append(row)
    rows = [np.asarray(own) for own in members]
    rng = np.random.default_rng(SEED)
    found = []
    for _ in range(draws):
        value = statistic(np.concatenate([rows[c] for c in rng.integers(len(rows), size=len(rows))]))
        if value is not None and np.isfinite(value):
            found.append(value)
    if len(found) < 0.9 * draws:
        return None
    tail = 50 * (1 - stats.CONFIDENCE)
    low, high = np.percentile(found, [tail, 100 - tail])
    return float(low), float(high)
