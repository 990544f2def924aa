"""Phrases and sentence building that all of the measured teacher's answers share."""

from __future__ import annotations

import random

from train.faces.facts import Facts

Turns = list[tuple[str, str]]  # (question, answer) of a conversation

# One word a value: where a value has several wordings, each is likelier to lose against "not clear" in greedy decoding.
EXPRESSION_WORDS = {
    "neutral": "neutral",
    "happiness": "happy",
    "surprise": "surprised",
    "sadness": "sad",
    "anger": "angry",
    "disgust": "disgusted",
    "fear": "fearful",
    "contempt": "contemptuous",
}

RACE_WORDS = {
    "White": "White",
    "Black": "Black",
    "Asian": "Asian",
    "Indian": "Indian",
    "Others": "mixed or other",
}


def pick(rng: random.Random, *options: str) -> str:
    return rng.choice(options)


def sentence(text: str) -> str:
    text = text.strip()
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def join(parts: list[str | None]) -> str:
    return " ".join(sentence(part) for part in parts if part)


def listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def with_article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def look(facts: Facts) -> str | None:
    """The expression as an adjective; "smiling" where only the mouth is known, None where nothing is."""
    if facts.expression:
        return EXPRESSION_WORDS[facts.expression]
    return "smiling" if facts.smile else None


def stage(facts: Facts) -> str:
    """baby, child, teenager, young adult, adult, middle-aged adult, older adult: by the middle of the age range."""
    years = facts.years or 0
    for limit, word in (
        (2.5, "baby"),
        (12, "child"),
        (18, "teenager"),
        (34, "young adult"),
        (45, "adult"),
        (60, "middle-aged adult"),
    ):
        if years < limit:
            return word
    return "older adult"


def subject(facts: Facts) -> str:
    """A noun phrase such as "a young woman"; without a stated gender, "a young adult"."""
    kind = stage(facts)
    male = {"Male": 0, "Female": 1}.get(facts.gender or "")
    if male is None:
        word = kind
    else:
        word = {
            "baby": ("baby boy", "baby girl"),
            "child": ("boy", "girl"),
            "teenager": ("teenage boy", "teenage girl"),
            "young adult": ("young man", "young woman"),
            "adult": ("man", "woman"),
            "middle-aged adult": ("middle-aged man", "middle-aged woman"),
            "older adult": ("older man", "older woman"),
        }[kind][male]
    return with_article(word)


def age_phrase(facts: Facts, rng: random.Random) -> str:
    low, high = facts.age_range
    if high <= 5:
        return "under about five years old"
    return pick(rng, f"between about {low} and {high} years old", f"roughly {low} to {high} years old")
