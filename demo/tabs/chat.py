"""Face chat: several turns about one photo, streamed; stop, regenerate, undo, edit, clear, like.

Input: the visitor's photo, the conversation as the page holds it. Output: the conversation, growing. What this file
does not know: how an answer is made. A new photo starts a new conversation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from demo.page import texts
from demo.runtime.context import PRIVATE, Context, Tab, failure, status, status_line, variant_radio
from demo.runtime.jobs import Job, guarded, loaded, loading
from demo.runtime.photos import Photo
from demo.runtime.streaming import Cell, fill
from demo.runtime.tickets import Ticket
from demo.tabs import parameters as settings
from demo.tabs.parameters import MAX_TURNS, RETRY_TEMPERATURE, SEED_LIMIT
from facellm import policy
from facellm.errors import FaceLLMError

Message = dict[str, Any]

# Stand where there are no words (yet).
GROWING, NO_WORDS = "…", "(no words)"
# Every answer begins with its model's name; this is also how the page tells which model an earlier answer is from.
_SIGNED = {f"**{name}**\n\n": variant for variant, name in texts.VARIANTS.items()}


def text_of(message: Message) -> str:
    """The words of one message, whichever of Gradio's two shapes its content has."""
    content = message.get("content", "")
    if isinstance(content, str):
        return content
    return "".join(part if isinstance(part, str) else part.get("text", "") for part in content if part)


def signed(variant: str, words: str) -> str:
    """An answer as the conversation shows it: its model's name, then its words."""
    return f"**{texts.VARIANTS[variant]}**\n\n{words}"


def unsigned(text: str) -> tuple[str | None, str]:
    """(model, words) of an answer as the conversation shows it; the model is None where no name stands first."""
    for name, variant in _SIGNED.items():
        if text.startswith(name):
            return variant, text.removeprefix(name)
    return None, text


def turns(messages: list[Message]) -> tuple[tuple[str, str], ...]:
    """Finished (question, answer) pairs, the last 20; what lacks a question or an answer's words is left out."""
    pairs, asked = [], None
    for message in messages:
        if message["role"] == "user":
            asked = text_of(message)
        elif message["role"] == "assistant" and asked is not None:
            words = unsigned(text_of(message))[1]
            if words not in (GROWING, NO_WORDS):
                pairs.append((asked, words))
            asked = None
    return tuple(pairs[-MAX_TURNS:])


def follow_ups(messages: list[Message], sensitive: bool, most: int = 3) -> list[dict[str, str]]:
    """The next attributes that this conversation has not asked about, as options under the last answer."""
    asked = {text_of(m).strip() for m in messages if m["role"] == "user"}
    left = [a for a in policy.attributes(sensitive) if a.question not in asked]
    return [{"value": a.question, "label": a.title} for a in left[:most]]


def plain(messages: list[Message] | None) -> list[Message]:
    """Messages as role and text, without options and metadata."""
    return [{"role": m["role"], "content": text_of(m)} for m in messages or []]


def upto_question(messages: list[Message], index: int) -> list[Message]:
    """The conversation up to and with the question that message `index` belongs to."""
    last = max((i for i, m in enumerate(messages[: index + 1]) if m["role"] == "user"), default=-1)
    return messages[: last + 1]


def answer(
    ctx: Context, ticket: Ticket, messages: list[Message], variant: str, raw: tuple, attempt: int = 0
) -> Iterator:
    """Yields (messages, status) while the last question is answered.

    attempt > 0 regenerates: another seed, and a temperature above 0, or the same words would come again.
    """
    messages = plain(messages)

    def work(photo: Photo) -> Iterator:
        question = settings.question(text_of(messages[-1]), texts.QUESTION_FIRST)
        parameters = settings.read(*raw)
        if attempt:
            parameters = replace(
                parameters,
                temperature=max(parameters.temperature, RETRY_TEMPERATURE),
                seed=(parameters.seed + attempt) % SEED_LIMIT,
            )
        policy.check(question, ctx.sensitive)
        for line in loading(ctx.host, ticket):
            yield messages, line
        chosen = loaded(ctx.host, variant)
        cell = Cell(chosen, question, history=turns(messages[:-1]))
        yield messages, status(f"{texts.VARIANTS[chosen]} is looking at the photo…", "busy")
        for _ in fill(ctx.host, photo.seen(parameters.whole), [cell], parameters, ticket, ctx.sensitive):
            reply = {"role": "assistant", "content": signed(chosen, cell.text or GROWING)}
            line = status(f"{texts.VARIANTS[chosen]} is writing…", "busy")
            if cell.finished:
                reply["content"] = signed(chosen, cell.text or NO_WORDS)
                reply["options"] = follow_ups(messages, ctx.sensitive)
                line = status(_measured(cell, parameters, attempt))
            yield [*messages, reply], line

    return guarded(ctx, ticket, work, lambda said: (messages, said))


def like(ctx: Context, messages: list[Message] | None, index: Any, liked: Any) -> Any:
    """Store a visitor's like (True) or dislike (False) of message `index`.  Returns the status line.

    A like that is taken back ("" from the page) is no dislike, and stores nothing.
    """
    index, messages = _index(index), plain(messages)
    variant = unsigned(messages[index]["content"])[0] if 0 <= index < len(messages) else None
    if variant is None or not isinstance(liked, bool):
        return gr.skip()
    try:
        ctx.votes.like(variant, liked, ctx.host.card().get("name", ""))
        return status("Thank you: stored without the photo and without the words.")
    except FaceLLMError as error:
        return failure(error)


