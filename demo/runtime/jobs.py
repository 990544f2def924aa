"""One click's work from the button to its end: admitted, queued, waiting for the model, stopped, failed in a sentence.

A click runs in three steps, in all tabs alike: a quick one that takes a ticket and shows the stop button, one in the
queue for the model, and one that brings the buttons back, whatever happened. Knows no particular tab.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from demo.page import texts
from demo.page.components import PRIVATE, Line, Updates
from demo.runtime import spaces
from demo.runtime.context import Context
from demo.runtime.host import Host
from demo.runtime.sentences import sentence
from demo.runtime.tickets import Ticket
from facellm.errors import FaceLLMError, StoppedError

# All listeners that ask the model share this queue, API endpoints too. The engine (or the server behind the page)
# decodes several visitors' requests in one batch and bounds memory itself; a ZeroGPU lease is one request's alone.
MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1 if spaces.ZERO else 8}

# The work of one click: yields updates of its outputs until it is done.
Work = Callable[..., Iterator[Updates]]


class Stopped(Exception):
    """The visitor stopped the work before the model had begun."""


def failure(error: BaseException) -> Line:
    """What the status line says about an error."""
    return Line(sentence(error), "bad")


@dataclass
class Job:
    """How one tab works.

    Attributes:
        tab: The tab's name on its tickets.
        line: Its status line.
        looks: running? -> updates of the components that look different while the tab runs.
        withdrawn: Questions that a stop gives back before they were asked -> updates.
        ticket: Carries the ticket's number from the click to its turn in the queue; the page sends it along with the
            request, whereas a gr.State would be read only when the turn comes.
    """

    ctx: Context
    tab: str
    line: gr.HTML
    looks: Callable[[bool], Updates]
    withdrawn: Callable[[list], Updates] = lambda following: {}
    ticket: gr.Number = field(init=False)

    def __post_init__(self) -> None:
        self.ticket = gr.Number(0, visible=False, precision=0)

    def say(self, line: Line) -> Updates:
        """The update of the status line."""
        return {self.line: line.html()}

    def admit(self, session: str, given: Any = None) -> Updates:
        """Take the visitor's ticket, with what it hands to the work: the tab looks busy.

        Raises:
            FaceLLMError: There is no photo to ask about, or no face in it and the visitor has not said to ask anyway.
        """
        photo = self.ctx.photos.get(session)
        if photo is None:
            raise FaceLLMError(texts.PHOTO_FIRST)
        if photo.view.face is None and not photo.anyway:
            raise FaceLLMError(texts.NO_FACE)
        number = self.ctx.runs.take(session, self.tab, given).number
        return {**self.say(Line(texts.WAITING, "busy")), self.ticket: number, **self.looks(True)}

    def start(
        self,
        events: Sequence[tuple[Callable, Any]],
        given: list,
        changed: list,
        work: Work,
        inputs: list,
        outputs: list,
    ) -> None:
        """Wire everything that starts the tab's work.

        Args:
            events: (event, begin) pairs.  begin(*given) returns updates that include `admit`'s; a FaceLLMError that it
                raises becomes the status line, and nothing runs.  Events with one `begin` share their listeners, which
                a page has to set up one by one: where they differ, the event's target says so.
            given: Inputs of `begin`.
            changed: What `begin` may change beside the status line and the looks.
            work: work(ticket, photo, *inputs), in the model's queue.
            inputs: What `work` reads, as it stands when its request is sent.
            outputs: What it writes beside the status line.
        """
        quick = list(dict.fromkeys([self.line, self.ticket, *self.looks(False), *changed]))
        sharing: dict[Callable, list[Callable]] = {}
        for event, begin in events:
            sharing.setdefault(begin, []).append(event)
        for begin, same in sharing.items():
            trigger = functools.partial(gr.on, same) if len(same) > 1 else same[0]
            begun = trigger(self._refusing(begin), given, quick, queue=False, **PRIVATE)
            self._queue(begun, work, inputs, list(dict.fromkeys([self.line, *outputs])))

    def _refusing(self, begin: Callable[..., Updates]) -> Callable[..., Updates]:
        @functools.wraps(begin)  # Gradio reads from the signature what to hand over
        def refusing(*values: Any) -> Updates:
            try:
                return begin(*values)
            except FaceLLMError as error:
                return {**self.say(failure(error)), self.ticket: 0}

        return refusing

    def _queue(self, begun: Any, work: Work, inputs: list, outputs: list) -> None:
        runs = self.ctx.runs

        def turn(request: gr.Request, number: int, *values: Any) -> Iterator[Updates]:
            ticket = runs.begin(request.session_hash, self.tab, number)
            if ticket is None:  # refused or overtaken; a turn that yielded nothing would blank its outputs
                yield {self.line: gr.skip()}
                return
            while ticket is not None:
                with contextlib.closing(self.run(ticket, work, *values)) as steps:
                    for updates in steps:
                        if ticket.discarded:
                            break
                        yield updates
                if ticket.discarded:
                    # Gradio sends the last value once more at the end, and an earlier one may still be on its way to a
                    # page that was cleared meanwhile: so the last value is the page as the clearing action left it
                    # (unless something was asked since, which draws the page itself).
                    yield {self.line: gr.skip(), **{c: v for c, v in ticket.left.items() if c in outputs}}
                ticket = runs.next(ticket)

        event = begun.then(
            turn,
            [self.ticket, *inputs],
            outputs,
            show_progress="minimal",
            show_progress_on=[self.line],
            api_visibility="private",
            trigger_mode="multiple",  # "once" would drop what is asked while a run that was ended still says its last
            **MODEL,
        )

        def ended(request: gr.Request) -> Updates:
            return {self.line: gr.skip(), **self.looks(runs.active(request.session_hash, self.tab))}

        def refused(request: gr.Request) -> Updates:
            runs.discard(request.session_hash, self.tab)
            return {**self.say(Line(texts.QUEUE_FULL, "bad")), **self.looks(False)}

        restored = [self.line, *self.looks(False)]
        event.success(ended, None, restored, queue=False, **PRIVATE)
        event.failure(refused, None, restored, queue=False, **PRIVATE)

    def run(self, ticket: Ticket, work: Work, *values: Any) -> Generator[Updates, None, None]:
        """What `work` yields, and a stop or a failure as a last status line.  Closes the ticket."""
        try:
            if ticket.cancel.is_set():
                raise Stopped
            photo = self.ctx.photos.get(ticket.session)
            if photo is None:
                raise FaceLLMError(texts.PHOTO_FIRST)
            yield from work(ticket, photo, *values)
        except (Stopped, StoppedError):
            yield self.say(Line(texts.STOPPED))
        except Exception as error:  # whatever fails must end as a sentence with working buttons
            yield self.say(failure(error))
        finally:
            self.ctx.runs.done(ticket)

    def loading(self, ticket: Ticket) -> Iterator[Updates]:
        """Status lines until the model is there: the first question waits rather than failing.  Raises Stopped."""
        for line in loading(self.ctx.at(ticket.session).host, ticket):
            yield self.say(line)

    def stop(self, button_event: Callable) -> None:
        """Wire a stop button: the model stops within one token and its words stay; a place in the queue is given up."""

        def stop(request: gr.Request) -> Updates:
            ticket = self.ctx.runs.stop(request.session_hash, self.tab)
            updates = self.withdrawn(ticket.following) if ticket is not None and ticket.following else {}
            if ticket is not None and ticket.begun:
                return {self.line: gr.skip(), **updates}  # its own last words are still to come
            for component, look in self.looks(False).items():
                updates[component] = {**look, **updates.get(component, {})}
            return {**self.say(Line(texts.STOPPED)), **updates}

        # Said by the page itself, at the click: from here it could arrive after the model's last words, and stay.
        said = f"() => {json.dumps(Line(texts.STOPPING, 'busy').html())}"
        button_event(None, None, [self.line], js=said, queue=False, **PRIVATE)
        outputs = list(dict.fromkeys([self.line, *self.looks(False), *self.withdrawn([])]))
        button_event(stop, None, outputs, queue=False, **PRIVATE)

    def clear(self, session: str, left: Updates) -> Updates:
        """End what runs in this tab because its outputs are cleared.  Returns `left` and the buttons as they look idle.

        Args:
            left: What the clearing action leaves on the page; nothing of the ended work lands on it.
        """
        left = {**left, **self.looks(False)}
        self.ctx.runs.discard(session, self.tab, left)
        return left


def loading(host: Host, ticket: Ticket) -> Iterator[Line]:
    """Status lines until the model is there.  Raises Stopped where the visitor does not want to wait any more."""
    for s in host.wait(ticket.cancel):
        text = f"The model is loading: {s.message.lower()} (step {s.step} of {s.steps})"
        yield Line(text, "busy", f"{s.seconds:.0f} s")
    if ticket.cancel.is_set():
        raise Stopped


def loaded(host: Host, variant: str) -> str:
    """That model, or the only one there is: a question asked while the model was loading could not know."""
    return variant if variant in host.variants else host.variants[0]


def need_both(there: Sequence[str]) -> None:
    """Raises FaceLLMError where fewer than both models are there to be compared."""
    if len(there) < 2:
        raise FaceLLMError(texts.ONE_MODEL)
