"""From the model's deltas to what a tab shows: cells that fill together, at a rate that a browser can draw.

Input: a host, a view, rows. Output: the same list of cells again and again, until all are done. What this file does
not know: Gradio, which tab is asking.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from demo.runtime.host import Host
from demo.runtime.tickets import Ticket
from demo.tabs.parameters import Parameters
from facellm.policy import visible
from facellm.results import Row

# Seconds between two drawings of the page; ten a second look continuous and cost little.
DRAW_EVERY = 0.1


@dataclass
class Cell:
    """One answer as it grows. state: waiting, writing, done, stopped or length.  parameters: what it was asked with."""

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

    @property
    def finished(self) -> bool:
        return self.state in ("done", "stopped", "length")

    def measures(self) -> str:
        """ "84 tokens · 3.2 s"; empty before the end."""
        if not self.finished:
            return ""
        parts = [f"{self.tokens} tokens", f"{self.seconds:.1f} s"]
        if self.state == "stopped":
            parts.insert(0, "stopped")
        elif self.state == "length":
            parts.append("cut at the token limit")
        return " · ".join(parts)


_STATES = {"stop": "done", "length": "length", "cancelled": "stopped"}


def _finish(cell: Cell, answer) -> None:
    cell.answer = answer.to_dict()
    cell.state = _STATES.get(answer.finish_reason, "done")
    cell.tokens, cell.seconds = answer.tokens, answer.seconds
    cell.first, cell.rate = answer.first_token_seconds, answer.tokens_per_second


def fill(
    host: Host,
    view,
    cells: Sequence[Cell],
    parameters: Parameters,
    ticket: Ticket,
    sensitive: bool = True,
    every: float = DRAW_EVERY,
) -> Iterator[Sequence[Cell]]:
    """Run all cells in one batch; yields `cells` as they change.

    Raises FaceLLMError where the model is not there.  Closing this iterator stops the model.
    """
    rows = [Row(c.variant, c.question, history=c.history, system=parameters.system or None, key=c.key) for c in cells]
    for cell in cells:
        cell.parameters = parameters
    raw = [""] * len(cells)
    drawn = 0.0
    try:
        with contextlib.closing(
            host.stream(view, rows, parameters.sampling(), ticket.cancel, parameters.tiles)
        ) as deltas:
            for delta in deltas:
                cell = cells[delta.row]
                raw[delta.row] += delta.text
                if delta.done and delta.answer is not None:
                    raw[delta.row] = delta.answer.text or raw[delta.row]
                    _finish(cell, delta.answer)
                elif raw[delta.row]:
                    cell.state = "writing"
                cell.text = visible(raw[delta.row], sensitive, done=delta.done)
                now = time.monotonic()
                if now - drawn >= every:
                    drawn = now
                    yield cells
    finally:
        ticket.cancel.set()
    for cell in cells:
        if not cell.finished:  # a source that ended early (a closed GPU lease): what there is, is what there is
            cell.state = "stopped"
    yield cells
