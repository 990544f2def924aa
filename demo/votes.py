"""Blind votes on base against FaceLLM, and likes, in one SQLite file; their win rate with its interval.

Never stored: the photo, a question in the visitor's own words, the answers.
"""

from __future__ import annotations

import csv
import io
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from facellm.intervals import wilson

WINNERS = ("facellm", "base", "tie", "both bad")
OWN_QUESTION = "own question"
COLUMNS = ("id", "time_utc", "key", "winner", "left", "model", "temperature")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS votes (
  id INTEGER PRIMARY KEY, time_utc TEXT NOT NULL, key TEXT NOT NULL, winner TEXT NOT NULL CHECK (winner IN
  ('facellm', 'base', 'tie', 'both bad')), left TEXT NOT NULL CHECK (left IN ('base', 'facellm')),
  model TEXT NOT NULL, temperature REAL NOT NULL);
CREATE TABLE IF NOT EXISTS likes (
  id INTEGER PRIMARY KEY, time_utc TEXT NOT NULL, variant TEXT NOT NULL, liked INTEGER NOT NULL, model TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Rate:
    """How often FaceLLM won on one attribute; a tie or "both bad" counts half.

    Attributes:
        key: The attribute's, OWN_QUESTION, or "all".
        rate: In 0..1.
        low, high: 95 % Wilson interval of `rate`.
    """

    key: str
    votes: int
    rate: float
    low: float
    high: float


class Votes:
    """The file of votes; without a path voting is off, and every write is refused."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.Lock()

    @property
    def on(self) -> bool:
        """Whether votes are stored."""
        return self.path is not None

    @contextmanager
    def _opened(self, what: str) -> Iterator[sqlite3.Connection]:
        """A connection, in a transaction.  Every failure is a sentence; `what` failed where the file itself is good."""
        if self.path is None:
            raise FaceLLMError("Voting is switched off here (FACELLM_VOTES=off).")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=5)
        except (OSError, sqlite3.Error) as error:
            raise FaceLLMError(_unusable(error)) from None
        try:
            connection.executescript(_SCHEMA)
            if any(row[1] == "which" for row in connection.execute("PRAGMA table_info(likes)")):  # up to version 0.1
                connection.execute("ALTER TABLE likes RENAME COLUMN which TO variant")
        except sqlite3.Error as error:
            connection.close()
            raise FaceLLMError(_unusable(error)) from None
        try:
            with connection:
                yield connection
        except sqlite3.Error as error:
            raise FaceLLMError(f"{what} ({error}): try again.") from None
        finally:
            connection.close()

    def _write(self, table: str, **values: Any) -> None:
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        with self._lock, self._opened("Your vote could not be stored") as connection:
            connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", tuple(values.values()))

    def add(self, key: str, winner: str, left: str, model: str, temperature: float) -> None:
        """Stores one vote.

        Args:
            key: The attribute's, or OWN_QUESTION.
            winner: One of WINNERS.
            left: Which variant stood left.
            model: The model's name.
            temperature: What was asked with.

        Raises:
            FaceLLMError: Where voting is off or the file cannot be written.
        """
        if winner not in WINNERS:
            raise FaceLLMError(f"{winner!r} is no vote: it is one of {', '.join(WINNERS)}.")
        now = _now()
        self._write("votes", time_utc=now, key=key, winner=winner, left=left, model=model, temperature=temperature)

    def like(self, variant: str, liked: bool, model: str) -> None:
        """Stores that a chat answer was liked or disliked, not the answer. Raises FaceLLMError as `add` does."""
        self._write("likes", time_utc=_now(), variant=variant, liked=int(liked), model=model)

    def rows(self) -> list[tuple]:
        """Returns all votes, oldest first, in the order of COLUMNS; none where there is no file yet."""
        if self.path is None or not self.path.exists():
            return []
        with self._opened("The votes cannot be read") as connection:
            return connection.execute(f"SELECT {', '.join(COLUMNS)} FROM votes ORDER BY id").fetchall()

    def rates(self) -> list[Rate]:
        """Returns the win rate over all votes ("all") and per attribute, in the order of their first vote."""
        tally: dict[str, list[float]] = {}
        for _, _, key, winner, *_ in self.rows():
            for group in ("all", key):
                tally.setdefault(group, []).append({"facellm": 1.0, "base": 0.0}.get(winner, 0.5))
        return [
            Rate(key, len(points), sum(points) / len(points), *wilson(sum(points), len(points)))
            for key, points in tally.items()
        ]

    def csv(self) -> str:
        """Returns all votes as CSV text with a header."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([COLUMNS, *self.rows()])
        return out.getvalue()


def _unusable(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return f"The votes' file cannot be used ({reason}): give another one with FACELLM_VOTES, or FACELLM_VOTES=off."


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
