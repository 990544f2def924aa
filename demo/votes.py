"""Blind votes on base against FaceLLM, and likes, in one SQLite file; their win rate with its interval.

Input: a vote (which attribute, who won, which side was left). Never stored: the photo, the question's own words, the
answers. What this file does not know: Gradio, models.
"""

from __future__ import annotations

import csv
import io
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from facellm.errors import FaceLLMError

WINNERS = ("facellm", "base", "tie", "both bad")
OWN_QUESTION = "own question"
COLUMNS = ("id", "time_utc", "key", "winner", "left", "model", "temperature")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS votes (
  id INTEGER PRIMARY KEY, time_utc TEXT NOT NULL, key TEXT NOT NULL, winner TEXT NOT NULL CHECK (winner IN
  ('facellm', 'base', 'tie', 'both bad')), left TEXT NOT NULL CHECK (left IN ('base', 'facellm')),
  model TEXT NOT NULL, temperature REAL NOT NULL);
CREATE TABLE IF NOT EXISTS likes (
  id INTEGER PRIMARY KEY, time_utc TEXT NOT NULL, which TEXT NOT NULL, liked INTEGER NOT NULL, model TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Rate:
    """How often FaceLLM won: a tie or "both bad" counts half. low, high: 95 % Wilson interval of `rate`, in 0..1."""

    key: str
    votes: int
    rate: float
    low: float
    high: float


def wilson(rate: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a proportion seen in n trials (z = 1.96: 95 %); (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (rate * (1 - rate) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


class Votes:
    """The file. path None: voting is off and every write is refused."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.Lock()

    @property
    def on(self) -> bool:
        return self.path is not None

    def _open(self) -> sqlite3.Connection:
        if self.path is None:
            raise FaceLLMError("Voting is switched off here (FACELLM_VOTES=off).")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=5)
            connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise FaceLLMError(
                f"The votes' file cannot be used ({error}): give another one with FACELLM_VOTES, or FACELLM_VOTES=off."
            ) from None
        return connection

    def _write(self, statement: str, values: tuple) -> None:
        with self._lock:
            connection = self._open()
            try:
                with connection:
                    connection.execute(statement, values)
            except sqlite3.Error as error:
                raise FaceLLMError(f"Your vote could not be stored ({error}): try again.") from None
            finally:
                connection.close()

    def add(self, key: str, winner: str, left: str, model: str, temperature: float) -> None:
        """Store one vote.  Raises FaceLLMError where voting is off or the file cannot be written."""
        if winner not in WINNERS:
            raise FaceLLMError(f"{winner!r} is no vote: it is one of {', '.join(WINNERS)}.")
        self._write(
            "INSERT INTO votes (time_utc, key, winner, left, model, temperature) VALUES (?, ?, ?, ?, ?, ?)",
            (_now(), key, winner, left, model, float(temperature)),
        )

    def like(self, variant: str, liked: bool, model: str) -> None:
        """Store a like or dislike of a chat answer (not the answer)."""
        self._write(
            "INSERT INTO likes (time_utc, which, liked, model) VALUES (?, ?, ?, ?)",
            (_now(), variant, int(liked), model),
        )

    def rows(self) -> list[tuple]:
        """All votes, oldest first, in the order of COLUMNS; empty where there is no file yet."""
        if self.path is None or not self.path.exists():
            return []
        connection = self._open()
        try:
            return connection.execute(f"SELECT {', '.join(COLUMNS)} FROM votes ORDER BY id").fetchall()
        except sqlite3.Error as error:
            raise FaceLLMError(f"The votes cannot be read ({error}).") from None
        finally:
            connection.close()

    def rates(self) -> list[Rate]:
        """The win rate over all votes ("all") and per attribute, attributes in the order of their first vote."""
        tally: dict[str, list[str]] = {}
        for row in self.rows():
            tally.setdefault("all", []).append(row[3])
            tally.setdefault(row[2], []).append(row[3])
        points = {"facellm": 1.0, "base": 0.0, "tie": 0.5, "both bad": 0.5}
        out = []
        for key, winners in tally.items():
            rate = sum(points[w] for w in winners) / len(winners)
            out.append(Rate(key, len(winners), rate, *wilson(rate, len(winners))))
        return out

    def csv(self) -> str:
        """All votes as CSV text with a header."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(self.rows())
        return out.getvalue()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
