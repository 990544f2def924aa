"""Phrases and sentence building that all of the measured teacher's answers share.

Input: `Facts`, a random generator. Output: pieces of text. Knows no question.
"""

from __future__ import annotations

import random

from train.nano.facts import Facts

Turns = list[tuple[str, str]]  # (question, answer) of a conversation

EXPRESSION_PHRASES = {
    "neutral": ("a neutral expression", "a calm, neutral look", "a neutral face without a marked emotion"),
    "happiness": ("a happy expression", "a smile that suggests happiness", "a cheerful, smiling expression"),
    "surprise": ("a surprised expression", "a look of surprise", "an expression that suggests surprise"),
    "sadness": ("a sad expression", "a look of sadness", "an expression that suggests sadness"),
    "anger": ("an angry expression", "a look of anger", "an expression that suggests anger"),
    "disgust": ("an expression of disgust", "a look of disgust", "an expression that suggests disgust"),
    "fear": ("a fearful expression", "a look of fear", "an expression that suggests fear"),
    "contempt": ("a contemptuous expression", "a look of contempt", "an expression that suggests contempt"),
}

RACE_PHRASES = {
    "White": ("White", "White (European-looking)"),
    "Black": ("Black", "Black (African or African-American-looking)"),
    "Asian": ("Asian", "Asian (East or Southeast Asian-looking)"),
    "Indian": ("Indian", "Indian (South Asian-looking)"),
    "Others": ("mixed or other", "mixed or other, such as Latino or Middle Eastern"),
}

LIGHT_WORDS = {
    "dark": ("dark", "dim"),
    "balanced": ("balanced", "well balanced"),
    "bright": ("bright", "strong and bright", "light and bright"),
}


def pick(rng: random.Random, *options: str) -> str:
    return rng.choice(options)


def sentence(text: str) -> str:
    text = text.strip()
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def join(rng: random.Random, parts: list[str | None], shuffle: bool = False) -> str:
    known = [part for part in parts if part]
    if shuffle:
        rng.shuffle(known)
    return " ".join(sentence(part) for part in known)


def listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


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


def subject(facts: Facts, rng: random.Random, article: bool = True) -> str:
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
    if not article:
        return word
    return ("an " if word[0] in "aeiou" else "a ") + word


def age_phrase(facts: Facts, rng: random.Random) -> str:
    low, high = facts.age_range
    if high <= 5:
        return pick(rng, "under about five years old", "not older than about five", "between zero and five years old")
    return pick(rng, f"between about {low} and {high} years old", f"roughly {low} to {high} years old")
