"""Puts the chosen questions to a model in batches over many pictures, and keeps every reply as it comes.

Replies are JSON lines by question, one file for each variant, so that a run that was killed goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facellm.engine.offline import ROWS, Ask, OfflineEngine
from facellm.messages import build_messages, prompt_ids
from train import journal
from train.chat.selection import Question

NEW_TOKENS = 128
PART = 480  # questions that are handed over at once: their pictures are encoded together


@dataclass(frozen=True)
class Reply:
    """What one question got: text, tokens generated, seconds (the batch's divided by its rows)."""

    key: str
    text: str
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Turn(Ask):
    """A question behind the turns before it."""

    history: tuple[tuple[str, str], ...] = ()


class Conversing(OfflineEngine):
    """Also asks what follows earlier turns; the picture stands in the first one, as when people chat."""

    def ids(self, ask: Ask) -> list[int]:
        if not isinstance(ask, Turn) or not ask.history:
            return super().ids(ask)
        return prompt_ids(self.processor, build_messages(ask.prompt, ask.history))


def read_replies(path: Path) -> dict[str, Reply]:
    """Replies by key; a last line that a kill cut short is left out."""
    return {key: Reply(**row) for key, row in journal.read(path, "a reply").items()}


def ask_all(
    questions: Sequence[Question],
    loaded: Any,
    load: Callable[[str], Any],
    variant: str,
    path: Path,
    progress: Callable[[int, int], None] | None = None,
    rows: int = ROWS,
    new_tokens: int = NEW_TOKENS,
) -> dict[str, Reply]:
    """Asks what `path` does not hold yet, appends each reply at once and returns the replies to `questions` by key."""
    replies = read_replies(path)
    missing = [question for question in questions if question.key not in replies]

    def news(asked: Sequence[Question]) -> Iterator[Reply]:
        engine = Conversing(loaded, load, rows)
        for start in range(0, len(asked), PART):
            part = asked[start : start + PART]
            turns = [Turn(q.text, (q.file,), history=q.history) for q in part]
            for index, answer in engine.generate(turns, variant, new_tokens):
                yield Reply(part[index].key, answer.text, answer.tokens, round(answer.seconds, 4))

    if missing:
        journal.complete(path, replies, missing, news, progress)
    return {question.key: replies[question.key] for question in questions if question.key in replies}
