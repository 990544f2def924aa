"""The questions that people type, in many wordings, half of which training never sees.

`wordings/*.yaml` lists them: intent -> `trained` and `kept_out`; which wording is kept out is declared there and
nowhere else. For training they are also roughened (lower case, lost punctuation, slips of the keys).

Placeholders: {they}, {their}, {them}, {person} speak of the person and may tell the gender as a user would ("she");
{one}, {ones} never do ("this person"). {hair_colour}, {years}, {gender} and {keys} are what a question asks about.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

from train.seen.words.lexicon import Voice
from train.seen.words.spin import raised, read_tables

FOLDER = Path(__file__).parent / "wordings"
CUTS = ("trained", "kept_out")
GENDERED = 0.6  # of questions say he or she where they may
LOWERED, UNMARKED, SLIPPED = 0.12, 0.12, 0.05  # of training questions


@cache
def wordings() -> dict[str, dict[str, tuple[str, ...]]]:
    """intent -> cut -> wordings."""
    return read_tables(FOLDER)


def intents() -> tuple[str, ...]:
    return tuple(wordings())


def ask(intent: str, voice: Voice | None, rng: random.Random, cut: str = "trained", argument: str | None = None) -> str:
    """One question of the intent about the face; without a voice (no face), about "this person".

    cut: of `CUTS`.  argument: for a placeholder that the question asks about.
    """
    wording = rng.choice(wordings()[intent][cut])
    question = fill(wording, voice, rng, argument)
    return roughen(question, rng) if cut == "trained" else question


def fill(wording: str, voice: Voice | None, rng: random.Random, argument: str | None = None) -> str:
    """The wording with its placeholders filled."""
    plain = rng.choice(("this person", "the person"))
    gendered = voice is not None and voice.they != "the person" and rng.random() < GENDERED
    slots = {
        "they": voice.they if gendered else plain,
        "their": voice.their if gendered else f"{plain}'s",
        "them": voice.them if gendered else plain,
        "person": voice.sex if gendered else "person",
        "one": plain,
        "ones": f"{plain}'s",
    }
    if argument is not None:
        slots |= dict.fromkeys(("hair_colour", "years", "gender", "keys"), argument)
    found = wording
    while match := re.search(r"\{(\w+)\}", found):
        found = found[: match.start()] + slots[match.group(1)] + found[match.end() :]
        if not gendered:  # "Does this person have their mouth open?"
            slots |= {"they": "they", "their": "their", "them": "them"}
    return raised(found) if wording.startswith("{") and not wording[-1].isalpha() else found


def roughen(question: str, rng: random.Random) -> str:
    """Now and then in lower case, without its mark, or with two letters swapped."""
    if rng.random() < LOWERED:
        question = question.lower()
    if rng.random() < UNMARKED:
        question = question.rstrip("?.!")
    if rng.random() < SLIPPED:
        words = list(re.finditer(r"[a-z]{5,}", question))
        if words:
            at = rng.choice(words).start() + rng.randint(1, 2)
            question = question[:at] + question[at + 1] + question[at] + question[at + 2 :]
    return question
