"""Rows of a table that is not finished: kept on disk as they come, so that a run that was killed goes on.

Beside results.csv lies results.csv.partial.jsonl until the table is whole. Its first line says what was asked of which
model, and every further one holds a photo's row with the photo's size and time of change. At the end the table is
written from it in one step, and it is removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from facellm.cli.photo_paths import Photo
from facellm.cli.tables import Columns, write_table
from facellm.errors import FaceLLMError
from facellm.storage.json_lines import Journal, damaged, records
from facellm.storage.writable import not_written


class _Row(NamedTuple):
    offset: int  # in the file
    stamp: list[int] | None
    failed: bool


class KeptRows:
    """The rows of one table; a context manager, open to one process at a time."""

    def __init__(self, table: Path, settings: dict[str, Any]) -> None:
        """Reads nothing yet.

        Args:
            table: The table that the rows become.
            settings: What decides the answers; only a run of the same settings goes on.
        """
        self.table, self.path = table, table.with_name(f"{table.name}.partial.jsonl")
        self._settings = json.loads(json.dumps(settings))  # as it will be read back
        self._head: dict[str, Any] | None = None
        self._rows: dict[str, _Row] = {}
        self._lock = FileLock(self.path.with_name(f"{self.path.name}.lock"))
        self._open = ExitStack()
        self._finished = False

    def __enter__(self) -> KeptRows:
        """Raises FaceLLMError where another process is at it, or the rows are of other settings or damaged."""
        try:
            self._open.enter_context(self._lock.acquire(timeout=0))
        except Timeout:
            raise FaceLLMError(f"Another run is writing {self.table}; wait for it or choose another --out.") from None
        except OSError as error:
            raise not_written(self.path, error) from None
        try:
            self._read()
            if self._head is None and self.table.exists():
                raise FaceLLMError(f"{self.table} is there already; choose another --out, or remove it to ask anew.")
            self._journal = self._open.enter_context(Journal(self.path))
        except BaseException as error:
            self._close()
            if isinstance(error, OSError):
                raise not_written(self.path, error) from None
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        self._open.close()
        if self._finished:
            self.path.unlink(missing_ok=True)
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def _read(self) -> None:
        for offset, number, _, line in records(self.path, "a row"):
            try:
                if self._head is None:
                    self._head = {name: line[name] for name in ("settings", "model", "columns")}
                else:
                    self._rows[line["key"]] = _Row(offset, line["stamp"], line["row"].get("error") is not None)
            except (KeyError, TypeError, AttributeError) as error:
                raise damaged(self.path, number, "a row", error) from None
        if self._head is not None:
            self._refuse_others("options", self._head["settings"], self._settings)

    def _refuse_others(self, what: str, before: dict[str, Any], now: dict[str, Any]) -> None:
        changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        if changed:
            raise FaceLLMError(
                f"{self.path} holds answers to other {what} (different: {', '.join(changed)}); go on with the same "
                "ones, choose another --out, or remove that file to begin anew."
            )

    def missing(self, photos: Sequence[Photo]) -> list[Photo]:
        """Returns the photos without a row, those that have changed since, and those that could not be used."""

        def done(photo: Photo) -> bool:
            row = self._rows.get(photo.key)
            return row is not None and not row.failed and row.stamp == photo.stamp()

        return [photo for photo in photos if not done(photo)]

    def begin(self, model: dict[str, Any], columns: Columns) -> None:
        """Says which model answers, before the first row.

        Args:
            model: What tells it from others.
            columns: The table's.

        Raises:
            FaceLLMError: Where the rows that are here are another model's.
        """
        model = json.loads(json.dumps(model))
        if self._head is None:
            self._head = {"settings": self._settings, "model": model, "columns": [list(c) for c in columns]}
            self._journal.append(self._head)
        self._refuse_others("models", self._head["model"], model)

    def add(self, photo: Photo, stamp: list[int] | None, row: dict[str, Any]) -> None:
        """Keeps a photo's row.

        Args:
            photo: The photo.
            stamp: Its `Photo.stamp` from before it was read.
            row: Values by column; "error" says why it could not be used.

        Raises:
            FaceLLMError: Where the disk refuses it.
        """
        offset = self._journal.append({"key": photo.key, "stamp": stamp, "row": row})
        self._rows[photo.key] = _Row(offset, stamp, row.get("error") is not None)

    def finish(self, photos: Sequence[Photo]) -> int:
        """Writes the table; what it was written from is removed when the rows are closed.

        Args:
            photos: The rows' photos, in the table's order; all have a row.

        Returns:
            How many could not be used.

        Raises:
            FaceLLMError: Where the table cannot be written; the rows stay.
        """
        assert self._head is not None

        def rows() -> Iterator[dict[str, Any]]:
            for photo in photos:
                yield {"file": photo.name, **self._journal.row_at(self._rows[photo.key].offset)["row"]}

        try:
            write_table(self.table, self._head["columns"], rows())
        except OSError as error:
            raise not_written(self.table, error) from None
        self._finished = True
        return sum(self._rows[photo.key].failed for photo in photos)
