"""What a row becomes: a conversation about at most one image, or a fault that names its file and row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facellm.errors import FaceLLMError

IMAGE_MARK = "<image>"  # stands for the image in ShareGPT text
TOLD = 3  # faults that a message names; a file lists all
LISTED = "bad_rows.txt"


@dataclass(frozen=True)
class Example:
    """One conversation about one image. `image` is the path as written, or `sha256:` and the digest of bytes that the
    row itself holds; `where` is file and row, for messages."""

    image: str | None
    turns: tuple[tuple[str, str], ...]  # (question, answer), oldest first
    system: str | None = None
    where: str = ""


@dataclass(frozen=True)
class Fault:
    """A row that cannot be used.

    Attributes:
        where: File and row, such as "data/dataset.json row 3".
        what: What is wrong with it, as a clause that follows `where`.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where} {self.what}"


class RowError(ValueError):
    """Raised while a row is read; `str(error)` is the clause of its fault."""


def refuse(faults: Sequence[Fault], rows: int, listed: Path | None = None) -> None:
    """Raises FaceLLMError where there are faults; its sentence names the first ones.

    Args:
        faults: Those that were found, in the order of the rows.
        rows: How many rows were read.
        listed: The file that lists all of them, where one was written.
    """
    if not faults:
        return
    more = f", and {len(faults) - TOLD} more" if len(faults) > TOLD else ""
    all_of_them = f" (all are listed in {listed})" if listed else ""
    raise FaceLLMError(
        f"{len(faults)} of {rows} rows cannot be used: {'; '.join(map(str, faults[:TOLD]))}{more}{all_of_them}; mend "
        "them, or go on without them with --skip-bad."
    )
