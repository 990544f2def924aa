"""The eight answers to the paper's questions: as they were written where they were, else composed.

All eight are built from one truth and one choice of words, so that they cannot contradict each other.
"""

from __future__ import annotations

import random
import re

from train.seen.descriptions import eight_person, eight_picture, whole
from train.seen.known.truth import Truth
from train.seen.words.lexicon import Voice

WRITERS = {
    "demographic": eight_person.demographic,
    "structure": eight_person.structure,
    "skin": eight_person.skin,
    "expression": eight_person.expression,
    "lighting": eight_picture.lighting,
    "pose": eight_picture.pose,
    "forensic": eight_picture.forensic,
    "detail": whole.write,
}
LEAST_WORDS = 6  # of a composed answer; where less is known it is left out
# An ethnicity before a person's noun; in a description nobody asked for it. Hair and clothes keep their colours.
_GROUP = re.compile(
    r"\b(?:White|Black|(?:East |South |Southeast )?Asian|Indian|Caucasian|African(?:[- ]American)?|European"
    r"|Middle Eastern"
    r"|Latin[oa]|Hispanic)(?:[- ]looking)?,? (?=(?:[a-z-]+ ){0,2}"
    r"(?:wo)?(?:man|men|boys?|girls?|person|child|toddler|baby|infant|teenager|adult|lady|gentleman|male|female)\b)"
)
_AN = re.compile(r"\b([Aa])n (?=[bcdfgjklmnpqrstvwxyz])")
_A = re.compile(r"\b([Aa]) (?=(?:adult|elderly|older|old|infant|adolescent|attentive|eight|eleven|eighteen)\b)")


def without_ethnicity(text: str) -> str:
    """The text without ethnic words before nouns for persons ("A White woman" -> "A woman"), articles mended."""
    if not _GROUP.search(text):
        return text
    text = _GROUP.sub("", text)
    return _A.sub(r"\1n ", _AN.sub(r"\1 ", text))


def write(truth: Truth, voice: Voice, rng: random.Random, composed: bool = False) -> dict[str, str]:
    """attribute key -> answer, in the paper's order; an attribute of which nothing is known is missing.

    composed: leave the written answers aside.
    """
    found: dict[str, str] = {}
    for key, writer in WRITERS.items():
        written = None if composed else truth.face.answers.get(key)
        if written:
            found[key] = written if key == "demographic" else without_ethnicity(written)
        elif (text := writer(truth, voice, rng)) and len(text.split()) >= LEAST_WORDS:
            found[key] = text
    return found
