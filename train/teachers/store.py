"""The teacher's answers on disk, a line each, never rewritten; the run resumes from them.

Records are of `kind` "answer" (paid for, kept or not) or "fault" (a try that brought no answer). A request is known by
its identity, a digest of everything that shapes its answer, base URL included, so that a test server's answers never
pass for real ones. Nothing here knows servers, prompts, or whether an answer is good.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from facellm.errors import FaceLLMError
from facellm.storage.json_lines import Journal, damaged, records

FILE, LOCK = "answers.jsonl", ".answers.lock"
WHAT = "an answer"


def identity(**parts: Any) -> str:
    """Returns a digest of a request's parts (JSON values), independent of their order; 32 hexadecimal digits."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(slots=True)
class State:
    """What is known of one request.

    Attributes:
        kept: Byte offset of its kept answer, -1 for none.
        tries: Answers that were paid for.
        closed: Whether no further try can help.
    """

    kept: int = -1
    tries: int = 0
    closed: bool = False


@dataclass
class AnswerStore:
    """The open store of one output folder; a context manager.

    Attributes:
        folder: The output folder.
        states: Identity -> what is known; offsets, not texts, so that memory stays small.
        spent: USD of all runs.
        faults: Kind of fault -> count, in all runs.
        reasons: Why answers were not kept -> count, in all runs.
        merged: Digests of lines that came from other folders (`train.dataset.merge`).
        repaired: Bytes of an unfinished last line that were cut off.
    """

    folder: Path
    states: dict[str, State] = field(default_factory=dict)
    spent: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    merged: set[str] = field(default_factory=set)
    repaired: int = 0
    _batch_faults: set[tuple[str, str]] = field(default_factory=set)

    def __enter__(self) -> AnswerStore:
        """Opens the store.

        Raises:
            FaceLLMError: If another process has the folder open, or a line of the file is damaged.
        """
        file = self.folder / FILE
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FaceLLMError(f"The folder {self.folder} cannot be made: {error.strerror}; check --out.") from None
        with ExitStack() as stack:
            try:  # held by the process, so a kill releases it
                stack.enter_context(FileLock(self.folder / LOCK).acquire(timeout=0))
            except Timeout:
                raise FaceLLMError(
                    f"Another process is writing to {self.folder}; wait until it has ended, or choose another --out."
                ) from None
            for offset, number, _, record in records(file, WHAT):
                try:
                    self._take(record, offset)
                except (KeyError, TypeError, ValueError) as error:
                    raise damaged(file, number, WHAT, error) from None
            self._journal = stack.enter_context(Journal(file))
            self._stack = stack.pop_all()
        self.repaired = self._journal.repaired
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

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
        self._take(record, self._journal.append(record))

    def kept(self, request: str) -> dict[str, Any] | None:
        """Reads back the record of a request's kept answer; None where there is none."""
        return self._journal.row_at(self.states[request].kept) if self.has(request) else None

    def has(self, request: str) -> bool:
        """Returns whether an answer to a request is kept."""
        return request in self.states and self.states[request].kept >= 0

    def is_open(self, request: str, tries: int) -> bool:
        """Returns whether a request is still to be asked, which may take `tries` paid answers in all."""
        state = self.states.get(request)
        return state is None or (state.kept < 0 and not state.closed and state.tries < tries)

    def has_fault(self, batch: str, custom_id: str) -> bool:
        """Returns whether a fault in a batch's results is recorded already."""
        return (batch, custom_id) in self._batch_faults

    def tries(self, request: str) -> int:
        """Returns how many answers to a request were paid for."""
        return self.states[request].tries if request in self.states else 0
