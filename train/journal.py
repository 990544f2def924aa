"""Long or paid work that a run keeps in a folder, so that one that was killed goes on where it stopped.

Answers are lines of `facellm.storage.json_lines`: stored answers of a teacher, replies and predictions of models. A
folder also keeps the settings that decided what is in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from facellm.errors import FaceLLMError
from facellm.storage.files import write_text
from facellm.storage.json_lines import Journal, read

__all__ = ["PATHS", "RUN", "Journal", "check", "claim", "complete", "differences", "read", "settings_of"]

Asked = TypeVar("Asked")
Entry = TypeVar("Entry")  # a dataclass with a `key`
RUN = "run.json"  # what decided the answers in a folder
PATHS = "paths"  # the setting that lists those which only say where things lay, on one machine at one time


def complete(
    path: Path,
    kept: MutableMapping[str, Entry],
    missing: Sequence[Asked],
    answer: Callable[[Sequence[Asked]], Iterator[Entry]],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Appends what is still missing, entry by entry, to a file and to what is kept.

    Args:
        path: The journal's file.
        kept: Key -> entry of what the file holds.
        missing: What is to be asked.
        answer: Called with `missing`; gives its entries as they come.
        progress: Told (done, of) after each.
    """
    if not missing:
        return
    with Journal(path) as out:
        for done, entry in enumerate(answer(missing), 1):
            out.append(asdict(entry))
            kept[entry.key] = entry
            if progress is not None:
                progress(done, len(missing))


def settings_of(folder: Path) -> dict[str, Any] | None:
    """Reads what `claim` wrote into a folder; None where it wrote nothing.

    Raises:
        FaceLLMError: Where it is unreadable.
    """
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
    """Names the settings that decide answers and differ; what either lists under `PATHS` decides none."""
    told = {PATHS, *one.get(PATHS, ()), *other.get(PATHS, ())}
    return sorted(k for k in (set(one) | set(other)) - told if one.get(k) != other.get(k))


def check(out: Path, settings: dict[str, Any]) -> None:
    """Raises FaceLLMError where a folder holds answers of other settings, which must not be mixed."""
    before = settings_of(out)
    as_read = json.loads(json.dumps(settings))  # tuples come back as lists
    if before is not None and (changed := differences(before, as_read)):
        raise FaceLLMError(
            f"{out} holds answers of another run (different: {', '.join(changed)}); choose another --out."
        )


def claim(out: Path, settings: dict[str, Any]) -> None:
    """Writes `RUN` into a folder, or checks that what is there is of the same settings.

    Raises:
        FaceLLMError: Where the folder holds answers of other settings.
    """
    check(out, settings)
    if not (out / RUN).is_file():
        write_text(out / RUN, json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True))
