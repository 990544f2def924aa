"""Who is running what: one ticket per visitor and tab, so that stop, a new photo or a closed page ends the right work.

Input: session hashes and tab names. What this file does not know: Gradio, models, photos.
A ticket is taken when the visitor clicks, before the request waits in the queue: a stop pressed while waiting counts.
Its number travels with the request: a click that was overtaken by another one finds no ticket when its turn comes.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field


@dataclass
class Ticket:
    """One piece of work. cancel: set to stop the model.  begun: its turn in the queue has come.

    discarded: its result is not wanted on the page any more.
    """

    session: str = ""
    tab: str = ""
    number: int = 0
    cancel: threading.Event = field(default_factory=threading.Event)
    begun: bool = False
    discarded: bool = False


class Runs:
    """All tickets that are open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[tuple[str, str], Ticket] = {}

    def take(self, session: str, tab: str) -> Ticket:
        """A new ticket; the same visitor's earlier one of that tab is stopped and its output dropped."""
        self.discard(session, tab)
        with self._lock:
            ticket = self._open[session, tab] = Ticket(session, tab, next(self._numbers))
            return ticket

    def begin(self, session: str, tab: str, number: int) -> Ticket | None:
        """The ticket whose turn has come; None where it was discarded meanwhile, or none was ever given."""
        with self._lock:
            ticket = self._open.get((session, tab))
            if ticket is None or ticket.number != number:
                return None
            ticket.begun = True
            return ticket

    def stop(self, session: str, tab: str) -> bool:
        """Stop the model; what was written so far stays on the page.  Returns whether it had begun to write."""
        with self._lock:
            ticket = self._open.get((session, tab))
            if ticket is None:
                return False
            ticket.cancel.set()
            return ticket.begun

    def discard(self, session: str, tab: str | None = None) -> None:
        """Stop that tab's work, or all of that visitor's for None, and drop what it would still write."""
        with self._lock:
            for key in [k for k in self._open if k[0] == session and tab in (None, k[1])]:
                ticket = self._open.pop(key)
                ticket.discarded = True
                ticket.cancel.set()

    def done(self, ticket: Ticket) -> None:
        """Close a ticket, whether it ended by itself, was stopped, or its reader went away."""
        ticket.cancel.set()
        with self._lock:
            if self._open.get((ticket.session, ticket.tab)) is ticket:
                del self._open[ticket.session, ticket.tab]

    def active(self, session: str, tab: str) -> bool:
        """Whether that tab of the visitor's runs or waits."""
        with self._lock:
            return (session, tab) in self._open

    def count(self) -> int:
        """How many tickets are open (0 when nothing runs or waits)."""
        with self._lock:
            return len(self._open)
