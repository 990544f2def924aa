"""Judgements on disk: one SQLite file holds the sample, every annotator's marks and answers of their own.

A mark is on the disk (fsync) before `mark` returns. Marks are appended, the latest counts; undo takes back an
annotator's latest one, so that what it replaced counts again. The file holds everything that a report needs but the
pictures.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from train.people.audit.items import Item, Items

MARKS = ("supported", "not visible", "wrong")
AUTO = "auto"  # the annotator name of `train.people.audit.automatic`
MAJORITY = "majority"  # the name under which the report counts several people's marks of one sentence
RESERVED = {AUTO: "the automatic checks", MAJORITY: "the report's majority of all people"}  # not open to people
LONGEST_NAME = 40
LONGEST_ANSWER = 4000  # characters of an answer of one's own

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS items (
  key TEXT PRIMARY KEY, place INTEGER NOT NULL UNIQUE, image TEXT NOT NULL, path TEXT NOT NULL, attribute TEXT NOT NULL,
  question TEXT NOT NULL, answer TEXT NOT NULL, sentences TEXT NOT NULL, labels TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS marks (
  id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT NOT NULL REFERENCES items (key), sentence INTEGER NOT NULL,
  annotator TEXT NOT NULL, mark TEXT NOT NULL CHECK (mark IN ('supported', 'not visible', 'wrong')),
  note TEXT NOT NULL DEFAULT '', time_utc TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_annotator ON marks (annotator, item, sentence);
CREATE TABLE IF NOT EXISTS answers (
  item TEXT NOT NULL REFERENCES items (key), annotator TEXT NOT NULL, answer TEXT NOT NULL, time_utc TEXT NOT NULL,
  PRIMARY KEY (item, annotator));
"""


@dataclass(frozen=True)
class Mark:
    """The mark that counts for one sentence of one item by one annotator."""

    item: str
    sentence: int  # from 0
    annotator: str
    mark: str
    note: str = ""


@dataclass(frozen=True)
class Written:
    """An answer that an annotator wrote to an item's question."""

    item: str
    annotator: str
    answer: str


