"""An answer, cut into the sentences that a reviewer marks one by one; put together they hold every word of the text.

A full stop, question or exclamation mark before white space and a word that may begin a sentence ends one;
abbreviations, initials and numbers do not. Lines end a sentence too, so that lists and headings stand apart.
"""

from __future__ import annotations

import re

# Written with a full stop in mid-sentence. Compared in lower case, without the last stop.
_WORDS = (
    "mr mrs ms dr prof st jr sr vs approx ca cf etc fig figs no nos vol pp e.g i.e a.m p.m inc ltd co dept est "
    "max min avg resp incl excl"
)
ABBREVIATIONS = frozenset(_WORDS.split())
# Also at a sentence's end often enough: they end one where a capital follows.
_EITHER = frozenset({"etc", "a.m", "p.m", "inc", "ltd", "co", "jr", "sr"})
_END = re.compile(r"[.!?\u2026]+[\"'\u2019\u201d)\]*]*(?=\s)")
_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\d{1,2}[.)])\s+")


def sentences(text: str) -> list[str]:
    """The sentences of `text`, white space inside each made single; list marks are dropped."""
    found = []
    for line in text.splitlines():
        line = " ".join(_BULLET.sub("", line).split())
        start = 0
        for match in _END.finditer(line):
            if _ends(line, match):
                found.append(line[start : match.end()].strip())
                start = match.end()
        found.append(line[start:].strip())
    return [sentence for sentence in found if re.search(r"\w", sentence)]


def _ends(line: str, match: re.Match[str]) -> bool:
    """Whether the mark ends a sentence."""
    after = line[match.end() :].lstrip()
    if match[0][0] in "!?" or "..." in match[0] or "\u2026" in match[0]:
        return not after[:1].islower()
    word = line[: match.start()].rsplit(" ", 1)[-1].lstrip("(['\"\u201c\u2018").lower()
    if word in ABBREVIATIONS:
        return word in _EITHER and after[:1].isupper()
    if len(word) == 1 and word.isalpha() and word != "i":  # an initial: "J. Smith"; "I" alone ends sentences, seldom
        return False
    return not after[:1].islower()
