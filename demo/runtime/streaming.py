"""From the model's deltas to what a tab shows: cells that fill together, at a rate that a browser can draw."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from demo.runtime import spaces
from demo.runtime.host import Host
from demo.runtime.parameters import Parameters
from demo.runtime.tickets import Ticket
from demo.runtime.usable import usable
from facellm.policy import visible
from facellm.results import Answer, Delta, Row
from facellm.vision.faces import FaceView

# Seconds between two drawings of the page; ten a second look continuous and cost little.
DRAW_EVERY = 0.1


@dataclass
class Cell:
    """One answer as it grows.

    Attributes:
        key: The attribute's, None for a question in the visitor's own words.
        text: What may be shown: without what policy hides, and nothing of a text that is no answer (`usable`).
        state: waiting, writing, done, length (cut at the token limit), stopped, or broken (no usable answer).
        first: Seconds to the first token.
        rate: Tokens a second.
        parameters: What it was asked with.
        noted: The words with what the photo's profile says of their claims, as Markdown; empty where it says nothing.
        claimed: The profile's fields that the words claim something of.
    """

    variant: str
    question: str
    key: str | None = None
    history: tuple[tuple[str, str], ...] = ()
    text: str = ""
    state: str = "waiting"
    tokens: int = 0
    seconds: float = 0.0
    first: float | None = None
    rate: float | None = None
    answer: dict = field(default_factory=dict)
    parameters: Parameters = field(default_factory=Parameters)
    noted: str = ""
    claimed: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        return self.state in ("done", "stopped", "length", "broken")

    def measures(self) -> str:
        """How it ended and how long it took, "stopped · 3.2 s"; empty before the end."""
        if not self.finished:
            return ""
        parts = [f"{self.seconds:.1f} s"] if self.tokens else []
        if self.state == "stopped":
            parts.insert(0, "stopped")
        elif self.state == "length":
            parts.append("cut at the token limit")
        return " · ".join(parts)

    def details(self) -> str:
        """ "first words 0.31 s · 84 tokens · 26 tokens/s"; empty before the end."""
        if not self.finished or not self.tokens:
            return ""
        parts = [] if self.first is None else [f"first words {self.first:.2f} s"]
        parts.append(f"{self.tokens} tokens")
        return " · ".join([*parts, f"{self.rate:.0f} tokens/s"] if self.rate else parts)


_STATES = {"stop": "done", "length": "length", "cancelled": "stopped"}


def _finish(cell: Cell, answer: Answer) -> None:
    cell.answer = answer.to_dict()
    cell.state = _STATES.get(answer.finish_reason, "done")
    cell.tokens, cell.seconds = answer.tokens, answer.seconds
    cell.first, cell.rate = answer.first_token_seconds, answer.tokens_per_second


def _end(cells: Sequence[Cell]) -> None:
    for cell in cells:
        if not cell.finished:
            cell.state = "stopped"


def fill(
    host: Host,
    view: FaceView,
    cells: Sequence[Cell],
    parameters: Parameters,
    ticket: Ticket,
    sensitive: bool = True,
    every: float = DRAW_EVERY,
) -> Iterator[Sequence[Cell]]:
    """Run all cells in one batch.  Closing this iterator stops the model.

    Yields:
        `cells`, as they change, at most every `every` seconds; once more before a failure is raised.

    Raises:
        FaceLLMError: The model is not there, or fails.
    """
    rows = _rows(cells, parameters)

    def asked() -> Generator[Delta, None, None]:
        return host.stream(view, rows, parameters.sampling(), ticket.cancel, parameters.tiles)

    yield from _filled(asked, cells, ticket, sensitive, every)


def fill_each(
    host: Host,
    views: Sequence[FaceView],
    cells: Sequence[Cell],
    parameters: Parameters,
    ticket: Ticket,
    sensitive: bool = True,
    every: float = DRAW_EVERY,
) -> Iterator[Sequence[Cell]]:
    """As `fill`, with each cell about a picture of its own: the n-th about the n-th of `views`."""
    rows = _rows(cells, parameters)

    def asked() -> Generator[Delta, None, None]:
        pairs = zip(views, rows, strict=True)
        sampling = parameters.sampling()
        return _in_turns([host.stream(v, [r], sampling, ticket.cancel, parameters.tiles) for v, r in pairs])

    yield from _filled(asked, cells, ticket, sensitive, every)


def _rows(cells: Sequence[Cell], parameters: Parameters) -> list[Row]:
    for cell in cells:
        cell.parameters = parameters
    return [Row(c.variant, c.question, history=c.history, system=parameters.system or None, key=c.key) for c in cells]


def _in_turns(streams: Sequence[Generator[Delta, None, None]]) -> Generator[Delta, None, None]:
    """The deltas of streams of one row each, as rows of one stream.

    They are read in turns, and so decoded together; a GPU that is lent to one request at a time gets one after another.
    """
    with contextlib.ExitStack() as closing:
        for stream in streams:
            closing.callback(stream.close)
        together = 1 if spaces.ZERO else len(streams)
        waiting = list(enumerate(streams))
        running: list[tuple[int, Generator[Delta, None, None]]] = []
        while waiting or running:
            running += [waiting.pop(0) for _ in range(min(len(waiting), together - len(running)))]
            for turn in list(running):
                row, stream = turn
                delta = next(stream, None)
                if delta is None:
                    running.remove(turn)
                else:
                    yield replace(delta, row=row)


def _filled(
    ask: Callable[[], Generator[Delta, None, None]],
    cells: Sequence[Cell],
    ticket: Ticket,
    sensitive: bool,
    every: float,
) -> Iterator[Sequence[Cell]]:
    raw = [""] * len(cells)
    drawn = 0.0
    try:
        with contextlib.closing(ask()) as deltas:
            for delta in deltas:
                cell = cells[delta.row]
                raw[delta.row] += delta.text
                if delta.done and delta.answer is not None:
                    raw[delta.row] = delta.answer.text or raw[delta.row]
                    _finish(cell, delta.answer)
                elif raw[delta.row]:
                    cell.state = "writing"
                text = visible(raw[delta.row], sensitive, done=delta.done)
                cell.text = text if usable(text, cell.question) else ""
                if cell.state in ("done", "length") and not cell.text:
                    cell.state = "broken"
                now = time.monotonic()
                if now - drawn >= every:
                    drawn = now
                    yield cells
    except Exception:  # what is written stays on the page, whatever failed; the caller says what it was
        _end(cells)
        yield cells
        raise
    finally:
        ticket.cancel.set()
    _end(cells)  # a source that ended early (a closed GPU lease): what there is, is what there is
    yield cells
