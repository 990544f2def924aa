"""The teacher's answers on disk: one JSON line each, appended at once, never rewritten; the run resumes from them.

Input: records of `kind` "answer" (paid for, kept or not) or "fault" (a try that brought no answer). Output: which
requests are answered, how often each was tried, what was spent. A request is known by its identity, a digest of
everything that shapes its answer, base URL included, so that a test server's answers never pass for real ones.

A line is handed to the system in one write as soon as the answer is there: killing the process loses none. Every
second, and at the end, the file is forced to the disk: a power cut loses a second's worth at most.
What this file does not know: servers, prompts, whether an answer is good.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from facellm.errors import FaceLLMError

FILE, LOCK = "answers.jsonl", ".answers.lock"
SYNC_SECONDS = 1.0


def identity(**parts: Any) -> str:
    """Digest of a request's parts (JSON values), independent of their order; 32 hexadecimal digits."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(slots=True)
class State:
    """What is known of one request: where its kept answer stands (byte offset, -1 for none), its paid tries, and
    whether it is closed, which is that no further try can help."""

    kept: int = -1
    tries: int = 0
    closed: bool = False


@dataclass
class AnswerStore:
    """The open store of one output folder; a context manager. `states` holds offsets, not texts: memory stays small."""

    folder: Path
    states: dict[str, State] = field(default_factory=dict)
    spent: float = 0.0  # USD, all runs
    faults: Counter = field(default_factory=Counter)  # kind of fault -> count, all runs
    reasons: Counter = field(default_factory=Counter)  # why answers were not kept -> count, all runs
    merged: set[str] = field(default_factory=set)  # digests of lines that came from other folders (dataset_merge)
    repaired: int = 0  # bytes of an unfinished last line that were cut off
    _batch_faults: set[tuple[str, str]] = field(default_factory=set)

    def __enter__(self) -> AnswerStore:
        """Raises FaceLLMError if another process has the folder open, or a line of the file is damaged."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FaceLLMError(f"The folder {self.folder} cannot be made: {error.strerror}; check --out.") from None
        self._lock = FileLock(self.folder / LOCK)  # held by the process, so a kill releases it
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise FaceLLMError(
                f"Another process is writing to {self.folder}; wait until it has ended, or choose another --out."
            ) from None
        try:
            self._file = (self.folder / FILE).open("a+b", buffering=0)
            self._read()
        except BaseException:
            self._lock.release()
            raise
        self._synced = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
        self._lock.release()

    def _read(self) -> None:
        offset = 0
        with (self.folder / FILE).open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):  # the process died while it wrote this line
                    self._file.truncate(offset)
                    self.repaired = len(line)
                    break
                try:
                    self._take(json.loads(line), offset)
                except (ValueError, KeyError, TypeError, AttributeError):
                    raise FaceLLMError(
                        f"{self.folder / FILE} is damaged in line {number}; take that line out, its request is then "
                        "asked again."
                    ) from None
                offset += len(line)
        self._end = offset

    def _take(self, record: dict[str, Any], offset: int) -> None:
        if "merged" in record:
            self.merged.add(record["merged"])
        if record["kind"] == "fault":
            self.faults[record["fault"]] += 1
            if "custom_id" in record:
                self._batch_faults.add((record["batch"], record["custom_id"]))
            return
        state = self.states.setdefault(record["id"], State())
        state.tries += 1
        if record["kept"] and state.kept < 0:
            state.kept = offset
        state.closed |= record.get("closed", False)
        self.reasons.update(record["checks"])
        self.spent += record["cost"] or 0.0

    def append(self, record: dict[str, Any]) -> None:
        """Writes one record.  Raises FaceLLMError if the disk refuses it; nothing further may then be asked."""
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        try:
            written = self._file.write(line)
            if written != len(line):  # a full disk: take the piece back
                self._file.truncate(self._end)
                raise OSError(None, "no space left")
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise FaceLLMError(
                f"An answer could not be written to {self.folder / FILE}: {error.strerror}; make room and run the "
                "same command again."
            ) from None
        self._take(record, self._end)
        self._end += len(line)

    def kept(self, request: str) -> dict[str, Any] | None:
        """The record of a request's kept answer, read back from the file; None where there is none."""
        state = self.states.get(request)
        if state is None or state.kept < 0:
            return None
        with (self.folder / FILE).open("rb") as lines:
            lines.seek(state.kept)
            return json.loads(lines.readline())

    def has(self, request: str) -> bool:
        return request in self.states and self.states[request].kept >= 0

    def is_open(self, request: str, tries: int) -> bool:
        """Whether a request is still to be asked.  tries: paid answers that it may take in all."""
        state = self.states.get(request)
        return state is None or (state.kept < 0 and not state.closed and state.tries < tries)

    def has_fault(self, batch: str, custom_id: str) -> bool:
        """Whether a fault in a batch's results is recorded already."""
        return (batch, custom_id) in self._batch_faults

    def tries(self, request: str) -> int:
        return self.states[request].tries if request in self.states else 0
