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
PATHS = "paths"  # the setting that lists those which only say where things lay, on one machine at one time


def read(path: Path, what: str, key: str = "key") -> dict[str, dict[str, Any]]:
    """The rows by `key`, the latest of each; a last line that a kill cut short is forgotten.

    what: a row in words, for the message ("a reply").  Raises FaceLLMError for a broken line anywhere else.
    """
    if not path.is_file():
        return {}
    rows: dict[str, dict[str, Any]] = {}
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))  # a kill may cut inside a character, too
            rows[row[key]] = row
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines):
                break
            raise FaceLLMError(
                f"{path}, line {number} is not {what} ({error}); remove the file and run again."
            ) from None
    return rows


def settings_of(folder: Path) -> dict[str, Any] | None:
    """What `claim` wrote into the folder; None where it wrote nothing.  Raises FaceLLMError where it is unreadable."""
    path = folder / RUN
    if not path.is_file():
        return None
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError("it holds no settings")
        return settings
    except ValueError as error:
        raise FaceLLMError(f"{path} cannot be read ({error}); remove the folder or choose another --out.") from None


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of the settings that decide answers and differ; what either lists under `PATHS` decides none."""
    told = {PATHS, *one.get(PATHS, ()), *other.get(PATHS, ())}
    return sorted(k for k in (set(one) | set(other)) - told if one.get(k) != other.get(k))


def check(out: Path, settings: dict[str, Any]) -> None:
    """Raises FaceLLMError where `out` holds answers of other settings: they must not be mixed."""
    before = settings_of(out)
    if before is not None and (changed := differences(before, _plain(settings))):
        raise FaceLLMError(
            f"{out} holds answers of another run (different: {', '.join(changed)}); choose another --out."
        )


def claim(out: Path, settings: dict[str, Any]) -> None:
    """Writes `RUN` into `out`, or checks that what is there is of the same settings.

    Raises FaceLLMError where `out` holds answers of other settings.
    """
    check(out, settings)
    path = out / RUN
    if path.is_file():
        return
    part = path.with_suffix(".part")
    part.write_text(json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True), encoding="utf-8")
    part.replace(path)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """As they come back from the file: tuples are lists there."""
    return json.loads(json.dumps(settings))


@contextmanager
def appending(path: Path) -> Iterator[TextIO]:
    """The file opened for more lines, a half-written last one cut off first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        with path.open("rb+") as file:
            raw = file.read()
            if not raw.endswith(b"\n"):
                file.truncate(raw.rfind(b"\n") + 1)  # writing the rest anew could lose it all to a kill
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
