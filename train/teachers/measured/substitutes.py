"""What the measured teacher writes where nano's wording would say more than was measured.

The writers of `train.teachers.measured.wording` were made for faces with a mesh, an encoder's opinion and five ethnic
groups. Here labels are stated as they are, and without a mesh nothing is said of what a mesh would show.
"""

from __future__ import annotations

import random

from facellm.labels import AGE_GROUPS
from train.faces.facts import Facts
from train.faces.label_rows import LabelRow
from train.teachers.measured.phrases import age_phrase, join, listed, pick, subject
from train.teachers.measured.wording import WRITERS

OLDEST = (70, 90)  # years that "more than 70" is worded as
_NAMES = {"Latino_Hispanic": "Latino or Hispanic", "Others": None}
_NEED_MESH = {"structure", "expression", "pose"}


def face_of(age: str) -> tuple[int, int, float]:
    """An age group's lowest and highest year, and its middle."""
    low, high = OLDEST if age == AGE_GROUPS[-1] else map(int, age.split("-"))
    return low, high, (low + high + 1) / 2


def write(row: LabelRow, facts: Facts, mesh: bool, attribute: str, rng: random.Random) -> str | None:
    """mesh: whether the face's mesh was measured."""
    if attribute in _NEED_MESH and not mesh:
        return None
    if attribute == "demographic":
        return demographic(row, facts, rng)
    if attribute == "expression":
        return expression(facts, rng)
    if attribute == "forensic" and not mesh:
        return forensic(facts, rng)
    return WRITERS[attribute](facts, rng)


def demographic(row: LabelRow, facts: Facts, rng: random.Random) -> str:
    """Labels only: age group, gender, ethnicity ("Others" is not said)."""
    who, age = subject(facts), age_phrase(facts, rng)
    first = pick(rng, f"the image shows {who}, {age}", f"this appears to be {who}, {age}")
    sex = {"Male": "male", "Female": "female"}[row.gender]
    gender = pick(rng, f"the apparent gender is {sex}", f"the person appears to be {sex}")
    name = _NAMES.get(row.race, row.race)
    race = name and pick(rng, f"the apparent ethnicity is {name}", f"the visible features suggest {name} ethnicity")
    parts = [gender, race]
    rng.shuffle(parts)
    caution = pick(rng, "these are estimates from appearance only", "all of this is an estimate from the picture", "")
    return join([first, *parts, caution])


def expression(facts: Facts, rng: random.Random) -> str | None:
    """Mouth and eyes as measured; no emotion is named, because none was."""
    mouth = {"open": "the mouth is open", "closed": "the mouth is closed"}.get(facts.mouth)
    eyes = {"wide": "the eyes are wide open", "narrowed": "the eyes are narrowed"}.get(facts.eyes)
    seen = [part for part in (mouth, eyes) if part]
    smile = pick(rng, "the mouth is drawn into a smile", "the corners of the mouth are raised in a smile")
    if not seen and not facts.smile:
        return None
    feeling = pick(
        rng,
        "what the person really feels cannot be known from a picture",
        "an expression need not match the real feeling",
        "the emotion behind it cannot be read from the picture with confidence",
    )
    return join([smile if facts.smile else None, listed(seen) if seen else None, feeling])


def forensic(facts: Facts, rng: random.Random) -> str | None:
    """Light, sharpness and colour alone."""
    good, bad = [], []
    if facts.sharpness == "sharp":
        good.append("good sharpness")
    elif facts.sharpness == "blurred":
        bad.append("the lack of sharpness")
    if facts.light == "balanced":
        good.append("balanced light")
    elif facts.light == "dark":
        bad.append("the dark exposure")
    if facts.colour == "greyscale":
        bad.append("the missing colour")
    if not good and not bad:
        return None
    helps = good and pick(
        rng, f"for a comparison of faces, {listed(good)} would help", f"{listed(good)} would support an examination"
    )
    hurts = bad and pick(
        rng, f"{listed(bad)} would limit an examination", f"{listed(bad)} should be taken into account"
    )
    last = pick(
        rng,
        "identity cannot be established from this image alone",
        "nothing in the picture alone proves or rules out editing",
        "the picture alone does not establish who this is",
    )
    return join([helps or None, hurts or None, last])
