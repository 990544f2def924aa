"""Takes over the answers of other folders, such as the shards that several machines wrote.

Answers, kept or not, faults and costs are taken over. Every line is known by its place and content, so that a merge
that is killed or repeated adds what is missing and nothing twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from facellm.errors import FaceLLMError
from facellm.storage.json_lines import records
from train.teachers.batch.parts import Parts
from train.teachers.store import FILE, LOCK, WHAT, AnswerStore


def merge(store: AnswerStore, sources: Sequence[Path]) -> int:
    """Number of lines that were taken over. All sources are looked at before the first line is.

    Raises FaceLLMError for a folder without answers, one that a process writes to, one whose batches are on their way,
    and a damaged line.
    """
    with ExitStack() as locks:
        for source in sources:
            _open(store, source, locks)
        return sum(_take(store, source / FILE) for source in sources)


def _open(store: AnswerStore, source: Path, locks: ExitStack) -> None:
    if not (source / FILE).is_file():
        raise FaceLLMError(f"There is no {FILE} in {source}, so there is nothing to merge; check --merge.")
    if source.resolve() == store.folder.resolve():
        raise FaceLLMError(f"{source} cannot be merged into itself; name another --out.")
    try:
        locks.enter_context(FileLock(source / LOCK).acquire(timeout=0))
    except Timeout:
        raise FaceLLMError(f"Another process is writing to {source}; merge when it has ended.") from None
    if Parts(source).live:
        raise FaceLLMError(f"Batches of {source} are still on their way; fetch them with --batch --out {source} first.")


def _take(store: AnswerStore, file: Path) -> int:
    taken = 0
    for offset, _, line, record in records(file, WHAT):
        # The digest counts from the place in the file it was first written to, wherever the line was merged since.
        record.setdefault("merged", hashlib.sha256(b"%d:" % offset + line).hexdigest()[:24])
        if record["merged"] not in store.merged:
            store.append(record)
            taken += 1
    return taken
