"""Accuracy, true and false positive rates of a model by group and intersection, with bootstrap intervals by image.

Point values are those of fairlearn's MetricFrame; intervals come from one set of resamples of the images that all
measures and models share, so that base and FaceLLM are compared on the same draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from facellm.labels import ETHNICITIES
from train.faces.label_rows import LabelRow
from train.reports import stats

# FairFace's nine groups in four bands, so that intersections hold enough images.
BANDS: Mapping[str, tuple[str, ...]] = {
    "0-19": ("0-2", "3-9", "10-19"),
    "20-39": ("20-29", "30-39"),
    "40-59": ("40-49", "50-59"),
    "60 and older": ("60-69", "more than 70"),
}
BAND_OF = {group: band for band, groups in BANDS.items() for group in groups}
GROUPS = ("gender", "ethnicity", "band")
# Every group and intersection that is measured.
GROUPINGS: tuple[tuple[str, ...], ...] = (
    ("gender",), ("ethnicity",), ("band",), ("gender", "ethnicity"), ("gender", "band"), ("ethnicity", "band"), GROUPS,
)  # fmt: skip
TASKS = ("gender", "ethnicity", "age_group")  # what the model is right or wrong about
RATED = {"gender": ("Female",), "ethnicity": None, "band": tuple(BANDS)}  # labels with TPR and FPR; None: all there are
ACCURACY, TPR, FPR = "accuracy", "true positive rate", "false positive rate"
LEAST = 10  # images that a group needs for its rate to count in a gap
# FairFace's seven groups in nano's five, where data and model do not use the same ones.
COARSE = {"East Asian": "Asian", "Southeast Asian": "Asian", "Latino_Hispanic": "Others", "Middle Eastern": "Others"}


def table(rows: Sequence[LabelRow]) -> pd.DataFrame:
    """One line an image: file, gender, ethnicity, age_group, band."""
    return pd.DataFrame(
        {
            "file": [row.file for row in rows],
            "gender": [row.gender for row in rows],
            "ethnicity": [row.race for row in rows],
            "age_group": [row.age for row in rows],
            "band": [BAND_OF[row.age] for row in rows],
        }
    )


def said_table(truth: pd.DataFrame, said: Mapping[str, Mapping[str, str | None]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(what is right, what was said), both with the columns gender, ethnicity, age_group, band, one line an image.

    said: field -> {file: label}.  Ethnicities are put into nano's five groups where either side has only those.
    """
    right = truth[["gender", "ethnicity", "age_group", "band"]].copy()
    told = pd.DataFrame({name: [said[name].get(file) for file in truth["file"]] for name in TASKS}, dtype=object)
    fine = set(COARSE)
    if bool(set(right["ethnicity"]) & fine) != bool(set(told["ethnicity"].dropna()) & fine):
        right["ethnicity"] = right["ethnicity"].replace(COARSE)
        told["ethnicity"] = told["ethnicity"].replace(COARSE)
    told["band"] = told["age_group"].map(BAND_OF)
    return right, told


class Bootstrap:
    """Resamples of `n` images with replacement: how often each image was drawn in each of `resamples` draws."""

    def __init__(self, n: int, resamples: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.weights = np.empty((resamples, n), np.float32)
        for start in range(0, resamples, 100):
            size = min(100, resamples - start)
            self.weights[start : start + size] = rng.multinomial(n, np.full(n, 1 / n), size)

    def rates(self, hit: np.ndarray, counted: np.ndarray, codes: np.ndarray, groups: int) -> tuple[np.ndarray, ...]:
        """(hits, counted) of every resample and group, each (resamples, groups); codes (n,): group of each image."""
        member = np.zeros((len(codes), groups), np.float32)
        member[np.arange(len(codes)), codes] = counted
        return self.weights @ (member * hit[:, None].astype(np.float32)), self.weights @ member


@dataclass(frozen=True)
class Measure:
    """One rate of one model over the groups of a grouping.

    groups: rows of {"group", "images", "hits", "value", "low", "high", "rest", "rest_low", "rest_high"}, where rest is
    the value minus that of all other groups together.  draws: (resamples, groups) of the rate, NaN for an empty group.
    strata: images (strata, groups) and hits (strata, groups) among people who are alike in the attributes that the
    grouping leaves open; None where it leaves none.
    """

    task: str
    metric: str
    positive: str | None
    grouping: tuple[str, ...]
    overall: float | None
    groups: tuple[dict[str, Any], ...]
    draws: np.ndarray = field(repr=False)
    strata: tuple[np.ndarray, np.ndarray] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        what = self.metric if self.positive is None else f"{self.metric} of {self.positive}"
        return f"{self.task.replace('_', ' ')}: {what}, by {' x '.join(self.grouping)}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "task": self.task, "metric": self.metric, "positive": self.positive, "grouping": list(self.grouping),
            "overall": self.overall, "groups": list(self.groups),
        }  # fmt: skip


