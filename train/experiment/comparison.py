"""Arms against each other on the same images and questions: means over seeds, paired tests, Holm over all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from facellm.errors import FaceLLMError
from facellm.intervals import normal_quantile
from train.experiment.trials import Trial
from train.lora.trainer import SHORT
from train.reports.stats import CONFIDENCE, holm

MEASURES = {
    "loss": "validation loss (nats a token, mean over images)",
    "short": "short validation answers right",
    "benchmark": "multiple-choice questions right",
}


@dataclass(frozen=True)
class Comparison:
    """Two arms, `second` minus `first`, over the images or questions that both were measured on.

    Attributes:
        measure: One of `MEASURES`.
        first: An arm.
        second: Another.
        units: How many images or questions.
        gain: The mean difference.
        low: Lower end of its 95 % interval (normal, over units).
        high: Upper end.
        p: Wilcoxon's signed-rank test over units, two-sided; 1 where no unit differs.
        p_holm: The same after Holm's correction over all comparisons of the experiment.
    """

    measure: str
    first: str
    second: str
    units: int
    gain: float
    low: float
    high: float
    p: float
    p_holm: float = 1.0


def values(done: Sequence[Trial], measure: str) -> dict[str, float]:
    """The figure of every unit of one arm, a mean over its seeds.

    Args:
        done: The arm's trials.
        measure: One of `MEASURES`; the units of "benchmark" are questions, of the others images, because answers about
            one image are not independent.

    Returns:
        Unit -> mean; empty where nothing was measured.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for trial in done:
        if measure == "benchmark":
            for key, right in trial.right.items():
                found[key].append(float(right))
            continue
        groups: dict[str, list[float]] = defaultdict(list)
        for answer in trial.answers:
            unit = answer["image"] if answer["image"] is not None else f"text {answer['pack']}"
            if measure == "loss":
                groups[unit].append(answer["loss"])
            elif answer["tokens"] <= SHORT:
                groups[unit].append(float(answer["right"]))
        for unit, several in groups.items():
            found[unit].append(float(np.mean(several)))
    return {unit: float(np.mean(several)) for unit, several in found.items()}


def compare(done: Sequence[Trial], arms: Sequence[str]) -> list[Comparison]:
    """Compares every pair of arms by every measure that all of them have.

    Args:
        done: Trials of any of the arms.
        arms: The arms' names in order.

    Returns:
        The comparisons; none while an arm has no trial yet.

    Raises:
        FaceLLMError: Where arms were validated on different rows.
    """
    from scipy.stats import wilcoxon

    found: list[Comparison] = []
    for measure in MEASURES:
        by_arm: Mapping[str, dict[str, float]] = {
            arm: values([trial for trial in done if trial.arm == arm], measure) for arm in arms
        }
        if not all(by_arm.values()):
            continue
        for first, second in combinations(arms, 2):
            a, b = by_arm[first], by_arm[second]
            if a.keys() != b.keys():
                raise FaceLLMError(f"{first} and {second} were measured on different rows; name another --out.")
            differences = np.array([b[unit] - a[unit] for unit in a])
            spread = differences.std(ddof=1) if len(differences) > 1 else np.nan
            half = normal_quantile(CONFIDENCE) * spread / np.sqrt(len(differences))
            gain = float(differences.mean())
            p = float(wilcoxon(differences).pvalue) if np.any(differences) else 1.0
            found.append(Comparison(measure, first, second, len(a), gain, gain - half, gain + half, p))
    adjusted = holm([one.p for one in found])
    return [Comparison(**{**vars(one), "p_holm": p}) for one, p in zip(found, adjusted, strict=True)]
