"""Do people and the synthetic answers say the same about the same face? Fact by fact, where both say something.

What an answer states is read by `facellm.claims`, with narrow patterns, and ages and poses in few words by
`plain_words`: what a person words in another way counts as not stated, so shares of stated facts are lower bounds.
Which of the two is right is not known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from facellm.claims import LABELLED, SHAPES, STAGES, age_claim, claims, found
from facellm.labels import AGE_GROUPS
from train.people.agreement import plain_words
from train.people.agreement.pairs import HUMAN, SYNTHETIC, Pair
from train.people.kappa import clustered, cohen
from train.reports import stats

AGE, AGE_GROUP = "age ranges meet", "age group"
FACTS = (*LABELLED, AGE_GROUP, AGE, *SHAPES)
_ENDS = [int(group.split("-")[1]) for group in AGE_GROUPS[:-1]]


def stated(text: str) -> dict[str, str]:
    """fact -> the one value that an answer states. The age group is that of its range's middle."""
    values = {fact: next(iter(named)) for fact, named in found(text).items() if fact in SHAPES and len(named) == 1}
    values |= claims(text)
    if "pose" not in values and (pose := plain_words.pose(text)):
        values["pose"] = pose
    span = age_of(text)
    if span:
        middle = sum(span) / 2
        values[AGE_GROUP] = next(
            (g for g, end in zip(AGE_GROUPS, _ENDS, strict=False) if middle < end + 1), AGE_GROUPS[-1]
        )
    return values


def age_of(text: str) -> tuple[int, int] | None:
    """The range of years that an answer names; a number of few words goes before a stage of life ("a child")."""
    named = age_claim(text)
    if named is None or named in {(low, high) for _, low, high in STAGES}:
        return plain_words.age(text) or named
    return named


def compare(pairs: Sequence[Pair]) -> dict[str, Any]:
    """{"facts": {fact: ...}, "apart": [every disagreement]}; facts that neither side ever states are missing.

    A fact's row: human, synthetic (in how many pairs each states it), both (of those), same (rate), clustered
    ((low, high) or None), kappa and kappa_ends (None where not defined; ranges have none).
    """
    read = [(pair, stated(pair.human), stated(pair.item.answer)) for pair in pairs]
    facts: dict[str, Any] = {}
    apart: list[dict[str, Any]] = []
    for fact in FACTS:
        key = AGE_GROUP if fact == AGE else fact
        counts = Counter()
        first, second, images = [], [], []
        for pair, human, synthetic in read:
            counts[HUMAN] += key in human
            counts[SYNTHETIC] += key in synthetic
            if key in human and key in synthetic:
                a, b = (human[key], synthetic[key]) if fact != AGE else _meeting(pair)
                first.append(a)
                second.append(b)
                images.append(pair.item.image)
                if a != b:
                    apart.append({"fact": fact, "image": pair.item.image, "attribute": pair.item.attribute,
                                  "annotator": pair.annotator, HUMAN: a, SYNTHETIC: b})  # fmt: skip
        if counts:
            facts[fact] = {**counts, **_row(first, second, images, kappa=fact != AGE)}
    return {"facts": {fact: row for fact, row in facts.items() if row[HUMAN] or row[SYNTHETIC]}, "apart": apart}


def _meeting(pair: Pair) -> tuple[str, str]:
    """Both ranges as text, equal where they share a year."""
    one, other = age_of(pair.human), age_of(pair.item.answer)
    if one[0] <= other[1] and other[0] <= one[1]:
        return "meet", "meet"
    return f"{one[0]}-{one[1]}", f"{other[0]}-{other[1]}"


def _row(first: Sequence[str], second: Sequence[str], images: Sequence[str], kappa: bool) -> dict[str, Any]:
    equal = [a == b for a, b in zip(first, second, strict=True)]
    measured = cohen((HUMAN, SYNTHETIC), first, second, images) if kappa and first else None
    return {
        "both": len(first), "same": stats.rate(sum(equal), len(equal)).to_dict(), "clustered": clustered(images, equal),
        "kappa": measured.kappa if measured else None, "kappa_ends": measured.kappa_ends if measured else None,
    }  # fmt: skip
