"""Face chat: several turns about one photo, streamed; stop, regenerate, undo, edit, clear, like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import gradio as gr

from demo.page import texts
from demo.page.components import PRIVATE, Line, Tab, Updates, sent, status_line, variant_choices, variant_radio
from demo.page.render import render
from demo.runtime import parameters
from demo.runtime.context import Context
from demo.runtime.jobs import Job, failure, loaded
from demo.runtime.parameters import MAX_QUESTION, RETRY_TEMPERATURE, SEED_LIMIT, Parameters
from demo.runtime.photos import Photo
from demo.runtime.streaming import Cell, fill
from demo.runtime.tickets import Ticket
from demo.tabs.claimed import annotated, plain
from demo.tabs.conversation import Turn, Turns, answered, history, keep, messages, position
from demo.tabs.profile import truth
from facellm import policy
from facellm.errors import FaceLLMError

STARTERS, FEW = 8, 4  # offered at most; a model that answers fewer well is asked the eight attributes

_ON_CHIP = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-starter]');
  if (button) trigger('ask', {starter: button.dataset.starter});
});
"""


@dataclass
class ChatTab(Tab):
    """What the page needs to know of the tab.

    Attributes:
        variant: Its model switch.
        box: Where the visitor writes.
        chips: Questions to start with.
        anew: The button that begins a new chat.
    """

    variant: gr.Radio
    box: gr.Textbox
    chips: gr.HTML
    anew: gr.Button

    def drawn(self, ctx: Context) -> Updates:
        """These parts as the host stands now."""
        return {self.chips: chips(ctx), self.variant: variant_choices(ctx.host.variants)}


def starters(ctx: Context) -> dict[str, Turn]:
    """What can be asked with a click, by the words on it.

    Of a model that was measured, what it answers well; of another, the eight attributes, which it was trained on.
    """
    known = ctx.host.answers
    asked = [words for intent, words in texts.MEASURED_STARTERS.items() if intent in known]
    allowed = [words for words in asked if policy.allowed(words, ctx.sensitive)][:STARTERS]
    if len(allowed) >= FEW:
        return {words: Turn(words) for words in allowed}
    attributes = {a.key: a for a in policy.attributes(ctx.sensitive)}
    return {said: Turn(attributes[key].question, said) for key, said in texts.STARTERS.items() if key in attributes}


def chips(ctx: Context) -> str:
    """The starters as HTML."""
    return render("chips", starters=list(starters(ctx)))


def like(ctx: Context, turns: Turns, index: object, liked: object) -> Line | None:
    """Store a visitor's like (True) or dislike (False) of message `index`.

    Returns:
        What the status line says; None where nothing is stored: a like that is taken back ("" from the page) is no
        dislike.
    """
    i = position(turns, index)
    variant = turns[i].variant if i is not None else None
    if variant is None or not isinstance(liked, bool):
        return None
    try:
        ctx.votes.like(variant, liked, ctx.host.card().get("name", ""))
        return Line("Thank you: stored without the photo and without the words.")
    except FaceLLMError as error:
        return failure(error)


def asking(attempt: int, *raw: object) -> Parameters:
    """The settings of an attempt: after the first another seed, and a temperature at which other words may come."""
    read = parameters.read(*raw)
    if not attempt:
        return read
    temperature = max(read.temperature, RETRY_TEMPERATURE)
    return replace(read, temperature=temperature, seed=(read.seed + attempt) % SEED_LIMIT)


def measured(cell: Cell, used: Parameters, attempt: int) -> Line:
    """What the status line says of a finished answer."""
    words = [texts.VARIANTS[cell.variant], cell.measures()]
    words += [f"regenerated at temperature {used.temperature:g}"] if attempt else []
    return Line(" · ".join(filter(None, words)), details=cell.details())


