"""What a command writes: the folder, tried before the work begins; its files at the end; its progress meanwhile."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from facellm.storage import files
from facellm.storage.writable import not_written, usable_folder, usable_place

__all__ = ["csv_text", "progress", "usable_folder", "usable_place", "write_files"]


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
            raise not_written(folder / name, error, option) from None


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
