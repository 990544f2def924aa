"""What a picture of a face does not show, and small talk: questions to which the answer is about the model itself."""

from __future__ import annotations

import random

from train.nano.language.phrasebook import PHRASES
from train.teachers.measured.phrases import Turns


def _one_of(name: str, rng: random.Random) -> Turns:
    subject = rng.choice(PHRASES[name])
    return [(rng.choice(subject["questions"]), rng.choice(subject["answers"]))]


def limits(rng: random.Random) -> Turns:
    """Returns a question that no face can answer, and an answer that says so."""
    return _one_of("unknowable", rng)


def small_talk(rng: random.Random) -> Turns:
    """Returns a question that is not about the face, and an answer."""
    return _one_of("small_talk", rng)
