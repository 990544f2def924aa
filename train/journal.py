"""Lines of JSON that are appended as work gets done, so that a run that was killed goes on where it stopped.

Input: a path and rows with a key. Output: rows by key. What this file does not know: what the rows mean.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO, TypeVar

from facellm.errors import FaceLLMError

Asked = TypeVar("Asked")
Entry = TypeVar("Entry")  # a dataclass with a `key`
RUN = "run.json"  # what decided the answers in a folder


def read(path: Path, what: str, key: str = "key") -> dict[str, dict[str, Any]]:
    """The rows by `key`, the latest of each; a last line that a kill cut short is forgotten.

    what: a row in words, for the message ("a reply").  Raises FaceLLMError for a broken line anywhere else.
    """
    if not path.is_file():
        return {}
    rows: dict[str, dict[str, Any]] = {}
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            rows[row[key]] = row
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines):
                break
            raise FaceLLMError(
                f"{path}, line {number} is not {what} ({error}); remove the file and run again."
            ) from None
    return rows


def claim(out: Path, settings: dict[str, Any]) -> None:
    """Writes `RUN` into `out`, or checks that what is there is of the same settings.

    Raises FaceLLMError where `out` holds answers of other settings: they must not be mixed.
    """
    path, text = out / RUN, json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True)
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise FaceLLMError(f"{path} cannot be read ({error}); remove the folder or choose another --out.") from None
        now = json.loads(text)
        changed = sorted(k for k in set(before) | set(now) if before.get(k) != now.get(k))
        if changed:
            raise FaceLLMError(
                f"{out} holds answers of another run (different: {', '.join(changed)}); choose another --out."
            )
        return
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


@contextmanager
def appending(path: Path) -> Iterator[TextIO]:
    """The file opened for more lines, a half-written last one cut off first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        raw = path.read_bytes()
        if raw and not raw.endswith(b"\n"):
            path.write_bytes(raw[: raw.rfind(b"\n") + 1])
    with path.open("a", encoding="utf-8") as out:
        yield out


def append(out: TextIO, row: dict[str, Any]) -> None:
    """One line, handed to the operating system at once: a kill of this process loses nothing that was appended."""
    out.write(json.dumps(row, ensure_ascii=False) + "\n")
    out.flush()


def complete(
    path: Path, kept: MutableMapping[str, Entry], missing: Sequence[Asked],
    answer: Callable[[Sequence[Asked]], Iterator[Entry]], progress: Callable[[int, int], None] | None = None,
) -> None:  # fmt: skip
    """Appends what `answer(missing)` gives, entry by entry, to the file and to `kept`.

    progress: told (done, of) after each.
    """
    if not missing:
        return
    with appending(path) as out:
        for done, entry in enumerate(answer(missing), 1):
            append(out, asdict(entry))
            kept[entry.key] = entry
            if progress is not None:
                progress(done, len(missing))
