"""One click's work from the button to its end: admitted, queued, waiting for the model, stopped, failed in a sentence.

Input: a tab's own functions. What this file does not know: any particular tab, or what the work is.

A click runs in three steps, in all tabs alike: a quick one that takes a ticket and shows the stop button (`Job.admit`),
one in the queue for the model (`Job.queue`, `guarded`), and one that brings the buttons back, whatever happened.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import gradio as gr

from demo.page import texts
from demo.runtime import spaces
from demo.runtime.context import PRIVATE, Context, failure, status
from demo.runtime.host import Host
from demo.runtime.photos import Photo
from demo.runtime.tickets import Ticket
from facellm.errors import FaceLLMError

# All listeners that ask the model share this queue, API endpoints too. The engine (or the server behind the page)
# decodes several visitors' requests in one batch and bounds memory itself; a ZeroGPU lease is one request's alone.
MODEL = {"concurrency_id": "model", "concurrency_limit": 1 if spaces.ZERO else 8}

T = TypeVar("T")


@dataclass
class Job:
    """How one tab works.  line: its status line.  restored, looks: components that look different while the tab runs,
    and running? -> their updates.  ticket: carries the ticket's number from the click to its turn in the queue (the
    page sends it along with the request; a gr.State would be read only when the turn comes).
    """

    ctx: Context
    tab: str
    line: gr.HTML
    restored: list
    looks: Callable[[bool], Sequence]
    ticket: gr.Number = field(init=False)

    def __post_init__(self) -> None:
        self.ticket = gr.Number(0, visible=False, precision=0)

    @property
    def outputs(self) -> list:
        """What `admit` and `refuse` fill."""
        return [self.line, self.ticket]

    def admit(self, session: str) -> tuple[str, int]:
        """Take the visitor's ticket.  Raises FaceLLMError where there is no photo to ask about."""
        if self.ctx.photos.get(session) is None:
            raise FaceLLMError(texts.PHOTO_FIRST)
        return status(texts.WAITING, "busy"), self.ctx.runs.take(session, self.tab).number

    def refuse(self, error: FaceLLMError) -> tuple[str, int]:
        """The reason on the status line; no ticket, so nothing will run."""
        return failure(error), 0

    def queue(self, start: Any, run: Callable[..., Iterator], inputs: list, outputs: list) -> None:
        """After the quick event `start`: run(ticket, *inputs) in the model's queue, then the buttons as they look idle.

        The position in the queue shows on the status line.  A second run of that tab which has begun meanwhile keeps
        its stop button.  A refusal by the queue becomes a sentence.
        """
        ctx, tab = self.ctx, self.tab

        def turn(request: gr.Request, number: int, *values: Any) -> Iterator:
            ticket = ctx.runs.begin(request.session_hash, tab, number)
            if ticket is not None:
                yield from run(ticket, *values)

        event = start.then(
            turn,
            [self.ticket, *inputs],
            outputs,
            show_progress="minimal",
            show_progress_on=[self.line],
            api_visibility="private",
            **MODEL,
        )

        def ended(request: gr.Request) -> Any:
            updates = list(self.looks(ctx.runs.active(request.session_hash, tab)))
            return updates if len(updates) > 1 else updates[0]  # Gradio takes a list for a single output as its value

        def refused(request: gr.Request) -> list:
            ctx.runs.discard(request.session_hash, tab)
            return [status(texts.QUEUE_FULL, "bad"), *self.looks(False)]

        event.success(ended, None, self.restored, queue=False, **PRIVATE)
        event.failure(refused, None, [self.line, *self.restored], queue=False, **PRIVATE)

    def stop(self, button_event: Callable) -> None:
        """Wire a stop button: the model stops within one token and its words stay; a place in the queue is given up."""

        def stop(request: gr.Request) -> list:
            if self.ctx.runs.stop(request.session_hash, self.tab):
                return [gr.skip() for _ in outputs]  # its own last words are still to come
            return [status(texts.STOPPED), *self.looks(False)]

        outputs = [self.line, *self.restored]
        # Said by the page itself, at the click: from here it could arrive after the model's last words, and stay.
        said = f"() => {json.dumps(status(texts.STOPPING, 'busy'))}"
        button_event(None, None, [self.line], js=said, queue=False, **PRIVATE)
        button_event(stop, None, outputs, queue=False, **PRIVATE)


def guarded(
    ctx: Context, ticket: Ticket, work: Callable[[Photo], Iterator[T]], ended: Callable[[str], T]
) -> Iterator[T]:
    """Yields what `work` yields while the ticket stands; a failure as `ended(status line)`.  Closes the ticket.

    What was stopped before its turn came is not begun.
    """
    try:
        if ticket.cancel.is_set():
            yield ended(status(texts.STOPPED))
            return
        photo = ctx.photos.get(ticket.session)
        if photo is None:
            raise FaceLLMError(texts.PHOTO_FIRST)
        with contextlib.closing(work(photo)) as steps:
            for step in steps:
                if ticket.discarded:
                    return
                yield step
    except Exception as error:  # whatever fails must end as a sentence with working buttons (worker.sentence)
        if not ticket.discarded:
            yield ended(failure(error))
    finally:
        ctx.runs.done(ticket)


def loading(host: Host, ticket: Ticket) -> Iterator[str]:
    """Status lines until the model is there; the first question waits rather than failing."""
    for s in host.wait(ticket.cancel):
        said = f"The model is loading: {s.message.lower()} (step {s.step} of {s.steps})"
        yield status(said, "busy", f"{s.seconds:.0f} s")


def loaded(host: Host, variant: str) -> str:
    """That model, or the only one there is: a question asked while the model was loading could not know."""
    return variant if variant in host.variants else host.variants[0]


def need_both(there: Sequence[str]) -> None:
    """Raises FaceLLMError where fewer than both models are there to be compared."""
    if len(there) < 2:
        raise FaceLLMError(texts.ONE_MODEL)
