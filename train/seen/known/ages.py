"""Ages in words: what a caption takes a face for, and the caption mended where the label says otherwise."""

from __future__ import annotations

import re

_TENS = {
    "twenties": 20,
    "thirties": 30,
    "forties": 40,
    "fifties": 50,
    "sixties": 60,
    "seventies": 70,
    "eighties": 80,
    "nineties": 90,
    "teens": 13,
}
_UNITS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_ROUND = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {word: n for n, word in enumerate(_UNITS, 1)} | {word: n for n, word in enumerate(_TEENS, 10)}
_WORDS |= {word: 10 * n for n, word in enumerate(_ROUND, 2)}
_WORDS |= {f"{ten}-{one}": 10 * t + u for t, ten in enumerate(_ROUND, 2) for u, one in enumerate(_UNITS, 1)}
_DECADE = re.compile(
    r"\bin (his|her|their|the) (early |mid-|mid |middle |late |early-|late-)?(\w+ties|teens)(?: (?:or|to) "
    r"(?:early |mid-|late )?\w+ties)?\b",
    re.I,
)
_PART = {"early": (0, 3), "mid": (3, 7), "middle": (3, 7), "late": (6, 9)}
_NUMBER = re.compile(
    r"\b((?:of |is )?(?:about|around|near|nearly|roughly|past|over|perhaps|maybe|almost|close to|some) )"
    rf"({'|'.join(sorted(_WORDS, key=len, reverse=True))})\b(?! (?:months?|weeks?|days?|of|or))",
    re.I,
)
# Stage of life -> years that it fits, generously.
_STAGES = (
    (r"bab(?:y|ies)|infant|newborn", 0, 3),
    (r"toddler", 0, 5),
    (r"(?:small|little|young) (?:child|boy|girl)", 0, 11),
    (r"child|kid", 0, 14),
    (r"boy|girl", 0, 20),
    (r"teenage[rd]?|adolescent|teen", 11, 22),
    (r"young (?:man|woman|adult|person|lady)", 14, 40),
    (r"middle-aged", 33, 66),
    (r"(?:older|mature|ageing|aging) (?:man|woman|person|lady|gentleman|adult)", 43, 120),
    (r"elderly|aged|very old|old (?:man|woman|person|lady|gentleman)", 54, 120),
    (r"man|woman|adult|lady|gentleman", 14, 120),
)
AGE_SLACK = 6.0  # years by which a caption's impression may miss the label before it is mended


def number_words(number: int) -> str:
    """35 -> "thirty-five"; from 1 to 99."""
    return next(word for word, n in _WORDS.items() if n == number)


def mended(text: str, years: float | None, decade: str | None) -> str | None:
    """The caption with its impressions of age replaced where the label says otherwise.

    years, decade: of the label (34, "mid-thirties"). None where a stage of life is told that the label rules out.
    """
    if years is None:
        return text
    for pattern, low, high in _STAGES:
        if re.search(rf"\b(?:{pattern})\b", text, re.I):
            if not low - 1 <= years <= high + 1:
                return None
            break
    slack = AGE_SLACK if years >= 20 else 2.5
    for match in reversed(list(_DECADE.finditer(text))):
        start = _TENS.get(match.group(3).lower())
        if start is None:
            return None
        low, high = _PART.get((match.group(2) or "").strip(" -").lower(), (0, 9))
        if not start + low - slack <= years <= start + high + slack:
            if decade is None:
                return None
            text = f"{text[: match.start()]}in {match.group(1)} {decade}{text[match.end() :]}"
    for match in reversed(list(_NUMBER.finditer(text))):
        if abs(_WORDS[match.group(2).lower()] - years) > slack:
            if not 1 <= round(years) <= 99:
                return None
            told = match.group(1).lower().replace("nearly", "about").replace("past", "about").replace("over", "about")
            text = f"{text[: match.start()]}{told}{number_words(round(years))}{text[match.end() :]}"
    return text