def measures(truth: pd.DataFrame, said: Mapping[str, Mapping[str, str | None]], bootstrap: Bootstrap) -> list[Measure]:
    """Accuracy of every task over every grouping; TPR and FPR of every rated label over the groupings that do not hold
    the label's own attribute, and over the full intersection (where each cell has one of the two)."""
    right, told = said_table(truth, said)
    found = []
    for task in TASKS:
        hit = (right[task] == told[task]).to_numpy()
        for grouping in GROUPINGS:
            found.append(_measure(task, ACCURACY, None, grouping, truth, hit, np.ones(len(hit), bool), bootstrap))
    for task, labels in RATED.items():
        for positive in labels or sorted(set(right[task])):
            is_one, says = (right[task] == positive).to_numpy(), (told[task] == positive).to_numpy()
            if not is_one.any():
                continue
            for grouping in GROUPINGS:
                if task in grouping and grouping != GROUPS:
                    continue
                found.append(_measure(task, TPR, positive, grouping, truth, says, is_one, bootstrap))
                found.append(_measure(task, FPR, positive, grouping, truth, says, ~is_one, bootstrap))
    return found


def accuracies(
    truth: pd.DataFrame, said: Mapping[str, Mapping[str, str | None]], bootstrap: Bootstrap
) -> list[Measure]:
    """Accuracy of every task over single groups alone; arguments as of `measures`."""
    right, told = said_table(truth, said)
    return [
        _measure(task, ACCURACY, None, (name,), truth, (right[task] == told[task]).to_numpy(),
                 np.ones(len(right), bool), bootstrap)
        for task in TASKS for name in GROUPS
    ]  # fmt: skip


def point_values(
    truth: pd.DataFrame, grouping: Sequence[str], hit: np.ndarray, counted: np.ndarray
) -> tuple[pd.Series, float]:
    """(fairlearn's value for each group that has a counted image, and overall).

    hit: was right (accuracy) or said the positive label (rates).  counted: all images, those that are of the label
    (true positives) or those that are not (false positives).
    """
    from fairlearn.metrics import MetricFrame, mean_prediction

    if not counted.any():
        return pd.Series(dtype=float), float("nan")
    says = hit[counted].astype(int)
    features = truth.loc[counted, list(grouping)]
    frame = MetricFrame(metrics=mean_prediction, y_true=says, y_pred=says, sensitive_features=features)
    return frame.by_group.astype(float), float(frame.overall)


def _measure(task, metric, positive, grouping, truth, hit, counted, bootstrap: Bootstrap) -> Measure:
    """hit, counted: (n,) bool; the rate of a group is the share of hits among its counted images."""
    values, overall = point_values(truth, grouping, hit, counted)
    names = [key if isinstance(key, tuple) else (key,) for key in values.index]
    place = {name: index for index, name in enumerate(names)}
    # An image whose group holds no counted one weighs nothing, so it may stand anywhere.
    codes = np.array([place.get(key, 0) for key in truth[list(grouping)].itertuples(index=False, name=None)])
    if not names:
        return Measure(task, metric, positive, tuple(grouping), None, (), np.empty((len(bootstrap.weights), 0)))
    hits, totals = bootstrap.rates(hit, counted, codes, len(names))
    with np.errstate(invalid="ignore"):
        draws = hits / totals
        rest = draws - (hits.sum(1, keepdims=True) - hits) / (totals.sum(1, keepdims=True) - totals)
    all_hits, all_counted = (hit & counted).sum(), counted.sum()
    rows = []
    for index, (name, value) in enumerate(zip(names, values, strict=True)):
        inside = (codes == index) & counted
        count, total = int((hit & inside).sum()), int(inside.sum())
        row: dict[str, Any] = {"group": ", ".join(name), "images": total, "hits": count}
        row |= dict(zip(("value", "low", "high"), _interval(value, draws[:, index], count, total), strict=True))
        others = int(all_counted) - total
        apart = None if not total or not others else value - (int(all_hits) - count) / others
        row |= dict(zip(("rest", "rest_low", "rest_high"), _spread(apart, rest[:, index]), strict=True))
        rows.append(row)
    strata, whole = _strata(truth, grouping, codes, hit, counted, len(names)), None if np.isnan(overall) else overall
    return Measure(task, metric, positive, tuple(grouping), whole, tuple(rows), draws, strata)


