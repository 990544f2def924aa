"""Does a model tie groups and traits together more than the data did? Two published measures over counts.

BiasAmp-> (Wang & Russakovsky 2021, "Directional Bias Amplification", arXiv 2102.12594): over all groups a and traits t,
the mean of +d where they go together in the data, P(a, t) > P(a) P(t), and -d elsewhere, with
d = P(said t | a) - P(t | a) for group -> trait, and d = P(said a | t) - P(a | t) for trait -> group.
Co-occurrence (Zhao et al. 2017, "Men Also Like Shopping", arXiv 1707.09457): b(a, t) is the share of a among all
occurrences of t; the mean over traits of b(output) - b(data), summed over the groups with b(data) > 1 / groups.
Positive: stronger ties than in the data. Both in fractions of 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from train.reports import stats

GROUP_TO_TRAIT, TRAIT_TO_GROUP = "BiasAmp, group to trait", "BiasAmp, trait to group"
CO_OCCURRENCE = "co-occurrence"
TOP = 5  # pairs that are named beside a figure


@dataclass(frozen=True)
class Counts:
    """How often groups and traits occur: joint (..., a, t), group (..., a), trait (..., t), total (...)."""

    joint: np.ndarray
    group: np.ndarray
    trait: np.ndarray
    total: np.ndarray


def count(groups: np.ndarray, traits: np.ndarray, weights: np.ndarray | None = None) -> Counts:
    """groups (n, a) and traits (n, t) of 0 and 1.  weights (resamples, n): counts of every resample instead."""
    groups, traits = np.asarray(groups, np.float64), np.asarray(traits, np.float64)
    if weights is None:
        return Counts(groups.T @ traits, groups.sum(0), traits.sum(0), np.float64(len(groups)))
    pairs = (groups[:, :, None] * traits[:, None, :]).reshape(len(groups), -1)
    joint = (weights @ pairs.astype(np.float32)).reshape(len(weights), groups.shape[1], traits.shape[1])
    return Counts(joint.astype(np.float64), weights @ groups, weights @ traits, weights.sum(1, dtype=np.float64))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, NaN where below is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below > 0, above / below, np.nan)


def tied(data: Counts) -> np.ndarray:
    """(..., a, t) bool: P(a, t) > P(a) P(t) in the data (y of the paper)."""
    return data.joint * np.expand_dims(data.total, (-1, -2)) > data.group[..., :, None] * data.trait[..., None, :]


def directional(data: Counts, difference: np.ndarray) -> np.ndarray:
    """(...): the mean over pairs of +difference where tied, -difference elsewhere; undefined pairs are left out."""
    signed = np.where(tied(data), difference, -difference)
    known = ~np.isnan(signed)
    return _ratio(np.where(known, signed, 0).sum((-1, -2)), known.sum((-1, -2)).astype(float))


def group_to_trait(data: Counts, said: Counts) -> np.ndarray:
    """(..., a, t) of P(said t | a) - P(t | a). said: counts of true groups with said traits, of any images."""
    return _ratio(said.joint, said.group[..., :, None]) - _ratio(data.joint, data.group[..., :, None])


def trait_to_group(data: Counts, said: Counts) -> np.ndarray:
    """(..., a, t) of P(said a | t) - P(a | t). said: counts of said groups with true traits, of the same images."""
    return _ratio(said.joint, said.trait[..., None, :]) - _ratio(data.joint, data.trait[..., None, :])


def co_occurrence(data: Counts, said: Counts) -> tuple[np.ndarray, np.ndarray]:
    """((...), (..., a, t)): Zhao et al.'s mean amplification, and b(output) - b(data) with NaN where it does not count.

    said: counts of groups with said traits. A trait that either side never names is left out.
    """
    before = _ratio(data.joint, data.joint.sum(-2, keepdims=True))
    change = _ratio(said.joint, said.joint.sum(-2, keepdims=True)) - before
    with np.errstate(invalid="ignore"):
        counted = (before > 1 / data.joint.shape[-2]) & ~np.isnan(change)
    usable = (~np.isnan(change)).any(-2).sum(-1)  # traits
    total = np.where(counted, change, 0).sum((-1, -2))
    return _ratio(total, usable.astype(float)), np.where(counted, change, np.nan)


def figures(
    data: tuple[Counts, Counts | None], said: tuple[Counts, Counts | None], groups: Sequence[str],
    traits: Sequence[str], reverse: tuple[Counts, Counts | None] | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Each measure's value, interval and most changed pairs.

    data, said: (counts, counts of the resamples or None).  reverse: counts of said groups with true traits, for the
    direction trait -> group.  Rows of {"measure", "value", "low", "high", "pairs": [{"group", "trait", "data", "said",
    "amplified"}]}.
    """
    found = []
    for measure, other in ((GROUP_TO_TRAIT, said), (TRAIT_TO_GROUP, reverse), (CO_OCCURRENCE, said)):
        if other is None:
            continue
        value, pairs, shares = _one(measure, data[0], other[0])
        low = high = None
        if data[1] is not None and other[1] is not None:
            draws = _one(measure, data[1], other[1])[0]
            half = 100 * (1 - stats.CONFIDENCE) / 2
            if not np.isnan(draws).all():
                low, high = (float(x) for x in np.nanpercentile(draws, (half, 100 - half)))
        order = np.argsort(-np.abs(np.nan_to_num(pairs)), axis=None)[:TOP]
        named = []
        for a, t in zip(*np.unravel_index(order, pairs.shape), strict=True):
            if not np.isnan(pairs[a, t]) and pairs[a, t]:
                named.append(
                    {"group": groups[a], "trait": traits[t], "data": float(shares[0][a, t]),
                     "said": float(shares[1][a, t]), "amplified": float(pairs[a, t])}
                )  # fmt: skip
        found.append({"measure": measure, "value": None if np.isnan(value) else float(value), "low": low, "high": high,
                      "pairs": named})  # fmt: skip
    return found


def _one(measure: str, data: Counts, said: Counts) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """(value, signed pairs, (share in the data, share in what was said))."""
    if measure == CO_OCCURRENCE:
        value, pairs = co_occurrence(data, said)
        sides = tuple(_ratio(c.joint, c.joint.sum(-2, keepdims=True)) for c in (data, said))
        return value, pairs, sides
    below = (lambda c: c.group[..., :, None]) if measure == GROUP_TO_TRAIT else (lambda c: c.trait[..., None, :])
    difference = (group_to_trait if measure == GROUP_TO_TRAIT else trait_to_group)(data, said)
    sides = tuple(_ratio(c.joint, below(c)) for c in (data, said))
    return directional(data, difference), np.where(tied(data), difference, -difference), sides
