"""Questions whose answer is a label: multiple choice in FaceXBench's form and the profile's fields."""

from __future__ import annotations

import dataclasses
import random

from facellm.labels import POSES
from facellm.profile import FIELDS
from train.evaluate.prompts import ANSWER_WITH_LETTER, LETTERS, choice_prompt
from train.faces.facts import Facts
from train.faces.measures import pose_label
from train.faces.tasks import TASKS
from train.nano.language.phrasebook import PHRASES
from train.teachers.measured.phrases import Turns

# The profile's words for a pose, in a share of the questions: options need not be one word.
WORDY_POSE = dataclasses.replace(TASKS["headpose"], words={pose: pose for pose in POSES})


def task_label(name: str, facts: Facts) -> str | None:
    """The right label of a multiple-choice task, or None where the facts do not hold it."""
    if name == "age":
        return facts.age_group
    if name == "gender":
        return facts.gender_label
    if name == "race":
        return facts.race_label if facts.race_label in TASKS["race"].labels else None
    if name == "expression":
        label = facts.expression_label or facts.expression
        return label if label in TASKS["expression"].labels else None
    return pose_label(facts.yaw_deg) if facts.yaw_deg is not None else None


def multiple_choice(name: str, facts: Facts, rng: random.Random, form: str = "letter") -> Turns | None:
    """One question of a task in FaceXBench's form.

    form: "letter" asks for the letter as FaceXBench does (mostly; without the instruction, sometimes the option is
    written out); "name" for the option and then its letter, "check" for yes or no to every option. The two last show
    one by one the steps that a bare letter takes at once.
    """
    label = task_label(name, facts)
    if label is None:
        return None
    task = WORDY_POSE if name == "headpose" and rng.random() < 0.2 else TASKS[name]
    options, right = task.options_for(label, rng)
    if form == "letter" and rng.random() < 0.04:  # the right option is missing: "None of the above" is an answer too
        spare = "None of the above"
        if spare not in options:
            options[right] = spare
    letter, bare = LETTERS[right], rng.random() < 0.12
    wanted, answer = {
        "letter": ("" if bare else ANSWER_WITH_LETTER, letter),
        "name": (rng.choice(PHRASES["name_it"]), f"{options[right]} ({letter})"),
        "check": (
            rng.choice(PHRASES["check_all"]),
            ", ".join(f"{one} {'yes' if one == letter else 'no'}" for one in LETTERS[: len(options)]),
        ),
    }[form]
    if form == "letter" and bare and rng.random() < 0.5:
        answer = f"({letter}) {options[right]}"
    prepend = task.description if rng.random() < 0.06 else ""
    return [(choice_prompt(task.question_for(rng), options, prepend=prepend, postpend=wanted), answer)]


def profile_answer(key: str, facts: Facts, rng: random.Random, eyes: str | None = None) -> Turns | None:
    """A field's question, answered with its label alone."""
    field = next(item for item in FIELDS if item.key == key)
    if key == "pose":
        answer = {"frontal": POSES[0], "left": POSES[1], "right": POSES[2]}.get(facts.pose_label or "")
    else:
        answer = {
            "age_group": facts.age_group,
            "gender": facts.gender_label,
            "ethnicity": facts.race_label,
            "expression": facts.expression_label or facts.expression,
            "mouth": facts.mouth_label,
            "eyes": eyes,
            "lighting": facts.light_label,
            "sharpness": facts.sharpness_label,
        }[key]
    return [(field.question, answer)] if answer in field.labels else None
