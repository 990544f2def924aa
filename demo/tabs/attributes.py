"""Attributes: one click, eight cards that fill at the same time; each can be asked again; the report to download.

Input: the visitor's photo. Output: text per card. What this file does not know: how answers are made in one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import gradio as gr

from demo.page import texts
from demo.runtime.context import PRIVATE, Context, Tab, buttons, running, status, status_line, variant_radio
from demo.runtime.jobs import Job, guarded, loaded, loading
from demo.runtime.photos import Photo
from demo.runtime.streaming import Cell, fill
from demo.runtime.tickets import Ticket
from demo.tabs import parameters as settings
from demo.tabs.downloads import links
from facellm import policy
from facellm.attributes import Attribute
from facellm.errors import FaceLLMError

_WORDS = {"waiting": "waiting", "writing": "writing…", "done": "done", "stopped": "stopped", "length": "done"}


def foot(cell: Cell | None) -> str:
    """A card's last line: its state, then tokens, seconds and whose answer it is."""
    if cell is None:
        return ""
    words = f"{cell.measures()} · {texts.VARIANTS[cell.variant]}" if cell.finished else _WORDS[cell.state]
    return f'<p class="foot {cell.state}"><i aria-hidden="true"></i>{escape(words)}</p>'


def describe(
    ctx: Context, ticket: Ticket, chosen: Sequence[Attribute], variant: str, raw: tuple
) -> Iterator[tuple[Sequence[Cell] | None, str]]:
    """Yields (cells, status) while the chosen attributes are answered together; cells are None before they start."""

    def work(photo: Photo) -> Iterator:
        parameters = settings.read(*raw)
        for line in loading(ctx.host, ticket):
            yield None, line
        model = loaded(ctx.host, variant)
        cells = [Cell(model, a.question, a.key) for a in chosen]
        yield cells, status(f"{texts.VARIANTS[model]} is looking at the photo…", "busy")
        for _ in fill(ctx.host, photo.seen(parameters.whole), cells, parameters, ticket, ctx.sensitive):
            ready = sum(c.finished for c in cells)
            yield cells, status(f"Writing… {ready} of {len(cells)} done", "busy")
        yield cells, status(_summary(cells))

    return guarded(ctx, ticket, work, lambda said: (None, said))


def _summary(cells: Sequence[Cell]) -> str:
    tokens, seconds = sum(c.tokens for c in cells), max((c.seconds for c in cells), default=0.0)
    words = texts.STOPPED + " " if any(c.state == "stopped" for c in cells) else ""
    words += f"{len(cells)} answer{'s' if len(cells) != 1 else ''}, {tokens} tokens in {seconds:.1f} s"
    firsts = [c.first for c in cells if c.first is not None]
    return words + (f", first words after {min(firsts):.1f} s" if firsts else "")


def build(ctx: Context, parameters: list) -> Tab:
    """The tab."""
    attributes = policy.attributes(ctx.sensitive)
    many = {8: "eight", 6: "six"}.get(len(attributes), str(len(attributes)))
    with gr.Row(elem_classes="toolbar"):
        variant = variant_radio("attributes")
        go, stop = buttons("attributes", f"Describe all {many}")
    line = status_line("attributes")
    report = gr.HTML("", elem_id="attributes-report")
    cards: list[tuple] = []
    with gr.Column(elem_classes="cards"):
        for a in attributes:
            with gr.Column(elem_classes="card", elem_id=f"card-{a.key}", min_width=0):
                gr.HTML(f"<h3>{escape(a.title)}</h3><p>{escape(a.description)}</p>", elem_classes="card-head")
                text = gr.Markdown("", elem_classes="answer", buttons=["copy"], line_breaks=True, latex_delimiters=[])
                with gr.Row(elem_classes="card-foot"):
                    state = gr.HTML("")
                    again = gr.Button(
                        "Ask", size="sm", scale=0, min_width=90, elem_id=f"ask-{a.key}", elem_classes="quiet"
                    )
            cards.append((text, state, again))
    done = gr.State({})  # key -> Cell, finished ones of this photo
    texts_, states, agains = ([c[i] for c in cards] for i in range(3))
    flat = [*texts_, *states]
    n = len(attributes)

    waiting = foot(Cell("facellm", ""))

    def begin(request: gr.Request):
        try:
            admitted = job.admit(request.session_hash)
        except FaceLLMError as error:
            return [*job.refuse(error), *[gr.skip() for _ in job.restored], gr.skip(), *[gr.skip() for _ in flat]]
        return [*admitted, *looks(True), "", *["" for _ in texts_], *[waiting for _ in states]]

    def run(only: int | None):
        chosen = attributes if only is None else (attributes[only],)
        first = 0 if only is None else only

        def stream(ticket: Ticket, kept, chosen_variant, *raw):
            before: dict[int, tuple[str, str]] = {}
            for cells, said in describe(ctx, ticket, chosen, chosen_variant, raw):
                updates = [gr.skip() for _ in written]
                if cells is None and "busy" not in said:  # it will not be written: no card waits any more
                    for i in range(n) if only is None else (only,):
                        updates[n + i] = ""
                for i, cell in enumerate(cells or (), first):
                    now = (cell.text, foot(cell))
                    if before.get(i) != now:
                        before[i] = now
                        updates[i], updates[n + i] = now
                        if cell.finished:
                            updates[2 * n + i] = gr.update(value="Ask again")
                saved, made = gr.skip(), gr.skip()
                if cells and all(c.finished for c in cells):
                    kept = {**(kept or {}), **{c.key: c for c in cells}}
                    photo = ctx.photos.get(ticket.session)
                    order = [kept[a.key] for a in attributes if a.key in kept]
                    saved, made = kept, links(order, photo, ctx.host.card()) if photo else ""
                yield [said, saved, made, *updates]

        return stream

    def looks(on: bool) -> list:
        # An update for each button: Gradio takes the value out of the first use of a dict.
        return [*running(on), *[gr.update(interactive=not on) for _ in agains]]

    def one(request: gr.Request):
        try:
            return [*job.admit(request.session_hash), *looks(True), "", waiting]
        except FaceLLMError as error:
            return [*job.refuse(error), *[gr.skip() for _ in job.restored], gr.skip(), gr.skip()]

    job = Job(ctx, "attributes", line, [go, stop, *agains], looks)
    written = [*flat, *agains]
    outputs = [line, done, report, *written]

    def wire(button: gr.Button, quick, changed: list, only: int | None) -> None:
        start = button.click(quick, None, [*job.outputs, *job.restored, *changed], queue=False, **PRIVATE)
        job.queue(start, run(only), [done, variant, *parameters], outputs)

    wire(go, begin, [report, *flat], None)
    for i, again in enumerate(agains):
        wire(again, one, [texts_[i], states[i]], i)
    job.stop(stop.click)

    def cleared() -> tuple:
        asked = [gr.update(value="Ask", interactive=True) for _ in agains]
        return ("", {}, "", *["" for _ in flat], *asked, *running(False))

    return Tab("attributes", [*outputs, go, stop], cleared, {"variant": variant})
