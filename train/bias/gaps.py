"""How large is the largest gap between groups, and would chance alone make it so large?

The largest of many differences is large by chance: over seven groups of equal skill it is never 0. So a gap is not
held against 0 but against the gaps of the same hits dealt out to the same groups at random. A second null deals hits
only among people who are alike in the other attributes, so that a group is not blamed for being older than another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from train.bias.groups import ACCURACY, GROUPS, LEAST, Measure
from train.reports import stats

PERMUTATIONS = 10_000  # the smallest p is one in so many, so that Holm's correction over some 50 gaps can pass 0.05
SIGNIFICANT = 0.05


def is_tested(measure: Measure) -> bool:
    """Whether a measure's gap is reported: single groups, and accuracy over the full intersection."""
    return len(measure.grouping) == 1 or (measure.metric == ACCURACY and measure.grouping == GROUPS)


def null_gaps(sizes: Sequence[int], hits: int, permutations: int, rng: np.random.Generator) -> np.ndarray:
    """(permutations,) of the largest gap when `hits` hits fall on groups of these sizes at random.

    Permuting hits and misses over the images leaves hits per group that are multivariate hypergeometric, so they are
    drawn from it instead of being shuffled.
    """
    sizes = np.asarray(sizes, np.int64)
    return _spans(_dealt(sizes, hits, permutations, rng) / sizes)


def null_gaps_within(images: np.ndarray, hits: np.ndarray, permutations: int, rng: np.random.Generator) -> np.ndarray:
    """(permutations,) of the largest gap when each stratum's hits are dealt within it; both (strata, groups)."""
    total = np.zeros((permutations, images.shape[1]))
    for sizes, own in zip(images, hits.sum(1), strict=True):
        if sizes.any():
            total += _dealt(sizes, int(own), permutations, rng)
    return _spans(total / images.sum(0))


def _dealt(sizes: np.ndarray, hits: int, permutations: int, rng: np.random.Generator) -> np.ndarray:
    return rng.multivariate_hypergeometric(sizes, hits, size=permutations, method="marginals")


def _spans(rates: np.ndarray) -> np.ndarray:
    return rates.max(1) - rates.min(1)


def _p(null: np.ndarray, observed: float) -> float:
    """Share of gaps at least as large, the observed one among them; a hair of slack for sums of fractions."""
    return float((1 + (null >= observed - 1e-12).sum()) / (len(null) + 1))


def gap(measure: Measure, least: int = LEAST, permutations: int = PERMUTATIONS, seed: int = 0) -> dict[str, Any] | None:
    """The gap over the groups with at least `least` images; None where fewer than two have that many.

    {"gap", "low", "high", "lowest", "highest", "groups", "images", "null_mean", "null_high", "p", "left_out", ...};
    null_high is the null's 95th percentile, p the share of permutations whose gap is as large (the observed one among
    them); p_alike the same, dealt among people alike in the other attributes (None where there are none).
    """
    kept = [index for index, row in enumerate(measure.groups) if row["images"] >= least]
    if len(kept) < 2:
        return None
    rows = [measure.groups[index] for index in kept]
    values = [row["value"] for row in rows]
    lowest, highest = int(np.argmin(values)), int(np.argmax(values))
    observed = values[highest] - values[lowest]
    rng = np.random.default_rng([seed, len(kept), sum(row["images"] for row in rows)])
    null = null_gaps([r["images"] for r in rows], sum(r["hits"] for r in rows), permutations, rng)
    alike = None
    if measure.strata is not None:
        alike = _p(null_gaps_within(*(part[:, kept] for part in measure.strata), permutations, rng), observed)
    # Of these two groups, so that it holds the observed gap; that they were picked as the extremes, the null knows.
    low, high = _ends(measure.draws[:, kept[highest]] - measure.draws[:, kept[lowest]])
    return {
        "task": measure.task, "metric": measure.metric, "positive": measure.positive, "name": measure.name,
        "grouping": list(measure.grouping), "groups": len(kept), "images": sum(row["images"] for row in rows),
        "left_out": [row["group"] for row in measure.groups if 0 < row["images"] < least],
        "gap": observed, "low": low, "high": high,
        "lowest": rows[lowest]["group"], "lowest_value": values[lowest],
        "highest": rows[highest]["group"], "highest_value": values[highest],
        "null_mean": float(null.mean()), "null_high": float(np.quantile(null, stats.CONFIDENCE)),
        "p": _p(null, observed), "p_alike": alike,
    }  # fmt: skip


