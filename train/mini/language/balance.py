"""Yes as often as no, rare values more often than chance: how often a question is asked of which faces."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from facellm.storage.files import write_text
from train.seen.known.truth import PROPOSITIONS, Truth
from train.seen.typed import typed_answers
from train.seen.typed.typed_answers import VALUED

LEAST = 0.02  # of the faces with the common answer are asked at least
UNFIRM = 0.12  # of the faces of which nothing firm is known are asked all the same


class Balance:
    """counts: intent -> answer ("yes", "no" or a value) -> faces."""

    def __init__(self, counts: dict[str, dict[str, int]]) -> None:
        self.counts = counts

    @classmethod
    def of(cls, truths: Iterable[Truth]) -> Balance:
        """Counted over faces; a second for 10,000 of them."""
        counts: dict[str, Counter[str]] = {}
        for truth in truths:
            for intent in (*PROPOSITIONS, *VALUED):
                if (own := own_answer(intent, truth)) is not None:
                    counts.setdefault(intent, Counter())[own] += 1
        return cls({intent: dict(own) for intent, own in counts.items()})

    def share(self, intent: str, truth: Truth) -> float:
        """The chance with which the question is asked: 1 for the rarest answer. Yes and no come out equal; values by
        the square root, so that common ones stay common without drowning the others."""
        own, counts = own_answer(intent, truth), self.counts.get(intent)
        if own is None and intent in PROPOSITIONS:
            return UNFIRM
        if not counts or own not in counts:
            return 1.0
        rarest = min(counts.values())
        ratio = rarest / counts[own]
        if intent in PROPOSITIONS:
            return max(LEAST, ratio) if len(counts) > 1 else 0.2
        return max(LEAST, ratio**0.5)

    def keeps(self, intent: str, truth: Truth, rng: random.Random) -> bool:
        return rng.random() < self.share(intent, truth)

    def save(self, path: Path) -> None:
        write_text(path, json.dumps(self.counts, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, path: Path) -> Balance:
        return cls(json.loads(path.read_text(encoding="utf-8")))


def own_answer(intent: str, truth: Truth) -> str | None:
    """What the face answers to the intent: "yes", "no", a value; None where nothing is known."""
    if intent in PROPOSITIONS:
        holds = truth.holds(intent)
        return None if holds is None else "yes" if holds else "no"
    if intent not in VALUED:
        return None
    return typed_answers.key_of(intent, truth) if intent in ("gaze", "light_side") else truth.value(VALUED[intent])
