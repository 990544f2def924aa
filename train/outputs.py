"""What a command writes: the folder, tried before the work begins; its files at the end; its progress meanwhile."""

from __future__ import annotations

import csv
import io
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from facellm import files
from facellm.errors import FaceLLMError


def usable_folder(folder: Path, option: str = "--out") -> Path:
    """Makes a folder and tries to write into it, so that hours of work do not end at a read-only disk.

    Args:
        folder: The folder that results will be written into.
        option: How the user named it, for the message.

    Returns:
        The folder.

    Raises:
        FaceLLMError: Where it cannot be made or written into.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)  # a full disk accepts an empty file
    except OSError as error:
        raise FaceLLMError(
            f"{folder} cannot be written into ({error.strerror or error}); choose another {option}."
        ) from None
    return folder


def write_files(folder: Path, texts: Mapping[str, str], option: str = "--out") -> None:
    """Writes text files, each of which appears whole or not at all.

    Args:
        folder: Where they go; it is made where it is missing.
        texts: File name -> content.
        option: How the user named the folder, for the message.

    Raises:
        FaceLLMError: Where one cannot be written; those before it stay.
    """
    for name, text in texts.items():
        try:
            files.write_text(folder / name, text)
        except OSError as error:
            raise FaceLLMError(
                f"{folder / name} cannot be written ({error.strerror or error}); free some space there or choose "
                f"another {option}, and run the command again."
            ) from None


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a table as CSV with a header line; None becomes an empty cell."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *rows])
    return out.getvalue()


def progress(unit: str, every: int = 200) -> Callable[[str, int, int], None]:
    """Makes a function that tells the terminal (name, done, total) every so many units and at the end.

    Args:
        unit: What is counted, in the plural ("questions").
        every: Units between two lines.
    """

    def tell(name: str, done: int, total: int) -> None:
        if done == total or done % every == 0:
            print(f"{name}: {done} of {total} {unit}", file=sys.stderr, flush=True)

    return tell
