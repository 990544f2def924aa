"""One sentence of an answer, asked for alone: what the eight answers say, fact by fact.

Input: `Facts` and a random generator. Output: conversations of one turn. A sentence is worded as in the long answers
(`train.teachers.measured.person_text`, `train.teachers.measured.picture_text`): in a paragraph of seventy tokens a fact is one, and hardly
learnt; alone it is most of the answer, and what is learnt so is said in the paragraph too.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from train.faces.facts import Facts
from train.teachers.measured import person_text, picture_text
from train.teachers.measured.phrases import Turns, pick, sentence

Sentence = Callable[[Facts, random.Random], str | None]


def _or_nothing(write: Sentence) -> Sentence:
    """Asked for, a shape that does not stand out is told as such."""

    def written(facts: Facts, rng: random.Random) -> str | None:
        return write(facts, rng) or (None if facts.yaw_deg is None else person_text.NO_SHAPE)

    return written


def _level_too(facts: Facts, rng: random.Random) -> str | None:
    """Asked for, a level chin is told as well."""
    return "the chin is nearly level" if facts.pitch == "level" else person_text.chin_sentence(facts, rng)


# (ways to ask, the sentence; None where nothing was measured or may be said)
_MOUTH = (("Describe the mouth and the eyes.", "Are mouth and eyes open?"), person_text.mouth_and_eyes_sentence)
_DIRECTION = (("Which way does the face point?", "Is the head turned, and where to?"), person_text.direction_sentence)
_CHIN = (("How is the chin held?", "Is the chin raised?"), _level_too)
_ABOUT_THE_PERSON: tuple[tuple[tuple[str, ...], Sentence], ...] = (
    (("What ethnicity does the face suggest?", "And the ethnicity?"), person_text.race_sentence),
    (("What shape is the face?", "Is the face long or round?"), _or_nothing(person_text.face_sentence)),
    (
        ("Describe the jaw, the nose and the lips.", "How are jaw, nose and lips?"),
        _or_nothing(person_text.features_sentence),
    ),
    (("What expression is it?", "Which expression does the face show?"), person_text.expression_sentence),
    _MOUTH,
    _DIRECTION,
    _CHIN,
)
_LIGHT = (
    ("How bright is the picture?", "What is the light like?", "How is the exposure?"),
    picture_text.light_sentence,
)
_COLOUR = (("Is the picture in colour?", "How are the colours?"), picture_text.colour_sentence)
_ABOUT_THE_PICTURE: tuple[tuple[tuple[str, ...], Sentence], ...] = (
    (("How sharp is the picture?", "Is the focus good?"), picture_text.sharpness_sentence),
    (("Can fine detail be judged?", "Is the picture good enough for pores and lines?"), person_text.detail_sentence),
    (("Would small marks be visible?", "Does the sharpness help a comparison?"), picture_text.marks_sentence),
    _LIGHT,
    (("Where does the light come from?", "Is the light even?"), picture_text.side_sentence),
    _COLOUR,
)


def single(facts: Facts, rng: random.Random) -> list[Turns]:
    """Two facts of the person and three of the picture, each question with its sentence; fewer where less is known.
    Dark and bright pictures and turned heads are few, so there light and direction are asked for always, chins that are
    not level and pictures without colour often. Not so the mouth: it is asked for only where it is clear, and asked for
    more often it was named of most faces."""
    chosen = [*rng.sample(_ABOUT_THE_PERSON, 2), *rng.sample(_ABOUT_THE_PICTURE, 3)]
    for fact, wanted in (
        (_LIGHT, True),
        (_DIRECTION, facts.pose in ("left", "right")),
        (_CHIN, facts.pitch in ("up", "down") and rng.random() < 0.5),
        (_COLOUR, facts.colour == "greyscale" and rng.random() < 0.5),
    ):
        if wanted and fact not in chosen:
            chosen.append(fact)
    return [[(pick(rng, *questions), sentence(text))] for questions, write in chosen if (text := write(facts, rng))]
