"""Dense lines of facts ("Age: 34; Glasses: no; Teeth: yes"), in several forms, and the questions for them.

A line tells some facts, rare values more often (`Balance`); a sheet all that is known, which teaches the most of a face
in the fewest words. The connector has lists of its own (`train.mini.dense`).
"""

from __future__ import annotations

import random

from train.mini.language.balance import Balance
from train.seen.descriptions import forms
from train.seen.known.truth import Truth

SHEETS = (
    "Fill in the fact sheet for this face.",
    "A complete fact sheet, please.",
    "List everything you know about this face.",
    "All the facts about this face, as a list.",
)
PROMPTS = (
    "List the facts about this face.",
    "What facts can you see? Give a list.",
    "Fill in a short fact sheet for this face.",
    "Give me the key facts, nothing else.",
    "Facts only, please.",
)
NAMED = ("List these facts: {}.", "Fill in: {}.", "Give {} for this face.", "For this face, tell me {}.")
# Key -> the intent whose balance decides how often it is told.
KEYS = {
    "age": None,
    "gender": None,
    "glasses": "glasses",
    "hat": "headwear",
    "beard": "beard",
    "facial_hair": "facial_hair",
    "hair_colour": "hair_colour",
    "hair_length": "hair_length",
    "make_up": "makeup",
    "teeth_visible": "teeth",
    "smiling": "smiling",
    "expression": "mood",
    "eyes_open": "eyes_open",
    "head_pose": "head_turn",
    "background": "background",
    "photo_quality": "quality",
    "skin": "skin",
}
LEAST, MOST = 3, 8
FORMS = ("; ", ", ", "\n")


def line(truth: Truth, balance: Balance | None, rng: random.Random) -> tuple[str, str] | None:
    """A question and a line of at most `MOST` facts in random order; None where fewer than three are known."""
    known = _known(truth)
    if len(known) < LEAST:
        return None

    def weight(key: str) -> float:
        intent = KEYS[key]
        return 0.6 if intent is None else 1.0 if balance is None else max(0.1, balance.share(intent, truth) ** 0.5)

    # The largest of u ** (1 / w) are a draw without replacement by weight (Efraimidis and Spirakis 2006).
    draws = {key: rng.random() ** (1 / weight(key)) for key in known}
    chosen = sorted(known, key=draws.__getitem__, reverse=True)[: rng.randint(LEAST, MOST)]
    rng.shuffle(chosen)
    question = rng.choice(PROMPTS) if rng.random() < 0.5 else rng.choice(NAMED).format(", ".join(_names(chosen)))
    return question, _told(known, chosen, rng)


def sheet(truth: Truth, rng: random.Random) -> tuple[str, str] | None:
    """A question and a line of all facts that are known, named by the question in an order of its own, or in that of
    `KEYS`; None where fewer than three are known."""
    known = _known(truth)
    if len(known) < LEAST:
        return None
    chosen, question = list(known), rng.choice(SHEETS)
    if rng.random() < 0.5:
        rng.shuffle(chosen)
        question = rng.choice(NAMED).format(", ".join(_names(chosen)))
    return question, _told(known, chosen, rng)


def _known(truth: Truth) -> dict[str, object]:
    values = {key: forms.json_value(key, truth) for key in KEYS}
    return {key: value for key, value in values.items() if value is not None}


def _names(keys: list[str]) -> list[str]:
    return [key.replace("_", " ") for key in keys]


def _told(known: dict[str, object], chosen: list[str], rng: random.Random) -> str:
    lines = [f"{name.capitalize()}: {_word(known[key])}" for name, key in zip(_names(chosen), chosen, strict=True)]
    return rng.choice(FORMS).join(lines)


def _word(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