def _measured(cell: Cell, parameters: settings.Parameters, attempt: int) -> str:
    words = f"{texts.VARIANTS[cell.variant]}: {cell.measures()}"
    if cell.rate:
        words += f" · {cell.rate:.0f} tokens/s"
    return words + (f" · regenerated at temperature {parameters.temperature:g}" if attempt else "")


def build(ctx: Context, parameters: list) -> Tab:
    """The tab."""
    attributes = policy.attributes(ctx.sensitive)
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
        latex_delimiters=[],
        elem_id="chat",
    )
    chips = gr.HTML(_chips(attributes), elem_id="chips", js_on_load=_ON_CHIP)
    line = status_line("chat")
    box = gr.Textbox(
        show_label=False,
        label="Your question",
        placeholder="Ask about this face… (Enter sends, Esc stops)",
        lines=1,
        max_lines=5,
        max_length=settings.MAX_QUESTION,
        submit_btn="Send",
        elem_id="chat-box",
    )
    attempts = gr.State(0)
    writing, idle = (
        gr.update(submit_btn=False, stop_btn="Stop"),
        gr.update(submit_btn="Send", stop_btn=False),
    )

    job = Job(ctx, "chat", line, [box], lambda on: [writing if on else idle])

    def begin(messages, session, kept, tried=0):
        """Common to all ways of asking: needs a photo, takes the ticket, shows the stop button."""
        try:
            return kept, *job.admit(session), writing, tried
        except FaceLLMError as error:
            return plain(messages), *job.refuse(error), gr.skip(), tried

    def nothing(messages):
        return plain(messages), *job.refuse(FaceLLMError(texts.QUESTION_FIRST)), gr.skip(), 0

    def asked(text, messages, request: gr.Request):
        if not str(text or "").strip():
            return nothing(messages)
        *begun, update, tried = begin(messages, request.session_hash, _with(messages, text))
        return *begun, {**update, "value": ""} if update is writing else update, tried

    def chip(messages, request: gr.Request, event: gr.EventData):
        known = {a.key: a.question for a in attributes}
        if event.attribute not in known:
            return nothing(messages)
        return begin(messages, request.session_hash, _with(messages, known[event.attribute]))

    def option(messages, request: gr.Request, event: gr.SelectData):
        return begin(messages, request.session_hash, _with(messages, event.value))

    def retry(messages, tried, request: gr.Request, event: gr.RetryData):
        kept = upto_question(plain(messages), _index(event.index))
        return begin(messages, request.session_hash, kept, int(tried) + 1)

    def edited(messages, request: gr.Request, event: gr.EditData):
        index = _index(event.index)
        kept = [*plain(messages)[:index], {"role": "user", "content": str(event.value)}]
        return begin(kept, request.session_hash, kept)

    def undone(messages, request: gr.Request, event: gr.UndoData):
        ctx.runs.discard(request.session_hash, "chat")
        kept = upto_question(plain(messages), _index(event.index))
        return kept[:-1], "", gr.update(value=text_of(kept[-1]) if kept else ""), 0

    def run(ticket: Ticket, messages, tried, chosen, *raw):
        yield from answer(ctx, ticket, messages or [], chosen, raw, int(tried))

    outputs = [chatbot, line, box, attempts]
    quick = {"queue": False, **PRIVATE}
    begun = {"outputs": [chatbot, *job.outputs, box, attempts], **quick}
    starts = [
        box.submit(asked, [box, chatbot], **begun),
        chips.ask(chip, [chatbot], **begun),
        chatbot.option_select(option, [chatbot], **begun),
        chatbot.retry(retry, [chatbot, attempts], **begun),
        chatbot.edit(edited, [chatbot], **begun),
    ]
    for start in starts:
        job.queue(start, run, [chatbot, attempts, variant, *parameters], [chatbot, line])
    chatbot.undo(undone, [chatbot], outputs, **quick)
    job.stop(box.stop)

    def cleared(note: str = "") -> tuple:
        return [], status(note), gr.update(submit_btn="Send", stop_btn=False), 0

    def wipe(request: gr.Request):
        ctx.runs.discard(request.session_hash, "chat")
        return cleared()

    clear.click(wipe, None, outputs, **quick)

    def liked(messages, event: gr.LikeData):
        return like(ctx, messages, event.index, event.liked)

    if ctx.votes.on:
        chatbot.like(liked, [chatbot], [line], queue=False, **PRIVATE)
    return Tab("chat", outputs, cleared, {"variant": variant})


def _with(messages: list[Message] | None, text: str) -> list[Message]:
    return [*plain(messages), {"role": "user", "content": str(text).strip()}]


_ON_CHIP = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-attribute]');
  if (button) trigger('ask', {attribute: button.dataset.attribute});
});
"""


def _chips(attributes) -> str:
    made = "".join(
        f'<button type="button" data-attribute="{a.key}" title="{escape(a.question)}">{escape(a.title)}</button>'
        for a in attributes
    )
    return f'<div class="chips" role="group" aria-label="Questions to start with">{made}</div>'


def _index(index: Any) -> int:
    return int(index[0] if isinstance(index, (list, tuple)) else index)