def summaries(rates: np.ndarray) -> dict[str, np.ndarray]:
    """The four summary metrics of group fairness over groups, of one set of rates or of many.

    - difference: the largest rate less the smallest; 0 is equal.
    - ratio: the smallest over the largest; 1 is equal.
    - max_over_geometric_mean: the largest over the groups' geometric mean (as NIST's demographic reports, NISTIR 8429,
      do with false match rates); 1 is equal, and it has no value where a rate is 0.
    - gini: Gini's coefficient, the mean absolute difference over twice the mean, times n / (n - 1) so that 1 is reached
      where one of n groups has everything (Howard et al. 2022, arXiv 2203.05051); 0 is equal.

    Args:
        rates: (..., groups) of rates in 0..1.

    Returns:
        Each metric, (...); NaN where it is not defined.
    """
    rates = np.asarray(rates, np.float64)
    n = rates.shape[-1]
    largest, smallest, mean = rates.max(-1), rates.min(-1), rates.mean(-1)
    apart = np.abs(rates[..., :, None] - rates[..., None, :]).mean((-1, -2))
    with np.errstate(divide="ignore", invalid="ignore"):
        geometric = np.exp(np.log(rates).mean(-1))
        return {
            "difference": largest - smallest,
            "ratio": np.where(largest > 0, smallest / largest, np.nan),
            "max_over_geometric_mean": np.where(smallest > 0, largest / geometric, np.nan),
            "gini": np.where(mean > 0, apart / (2 * mean) * n / (n - 1), np.nan),
        }


def summarised(measure: Measure, least: int = LEAST) -> dict[str, Any] | None:
    """The summary metrics of a measure over its groups with at least `least` images; None for fewer than two.

    Returns:
        "name", "metric", "groups", "overall" (rate), and for each metric its value with the ends of a bootstrap
        interval by image, None where it is not defined.
    """
    kept = [index for index, row in enumerate(measure.groups) if row["images"] >= least]
    if len(kept) < 2:
        return None
    values = summaries(np.array([measure.groups[index]["value"] for index in kept]))
    draws = summaries(measure.draws[:, kept])
    found: dict[str, Any] = {"name": measure.name, "metric": measure.metric, "groups": len(kept),
                             "overall": measure.overall}  # fmt: skip
    for name, value in values.items():
        whole = None if np.isnan(value) else float(value)
        low, high = (None, None) if whole is None or np.isnan(draws[name]).all() else _ends(draws[name])
        found |= {name: whole, f"{name}_low": low, f"{name}_high": high}
    return found


def summarised_all(measures: Sequence[Measure], least: int = LEAST) -> list[dict[str, Any]]:
    """Returns the summary metrics of one model's tested measures that have them."""
    return [row for m in measures if is_tested(m) and (row := summarised(m, least))]


def _drawn_gaps(measure: Measure, kept: Sequence[int]) -> np.ndarray:
    """(resamples,) of the largest gap over the groups `kept` in every resample of the images."""
    draws = measure.draws[:, list(kept)]
    return np.nanmax(draws, 1) - np.nanmin(draws, 1)


def _ends(draws: np.ndarray) -> tuple[float, float]:
    half = 100 * (1 - stats.CONFIDENCE) / 2
    low, high = np.nanpercentile(draws, (half, 100 - half))
    return float(low), float(high)


def gaps(
    measures: Sequence[Measure], least: int = LEAST, permutations: int = PERMUTATIONS, seed: int = 0
) -> list[dict[str, Any]]:
    """The gaps of one model's tested measures, largest p last, with "p_holm" over all of them and "significant";
    "p_alike_holm" over those that have a p_alike."""
    found = [row for m in measures if is_tested(m) and (row := gap(m, least, permutations, seed))]
    alike = [row for row in found if row["p_alike"] is not None]
    for row, p in zip(alike, stats.holm([row["p_alike"] for row in alike]), strict=True):
        row["p_alike_holm"] = p
    for row, p in zip(found, stats.holm([row["p"] for row in found]), strict=True):
        row["p_holm"], row["significant"] = p, p < SIGNIFICANT
    return sorted(found, key=lambda row: (row["p_holm"], -row["gap"]))


def changes(base: Sequence[Measure], facellm: Sequence[Measure], least: int = LEAST) -> list[dict[str, Any]]:
    """FaceLLM's gap minus base's, for each tested measure that both have, on the same resamples of the images.

    {"name", "base", "facellm", "change", "low", "high"}.  Both gaps are biased upwards, so the change is less so.
    """
    other = {m.name: m for m in base}
    found = []
    for measure in facellm:
        if not is_tested(measure) or measure.name not in other:
            continue
        pair = (other[measure.name], measure)
        kept = [i for i, row in enumerate(measure.groups) if row["images"] >= least]
        same = [row["group"] for row in pair[0].groups] == [row["group"] for row in pair[1].groups]
        if len(kept) < 2 or not same:
            continue
        values = [[m.groups[i]["value"] for i in kept] for m in pair]
        first, second = (max(v) - min(v) for v in values)
        low, high = _ends(_drawn_gaps(pair[1], kept) - _drawn_gaps(pair[0], kept))
        found.append(
            {"name": measure.name, "task": measure.task, "metric": measure.metric, "base": first, "facellm": second,
             "change": second - first, "low": low, "high": high}
        )  # fmt: skip
    return found
