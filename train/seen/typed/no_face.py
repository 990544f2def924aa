"""Questions about pictures without a face, and answers that say so."""

from __future__ import annotations

import json
import random

from facellm.attributes import ATTRIBUTES
from train.seen.descriptions import forms
from train.seen.typed import typed_answers, wordings
from train.seen.typed.dialogues import small_talk
from train.seen.words.spin import raised, spin

NO_FACE = (
    "No face is visible here.",
    "There is no face in this picture.",
    "I see no face in this picture.",
    "No face is visible in this picture.",
    "This picture shows no face.",
    "I can't find a face here.",
)
SO = (
    "[No face is visible here|There is no face in this picture|I see no face here|This picture shows no face], "
    "so {so}.",
    "[I can't tell|That cannot be said]: [no face is visible here|there is no face in this picture|the picture "
    "shows no face].",
)
WHAT = {
    "demographic": "age, gender and ethnicity cannot be described",
    "structure": "there is no facial structure to describe",
    "skin": "there is no skin to describe",
    "expression": "there is no expression to describe",
    "lighting": "the light on a face cannot be described",
    "pose": "there is no pose of a head to describe",
    "forensic": "there is nothing to compare",
    "detail": "there is nobody to describe",
}
SO_WHAT = ("I can't answer that", "there is nothing to say about it", "that question has no answer here", "I can't say")
NOBODY = (
    "Nobody.",
    "None: there is no face in this picture.",
    "Zero; I see no face here.",
    "No one is visible.",
    "No people are visible here.",
)
SHOWS = {
    "clouds": "blurred colours without clear shapes",
    "shapes": "coloured shapes",
    "writing": "letters and signs",
    "pattern": "a regular pattern",
    "landscape": "something like a landscape",
    "chart": "a chart",
    "corner": "a plain or blurred surface",
}


def attribute(key: str, rng: random.Random, kind: str | None = None) -> tuple[str, str]:
    """One of the eight questions in the paper's wording, about a picture without a face."""
    question = next(a.question for a in ATTRIBUTES if a.key == key)
    if rng.random() < 0.5:
        return question, _described(rng, kind if key == "detail" else None)
    return question, spin(SO[0], rng, {"so": WHAT[key]})


def typed(intent: str, rng: random.Random, kind: str | None = None) -> tuple[str, str]:
    """A question as people type it, answered honestly; small talk and text questions as ever."""
    if intent in typed_answers.TALK:
        return small_talk(rng, intent)
    if intent == "json":
        keys = rng.sample(forms.ALL_KEYS, rng.randint(2, 4))
        return wordings.ask(intent, None, rng, argument=", ".join(keys)), json.dumps(dict.fromkeys(keys))
    argument = {"hair_colour_check": "dark", "older_than": "40", "gender_check": "woman"}.get(intent)
    question = wordings.ask(intent, None, rng, argument=argument)
    if intent == "people":
        return question, rng.choice(NOBODY)
    if intent in ("describe", "describe_blind", "one_sentence", "alt_text"):
        return question, _described(rng, kind)
    if rng.random() < 0.5:
        return question, rng.choice(NO_FACE)
    return question, raised(spin(rng.choice(SO), rng, {"so": rng.choice(SO_WHAT)}))


def _described(rng: random.Random, kind: str | None) -> str:
    shows = SHOWS.get(kind or "")
    if shows and rng.random() < 0.6:
        return f"{rng.choice(NO_FACE)} {rng.choice(('The picture shows', 'It shows', 'I see'))} {shows}."
    return rng.choice(NO_FACE)


def pairs(rng: random.Random, kind: str | None = None, eight: int = 2, short: int = 4) -> list[list[tuple[str, str]]]:
    """Conversations about one picture without a face."""
    keys = [a.key for a in ATTRIBUTES]
    found = [[attribute(key, rng, kind)] for key in rng.sample(keys, min(eight, len(keys)))]
    intents = [
        *typed_answers.ABOUT_FACE,
        *typed_answers.FORMATS[:3],
        "json",
        *typed_answers.LIMITS[:3],
        *typed_answers.TALK,
    ]
    return found + [[typed(intent, rng, kind)] for intent in rng.sample(intents, short)]


def says_no_face(text: str) -> bool:
    """Whether an answer says that there is no face."""
    low = text.lower()
    return any(
        phrase in low
        for phrase in (
            "no face",
            "not a face",
            "no person",
            "nobody",
            "no one",
            "no people",
            "can't find a face",
            "without a face",
            "isn't a face",
        )
    )
