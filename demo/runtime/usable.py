"""Whether a model's text can be shown as an answer: small models may write nothing, stray JSON or one word forever."""

from __future__ import annotations

import re

# One word six times in a row, or two to eight words four times in a row.
_REPEATED = re.compile(r"\b(\w+)(?:\W+\1\b){5,}|\b((?:\w+\W+){1,7}\w+)(?:\W+\2\b){3,}", re.IGNORECASE)
_JSON = re.compile(r"^\s*(?:```|\{|\[\s*[\"{\[])|[\[{]\s*\"[^\"]*\"\s*[:,\]}]")
_WORD = re.compile(r"[^\W_]{2,}|\d")


def usable(text: str, question: str = "") -> bool:
    """Whether `text` reads as an answer to `question`.

    Returns:
        False for a text without a word, for code or JSON that was not asked for, and for words repeated over and over.
    """
    if not _WORD.search(text) or _REPEATED.search(text):
        return False
    return "json" in question.lower() or not _JSON.search(text)
