"""Compare: one question, or all of them, to the base model and to FaceLLM at the same time; blind votes on the result.

Input: the visitor's photo and a question. Output: pairs of answers side by side, words that only one side says marked.
What this file does not know: how two models share one copy of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import gradio as gr

from demo.page import plots, texts
from demo.runtime.context import PRIVATE, Context, Tab, buttons, failure, running, status, status_line
from demo.runtime.jobs import Job, guarded, loading, need_both
from demo.runtime.photos import Photo
from demo.runtime.streaming import Cell, fill
from demo.runtime.tickets import Ticket
from demo.tabs import parameters as settings
from demo.tabs.downloads import downloads
from demo.tabs.rounds import ALL, OWN, Pair, Round, make_round, marked
from demo.votes import OWN_QUESTION
from facellm import policy
from facellm.errors import FaceLLMError

# Sixteen growing answers are a long page: five drawings a second are enough, and leave the processor to the model.
DRAW_EVERY = 0.2
_HINT = (
    '<p class="hint">Both models answer the same question at the same time, side by side; words that only one of them '
    "says are highlighted."
)
_BLIND_HINT = " Tick “Blind test” to vote for the better answer before you see which model wrote it."

# The pair that is voted on next comes into view; the ballot stays at the window's lower edge.
_SHOW_NEXT = "() => { document.querySelector('.pair.voting')?.scrollIntoView({block: 'center'}); }"


def _measures(cell: Cell) -> str:
    parts = [f"first words {cell.first:.2f} s"] if cell.first is not None else []
    parts += [f"{cell.tokens} tokens", f"{cell.seconds:.1f} s"]
    if cell.rate:
        parts.append(f"{cell.rate:.0f} tokens/s")
    if cell.state in ("stopped", "length"):
        parts.append("stopped" if cell.state == "stopped" else "cut at the token limit")
    return " · ".join(parts)


def _side(pair: Pair, variant: str, letter: str, hidden: bool) -> str:
    cell, other = pair.cells[variant], pair.cells["base" if variant == "facellm" else "facellm"]
    name = f"Answer {letter}" if hidden else texts.VARIANTS[variant]
    won = pair.vote == variant
    body = marked(cell.text, other.text) if cell.finished and other.finished else escape(cell.text)
    body = "".join(f"<p>{b}</p>" for b in body.split("\n\n") if b.strip()).replace("\n", "<br>")
    if hidden:
        measures = "hidden until you vote" if cell.finished else cell.state
    else:
        measures = _measures(cell) if cell.finished else cell.state
    return (
        f'<article class="side {"hidden" if hidden else variant}{" won" if won else ""}">'
        f'<header><i class="swatch" aria-hidden="true"></i><h4>{escape(name)}</h4>'
        f"{'<em>your vote</em>' if won else ''}</header>"
        f'<div class="text {cell.state}">{body}</div><footer>{escape(measures)}</footer></article>'
    )


def show(round_: Round | None) -> str:
    """The round as HTML."""
    if round_ is None:
        return ""
    voting = round_.open_vote
    parts = []
    if round_.finished:
        parts.append('<p class="small"><mark>Highlighted</mark>: words that only this side says.</p>')
    for pair in round_.pairs:
        hidden = round_.hidden(pair)
        a, b = pair.sides
        vote = f'<span class="tag">{escape(pair.vote)}</span>' if pair.vote in ("tie", "both bad") else ""
        parts.append(
            f'<section class="pair{" voting" if pair is voting else ""}"><h3>{escape(pair.title)}{vote}</h3>'
            f'<div class="sides">{_side(pair, a, "A", hidden)}{_side(pair, b, "B", hidden)}</div></section>'
        )
    return f'<div class="pairs">{"".join(parts)}</div>'


def compare(ctx: Context, ticket: Ticket, round_: Round, raw: tuple) -> Iterator[str]:
    """Yields status lines while the round's cells fill; both models answer in one batch."""
    cells = [p.cells[w] for p in round_.pairs for w in ("base", "facellm")]

    def work(photo: Photo) -> Iterator[str]:
        parameters = settings.read(*raw)
        round_.temperature = parameters.temperature
        yield from loading(ctx.host, ticket)
        need_both(ctx.host.variants)
        yield status("Both models are looking at the photo…", "busy")
        for _ in fill(ctx.host, photo.seen(parameters.whole), cells, parameters, ticket, ctx.sensitive, DRAW_EVERY):
            yield status(f"Writing… {sum(c.finished for c in cells)} of {len(cells)} answers done", "busy")
        yield status(_summary(cells, ctx.host.card().get("sharing") == "one batch"))

    def ended(said: str) -> str:
        for cell in cells:
            if not cell.finished:
                cell.state = "stopped"
        return said

    return guarded(ctx, ticket, work, ended)


def _summary(cells: Sequence[Cell], shared: bool) -> str:
    tokens, seconds = sum(c.tokens for c in cells), max(c.seconds for c in cells)
    copy = " from one copy of the weights" if shared else ""
    said = f"{texts.STOPPED} " if any(c.state == "stopped" for c in cells) else ""
    return f"{said}{len(cells)} answers{copy}, {tokens} tokens in {seconds:.1f} s."


