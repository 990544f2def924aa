"""Yes or no and nothing else: a conversation of bare answers, as often yes as no over all faces.

A sentence spends one token in ten on what the face decides; here it is every second one.
"""

from __future__ import annotations

import random

from train.mini.language.balance import Balance
from train.seen.known.truth import PROPOSITIONS, WITH_ARGUMENT, Truth
from train.seen.typed import wordings
from train.seen.words.lexicon import Voice

OPENINGS = (
    "Only yes or no, please: {}",
    "Answer with yes or no. {}",
    "Just yes or no. {}",
    "One word, yes or no: {}",
    "yes or no only: {}",
)
FORMS = ("{}.", "{}")


def turns(truth: Truth, voice: Voice, balance: Balance, rng: random.Random) -> list[tuple[str, str]]:
    """Questions that `balance` keeps, of those whose answer is known, each with Yes or No; may be empty."""
    intents = [intent for intent in PROPOSITIONS if intent not in WITH_ARGUMENT]
    rng.shuffle(intents)
    known = [(intent, truth.holds(intent)) for intent in intents if balance.keeps(intent, truth, rng)]
    form = rng.choice(FORMS)
    told = [
        (wordings.ask(intent, voice, rng), form.format("Yes" if holds else "No"))
        for intent, holds in known
        if holds is not None
    ]
    if told:
        told[0] = (rng.choice(OPENINGS).format(told[0][0]), told[0][1])
    return told
