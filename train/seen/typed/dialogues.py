"""Conversations of several turns: questions that need the turn before, small talk around them."""

from __future__ import annotations

import random

from train.seen.descriptions import forms, whole
from train.seen.known.truth import PROPOSITIONS, Truth
from train.seen.typed import typed_answers, wordings
from train.seen.words.lexicon import Voice
from train.seen.words.spin import lowered, raised, spin

Turns = list[tuple[str, str]]
AND = {
    "and_hair": "hair",
    "and_age": "age",
    "and_mood": "mood",
    "and_glasses": "glasses",
    "and_background": "background",
    "and_beard": "facial_hair",
}
OPENERS = (
    "glasses",
    "hair_colour",
    "age",
    "mood",
    "gender",
    "makeup",
    "facial_hair",
    "headwear",
    "smiling",
    "teeth",
    "gaze",
    "background",
    "light",
    "hair_length",
    "skin",
)
OPENING_TALK = ("hello", "who_are_you", "what_can_you_do", "how_do_you_know")
SURE = (
    "Yes: {told}.",
    "Yes, {told}.",
    "Fairly sure: {told}.",
    "I am quite sure; {told}.",
    "Yes, as far as the picture shows: {told}.",
)
SOFT = (
    "Not entirely; it is an impression.",
    "Fairly sure, but a photo can mislead.",
    "It is an estimate, so I may be off.",
    "I could be wrong; the picture shows no more than that.",
)
BECAUSE = {
    "mood": (
        "Because {evidence}.",
        "{Evidence}.",
        "You can see it in the face: {evidence}.",
        "It is the face that shows it: {evidence}.",
    ),
    "age": ("Because {signs}.", "{Signs}.", "It is an impression: {signs}.", "What speaks for it: {signs}."),
}
GUESSED = ("age", "mood", "skin", "light", "background", "face_shape", "brows", "lips", "nose")


def converse(truth: Truth, voice: Voice, rng: random.Random, most: int = 4) -> Turns | None:
    """Two to `most` turns; None where too little is known."""
    turns: Turns = []
    if rng.random() < 0.15:
        turns.append(small_talk(rng, rng.choice(OPENING_TALK)))
    first = rng.choice(OPENERS)
    told = typed_answers.answer(first, truth, voice, rng, bare=False)
    if told is None:
        return None
    turns.append((wordings.ask(first, voice, rng), told))
    last, asked = first, {first}
    while len(turns) < most:
        step = _next(last, turns[-1][1], asked, truth, voice, rng)
        if step is None:
            break
        last, turn = step
        asked.add(last)
        turns.append(turn)
        if len(turns) > 2 and rng.random() < 0.4:
            break
    if len(turns) >= 2 and rng.random() < 0.12:
        turns.append((wordings.ask("thanks", voice, rng), _talk("thanks", rng)))
    return turns if len(turns) > 1 else None


def small_talk(rng: random.Random, intent: str | None = None) -> tuple[str, str]:
    """A question of small talk with its answer."""
    intent = intent or rng.choice(typed_answers.TALK)
    return wordings.ask(intent, None, rng), _talk(intent, rng)


def _talk(intent: str, rng: random.Random) -> str:
    return spin(rng.choice(typed_answers.answer_forms()[intent]["any"]), rng)


def described(truth: Truth, voice: Voice, rng: random.Random) -> Turns | None:
    """A description, then a shorter or a longer one."""
    if rng.random() < 0.5:
        long, short = whole.write(truth, voice, rng), forms.one_sentence(truth, voice, rng, short=True)
        if not long or not short:
            return None
        return [(wordings.ask("describe", voice, rng), long), (wordings.ask("shorter", voice, rng), short)]
    short = forms.one_sentence(truth, voice, rng)
    more = short and whole.further(truth, voice, rng, short)
    if not more:
        return None
    return [(wordings.ask("one_sentence", voice, rng), short), (wordings.ask("more", voice, rng), more)]


def _next(
    last: str, told: str, asked: set[str], truth: Truth, voice: Voice, rng: random.Random
) -> tuple[str, tuple[str, str]] | None:
    """(intent, turn) that follows on what was asked last."""
    kinds = ["sure", "and", "and", "other"] + (["why", "why"] if last in BECAUSE else [])
    kind = rng.choice(kinds)
    if kind == "why":
        slots = voice.slots() | {"signs": forms.age_signs(truth, voice, rng) if last == "age" else ""}
        form = rng.choice(BECAUSE[last])
        return "why", (wordings.ask("why", voice, rng), raised(spin(form, rng, slots)))
    if kind == "sure" and last not in ("sure", "why"):
        soft = last in GUESSED
        words = SOFT if soft else SURE
        clause = lowered(typed_answers.answer(last, truth, voice, rng, bare=False) or told).rstrip(".")
        clause = clause.split(", ", 1)[-1] if clause.startswith(("yes", "no,")) else clause
        clean = (
            not any(mark in clause for mark in ".;:")
            and " " in clause
            and not clause.startswith(("no ", "not ", "none"))
        )
        text = (
            spin(rng.choice(words), rng, {"told": clause})
            if soft or clean
            else rng.choice(("Yes, as far as the picture shows.", "Yes, quite sure."))
        )
        return "sure", (wordings.ask("are_you_sure", voice, rng), text)
    if kind == "and":
        follow = rng.choice([name for name, intent in AND.items() if intent not in asked] or ["and_hair"])
        intent = AND[follow]
        if intent in asked:
            return None
        text = typed_answers.answer(intent, truth, voice, rng, bare=False)
        return None if text is None else (intent, (wordings.ask(follow, voice, rng), text))
    intent = rng.choice([name for name in (*OPENERS, *typed_answers.LIMITS[:5]) if name not in asked])
    text = typed_answers.answer(intent, truth, voice, rng, bare=intent in PROPOSITIONS)
    return None if text is None else (intent, (wordings.ask(intent, voice, rng), text))
