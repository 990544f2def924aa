"""Joins clauses to a paragraph: which come, in which order, and how a clause becomes a sentence."""

from __future__ import annotations

import random
from collections.abc import Sequence

from train.seen.words.spin import raised

JOINTS = ("; ", ", and ")
JOIN = 0.3  # of neighbouring short clauses are joined to one sentence
SHORT = 9  # words up to which a clause is joined


def paragraph(rng: random.Random, clauses: Sequence[str | None], shuffle: bool = False, join: bool = True) -> str:
    """Clauses as sentences, those that are None left out.

    shuffle: in any order.  join: now and then two short ones in one sentence.
    """
    kept = [clause.rstrip(". ") for clause in clauses if clause]
    if shuffle:
        rng.shuffle(kept)
    sentences: list[str] = []
    while kept:
        clause = kept.pop(0)
        joinable = join and kept and all(len(c.split()) <= SHORT and not set(c) & set(";:.") for c in (clause, kept[0]))
        if joinable and rng.random() < JOIN:
            following = kept.pop(0)
            joint = "; " if "," in clause + following else rng.choice(JOINTS)
            clause = f"{clause}{joint}{following}"
        sentences.append(raised(clause) + ".")
    return " ".join(sentences)