def tally(ctx: Context) -> str:
    """The win rates so far and the votes as CSV."""
    if not ctx.votes.on:
        return '<p class="empty small">Voting is switched off by the operator.</p>'
    titles = {a.key: a.title for a in policy.attributes(True)} | {"all": "All votes", OWN_QUESTION: "Own questions"}
    try:
        rates = ctx.votes.rates()
        shown = plots.win_rates(rates, titles)
        if rates:
            shown += downloads("Export", [("CSV", "facellm-votes.csv", "text/csv", ctx.votes.csv())])
        return shown
    except FaceLLMError as error:
        return failure(error)


def build(ctx: Context, parameters: list) -> Tab:
    """The tab."""
    choices = [("All attributes", ALL)]
    choices += [(a.title, a.key) for a in policy.attributes(ctx.sensitive)] + [("Your own question", OWN)]
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
        max_length=settings.MAX_QUESTION,
        visible=False,
        elem_id="compare-own",
    )
    line = status_line("compare")
    hint = f"{_HINT}{_BLIND_HINT if ctx.votes.on else ''}</p>"
    shown = gr.HTML(hint, elem_id="pairs")
    with gr.Row(visible=False, elem_id="vote", elem_classes="vote") as bar:
        prompt = gr.HTML("")
        ballots = [
            gr.Button(label, size="sm", min_width=80, elem_id=f"vote-{name}")
            for label, name in (("A is better", "a"), ("B is better", "b"), ("Tie", "tie"), ("Both bad", "bad"))
        ]
    with gr.Accordion("Votes so far", open=False, elem_id="tally-box") as box:
        count = gr.HTML("", elem_id="tally")
    state, opened = gr.State(None), gr.State(False)

    def bar_for(round_: Round | None) -> tuple:
        pair = round_.open_vote if round_ else None
        if pair is None:
            return gr.update(visible=False), ""
        n, total = sum(p.vote is not None for p in round_.pairs) + 1, len(round_.pairs)
        variant = f"{pair.title} ({n} of {total})" if total > 1 else pair.title
        return gr.update(visible=True), f'<p role="status">Which answer is better? <b>{escape(variant)}</b></p>'

    def begin(choice_, own_, blind_, request: gr.Request):
        try:
            need_both(ctx.host.variants)
            round_ = make_round(choice_, own_, bool(blind_) and ctx.votes.on, ctx.sensitive)
            admitted = job.admit(request.session_hash)
        except FaceLLMError as error:
            return None, *job.refuse(error), gr.skip(), *running(False), gr.update(visible=False), ""
        return round_, *admitted, show(round_), *running(True), gr.update(visible=False), ""

    def run(ticket: Ticket, round_, *raw):
        for said in compare(ctx, ticket, round_, raw):
            yield said, show(round_), round_, *bar_for(round_)

    job = Job(ctx, "compare", line, [go, stop], running)
    begun = [state, *job.outputs, shown, go, stop, bar, prompt]
    streamed = [line, shown, state, bar, prompt]
    for start in (go.click, own.submit):
        event = start(begin, [choice, own, blind], begun, queue=False, **PRIVATE)
        job.queue(event, run, [state, *parameters], streamed)
    job.stop(stop.click)
    choice.change(lambda c: gr.update(visible=c == OWN), [choice], [own], queue=False, **PRIVATE)

    # All votes as a file within the page: made for those who look at it, not for every visitor and every vote.
    box.expand(lambda: (tally(ctx), True), None, [count, opened], queue=False, **PRIVATE)
    box.collapse(lambda: False, None, [opened], queue=False, **PRIVATE)

    def vote(ballot: str):
        def cast(round_, looking):
            pair = round_.open_vote if round_ else None
            if pair is None:
                return (
                    round_,
                    status("There is nothing to vote on: compare first.", "bad"),
                    gr.skip(),
                    gr.skip(),
                    "",
                    gr.skip(),
                )
            winner = {"a": pair.sides[0], "b": pair.sides[1]}.get(ballot, ballot)
            model = ctx.host.card().get("name", "")
            try:
                ctx.votes.add(pair.key or OWN_QUESTION, winner, pair.left, model, round_.temperature)
            except FaceLLMError as error:
                return round_, failure(error), gr.skip(), *bar_for(round_), gr.skip()
            pair.vote = winner
            said = status(f"Thank you. A was {texts.VARIANTS[pair.sides[0]]}, B was {texts.VARIANTS[pair.sides[1]]}.")
            return round_, said, show(round_), *bar_for(round_), tally(ctx) if looking else gr.skip()

        return cast

    for button, ballot in zip(ballots, ("a", "b", "tie", "both bad"), strict=True):
        outputs = [state, line, shown, bar, prompt, count]
        cast = button.click(vote(ballot), [state, opened], outputs, queue=False, **PRIVATE)
        cast.then(None, js=_SHOW_NEXT, queue=False, **PRIVATE)

    def cleared() -> tuple:
        return "", hint, None, gr.update(visible=False), "", *running(False)

    return Tab("compare", [*streamed, go, stop], cleared, {"choice": choice})
