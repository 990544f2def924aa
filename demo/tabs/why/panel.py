"""The box that a button "Why?" opens: one job that asks each model in turn, its status line and its stop button."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr

from demo.page import texts
from demo.page.components import HIDDEN, PRIVATE, Line, Tab, Updates, seen, sent, status_line
from demo.page.plots import TYPED
from demo.page.render import render
from demo.runtime import parameters
from demo.runtime.context import Context
from demo.runtime.jobs import Job, Stopped
from demo.runtime.photos import Photo
from demo.runtime.tickets import Ticket
from demo.tabs import choices
from demo.tabs.why.maps import show
from facellm import policy
from facellm.errors import FaceLLMError
from facellm.profile import KNOWN_FIELDS
from facellm.typed.explanation import Explanation
from facellm.typed.question import TypedQuestion

# Buttons with data-why may stand anywhere on the page; the page's script shows the box, and moves the focus.
_ON_ASK = """
document.addEventListener('click', (event) => {
  const asks = event.target.closest('[data-why]');
  if (asks) {
    const {why, ask, options} = asks.dataset;
    trigger('why', {field: why, ask: ask ?? '', options: JSON.parse(options ?? '[]')});
  }
  if (event.target.closest('#why-close')) trigger('shut', {});
});
"""


@dataclass(frozen=True)
class Asked:
    """What is to be explained.

    Attributes:
        title: What stands above the maps.
        question: Key of a profile field, or a question of the visitor's own with its answers.
    """

    title: str
    question: str | TypedQuestion

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from every other one."""
        q = self.question
        return (q,) if isinstance(q, str) else (TYPED, q.ask, *q.options)


def asked(event: gr.EventData, sensitive: bool) -> Asked:
    """Reads what a button asks about.

    Args:
        event: Its `field` is a profile field's key, or TYPED with a question in `ask` and its answers in `options`.
        sensitive: Whether sensitive attributes may be asked about.

    Raises:
        FaceLLMError: For what is not there, switched off, or no question with answers.
    """
    if sent(event, "field") == TYPED:
        options = getattr(event, "options", None)
        own = choices.checked(sent(event, "ask"), options if isinstance(options, list) else [], sensitive)
        return Asked(own.ask, own)
    field = next((f for f in KNOWN_FIELDS if f.key == sent(event, "field") and (sensitive or not f.sensitive)), None)
    if field is None:
        raise FaceLLMError(policy.REFUSED)
    return Asked(field.title, field.key)


def build(ctx: Context, settings: list) -> Tab:
    """The box; it is seen while there is something in it.  settings: what `parameters.read` takes."""
    with gr.Column(elem_id="why", min_width=0):
        head = gr.HTML(render("why_head"), elem_id="why-head", js_on_load=_ON_ASK)
        line = status_line("why")
        stop = gr.Button("Stop", variant="stop", visible=HIDDEN, elem_id="why-stop", elem_classes="stop", min_width=120)
        shown = gr.HTML("", elem_id="why-maps")

    job = Job(ctx, "why", line, lambda on: {stop: seen(on)})

    def begin(request: gr.Request, event: gr.EventData) -> Updates:
        return {**job.admit(request.session_hash, asked(event, ctx.sensitive)), shown: ""}

    def work(ticket: Ticket, photo: Photo, *raw) -> Iterator[Updates]:
        what: Asked = ticket.given
        whole = parameters.read(*raw).whole
        yield from job.loading(ticket)
        host = ctx.at(ticket.session).host
        started, view = time.monotonic(), photo.seen(whole)
        key = "why", host.options.model, photo.face_index, whole, *what.key
        found: list[Explanation] = list(photo.known.get(key, ()))
        for variant in host.variants[len(found) :]:
            yield job.say(Line(f"Hiding one region after another from {texts.VARIANTS[variant]}…", "busy"))
            # All models explain the first one's answer: maps of two answers could not be compared.
            label = found[0].label if found else None
            found.append(host.explain(view, what.question, variant, label, ticket.cancel))
            if ticket.cancel.is_set():
                raise Stopped
        photo.known[key] = tuple(found)
        yield {
            **job.say(Line(f"Measured in {time.monotonic() - started:.1f} s.")),
            shown: show(what.title, view.image, found),
        }

    job.start([(head.why, begin)], [], [shown], work, settings, [shown])
    job.stop(stop.click)

    def cleared() -> Updates:
        return {line: "", shown: "", **job.looks(False)}

    def shut(request: gr.Request) -> Updates:
        return job.clear(request.session_hash, cleared())

    head.shut(shut, None, list(cleared()), queue=False, **PRIVATE)
    return Tab("why", line, cleared)
