"""One sentence of an answer, asked for alone: what the eight answers say, fact by fact.

A sentence is worded as in the long answers: in a paragraph of seventy tokens a fact is one, and hardly learnt; alone it
is most of the answer, and what is learnt so is said in the paragraph too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from train.faces.facts import Facts
from train.nano.language.phrasebook import PHRASES
from train.teachers.measured import person_text, picture_text
from train.teachers.measured.phrases import Turns, sentence

Sentence = Callable[[Facts, random.Random], str | None]


def _or_nothing(write: Sentence) -> Sentence:
    """Asked for, a shape that does not stand out is told as such."""

    def written(facts: Facts, rng: random.Random) -> str | None:
        return write(facts, rng) or (None if facts.yaw_deg is None else person_text.NO_SHAPE)

    return written


def _level_too(facts: Facts, rng: random.Random) -> str | None:
    """Asked for, a level chin is told as well."""
    return "the chin is nearly level" if facts.pitch == "level" else person_text.chin_sentence(facts, rng)


# What is asked for alone -> its sentence; None where nothing was measured or may be said. The ways to ask are in the
# phrasebook under the same names.
_ABOUT_THE_PERSON: Mapping[str, Sentence] = {
    "ethnicity": person_text.race_sentence,
    "face": _or_nothing(person_text.face_sentence),
    "features": _or_nothing(person_text.features_sentence),
    "expression": person_text.expression_sentence,
    "mouth": person_text.mouth_and_eyes_sentence,
    "direction": person_text.direction_sentence,
    "chin": _level_too,
}
_ABOUT_THE_PICTURE: Mapping[str, Sentence] = {
    "sharpness": picture_text.sharpness_sentence,
    "detail": person_text.detail_sentence,
    "marks": picture_text.marks_sentence,
    "light": picture_text.light_sentence,
    "side": picture_text.side_sentence,
    "colour": picture_text.colour_sentence,
}
_SENTENCES = {**_ABOUT_THE_PERSON, **_ABOUT_THE_PICTURE}
_QUESTIONS: Mapping[str, list[str]] = PHRASES["sentence_questions"]


def single(facts: Facts, rng: random.Random) -> list[Turns]:
    """Asks for two facts of the person and three of the picture, each with its sentence; fewer where less is known.

    Dark and bright pictures and turned heads are few, so there light and direction are asked for always, chins that
    are not level and pictures without colour often. The mouth is asked for only where it is clear: asked for more
    often, it was named of most faces.
    """
    chosen = [*rng.sample(list(_ABOUT_THE_PERSON), 2), *rng.sample(list(_ABOUT_THE_PICTURE), 3)]
    for name, wanted in (
        ("light", True),
        ("direction", facts.pose in ("left", "right")),
        ("chin", facts.pitch in ("up", "down") and rng.random() < 0.5),
        ("colour", facts.colour == "greyscale" and rng.random() < 0.5),
    ):
        if wanted and name not in chosen:
            chosen.append(name)
    return [
        [(rng.choice(_QUESTIONS[name]), sentence(text))] for name in chosen if (text := _SENTENCES[name](facts, rng))
    ]
