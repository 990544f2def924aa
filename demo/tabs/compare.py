"""Compare: one question, or all of them, to both models at the same time, with blind votes; or one about two photos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr

from demo.page import texts
from demo.page.components import HIDDEN, PRIVATE, Line, Tab, Updates, buttons, running, seen, status_line, variant_radio
from demo.page.downloads import downloads
from demo.page.render import render
from demo.runtime import parameters
from demo.runtime.context import Context
from demo.runtime.jobs import Job, failure, need_both
from demo.runtime.parameters import MAX_QUESTION
from demo.runtime.photos import Photo
from demo.runtime.streaming import fill
from demo.runtime.tickets import Ticket
from demo.tabs.rounds import ALL, OWN, Round, make_round
from demo.tabs.two import section
from demo.votes import OWN_QUESTION
from facellm import policy
from facellm.errors import FaceLLMError

# Sixteen growing answers are a long page: five drawings a second are enough, and leave the processor to the model.
DRAW_EVERY = 0.2

# The pair that is voted on next comes into view; the ballot stays at the window's lower edge.
_SHOW_NEXT = "() => { document.querySelector('.pair.voting')?.scrollIntoView({block: 'center'}); }"

# A button's id and label -> who wins by it: a side's position, or neither.
BALLOTS: dict[tuple[str, str], int | str] = {
    ("a", "A is better"): 0,
    ("b", "B is better"): 1,
    ("tie", "Tie"): "tie",
    ("bad", "Both bad"): "both bad",
}


@dataclass
class CompareTab(Tab):
    """What the page needs to know of the tab.

    Attributes:
        choice: Which question both models are compared on.
        two: The part that asks about two photos.
    """

    choice: gr.Dropdown
    two: section.TwoPhotos


def show(round_: Round) -> str:
    """The round as HTML."""
    return render("pairs", round=round_, names=texts.VARIANTS, broken=texts.BROKEN)


def summary(round_: Round, shared: bool) -> Line:
    """What the status line says at the end.  shared: whether both models ran from one copy of the weights."""
    cells = round_.cells
    said = f"{texts.STOPPED} " if any(c.state == "stopped" for c in cells) else ""
    copy = " from one copy of the weights" if shared else ""
    tokens, seconds = sum(c.tokens for c in cells), max(c.seconds for c in cells)
    return Line(f"{said}{len(cells)} answers{copy} in {seconds:.1f} s.", details=f"{tokens} tokens")


def tally(ctx: Context) -> str:
    """The win rates so far and the votes as CSV."""
    if not ctx.votes.on:
        return '<p class="empty small">Voting is switched off by the operator.</p>'
    titles = {a.key: a.title for a in policy.attributes(True)} | {"all": "All votes", OWN_QUESTION: "Own questions"}
    try:
        saved = downloads("Export", [("CSV", "facellm-votes.csv", "text/csv", ctx.votes.csv())])
        return render("tally", rates=ctx.votes.rates(), titles=titles, downloads=saved)
    except FaceLLMError as error:
        return failure(error).html()


def build(ctx: Context, settings: list) -> CompareTab:
    """The tab.  settings: the components whose values `parameters.read` takes."""
    choices = [("All attributes", ALL)]
    choices += [(a.title, a.key) for a in policy.attributes(ctx.sensitive)] + [("Your own question", OWN)]
    with gr.Row(elem_classes="toolbar"):
        gr.Radio(
            [("Two models", "models"), ("Two photos", "photos")],
            value="models",
            label="What is compared",
            elem_id="compare-what",
            elem_classes="segmented",
            interactive=True,
        )
        asks_photos = variant_radio("two")
    with gr.Column(elem_id="compare-photos"):  # style.css shows one of the two, as the switch stands
        two = section.build(ctx, asks_photos, settings)
    with gr.Column(elem_id="compare-models"):
        with gr.Row(elem_classes="toolbar"):
            choice = gr.Dropdown(choices, value="detail", label="Question", elem_id="compare-question", min_width=220)
            go, stop = buttons("compare", "Compare")
            blind = gr.Checkbox(
                False,
                label="Blind test",
                info="Shuffled and unnamed until you vote",
                elem_id="compare-blind",
                visible=ctx.votes.on,
            )
        own = gr.Textbox(
            label="Your own question",
            placeholder="For example: Is this person wearing glasses?",
            max_length=MAX_QUESTION,
            visible=HIDDEN,
            elem_id="compare-own",
        )
        line = status_line("compare")
        hint = render("compare_hint", votes=ctx.votes.on)
        shown = gr.HTML(hint, elem_id="pairs")
        with gr.Row(elem_id="vote", elem_classes="vote"):  # seen while `prompt` says something
            prompt = gr.HTML("")
            ballots = {
                gr.Button(label, size="sm", min_width=80, elem_id=f"vote-{name}"): winner
                for (name, label), winner in BALLOTS.items()
            }
        with gr.Accordion("Votes so far", open=False, elem_id="tally-box") as box:
            count = gr.HTML("", elem_id="tally")
    state, opened = gr.State(None), gr.State(False)  # a Round; whether the votes are being looked at
    job = Job(ctx, "compare", line, lambda on: running(go, stop, on))

    def drawn(round_: Round) -> Updates:
        """The round and the ballot for its next vote."""
        pair, total = round_.open_vote, len(round_.pairs)
        asked = ""
        if pair is not None:
            number = sum(p.vote is not None for p in round_.pairs) + 1
            asked = render("ballot", title=pair.title, number=number, total=total)
        return {state: round_, shown: show(round_), prompt: asked}

    def begin(choice_: str, own_: str, blind_: bool, request: gr.Request) -> Updates:
        need_both(ctx.at(request.session_hash).host.variants)
        round_ = make_round(choice_, own_, bool(blind_) and ctx.votes.on, ctx.sensitive)
        return {**drawn(round_), **job.admit(request.session_hash, round_)}

    def work(ticket: Ticket, photo: Photo, *raw) -> Iterator[Updates]:
        round_: Round = ticket.given
        asking = parameters.read(*raw)
        round_.temperature = asking.temperature
        cells = round_.cells
        try:
            yield from job.loading(ticket)
            host = ctx.at(ticket.session).host
            need_both(host.variants)
            yield job.say(Line("Both models are looking at the photo…", "busy"))
            for _ in fill(host, photo.seen(asking.whole), cells, asking, ticket, ctx.sensitive, DRAW_EVERY):
                ready = sum(c.finished for c in cells)
                yield {**drawn(round_), **job.say(Line(f"Writing… {ready} of {len(cells)} answers done", "busy"))}
        except Exception:  # it will not be written: no side waits any more
            for cell in cells:
                cell.state = cell.state if cell.finished else "stopped"
            yield drawn(round_)
            raise
        yield job.say(summary(round_, host.card().get("sharing") == "one batch"))

    changed = [state, shown, prompt]
    events = [(go.click, begin), (own.submit, begin)]
    job.start(events, [choice, own, blind], changed, work, settings, changed)
    job.stop(stop.click)
    choice.change(lambda c: seen(c == OWN), [choice], [own], queue=False, **PRIVATE)

    # All votes as a file within the page: made for those who look at it, not for every visitor and every vote.
    box.expand(lambda: (tally(ctx), True), None, [count, opened], queue=False, **PRIVATE)
    box.collapse(lambda: False, None, [opened], queue=False, **PRIVATE)

    def vote(ballot: int | str):
        def cast(round_: Round | None, looking: bool, request: gr.Request) -> Updates:
            pair = round_.open_vote if round_ else None
            if round_ is None or pair is None:
                return job.say(Line("There is nothing to vote on: compare first.", "bad"))
            winner = pair.sides[ballot] if isinstance(ballot, int) else ballot
            model = ctx.at(request.session_hash).host.card().get("name", "")
            try:
                ctx.votes.add(pair.key or OWN_QUESTION, winner, pair.left, model, round_.temperature)
            except FaceLLMError as error:
                return job.say(failure(error))
            pair.vote = winner
            a, b = (texts.VARIANTS[v] for v in pair.sides)
            updates = {**drawn(round_), **job.say(Line(f"Thank you. A was {a}, B was {b}."))}
            return {**updates, count: tally(ctx)} if looking else updates

        return cast

    for button, ballot in ballots.items():
        voted = button.click(vote(ballot), [state, opened], [line, count, *changed], queue=False, **PRIVATE)
        voted.then(None, js=_SHOW_NEXT, queue=False, **PRIVATE)

    def cleared() -> Updates:
        return {line: "", state: None, shown: hint, prompt: "", **job.looks(False)}

    return CompareTab("compare", line, cleared, choice, two)