class AuditStore:
    """The file. Safe for several threads and several processes: SQLite locks the file while it writes."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=30)
            connection.execute("PRAGMA synchronous = FULL")  # a commit waits for the disk
            connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise FaceLLMError(
                f"The audit file {self.path} cannot be used ({error}); give another with --db."
            ) from None
        return connection

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[tuple]:
        with self._lock, closing(self._open()) as connection:
            try:
                return connection.execute(query, tuple(values)).fetchall()
            except sqlite3.Error as error:
                raise FaceLLMError(f"The audit file {self.path} cannot be read ({error}).") from None

    def _write(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> int:
        """All statements in one transaction; the number of rows that the last one changed."""
        with self._lock, closing(self._open()) as connection:
            try:
                with connection:
                    for statement, values in statements:
                        changed = connection.execute(statement, tuple(values)).rowcount
            except sqlite3.Error as error:
                raise FaceLLMError(f"Nothing could be stored in {self.path} ({error}); try again.") from None
        return changed

    # The sample

    def begin(self, source: str, sample: int, seed: int, items: Items, drawn: Sequence[Item]) -> None:
        """Stores the sample, or checks that the file holds the same one and notes where its images are now.

        Raises FaceLLMError where the file belongs to another data set, sample size or seed: marks of two samples in
        one table could not be told apart.
        """
        about = {"source": source, "sample": str(sample), "seed": str(seed), "digest": items.digest}
        about["left_out"] = json.dumps(items.left_out)
        about["strata"] = json.dumps(sum(1 for _ in {item.stratum for item in items.items}))
        about["pairs"] = str(len(items.items))
        before = self.about()
        if before:
            differ = [name for name in ("digest", "sample", "seed") if before.get(name) != about[name]]
            if differ:
                was = ", ".join(f"{name} {before.get(name, 'unknown')[:12]}" for name in differ)
                raise FaceLLMError(
                    f"{self.path} holds another audit ({was}); go on with its settings or give another --db."
                )
            kept = {key for (key,) in self._read("SELECT key FROM items")}
            moved = [(str(item.path.resolve()), item.key) for item in items.items if item.key in kept]
            self._write([("UPDATE items SET path = ? WHERE key = ?", pair) for pair in moved])
            return
        rows = [
            (
                "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (i.key, place, i.image, str(i.path.resolve()), i.attribute, i.question, i.answer,
                 json.dumps(i.sentences, ensure_ascii=False), json.dumps(dict(i.labels))),
            )
            for place, i in enumerate(drawn)
        ]  # fmt: skip
        self._write([*rows, *(("INSERT INTO about VALUES (?, ?)", pair) for pair in about.items())])

    def about(self) -> dict[str, str]:
        """source, sample, seed, digest, left_out, strata, pairs; empty for a new file."""
        return dict(self._read("SELECT name, value FROM about"))

    def items(self) -> list[Item]:
        """The sample, in the order of judging."""
        rows = self._read(
            "SELECT key, image, path, attribute, question, answer, sentences, labels FROM items ORDER BY place"
        )
        return [
            Item(key, image, Path(path), attribute, question, answer, tuple(json.loads(parts)), json.loads(labels))
            for key, image, path, attribute, question, answer, parts, labels in rows
        ]

    # Marks

    def mark(self, item: str, sentence: int, annotator: str, mark: str, note: str = "") -> None:
        """Stores one mark; it is on the disk when this returns.  Raises FaceLLMError for an unknown item or mark."""
        self.mark_all([Mark(item, sentence, annotator, mark, note)])

    def mark_all(self, marks: Sequence[Mark]) -> None:
        """Several marks in one transaction: all of them or none."""
        known = {key: len(json.loads(parts)) for key, parts in self._read("SELECT key, sentences FROM items")}
        for mark in marks:
            if mark.mark not in MARKS:
                raise FaceLLMError(f"{mark.mark!r} is no mark: it is one of {', '.join(MARKS)}.")
            if not 0 <= mark.sentence < known.get(mark.item, 0):
                raise FaceLLMError(f"There is no sentence {mark.sentence + 1} of the pair {mark.item} in {self.path}.")
            _check_name(mark.annotator)
        insert = "INSERT INTO marks (item, sentence, annotator, mark, note, time_utc) VALUES (?, ?, ?, ?, ?, ?)"
        if marks:
            self._write([(insert, (m.item, m.sentence, m.annotator, m.mark, m.note, _now())) for m in marks])

    def undo(self, annotator: str) -> tuple[str, int] | None:
        """Takes back the annotator's latest mark; returns its (item, sentence), None where there is none."""
        last = self._read(
            "SELECT id, item, sentence FROM marks WHERE annotator = ? ORDER BY id DESC LIMIT 1", (annotator,)
        )
        if not last:
            return None
        self._write([("DELETE FROM marks WHERE id = ?", (last[0][0],))])
        return last[0][1], last[0][2]

    def forget(self, annotator: str) -> None:
        """Takes back all marks of an annotator: the automatic pass is made anew, never beside its former self."""
        self._write([("DELETE FROM marks WHERE annotator = ?", (annotator,))])

    def marks(self, annotator: str | None = None) -> list[Mark]:
        """The marks that count (each annotator's latest for each sentence), of all annotators or of one."""
        where, values = ("WHERE annotator = ?", (annotator,)) if annotator is not None else ("", ())
        rows = self._read(
            f"SELECT item, sentence, annotator, mark, note FROM marks WHERE id IN (SELECT MAX(id) FROM marks {where} "
            "GROUP BY annotator, item, sentence) ORDER BY id",
            values,
        )
        return [Mark(*row) for row in rows]

    def annotators(self) -> list[str]:
        """Those who marked or wrote anything, in the order of their first mark; the automatic pass included."""
        marked = [row[0] for row in self._read("SELECT annotator FROM marks GROUP BY annotator ORDER BY MIN(id)")]
        wrote = [row[0] for row in self._read("SELECT annotator FROM answers GROUP BY annotator ORDER BY MIN(rowid)")]
        return list(dict.fromkeys([*marked, *wrote]))

    # Answers of one's own

    def write_answer(self, item: str, annotator: str, answer: str) -> None:
        """Stores (or replaces) the annotator's own answer to an item's question; an empty one takes it back."""
        _check_name(annotator)
        answer = answer.strip()
        if len(answer) > LONGEST_ANSWER:
            raise FaceLLMError(f"The answer has {len(answer)} characters; write at most {LONGEST_ANSWER}.")
        if not self._read("SELECT 1 FROM items WHERE key = ?", (item,)):
            raise FaceLLMError(f"There is no pair {item} in {self.path}.")
        if answer:
            self._write([("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", (item, annotator, answer, _now()))])
        else:
            self._write([("DELETE FROM answers WHERE item = ? AND annotator = ?", (item, annotator))])

    def written(self, annotator: str | None = None) -> list[Written]:
        """Answers that people wrote, oldest first."""
        where, values = ("WHERE annotator = ?", (annotator,)) if annotator is not None else ("", ())
        rows = self._read(f"SELECT item, annotator, answer FROM answers {where} ORDER BY rowid", values)
        return [Written(*row) for row in rows]


def by_sentence(marks: Sequence[Mark]) -> Mapping[tuple[str, int], dict[str, str]]:
    """(item, sentence) -> annotator -> mark"""
    table: dict[tuple[str, int], dict[str, str]] = {}
    for mark in marks:
        table.setdefault((mark.item, mark.sentence), {})[mark.annotator] = mark.mark
    return table


def check_person(name: str) -> str:
    """The name of a person, stripped.  Raises FaceLLMError for one that cannot be used."""
    name = " ".join(name.split())
    _check_name(name)
    if taken := RESERVED.get(name.lower()):
        raise FaceLLMError(f'The name "{name.lower()}" is kept for {taken}; give another with --annotator.')
    return name


def _check_name(name: str) -> None:
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise FaceLLMError(f"An annotator's name has 1 to {LONGEST_NAME} printable characters; {name!r} does not.")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
