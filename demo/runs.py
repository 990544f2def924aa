"""Who is running what: one ticket per visitor and tab, so that stop, a new photo or a closed page ends the right work.

Input: session hashes and tab names. What this file does not know: Gradio, models, photos.
A ticket is taken when the visitor clicks, before the request waits in the queue: a stop pressed while waiting counts.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class Ticket:
    """One piece of work. cancel: set to stop the model.  discarded: its result is not wanted on the page any more."""

    cancel: threading.Event = field(default_factory=threading.Event)
    discarded: bool = False


class Runs:
    """All tickets that are open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], Ticket] = {}

    def take(self, session: str, tab: str) -> Ticket:
        """A new ticket; the same visitor's earlier one of that tab is stopped and its output dropped."""
        with self._lock:
            before = self._open.get((session, tab))
            if before is not None:
                before.discarded = True
                before.cancel.set()
            ticket = self._open[session, tab] = Ticket()
            return ticket

    def get(self, session: str, tab: str) -> Ticket:
        """The visitor's open ticket of that tab, or a new one where there is none."""
        with self._lock:
            return self._open.setdefault((session, tab), Ticket())

    def stop(self, session: str, tab: str) -> None:
        """Stop the model; what was written so far stays on the page."""
        with self._lock:
            ticket = self._open.get((session, tab))
            if ticket is not None:
                ticket.cancel.set()

    def discard(self, session: str) -> None:
        """Stop everything of that visitor and drop what it would still write (new photo, closed page)."""
        with self._lock:
            for key in [k for k in self._open if k[0] == session]:
                ticket = self._open.pop(key)
                ticket.discarded = True
                ticket.cancel.set()

    def done(self, session: str, tab: str, ticket: Ticket) -> None:
        """Close a ticket, whether it ended by itself, was stopped, or its reader went away."""
        ticket.cancel.set()
        with self._lock:
            if self._open.get((session, tab)) is ticket:
                del self._open[session, tab]

    def active(self, session: str, tab: str) -> bool:
        """Whether that tab of the visitor's runs or waits."""
        with self._lock:
            return (session, tab) in self._open

    def drop(self, session: str, tab: str) -> None:
        """Stop and close that tab's ticket, if it has one."""
        with self._lock:
            ticket = self._open.pop((session, tab), None)
            if ticket is not None:
                ticket.cancel.set()

    def count(self) -> int:
        """How many tickets are open (0 when nothing runs or waits)."""
        with self._lock:
            return len(self._open)
