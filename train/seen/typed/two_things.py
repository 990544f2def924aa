"""Two questions in one, "What colour is her hair, and does she wear glasses?", and the answer to both."""

from __future__ import annotations

import random
import re

from train.seen.known.truth import PROPOSITIONS, Truth
from train.seen.typed import typed_answers, wordings
from train.seen.words.lexicon import Voice
from train.seen.words.spin import lowered, raised

INTENT = "two_things"
PAIRED = (
    *("hair_colour", "hair_length", "glasses", "smiling", "facial_hair", "teeth", "headwear", "makeup", "age", "mood"),
    *("gaze", "skin", "gender", "background"),
)
# What one answer would say anyway, so that nobody asks for both.
ALIKE = ({"smiling", "mood"}, {"smiling", "teeth"}, {"gender", "age"}, {"hair_colour", "hair_length"})
_LEAD = re.compile(r"(?:Yes|No)[,.:;] (?=(?:there|he|she|it|the|i|his|her|this|a|no)\b)", re.IGNORECASE)

_LOOSE = re.compile(r"It\b|(?:Yes|No): |\S+$", re.IGNORECASE)
DRAWS = 6


def fits(first: str, second: str) -> bool:
    """Whether people would ask the two intents together."""
    return first != second and {first, second} not in ALIKE


def ask(first: str, second: str, voice: Voice, rng: random.Random, cut: str = "trained") -> str:
    """Both questions in one; neither they nor what joins them are of the other cut."""
    one, other = (wordings.ask(intent, voice, rng, cut).rstrip("?.! ") for intent in (first, second))
    frame = rng.choice(wordings.wordings()[INTENT][cut])
    return raised(frame.replace("{first}", one).replace("{second}", lowered(other)))


def answer(first: str, second: str, truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    """Both answers, the second without a "yes" or "no" that would seem to answer the first; None where one is open."""
    told = []
    for intent in (first, second):
        known = typed_answers.key_of(intent, truth) if intent in PROPOSITIONS else intent
        drawn = (typed_answers.answer(intent, truth, voice, rng, bare=False) if known else None for _ in range(DRAWS))
        text = next((text for text in drawn if text and not (told and _clashes(told[0], text))), None)
        if text is None:
            return None
        told.append(text)
    return f"{told[0]} {raised(_LEAD.sub('', told[1], count=1))}"


def _clashes(before: str, text: str) -> bool:
    """Whether an answer cannot stand behind that one: about what it is would be unclear, or it hedges alike."""
    return bool(_LOOSE.match(text)) or any(hedge in before and hedge in text for hedge in ("I would say", "I think"))


def turn(truth: Truth, voice: Voice, rng: random.Random) -> tuple[str, str] | None:
    """A question about two things and its answer; None where too little is known of the two that were drawn."""
    first, second = rng.sample(PAIRED, 2)
    text = answer(first, second, truth, voice, rng) if fits(first, second) else None
    return None if text is None else (ask(first, second, voice, rng), text)