def _strata(truth, grouping, codes, hit, counted, groups: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(images, hits), each (strata, groups), over the combinations of the attributes that `grouping` leaves open."""
    others = [name for name in GROUPS if name not in grouping]
    if not others:
        return None
    stratum = truth.groupby(others, sort=False).ngroup().to_numpy()
    images, hits = (np.zeros((stratum.max() + 1, groups), np.int64) for _ in range(2))
    np.add.at(images, (stratum[counted], codes[counted]), 1)
    np.add.at(hits, (stratum[counted & hit], codes[counted & hit]), 1)
    return images, hits


def _interval(value: float, draws: np.ndarray, count: int, total: int) -> tuple[float | None, ...]:
    if not total:
        return None, None, None
    if count in (0, total):  # every resample says the same, which is no certainty: Wilson's interval instead
        wilson = stats.rate(count, total)
        return float(value), wilson.low, wilson.high
    return _spread(float(value), draws)


def _spread(value: float | None, draws: np.ndarray) -> tuple[float | None, ...]:
    if value is None or np.isnan(draws).all():
        return None, None, None
    half = 100 * (1 - stats.CONFIDENCE) / 2
    low, high = np.nanpercentile(draws, (half, 100 - half))
    return float(value), float(low), float(high)


def shares(truth: pd.DataFrame, said: Mapping[str, Mapping[str, str | None]], bootstrap: Bootstrap) -> list[dict]:
    """Representation: how often a label is said, against how often it is in the metadata.

    Rows of {"task", "label", "data", "said", "difference", "low", "high", "images"}; images without a word on the task
    (None) count on neither side. Differences of shares with bootstrap intervals.
    """
    right, told = said_table(truth, said)
    found = []
    for task in ("gender", "ethnicity", "band"):
        here = told[task].notna().to_numpy()
        if not here.any():
            continue
        order = list(BANDS) if task == "band" else sorted({*right[task], *told[task][here]}, key=_place)
        for label in order:
            data, says = ((frame[task] == label).to_numpy() & here for frame in (right, told))
            total = bootstrap.weights @ here.astype(np.float32)
            draws = (bootstrap.weights @ (says.astype(np.float32) - data)) / np.where(total > 0, total, np.nan)
            difference = (says.sum() - data.sum()) / here.sum()
            value, low, high = _spread(float(difference), draws)
            found.append(
                {"task": task, "label": label, "images": int(here.sum()), "data": float(data.sum() / here.sum()),
                 "said": float(says.sum() / here.sum()), "difference": value, "low": low, "high": high}
            )  # fmt: skip
    return found


def _place(label: str) -> tuple[int, str]:
    return (ETHNICITIES.index(label) if label in ETHNICITIES else len(ETHNICITIES), label)


def empty_groups(truth: pd.DataFrame) -> Iterator[str]:
    """A sentence for every group without an image, and for every grouping that holds a single one."""
    scheme = ETHNICITIES if not set(truth["ethnicity"]) & set(COARSE) else ()
    for column, labels in (("gender", ("Male", "Female")), ("ethnicity", scheme), ("band", tuple(BANDS))):
        present = set(truth[column])
        for label in labels:
            if label not in present:
                yield f"There is no image of the {column} group {label!r}; nothing is said about it."
        if len(present) == 1:
            yield f"All images are of the {column} group {next(iter(present))!r}; no gap by {column} can be measured."
