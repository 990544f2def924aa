"""What may be said of one face image, fact by fact: the measured teacher's eyes.

Facts come from labels, from mesh and pixel measurements (`train.faces.measures`), and from the tuned encoder's own
heads, whose confidence decides what may be said outright. A measurement in the middle of its range gives None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from facellm.labels import AGE_GROUPS, ETHNICITIES, EXPRESSIONS, GENDERS, POSES
from train.faces import measures
from train.faces.measures import pose_label

# A label is stated when the encoder gives it at least this probability, otherwise the answer hedges. On `val`, of the
# labels stated at these bars about 2 % of genders, 5 % of ethnicities and 2 % of expressions were wrong: an answer
# that names six facts is only as true as all of them together (docs/research/nano.md).
STATE_GENDER, STATE_RACE = 0.88, 0.75
STATE_EXPRESSION = {"neutral": 0.9, "happiness": 0.8}
STATE_RARE = 0.95  # of the other expressions a third is wrong at 0.9
# Happiness needs less where the mouth is measured to smile; the encoder has seen few colour pictures that say so.
STATE_HAPPINESS, HAPPY_LIFT = 0.6, 0.05  # HAPPY_LIFT: as SMILE_LIFT
# A label that the encoder gives less is not taught, because the picture does not show it: of the training faces 1 % of
# genders, 2 % of ethnicities and of expressions.
LEAST_SEEN = 0.1
MISSING = -1  # index of a label that is not known
SCARCE = ("fear", "contempt")  # too few images for the encoder to be believed
POSE_WORDS = dict(zip(POSES, ("frontal", "left", "right"), strict=True))
_COLUMN = {name: index for index, name in enumerate(measures.MEASUREMENTS)}
Bars = tuple[float, tuple[float, float] | None, float]
# The tower's own estimate decides what is said of light, sharpness, mouth, pose, chin, side of the light and shapes, as
# long as the measurement does not say another thing: below the first bar the low name, above the last the high one,
# between the middle ones (if there are any) the middle one, else nothing. Of `val` faces whose measurement has a name,
# 3 %, 2 %, 1 %, 1 %, 6 % and 3 % then got a wrong one, one of 3,024 shapes. How the head leans to a side is not
# said: the tower hardly sees it (correlation with the mesh 0.4).
SEEN_LIGHT: Bars = (0.34, (0.425, 0.545), 0.65)  # mean grey
SEEN_MOUTH: Bars = (0.02, None, 0.15)  # lip gap over mouth width
SEEN_POSE: Bars = (-14.0, (-5.0, 5.0), 14.0)  # degrees of yaw
SEEN_PITCH: Bars = (-9.0, (-3.0, 3.0), 9.0)  # degrees from `measures.PITCH_LEVEL_DEG`
SEEN_SIDE: Bars = (-0.55, (-0.25, 0.25), 0.55)  # `measures.pixel_stats`, light on the left less on the right
# Distance beyond a shape's bars, as a share of that between them; the decoder hardly hears jaw and brows
# (docs/research/nano.md).
SEEN_SHAPE = {"face shape": 0.0, "nose": 0.0, "lips": 0.0, "jaw": 0.25, "brows": 0.25}
SEEN_SHARPNESS = 0.005  # so far inside the quantiles by which sharpness is named
SMILE_LIFT = 0.085  # mouth corners above the mouth's centre, over the outer eye distance


@dataclass(frozen=True)
class Facts:
    """One image's facts; None where nothing may be said. `left` and `right` are the viewer's."""

    gender: str | None  # Male, Female
    gender_label: str | None  # the label, also where it may not be stated: for multiple choice
    race: str | None
    race_label: str | None
    years: float | None
    age_range: tuple[int, int] | None
    age_group: str | None
    expression: str | None
    expression_label: str | None
    smile: bool  # measured at the mouth, whatever the expression
    pose: str | None  # frontal, left, right
    pose_label: str | None  # as measured, whatever the encoder sees
    yaw_deg: float | None
    pitch: str | None  # up, down, level
    mouth: str | None  # open, closed
    mouth_label: str | None  # as measured, whatever the encoder sees
    eyes: str | None  # wide, narrowed
    brows: str | None  # raised, low
    face_shape: str | None  # long, round
    jaw: str | None  # broad, tapered
    lips: str | None  # full, thin
    nose: str | None  # broad, narrow
    mouth_width: str | None  # wide, small
    light: str | None  # dark, balanced, bright
    light_label: str | None  # as measured, like mouth_label and sharpness_label
    sharpness: str | None  # sharp, blurred
    sharpness_label: str | None
    colour: str | None  # greyscale
    light_side: str | None  # left, right, even, nearly even; None also where the head is turned


def _band(value: float, low: float, high: float, names: tuple[str | None, str | None, str | None]) -> str | None:
    """The first name below `low`, the last above `high`, the middle one (often None) between."""
    if np.isnan(value):
        return None
    return names[0] if value < low else names[2] if value > high else names[1]


def _stated(measured: str | None, seen: float, bars: Bars, names: tuple[str, str | None, str]) -> str | None:
    """What is said: what the encoder sees, where the measurement calls it the same or nothing."""
    below, middle, above = bars
    found = names[0] if seen < below else names[2] if seen > above else None
    if middle and middle[0] < seen < middle[1]:
        found = names[1]
    return found if measured in (found, None) else None


def _side(measured: str | None, seen: float) -> str | None:
    """The side of the light to be said; "nearly even" is between, and fits no face whose cheeks clearly differ."""
    if measured is None:
        return None
    between = measured == "nearly even"
    found = _stated(None if between else measured, seen, SEEN_SIDE, ("right", "even", "left"))
    return found or (None if measured in ("left", "right") else "nearly even")


def age_range(years: float) -> tuple[int, int]:
    """A range of ages that a careful observer would name. The encoder's error is 5 years in the mean and below 15 for
    95 of 100 faces, so an adult's range is that wide on either side."""
    if years < 2.5:
        return 0, 5
    if years < 10:
        return max(1, round(years - 5)), round(years + 5)
    if years < 20:
        return max(5, round(years - 7)), round(years + 11)
    low, high = years - 13, years + 15
    return max(15, 5 * round(low / 5)), min(100, 5 * round(high / 5))


