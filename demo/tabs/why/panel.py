"""The box that a button "Why?" opens: one job that asks each model in turn, its status line and its stop button."""

from __future__ import annotations

import time
from collections.abc import Iterator

import gradio as gr

from demo.page import texts
from demo.page.components import HIDDEN, PRIVATE, Line, Tab, Updates, seen, status_line
from demo.page.render import render
from demo.runtime import parameters
from demo.runtime.context import Context
from demo.runtime.jobs import Job, Stopped
from demo.runtime.photos import Photo
from demo.runtime.tickets import Ticket
from demo.tabs.why.maps import show
from facellm import policy
from facellm.errors import FaceLLMError
from facellm.profile import KNOWN_FIELDS, Field
from facellm.typed.explanation import Explanation

# Buttons with data-why may stand anywhere on the page; the page's script shows the box, and moves the focus.
_ON_ASK = """
document.addEventListener('click', (event) => {
  const asks = event.target.closest('[data-why]');
  if (asks) trigger('why', {field: asks.dataset.why});
  if (event.target.closest('#why-close')) trigger('shut', {});
});
"""


def build(ctx: Context, settings: list) -> Tab:
    """The box; it is seen while there is something in it.  settings: what `parameters.read` takes."""
    fields = {f.key: f for f in KNOWN_FIELDS if ctx.sensitive or not f.sensitive}
    with gr.Column(elem_id="why", min_width=0):
        head = gr.HTML(render("why_head"), elem_id="why-head", js_on_load=_ON_ASK)
        line = status_line("why")
        stop = gr.Button("Stop", variant="stop", visible=HIDDEN, elem_id="why-stop", elem_classes="stop", min_width=120)
        shown = gr.HTML("", elem_id="why-maps")

    job = Job(ctx, "why", line, lambda on: {stop: seen(on)})

    def begin(request: gr.Request, event: gr.EventData) -> Updates:
        field = fields.get(event.field)
        if field is None:
            raise FaceLLMError(policy.REFUSED)
        return {**job.admit(request.session_hash, field), shown: ""}

    def work(ticket: Ticket, photo: Photo, *raw) -> Iterator[Updates]:
        field: Field = ticket.given
        whole = parameters.read(*raw).whole
        yield from job.loading(ticket)
        host = ctx.at(ticket.session).host
        started, view = time.monotonic(), photo.seen(whole)
        key = "why", host.options.model, photo.face_index, whole, field.key
        found: list[Explanation] = list(photo.known.get(key, ()))
        for variant in host.variants[len(found) :]:
            yield job.say(Line(f"Hiding one region after another from {texts.VARIANTS[variant]}…", "busy"))
            # All models explain the first one's answer: maps of two answers could not be compared.
            label = found[0].label if found else None
            found.append(host.explain(view, field.key, variant, label, ticket.cancel))
            if ticket.cancel.is_set():
                raise Stopped
        photo.known[key] = tuple(found)
        yield {
            **job.say(Line(f"Measured in {time.monotonic() - started:.1f} s.")),
            shown: show(field.title, view.image, found),
        }

    job.start([(head.why, begin)], [], [shown], work, settings, [shown])
    job.stop(stop.click)

    def cleared() -> Updates:
        return {line: "", shown: "", **job.looks(False)}

    def shut(request: gr.Request) -> Updates:
        return job.clear(request.session_hash, cleared())

    head.shut(shut, None, list(cleared()), queue=False, **PRIVATE)
    return Tab("why", line, cleared)
