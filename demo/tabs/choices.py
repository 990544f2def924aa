"""The visitor's own question with the answers to choose from, as it is typed."""

from __future__ import annotations

import re

from demo.runtime import parameters
from facellm import policy
from facellm.errors import FaceLLMError
from facellm.typed.question import TypedQuestion, make

HOW = "Write two or more answers to choose from, with commas or slashes between them, as in: yes, no."


def read(question: object, options: object, sensitive: bool) -> TypedQuestion:
    """Checks what the visitor typed.

    Args:
        question: The question, "Wears a tie?".
        options: The answers, separated by commas, semicolons, slashes, lines or "or"; the same twice counts once.
        sensitive: Whether sensitive attributes may be asked about.

    Returns:
        The question, without a fit.

    Raises:
        FaceLLMError: Saying what is missing, too many or too long, or switched off.
    """
    asked = parameters.question(question, "Write a question first, as in: Does the person wear a tie?")
    typed = [part.strip() for part in re.split(r"[,;/\n]|\bor\b", str(options or ""))]
    once: dict[str, str] = {}
    for part in filter(None, typed):
        once.setdefault(part.casefold(), part)
    found = list(once.values())
    if len(found) < 2:
        raise FaceLLMError(HOW)
    policy.check(" ".join([asked, *found]), sensitive)
    return make(asked, found)
