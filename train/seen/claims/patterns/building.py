"""How patterns of words are put together: an adjective before a noun or said of it, values and their patterns."""

from __future__ import annotations

import re
from dataclasses import dataclass

ADJ = (
    r"(?:(?:very|rather|quite|fairly|slightly|short|long|medium|medium-length|shoulder-length|straight|wavy"
    r"|curly|coily|thick|thin|"
    r"fine|neat|messy|tousled|loose|natural|swept-back|dark|light|pale|deep|bright|soft|shiny|glossy|cropped"
    r"|tied|wispy|"
    r"dense|full|trimmed|well-kept|big|large|small|round|wide|open|lovely|beautiful|expressive|slim|bushy|arched)[-, ]+"
    r"(?:and )?)"
)
HAIR = r"(?:hair|haired|curls|locks|bob|fringe|ponytail|hairstyle|haircut|waves|strands)"
IS = r"(?:is|are|looks?|appears?|seems?|be|was|were|has gone|has turned|turned|remains?)"
TO = r"[^.;:]{0,40}?"  # what may stand between a noun and what is said of it


def about(noun: str, adjective: str, more: str = "") -> str:
    """The adjective before the noun, or said of it."""
    before = (
        rf"\b(?:{adjective})[-, ]+(?:and )?{ADJ}{{0,4}}(?:(?!(?:without|no|not|with|and|or|nor|in|of|on|behind"
        rf"|against)\b)\w+[- ])?{noun}\b"
    )
    behind = (
        rf"\b{noun}\b(?:(?!\bbut\b|\band (?:{noun}|the|his|her|a)\b)[^.;:,]){{0,30}}?\b{IS}\b(?:[^.;:]{{0,30}}?[ "
        rf",-])?\b(?:{adjective})\b"
    )
    return "|".join(part for part in (before, behind, more) if part)


@dataclass(frozen=True)
class Value:
    """strict, loose: patterns, loose may be None.  presence: to deny it says that there is none of the fact."""

    strict: re.Pattern[str]
    loose: re.Pattern[str] | None = None
    presence: bool = False


def value(strict: str, loose: str | None = None, presence: bool = False) -> Value:
    def compiled(pattern: str) -> re.Pattern[str]:
        return re.compile(rf"(?<![\w-])(?:{pattern})(?!\w)", re.IGNORECASE)

    return Value(compiled(strict), compiled(loose) if loose else None, presence)


def feature(noun: str, adjective: str) -> Value:
    return value(about(noun, adjective), adjective)


EYES = r"(?:eyes?)"
LOOK = r"(?:look\w*|gaz\w+|star\w+|eyes?|eye contact|glanc\w+|peer\w*|facing|faces?|turned|attention|directed)"
TURN = r"(?:turned|turns?|turn|angled|rotated|facing|faces|points?|pointing|tilted|oriented|twisted|directed|profile)"
