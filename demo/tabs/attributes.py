"""Attributes: one click, eight cards that fill at the same time; each can be asked again; the report to download."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import gradio as gr

from demo.page import texts
from demo.page.components import Line, Tab, Updates, buttons, came_from, running, status_line, variant_radio
from demo.page.render import render
from demo.runtime import parameters
from demo.runtime.context import Context
from demo.runtime.jobs import Job, loaded
from demo.runtime.photos import Photo
from demo.runtime.streaming import Cell, fill
from demo.runtime.tickets import Ticket
from demo.tabs.claimed import annotated, claimed, plain
from demo.tabs.profile import truth
from demo.tabs.report import links
from facellm import policy
from facellm.attributes import Attribute
from facellm.errors import FaceLLMError
from facellm.profile import KNOWN_FIELDS


@dataclass(frozen=True)
class Card:
    """One attribute's card: its text, its last line, and the button that asks it (again)."""

    attribute: Attribute
    text: gr.Markdown
    foot: gr.HTML
    again: gr.Button

    def said(self, cell: Cell) -> Updates:
        """The card's words and its last line."""
        words = texts.BROKEN if cell.state == "broken" else cell.noted or cell.text
        return {self.text: words, self.foot: foot(cell)}

    def drawn(self, cell: Cell | None) -> Updates:
        """The card as it shows `cell`; empty for None."""
        if cell is None:
            return {self.text: "", self.foot: "", self.again: gr.update(value="Ask", interactive=True)}
        return {**self.said(cell), self.again: gr.update(value="Ask again")} if cell.finished else self.said(cell)


@dataclass
class AttributesTab(Tab):
    """variant: its model switch."""

    variant: gr.Radio


def foot(cell: Cell) -> str:
    """A card's last line: its state, tokens, seconds and whose answer it is; what of the profile can be asked why."""
    asks = [(f.key, f.title) for f in KNOWN_FIELDS if f.key in cell.claimed]
    return render("foot", cell=cell, name=texts.VARIANTS[cell.variant], asks=asks)


def summary(cells: Sequence[Cell]) -> Line:
    """What the status line says when all cells are finished."""
    tokens, seconds = sum(c.tokens for c in cells), max((c.seconds for c in cells), default=0.0)
    words = texts.STOPPED + " " if any(c.state == "stopped" for c in cells) else ""
    words += f"{len(cells)} answer{'s' if len(cells) != 1 else ''} in {seconds:.1f} s"
    firsts = [f"first words {c.first:.2f} s" for c in sorted(cells, key=lambda c: c.first or 0) if c.first is not None]
    return Line(words, details=" · ".join([*firsts[:1], f"{tokens} tokens"]))


def _card(a: Attribute) -> Card:
    with gr.Column(elem_classes="card", elem_id=f"card-{a.key}", min_width=0):
        gr.HTML(render("card_head", attribute=a), elem_classes="card-head")
        text = gr.Markdown("", elem_classes="answer", buttons=["copy"], line_breaks=True, latex_delimiters=[])
        with gr.Row(elem_classes="card-foot"):
            last = gr.HTML("")
            again = gr.Button("Ask", size="sm", scale=0, min_width=90, elem_id=f"ask-{a.key}", elem_classes="quiet")
    return Card(a, text, last, again)


def build(ctx: Context, settings: list) -> AttributesTab:
    """The tab.  settings: the components whose values `parameters.read` takes."""
    attributes = policy.attributes(ctx.sensitive)
    many = {8: "eight", 6: "six"}.get(len(attributes), str(len(attributes)))
    with gr.Row(elem_classes="toolbar"):
        variant = variant_radio("attributes")
        go, stop = buttons("attributes", f"Describe all {many}")
    line = status_line("attributes")
    report = gr.HTML("", elem_id="attributes-report")
    with gr.Column(elem_classes="cards"):
        cards = {a.key: _card(a) for a in attributes}
    done = gr.State({})  # key -> Cell, finished ones of this photo

    def looks(on: bool) -> Updates:
        # An update for each button: Gradio takes the value out of the first use of a dict.
        return {**running(go, stop, on), **{card.again: gr.update(interactive=not on) for card in cards.values()}}

    job = Job(ctx, "attributes", line, looks)

    asks: list[tuple[gr.Button, Sequence[Attribute]]] = [
        (go, attributes),
        *((cards[a.key].again, [a]) for a in attributes),
    ]

    def begin(request: gr.Request, event: gr.EventData) -> Updates:
        chosen = next((chosen for button, chosen in asks if came_from(event, button)), None)
        if chosen is None:
            raise FaceLLMError("The request names no attribute: click one of the buttons.")
        empty = {part: "" for a in chosen for part in (cards[a.key].text, cards[a.key].foot)}
        return {**job.admit(request.session_hash, chosen), report: "", **empty}

    def work(ticket: Ticket, photo: Photo, kept: dict, asked: str, *raw) -> Iterator[Updates]:
        asking = parameters.read(*raw)
        chosen: Sequence[Attribute] = ticket.given
        yield from job.loading(ticket)
        here = ctx.at(ticket.session)
        model = loaded(here.host, asked)
        cells = {a.key: Cell(model, a.question, a.key) for a in chosen}
        waiting = {cards[key].foot: foot(cell) for key, cell in cells.items()}
        yield {**job.say(Line(f"{texts.VARIANTS[model]} is looking at the photo…", "busy")), **waiting}
        shown: dict[str, tuple[str, str]] = {}
        of_all = list(cells.values())
        for _ in fill(here.host, photo.seen(asking.whole), of_all, asking, ticket, ctx.sensitive):
            ready = sum(cell.finished for cell in of_all)
            updates = job.say(Line(f"Writing… {ready} of {len(cells)} done", "busy"))
            for key, cell in cells.items():  # what has not changed is not sent again
                if shown.get(key) != (cell.text, cell.state):
                    shown[key] = cell.text, cell.state
                    updates |= cards[key].drawn(cell)
            yield updates
        told = [cell for cell in of_all if cell.state in ("done", "length")]
        if told and (known := truth(here, photo, asking.whole)):
            for cell in told:
                cell.noted = annotated(cell.text, plain(known))
                cell.claimed = claimed(cell.text, plain(known))
            yield {c: v for cell in told if cell.key for c, v in cards[cell.key].said(cell).items()}
        kept = {**(kept or {}), **cells}
        photo.known["attributes", photo.face_index] = kept
        order = [kept[a.key] for a in attributes if a.key in kept]
        yield {**job.say(summary(of_all)), done: kept, report: links(order, photo, here.host.card())}

    outputs = [done, report, *(c for card in cards.values() for c in card.drawn(None))]
    events = [(button.click, begin) for button, _ in asks]
    job.start(events, [], outputs, work, [done, variant, *settings], outputs)
    job.stop(stop.click)

    def cleared() -> Updates:
        empty = {c: v for card in cards.values() for c, v in card.drawn(None).items()}
        return {line: "", done: {}, report: "", **running(go, stop, False), **empty}

    def restored(photo: Photo, here: Context) -> Updates:
        kept = photo.known.get(("attributes", photo.face_index), {})
        order = [kept[a.key] for a in attributes if a.key in kept]
        filled = {c: v for cell in order for c, v in cards[cell.key].drawn(cell).items()}
        return {done: kept, report: links(order, photo, here.host.card()), **filled}

    return AttributesTab("attributes", line, cleared, variant, restored=restored)
