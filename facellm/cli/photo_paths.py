"""The photos that a command line names: files, folders and patterns, each photo once."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from facellm.errors import FaceLLMError
from facellm.vision.images import SUFFIXES

_WILD = "*?["


@dataclass(frozen=True)
class Photo:
    """A photo that is asked about.

    Attributes:
        path: Where it lies, as the user named it or the folder that it was found in.
        fault: Why it cannot be read, where that was seen already (a folder that may not be listed).
    """

    path: str
    fault: str | None = None

    @property
    def name(self) -> str:
        """The path for tables; bytes of a name that are no UTF-8 are written as \\xNN."""
        return os.fsencode(self.path).decode("utf-8", "backslashreplace")

    @property
    def key(self) -> str:
        """What tells it from other photos, whatever folder the command is run from."""
        return os.fsencode(_absolute(self.path)).decode("utf-8", "backslashreplace")

    def stamp(self) -> list[int] | None:
        """Returns size in bytes and time of the last change in ns, by which another picture in its place is noticed;
        None where the file is not there."""
        try:
            about = Path(self.path).stat()
        except (OSError, ValueError):
            return None
        return [about.st_size, about.st_mtime_ns]


def find_photos(given: Sequence[str]) -> list[Photo]:
    """Finds the photos that a command line names.

    A file is taken whatever its name. In a folder, and in those within it, the files with an image's suffix count;
    hidden ones do not, which macOS's `._` files are among. A pattern (`*`, `?`, `[...]`, `**` for any folders) stands
    for what it matches, of which likewise only images count unless its end names another suffix.

    Args:
        given: Files, folders and patterns.

    Returns:
        Each photo once, in the order given and by name within a folder.

    Raises:
        FaceLLMError: Where a pattern matches nothing, or there is no photo at all.
    """
    found: dict[str, Photo] = {}
    for text in given:
        for photo in _named(text):
            found.setdefault(_absolute(photo.path), photo)
    if not found:
        raise FaceLLMError(f"No photo was found in {', '.join(map(repr, given))}; images end in {', '.join(SUFFIXES)}.")
    return list(found.values())


def _named(text: str) -> Iterator[Photo]:
    path = Path(text)
    if text and path.is_dir():
        yield from _in_folder(text)
    elif any(c in text for c in _WILD) and not path.exists():
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
        if not matches:
            raise FaceLLMError(f"No file matches {text!r}: check the pattern.")
        suffix = path.suffix
        chosen = bool(suffix) and not any(c in suffix for c in _WILD)
        for match in matches:
            if Path(match).is_dir():
                yield from _in_folder(match)
            elif chosen or _is_image(match):
                yield Photo(match)
    else:
        yield Photo(text)


def _in_folder(top: str) -> Iterator[Photo]:
    faults: list[OSError] = []
    for folder, inner, names in os.walk(top, onerror=faults.append):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and _is_image(name):
                yield Photo(str(Path(folder, name)))
    for error in faults:
        reason = (error.strerror or str(error)).lower()
        yield Photo(str(error.filename), f"The folder cannot be read: {reason}.")


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _absolute(path: str) -> str:
    return os.path.normcase(os.path.abspath(path))  # noqa: PTH100 (Path.absolute keeps "..")
