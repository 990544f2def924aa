"""Is a teacher's answer fit to be learnt? Finds refusals, leaked hints, contradictions, cut and ill-formed answers.

Pictures are not looked at: a wrong statement that no label covers passes. The patterns are words, so each is narrow: a
good answer set aside is asked again and paid twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from train.faces.label_rows import LabelRow
from train.teachers.faults import REFUSED

REASONS = {
    "refusal": "the teacher declined",
    "hint": "it speaks of what it was told",
    "gender": "it contradicts the label's gender",
    "age": "it contradicts the label's age group",
    "ethnicity": "it contradicts the label's ethnicity",
    "truncated": "it is cut off",
    "markup": "it has headings, lists or other markup",
    "language": "it is not English",
    "short": "it is too short",
    "long": "it is too long",
    "duplicate": "it repeats another answer about the same image",
    "unmeasured": "nothing was measured that would answer the question",
    REFUSED: "the server refuses the picture or the question",
}
MIN_WORDS, MAX_WORDS = 15, 400  # one to three paragraphs
NEAR = 0.7  # Jaccard similarity of 3-word shingles; answers on two aspects of one face share less than a third

_REFUSAL = re.compile(
    r"\bI(?:'m| am) (?:very )?sorry\b|\bI apologi[sz]e\b|\bas an AI\b"
    r"|\bI(?:'m| am) (?:unable|not able|not allowed|not permitted) to\b|\bI (?:can't|can ?not|won't|will not) "
    r"(?:\w+ )?(?:help|assist|identify|describe|determine|provide|comply|analy[sz]e|answer|do|engage|discuss)\b",
    re.I,
)
_HINT = re.compile(
    r"\bwe know that\b|\b(?:is|are) known to be\b|\bmetadata\b|\bground truth\b|\bthe (?:hint|note|prompt)s?\b"
    r"|\b(?:provided|given|supplied|additional) (?:information|details?|context|description|labels?|data|notes?)\b"
    r"|\bas (?:stated|specified|given|told|mentioned|provided)\b"
    r"|\baccording to the (?:information|labels?|data|notes?)\b"
    r"|\byou(?:'ve| have)? (?:said|told|mentioned|provided|stated)\b|\binformation provided\b"
    r"|\b(?:is|was) labell?ed as\b",
    re.I,
)
_MARKUP = re.compile(r"^\s{0,3}(?:#{1,6}\s|[-*•]\s|\d{1,2}[.)]\s|```|\|.+\|\s*$)|\*\*\S|__\S+__|<[a-z]+>|`[^`]+`", re.M)
_GENDERED = {
    "Male": re.compile(r"\b(?:man|boy|male|gentleman|he|his|him|himself)\b", re.I),
    "Female": re.compile(r"\b(?:woman|girl|female|lady|she|her|hers|herself)\b", re.I),
}
_NUMBERED = {"twen": 20, "thir": 30, "for": 40, "fif": 50, "six": 60, "seven": 70, "eigh": 80, "nine": 90}
_DECADE = re.compile(
    r"\bin (?:his|her|their|the) (?:(?:early|mid|middle|late)(?:[- ]to[- ](?:mid|late))?[- ])?"
    r"(?:(twen|thir|for|fif|six|seven|eigh|nine)ties|([2-9]0)['’]?s)\b",
    re.I,
)
_CHILD = re.compile(r"\b(?:infant|toddler|newborn|(?:a|the|this) (?:young )?(?:baby|child|boy|girl)(?!'s))\b", re.I)
_ADULT = re.compile(r"\b(?:adult (?:man|woman|male|female)|middle[- ]aged|elderly|an adult)\b", re.I)
_OLD = re.compile(r"\b(?:elderly|senior citizen|old(?:er)? age)\b", re.I)
_ETHNIC = {
    "East Asian": r"(?<!south)(?<!south-)\beast asian\b",
    "Southeast Asian": r"\bsouth[- ]?east asian\b",
    "Indian": r"\b(?:(?<!american )indian|south asian)\b",
    "Middle Eastern": r"\bmiddle eastern\b",
    "Latino_Hispanic": r"\b(?:latin[oa]|hispanic)\b",
    "Black": r"\bblack (?:ethnic\w*|individual|person|man|woman|male|female|boy|girl|descent)\b|\bafrican\b",
    "White": r"\bwhite (?:ethnic\w*|individual|person|man|woman|male|female|boy|girl|descent)\b|\bcaucasian\b",
}
_ENGLISH = frozenset(
    re.findall(r"\w+", "the a an and of is are with to in on that which it its as at by from or no not this there")
)


def check(
    text: str | None,
    row: LabelRow,
    attribute: str,
    *,
    refusal: str | None = None,
    finish_reason: str | None = "stop",
    others: Iterable[str] = (),
    least: int = MIN_WORDS,
) -> list[str]:
    """Checks one answer.

    Args:
        text: The answer.
        row: The face that it is about.
        attribute: Key of the attribute that was asked about.
        refusal: The server's own field.
        finish_reason: As the server said it.
        others: Answers about the same image that are kept already.
        least: Words; fewer are too short.

    Returns:
        Keys of `REASONS` for what is wrong; empty for a good answer.
    """
    if refusal or finish_reason == "content_filter":
        return ["refusal"]
    text = (text or "").strip().replace("\u2019", "'")
    if not text:
        return ["short"]
    if _REFUSAL.search(text):
        return ["refusal"]
    found = []
    if finish_reason == "length" or not re.search(r"[.!?][\"')\u201d]*$", text):
        found.append("truncated")
    if _HINT.search(text):
        found.append("hint")
    found += _contradictions(text, row, attribute)
    if _MARKUP.search(text):
        found.append("markup")
    words = re.findall(r"[^\W\d_]+", text.lower())
    # A fifth and more of English prose are these words; of German or Spanish less than a twelfth.
    if len(words) >= MIN_WORDS and sum(word in _ENGLISH for word in words) < 0.12 * len(words):
        found.append("language")
    # Scripts without spaces have few "words", so they are told by their letters.
    letters = [letter for letter in text if letter.isalpha()]
    if "language" not in found and sum(letter.isascii() for letter in letters) < 0.8 * len(letters):
        found.append("language")
    if len(words) < least:
        found.append("short")
    elif len(words) > MAX_WORDS:
        found.append("long")
    mine = _shingles(text)
    if any(_similar(mine, _shingles(other)) >= NEAR for other in others):
        found.append("duplicate")
    return found


def _contradictions(text: str, row: LabelRow, attribute: str) -> list[str]:
    found = []
    counts = {gender: len(pattern.findall(text)) for gender, pattern in _GENDERED.items()}
    own = counts.pop(row.gender)
    if max(counts.values()) > own:  # "neither clearly male nor female" names both
        found.append("gender")
    if _age_contradicts(text, row, attribute):
        found.append("age")
    if attribute == "demographic" and row.race in _ETHNIC:
        named = {race for race, pattern in _ETHNIC.items() if re.search(pattern, text, re.I)}
        if named and row.race not in named:
            found.append("ethnicity")
    return found


def _age_contradicts(text: str, row: LabelRow, attribute: str) -> bool:
    """Neighbouring groups are let pass: faces look a little older or younger than they are.

    A description of the whole image may speak of a second person, so there only decades count.
    """
    low = 70 if row.age.startswith("more") else int(row.age.split("-")[0])
    for name, number in _DECADE.findall(text):
        decade = int(number) if number else _NUMBERED[name.lower()]
        if abs(min(decade, 70) - low) > 10:
            return True
    if attribute == "detail":
        return False
    if low < 10:
        return bool(_ADULT.search(text))
    if low < 40:
        return bool(_OLD.search(text)) or (low >= 20 and bool(_CHILD.search(text)))
    return bool(_CHILD.search(text))


@lru_cache(maxsize=1024)  # each answer is compared with those that come after it
def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return frozenset(zip(words, words[1:], words[2:], strict=False)) or frozenset([tuple(words)])


def _similar(one: frozenset, other: frozenset) -> float:
    return len(one & other) / len(one | other)
