"""Dense lines of facts ("Age: 34; Glasses: no; Teeth: yes"), in several forms, and the questions for them.

Rare values are told more often (`Balance`). The connector has lists of its own (`train.mini.dense`).
"""

from __future__ import annotations

import random

from train.mini.language.balance import Balance
from train.seen.descriptions import forms
from train.seen.known.truth import Truth

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
MOST = 8
FORMS = ("; ", ", ", "\n")


def line(truth: Truth, balance: Balance | None, rng: random.Random) -> tuple[str, str] | None:
    """A question and a line of at most `MOST` facts in random order; None where fewer than three are known."""
    known = {key: forms.json_value(key, truth) for key in KEYS}
    known = {key: value for key, value in known.items() if value is not None}
    if len(known) < 3:
        return None

    def weight(key: str) -> float:
        intent = KEYS[key]
        return 0.6 if intent is None else 1.0 if balance is None else max(0.1, balance.share(intent, truth) ** 0.5)

    # The largest of u ** (1 / w) are a draw without replacement by weight (Efraimidis and Spirakis 2006).
    draws = {key: rng.random() ** (1 / weight(key)) for key in known}
    chosen = sorted(known, key=draws.__getitem__, reverse=True)[: rng.randint(3, MOST)]
    rng.shuffle(chosen)
    names = [key.replace("_", " ") for key in chosen]
    question = rng.choice(PROMPTS) if rng.random() < 0.5 else rng.choice(NAMED).format(", ".join(names))
    told = [f"{name.capitalize()}: {_word(known[key])}" for name, key in zip(names, chosen, strict=True)]
    return question, rng.choice(FORMS).join(told)


def _word(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
