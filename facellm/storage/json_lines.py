"""JSON lines that are appended as work gets done, so that a run that was killed goes on where it stopped.

The one way in which long or paid work is kept. Nothing here knows what a row means.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError

SYNC_SECONDS = 1.0  # a power cut loses this much at most
_BLOCK = 2**16  # bytes


def records(path: Path, what: str) -> Iterator[tuple[int, int, bytes, dict[str, Any]]]:
    """Reads a file of JSON lines; a last line without its end, which a kill cut short, is left out.

    Args:
        path: The file; none is like an empty one.
        what: A row in words, for messages ("a reply").

    Yields:
        The line's byte offset, its number from 1, the line, and the row.

    Raises:
        FaceLLMError: For a line that is no JSON object.
    """
    if not path.is_file():
        return
    offset = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return
            if line.strip():
                try:
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError("no object")
                except ValueError as error:
                    raise damaged(path, number, what, error) from None
                yield offset, number, line, row
            offset += len(line)


def damaged(path: Path, number: int, what: str, error: Exception) -> FaceLLMError:
    """Returns the error for a line that is not what the file is made of."""
    return FaceLLMError(
        f"{path}, line {number} is not {what} ({error}); take that line out, what it held is then asked again."
    )


def read(path: Path, what: str, key: str = "key") -> dict[str, dict[str, Any]]:
    """Reads the rows by `key`, the latest of each.

    Raises:
        FaceLLMError: As `records`, and for a row without its key.
    """
    rows: dict[str, dict[str, Any]] = {}
    for _, number, _, row in records(path, what):
        try:
            rows[row[key]] = row
        except (KeyError, TypeError) as error:
            raise damaged(path, number, what, error) from None
    return rows


class Journal:
    """A file of JSON lines that is open for appending; a context manager.

    A line goes to the operating system in one write, so that a kill of the process loses none; every `SYNC_SECONDS`,
    and at the end, the file is forced to the disk.

    Attributes:
        repaired: Bytes of an unfinished last line that were cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.repaired = 0

    def __enter__(self) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b", buffering=0)
        size = self._file.seek(0, os.SEEK_END)
        self._end = self._whole_lines(size)
        self.repaired = size - self._end
        if self.repaired:
            self._file.truncate(self._end)  # writing the rest anew could lose it all to a kill
        self._synced = time.monotonic()
        return self

    def _whole_lines(self, size: int) -> int:
        """Bytes up to the end of the last whole line."""
        while size > 0:
            start = max(0, size - _BLOCK)
            self._file.seek(start)
            if (found := self._file.read(size - start).rfind(b"\n")) >= 0:
                return start + found + 1
            size = start
        return 0

    def __exit__(self, *_: object) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def append(self, row: dict[str, Any]) -> int:
        """Writes one row.

        Returns:
            The line's byte offset, for `row_at`.

        Raises:
            FaceLLMError: Where the disk refuses it; nothing further may then be asked.
        """
        line = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        offset = self._end
        try:
            if self._file.write(line) != len(line):  # a full disk: take the piece back
                self._file.truncate(offset)
                raise OSError(None, "no space left")
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise FaceLLMError(
                f"An answer could not be written to {self.path}: {error.strerror}; free some space and run the same "
                "command again."
            ) from None
        self._end += len(line)
        return offset

    def row_at(self, offset: int) -> dict[str, Any]:
        """Reads back the row whose line begins at a byte offset."""
        with self.path.open("rb") as lines:
            lines.seek(offset)
            return json.loads(lines.readline())