def pose_of(yaw_deg: float) -> str | None:
    """`pose_label` in one word: frontal, left or right (the viewer's), None between or not measured."""
    label = pose_label(yaw_deg)
    return POSE_WORDS[label] if label else None


class FactReader:
    """Turns rows into `Facts`; thresholds of pixel measurements are quantiles of the training images."""

    def __init__(self, train_stats: np.ndarray) -> None:
        """train_stats (n, 5): `measures.pixel_stats` of training crops."""
        quantiles = (0.25, 0.75)
        self.stats = dict(zip(quantiles, np.quantile(train_stats, quantiles, axis=0), strict=True))

    def read(
        self,
        *,
        mesh: np.ndarray,
        stats: np.ndarray,
        cheeks: float,
        probabilities: dict[str, np.ndarray],
        years_expected: float,
        labels: dict[str, float],
        seen: np.ndarray | None = None,
        seen_mesh: np.ndarray | None = None,
    ) -> Facts:
        """mesh (13,) with NaN where unknown; stats (5,); cheeks: `cheek_difference`; probabilities per head; labels
        with -1 for unknown: gender, race, age_group, age_years, expression.
        seen (5,) and seen_mesh (13,): the encoder's own estimates of `stats` and `mesh`, which have a say in what is
        stated (None: all is stated as measured)."""
        gender_p, race_p, expression_p = (probabilities[name] for name in ("gender", "race", "expression"))
        gender_label = GENDERS[int(labels["gender"])] if labels["gender"] >= 0 else None
        race_label = ETHNICITIES[int(labels["race"])] if labels["race"] >= 0 else None
        expression_label = EXPRESSIONS[int(labels["expression"])] if labels["expression"] >= 0 else None

        def stated(
            names: tuple[str, ...], p: np.ndarray, label: str | None, bar: float, own: Mapping[str, float] | None = None
        ) -> str | None:
            best = names[int(p.argmax())]
            return best if p.max() >= (own or {}).get(best, bar) and label in (None, best) else None

        def taught(names: tuple[str, ...], p: np.ndarray, label: str | None) -> str | None:
            return label if label and p[names.index(label)] >= LEAST_SEEN else None

        gender = stated(GENDERS, gender_p, gender_label, STATE_GENDER)
        race = stated(ETHNICITIES, race_p, race_label, STATE_RACE)
        value = {name: float(mesh[index]) for name, index in _COLUMN.items()}
        expression = stated(EXPRESSIONS, expression_p, expression_label, STATE_RARE, STATE_EXPRESSION)
        if expression in SCARCE and expression_label is None:
            expression = None
        if value["smile_lift"] > HAPPY_LIFT:
            happy = stated(EXPRESSIONS, expression_p, expression_label, STATE_HAPPINESS)
            expression = "happiness" if happy == "happiness" else expression
        if labels["age_years"] >= 0:
            years = 0.5 * labels["age_years"] + 0.5 * years_expected
        else:
            years = years_expected

        eyes = (value["eye_open_left"] + value["eye_open_right"]) / 2
        pitch_deg, (level, bent) = value["pitch_deg"] - measures.PITCH_LEVEL_DEG, measures.PITCH_DEG
        pitch = "level" if abs(pitch_deg) < level else _band(pitch_deg, -bent, bent, ("up", None, "down"))

        def shape(fact: str) -> str | None:
            name, low, high, below, above = measures.SHAPES[fact]
            measured = _band(value[name], low, high, (below, None, above))
            if seen_mesh is None or np.isnan(value[name]):
                return measured
            far = SEEN_SHAPE[fact] * (high - low)
            return _stated(measured, seen_mesh[_COLUMN[name]], (low - far, None, high + far), (below, None, above))

        s = self.stats
        grey = stats[3] < measures.GREY
        pose = pose_of(value["yaw_deg"])
        frontal = pose == "frontal"  # else a cheek's place may show the background
        side = None
        if frontal:
            even, apart = measures.CHEEKS
            between = "even" if abs(cheeks) < even else "nearly even"
            side = _band(cheeks, -apart, apart, ("right", between, "left"))
        sharpness, light = self._sharpness(stats), _light(stats)
        mouth = _band(value["mouth_open"], measures.MOUTH_CLOSED, measures.MOUTH_OPEN, ("closed", None, "open"))
        stated_sharpness, stated_light, stated_mouth, stated_pose = sharpness, light, mouth, pose
        if seen is not None:
            bars = (s[0.25][2] + SEEN_SHARPNESS, None, s[0.75][2] - SEEN_SHARPNESS)
            stated_sharpness = _stated(sharpness, seen[2], bars, ("blurred", None, "sharp"))
            stated_light = _stated(light, seen[0], SEEN_LIGHT, ("dark", "balanced", "bright"))
            side = _side(side, seen[4])
        if seen_mesh is not None and not np.isnan(value["mouth_open"]):
            stated_mouth = _stated(mouth, seen_mesh[_COLUMN["mouth_open"]], SEEN_MOUTH, ("closed", None, "open"))
        if seen_mesh is not None and not np.isnan(value["yaw_deg"]):
            stated_pose = _stated(pose, seen_mesh[_COLUMN["yaw_deg"]], SEEN_POSE, ("right", "frontal", "left"))
            seen_pitch = seen_mesh[_COLUMN["pitch_deg"]] - measures.PITCH_LEVEL_DEG
            pitch = _stated(pitch, seen_pitch, SEEN_PITCH, ("up", "level", "down"))
        return Facts(
            gender=gender,
            gender_label=taught(GENDERS, gender_p, gender_label),
            race=race,
            race_label=taught(ETHNICITIES, race_p, race_label),
            years=years,
            age_range=age_range(years),
            age_group=AGE_GROUPS[int(labels["age_group"])] if labels["age_group"] >= 0 else None,
            expression=expression,
            expression_label=taught(EXPRESSIONS, expression_p, expression_label),
            smile=value["smile_lift"] > SMILE_LIFT,
            pose=stated_pose,
            pose_label=pose,
            yaw_deg=None if np.isnan(value["yaw_deg"]) else value["yaw_deg"],
            pitch=pitch,
            mouth=stated_mouth,
            mouth_label=mouth,
            eyes=_band(eyes, 0.22, 0.42, ("narrowed", None, "wide")),
            brows=shape("brows"),
            face_shape=shape("face shape"),
            jaw=shape("jaw"),
            lips=shape("lips"),
            nose=shape("nose"),
            mouth_width=_band(value["mouth_width"], 0.50, 0.72, ("small", None, "wide")),
            light=stated_light,
            light_label=light,
            sharpness=stated_sharpness,
            sharpness_label=sharpness,
            colour="greyscale" if grey else None,
            light_side=side,
        )

    def _sharpness(self, stats: np.ndarray) -> str | None:
        return _band(stats[2], self.stats[0.25][2], self.stats[0.75][2], ("blurred", None, "sharp"))


def _light(stats: np.ndarray) -> str | None:
    if measures.BALANCED[0] < stats[0] < measures.BALANCED[1]:
        return "balanced"
    return "dark" if stats[0] < measures.DARK else "bright" if stats[0] > measures.BRIGHT else None
