"""The visitor's own question with the answers to choose from, as it is typed."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
    typed = [part.strip() for part in re.split(r"[,;/\n]|\bor\b", str(options or ""))]
    once: dict[str, str] = {}
    for part in filter(None, typed):
        once.setdefault(part.casefold(), part)
    return checked(question, list(once.values()), sensitive)


def checked(question: object, options: Sequence[object], sensitive: bool) -> TypedQuestion:
    """The question with its answers one by one.

    Args:
        question: As in `read`.
        options: The answers, each one different.
        sensitive: As in `read`.

    Returns:
        The question, without a fit.

    Raises:
        FaceLLMError: As in `read`.
    """
    asked = parameters.question(question, "Write a question first, as in: Does the person wear a tie?")
    found = [str(option) for option in options]
    if len(found) < 2:
        raise FaceLLMError(HOW)
    policy.check(" ".join([asked, *found]), sensitive)
    return make(asked, found)