def build(ctx: Context, settings: list) -> ChatTab:
    """The tab.  settings: the components whose values `parameters.read` takes."""
    with gr.Row(elem_classes="toolbar"):
        variant = variant_radio("chat")
        clear = gr.Button("New chat", size="sm", elem_id="chat-clear", scale=0, min_width=90)
    chatbot = gr.Chatbot(
        label="Conversation about the photo",
        show_label=False,
        height=460,
        editable="user",
        buttons=["copy"],
        layout="bubble",
        placeholder="### What would you like to know about this face?\nAsk anything below, or start with one of these.",
        feedback_options=("Like", "Dislike") if ctx.votes.on else None,
        allow_tags=False,
        sanitize_html=True,
        latex_delimiters=[],
        elem_id="chat",
    )
    line = status_line("chat")
    waiting = gr.HTML("", elem_id="chat-waiting")
    box = gr.Textbox(
        show_label=False,
        label="Your question",
        placeholder="Ask about this face…",
        lines=1,
        max_lines=5,
        max_length=MAX_QUESTION,
        submit_btn="Send",
        elem_id="chat-box",
    )
    # Drawn above the box, after it for Tab: few stops lie before the question.
    starting = gr.HTML(chips(ctx), elem_id="chips", js_on_load=_ON_CHIP)
    gr.HTML('<p class="keys">Enter sends, Esc stops.</p>', elem_id="chat-keys")
    saved = gr.HTML("", elem_id="chat-keep")
    conversation = gr.State(())  # Turns

    def looks(on: bool) -> Updates:
        return {box: gr.update(submit_btn=False if on else "Send", stop_btn="Stop" if on else False)}

    def withdrawn(following: list[Turn]) -> Updates:
        return {waiting: "", box: gr.update(value="\n".join(turn.shown for turn in following))}

    job = Job(ctx, "chat", line, looks, withdrawn)

    def drawn(session: str, photo: Photo | None, turns: Turns, files: bool = True) -> Updates:
        """The conversation as the page shows it; it is kept with its photo for a visitor who loads the page again."""
        if photo is not None:
            photo.known["chat", photo.face_index] = turns
        links = {saved: keep(turns, ctx.at(session).host.card())} if files else {}
        return {conversation: turns, chatbot: messages(turns), **links}

    def ask(session: str, turns: Turns) -> Updates:
        """Common to all ways of asking: needs a photo, takes the ticket, shows the stop button."""
        return {**job.admit(session, turns), **drawn(session, ctx.photos.get(session), turns)}

    def ask_or_follow(session: str, turns: Turns, turn: Turn) -> Updates:
        """In mid-answer the question waits for the answer's end."""
        following = ctx.runs.follow(session, "chat", turn)
        if following:
            return {job.ticket: 0, waiting: render("waiting", following=following)}
        return ask(session, (*turns, turn))

    def asked(turns: Turns, text: str, request: gr.Request) -> Updates:
        turn = Turn(parameters.question(text, texts.QUESTION_FIRST))
        updates = ask_or_follow(request.session_hash, turns, turn)
        return {**updates, box: {**updates.get(box, gr.update()), "value": ""}}

    def chip(turns: Turns, text: str, request: gr.Request, event: gr.EventData) -> Updates:
        turn = starters(ctx.at(request.session_hash)).get(sent(event, "starter"))
        if turn is None:  # the model is another one meanwhile
            turn = Turn(parameters.question(sent(event, "starter"), texts.QUESTION_FIRST))
        return ask_or_follow(request.session_hash, turns, turn)

    def again(session: str, turns: Turns, index: object, change) -> Updates:
        """Ask the question of message `index` again, as `change` makes it; what came after it goes."""
        if ctx.runs.active(session, "chat"):
            raise FaceLLMError(texts.BUSY)
        i = position(turns, index)
        if i is None:
            raise FaceLLMError(texts.QUESTION_FIRST)
        return ask(session, (*turns[:i], change(turns[i])))

    def retry(turns: Turns, text: str, request: gr.Request, event: gr.RetryData) -> Updates:
        def once_more(turn: Turn) -> Turn:
            return Turn(turn.question, turn.said, attempt=turn.attempt + 1)

        return again(request.session_hash, turns, event.index, once_more)

    def edited(turns: Turns, text: str, request: gr.Request, event: gr.EditData) -> Updates:
        question = parameters.question(event.value, texts.QUESTION_FIRST)
        return again(request.session_hash, turns, event.index, lambda _: Turn(question))

    def undone(turns: Turns, request: gr.Request, event: gr.UndoData) -> Updates:
        i = position(turns, event.index)
        if i is None:
            return {line: gr.skip()}
        left = {**drawn(request.session_hash, ctx.photos.get(request.session_hash), turns[:i]), waiting: "", line: ""}
        updates = job.clear(request.session_hash, left)
        return {**updates, box: {**updates[box], "value": turns[i].shown}}

    def work(ticket: Ticket, photo: Photo, chosen: str, *raw) -> Iterator[Updates]:
        turns: Turns = ticket.given
        *earlier, turn = turns
        policy.check(turn.question, ctx.sensitive)
        used = asking(turn.attempt, *raw)
        yield from job.loading(ticket)
        here = ctx.at(ticket.session)
        model = loaded(here.host, chosen)
        cell = Cell(model, turn.question, history=history(tuple(earlier)))
        asked_next = render("waiting", following=ticket.following)
        looking = Line(f"{texts.VARIANTS[model]} is looking at the photo…", "busy")
        yield {
            **drawn(ticket.session, None if ticket.discarded else photo, turns),
            waiting: asked_next,
            **job.say(looking),
        }
        for _ in fill(here.host, photo.seen(used.whole), [cell], used, ticket, ctx.sensitive):
            turns = (*earlier, answered(turn, cell))
            said = Line(f"{texts.VARIANTS[model]} is writing…", "busy")
            if cell.finished:
                said = measured(cell, used, turn.attempt)
            ticket.given = turns
            asked_next = render("waiting", following=ticket.following)
            yield {
                **drawn(ticket.session, None if ticket.discarded else photo, turns, cell.finished),
                waiting: asked_next,
                **job.say(said),
            }
        if cell.state in ("done", "length") and cell.text and (known := truth(here, photo, used.whole)):
            turns = (*earlier, replace(turns[-1], noted=annotated(cell.text, plain(known))))
            ticket.given = turns
            if not ticket.discarded:
                yield drawn(ticket.session, None if ticket.discarded else photo, turns)

    begun = [
        (box.submit, asked),
        (starting.ask, chip),
        (chatbot.retry, retry),
        (chatbot.edit, edited),
    ]
    shown = [conversation, chatbot, waiting, saved]
    job.start(begun, [conversation, box], [*shown, box], work, [variant, *settings], shown)
    chatbot.undo(undone, [conversation], [*shown, line, box], queue=False, **PRIVATE)
    job.stop(box.stop)

    def cleared() -> Updates:
        emptied = {conversation: (), chatbot: [], waiting: "", saved: "", line: ""}
        return {**emptied, box: looks(False)[box]}  # what is being written is kept, whatever photo comes

    def restored(photo: Photo, here: Context) -> Updates:
        turns: Turns = photo.known.get(("chat", photo.face_index), ())
        return {conversation: turns, chatbot: messages(turns), saved: keep(turns, here.host.card())}

    def wipe(request: gr.Request) -> Updates:
        left = {**cleared(), box: {**looks(False)[box], "value": ""}}
        drawn(request.session_hash, ctx.photos.get(request.session_hash), ())
        return {**job.clear(request.session_hash, left), box: left[box]}

    clear.click(wipe, None, list(cleared()), queue=False, **PRIVATE)

    def liked(turns: Turns, request: gr.Request, event: gr.LikeData) -> Updates:
        said = like(ctx.at(request.session_hash), turns, event.index, event.liked)
        return job.say(said) if said else {line: gr.skip()}

    if ctx.votes.on:
        chatbot.like(liked, [conversation], [line], queue=False, **PRIVATE)
    return ChatTab("chat", line, cleared, variant, box, starting, clear, restored=restored)
