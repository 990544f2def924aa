"""Who is running what: one ticket per visitor and tab, so that stop, a new photo or a closed page ends the right work.

A ticket is taken when the visitor clicks, before the request waits in the queue: a stop pressed while waiting counts.
Its number travels with the request: a click that was overtaken by another one finds no ticket when its turn comes.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from facellm.errors import FaceLLMError

# Questions that may wait for the end of one answer.
MOST_FOLLOWING = 3


@dataclass
class Ticket:
    """One piece of work.

    Attributes:
        cancel: Set to stop the model.
        given: What the click hands to the work: the page's state may change before its turn comes.
        begun: Its turn in the queue has come.
        stopped: The visitor stopped it.
        discarded: Its result is not wanted on the page any more.
        left: Where a clearing action discarded it, what that action left on the page: {component: update}; nothing any
            more once something else was asked there.
        following: Questions to be answered after this one, in order.
    """

    session: str = ""
    tab: str = ""
    number: int = 0
    cancel: threading.Event = field(default_factory=threading.Event)
    given: Any = None
    begun: bool = False
    stopped: bool = False
    discarded: bool = False
    left: dict[Any, Any] = field(default_factory=dict)
    following: list[Any] = field(default_factory=list)


class Runs:
    """All tickets that are open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[tuple[str, str], Ticket] = {}
        self._ending: list[Ticket] = []  # discarded, but still to say their last

    def take(self, session: str, tab: str, given: Any = None) -> Ticket:
        """A new ticket; the same visitor's earlier one of that tab is stopped and its output dropped."""
        self.discard(session, tab)
        with self._lock:
            for ending in self._ending:
                if (ending.session, ending.tab) == (session, tab):
                    ending.left = {}
            ticket = self._open[session, tab] = Ticket(session, tab, next(self._numbers), given=given)
            return ticket

    def begin(self, session: str, tab: str, number: int) -> Ticket | None:
        """The ticket whose turn has come; None where it was discarded meanwhile, or none was ever given."""
        with self._lock:
            ticket = self._open.get((session, tab))
            if ticket is None or ticket.number != number:
                return None
            ticket.begun = True
            return ticket

    def stop(self, session: str, tab: str) -> Ticket | None:
        """Stop the model; what was written so far stays on the page.  Returns the ticket that was stopped."""
        with self._lock:
            ticket = self._open.get((session, tab))
            if ticket is not None:
                ticket.stopped = True
                ticket.cancel.set()
            return ticket

    def follow(self, session: str, tab: str, question: Any) -> list[Any]:
        """Have that tab's work go on with a further question when it is done.

        Returns:
            All questions that wait for it now; empty where nothing runs.

        Raises:
            FaceLLMError: Enough questions wait already.
        """
        with self._lock:
            ticket = self._open.get((session, tab))
            if ticket is None or ticket.stopped:
                return []
            if len(ticket.following) >= MOST_FOLLOWING:
                raise FaceLLMError(f"{MOST_FOLLOWING} questions wait already: wait for an answer, or stop it.")
            ticket.following.append(question)
            return list(ticket.following)

    def next(self, ticket: Ticket) -> Ticket | None:
        """The ticket of the first question that was asked meanwhile, already begun; None where there is none."""
        if ticket.stopped or ticket.discarded or not ticket.following:
            return None
        question, *following = ticket.following
        after = self.take(ticket.session, ticket.tab, (*ticket.given, question))
        after.begun, after.following = True, following
        return after

    def discard(self, session: str, tab: str | None = None, left: Mapping[Any, Any] | None = None) -> None:
        """Stop that tab's work, or all of that visitor's for None, and drop what it would still write.

        Args:
            left: What a clearing action leaves on the page, for the last value that the work sends.
        """
        with self._lock:
            for key in [k for k in self._open if k[0] == session and tab in (None, k[1])]:
                ticket = self._open.pop(key)
                ticket.left = dict(left or {})
                ticket.discarded = True
                ticket.cancel.set()
                if ticket.begun:
                    self._ending.append(ticket)

    def stop_all(self) -> None:
        """Stop all work, as each of its visitors could."""
        with self._lock:
            for ticket in self._open.values():
                ticket.stopped = True
                ticket.cancel.set()

    def done(self, ticket: Ticket) -> None:
        """Close a ticket, whether it ended by itself, was stopped, or its reader went away."""
        ticket.cancel.set()
        with self._lock:
            self._ending = [ending for ending in self._ending if ending is not ticket]
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
