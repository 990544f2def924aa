"""The profile's questions, answered with a label alone: what the profile's likelihoods are read from."""

from __future__ import annotations

import random

from facellm.labels import POSES
from facellm.profile import KNOWN_FIELDS, Field
from train.mini.language import choices
from train.seen.known.truth import Truth

_TASKS = {"age_group": "age", "gender": "gender", "ethnicity": "race", "expression": "expression"}
_FACTS = {"lighting": "brightness"}  # fields whose fact has another name
_POSES = dict(zip(("frontal", "left", "right"), POSES, strict=True))


def label_of(field: Field, truth: Truth) -> str | None:
    """The field's label of a face, None where it is not firmly known or no label of the field says it."""
    if field.key in _TASKS:
        found = choices.label_of(_TASKS[field.key], truth)
    elif field.key == "pose":
        found = _POSES.get(truth.value("pose", sure=True) or "")
    else:
        found = truth.value(_FACTS.get(field.key, field.key), sure=True)
    return found if found in field.labels else None


def pairs(truth: Truth, rng: random.Random, count: int) -> list[list[tuple[str, str]]]:
    """Questions of at most so many fields, chosen at random among those whose label is known."""
    known = [(field.question, label) for field in KNOWN_FIELDS if (label := label_of(field, truth))]
    return [[pair] for pair in rng.sample(known, min(count, len(known)))]
