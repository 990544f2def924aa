"""The part of Compare that asks both photos: the second one's input, the question, the two answers as they grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from demo.page import texts
from demo.page.components import PRIVATE, Line, Tab, Updates, buttons, running, sent, status_line
from demo.page.render import render
from demo.runtime import parameters
from demo.runtime.context import Context
from demo.runtime.jobs import Job, loaded
from demo.runtime.photos import EXAMPLES, Photo, choose_face
from demo.runtime.sentences import sentence
from demo.runtime.streaming import Cell, fill_each
from demo.runtime.tickets import Ticket
from demo.tabs.photo import ON_CLICK, ON_REFUSED, PORTRAITS, gallery, too_large
from demo.tabs.two.second import Second, forget, keep, kept, read_second, show_answers, show_photo
from facellm import policy
from facellm.errors import FaceLLMError

# Two growing answers with their pictures standing still: as in Compare.
DRAW_EVERY = 0.2
_NO_FIRST = "The photo that all tabs share stands here, once you have chosen it."
_NO_SECOND = "Choose a file, drop one here, or click an example."
_PEOPLE = [name for name, caption in PORTRAITS.items() if not caption.startswith("No face")]


@dataclass
class TwoPhotos(Tab):
    """What the page needs to know of the section.

    Attributes:
        variant: Its model switch.
        forgotten: (the visitor's session) -> the section without a second photo, which is forgotten.
    """

    variant: gr.Radio
    forgotten: Callable[[str], Updates]


def build(ctx: Context, variant: gr.Radio, settings: list) -> TwoPhotos:
    """The section.

    Args:
        ctx: The page's.
        variant: The switch of who is asked.
        settings: The components whose values `parameters.read` takes.
    """
    with gr.Row(elem_classes="toolbar"):
        own = gr.Textbox(
            label="Question to both photos",
            placeholder="For example: Is this person smiling?",
            max_length=parameters.MAX_QUESTION,
            elem_id="two-question",
            min_width=220,
        )
        go, stop = buttons("two", "Ask both")
    line = status_line("two")
    with gr.Row(elem_classes="sides", elem_id="two-sides"):
        with gr.Column(elem_classes="side", min_width=0):
            first = gr.HTML(show_photo("First photo", None, _NO_FIRST), elem_id="two-first")
            left = gr.HTML("", elem_id="two-left")
        with gr.Column(elem_classes="side", min_width=0, elem_id="two-there"):  # style.css shows what can be done
            second = gr.HTML(
                show_photo("Second photo", None, _NO_SECOND),
                elem_id="two-second",
                js_on_load=ON_CLICK % {"name": "other"},
            )
            notice = gr.HTML("", elem_id="second-notice", js_on_load=ON_REFUSED % {"where": "second"})
            # Of any type, as the first photo: a file that is no picture gets a sentence that stays.
            upload = gr.UploadButton("Choose the second photo", type="filepath", size="sm", elem_id="second-file")
            examples = gr.HTML(
                gallery("second", _PEOPLE), elem_id="second-examples", js_on_load=ON_CLICK % {"name": "second"}
            )
            right = gr.HTML("", elem_id="two-right")
            remove = gr.Button("Remove the second photo", size="sm", elem_id="second-remove")
    job = Job(ctx, "two", line, lambda on: running(go, stop, on))

    def answered(cells: tuple[Cell, ...]) -> Updates:
        return dict(zip((left, right), show_answers(cells), strict=True))

    def drawn(photo: Photo | None, beside: Second | None) -> Updates:
        """Both photos and what was said of them."""
        other = beside.photo if beside else None
        return {
            first: show_photo("First photo", photo, _NO_FIRST),
            second: show_photo("Second photo", other, _NO_SECOND, choose=True),
            notice: "",
            **answered(beside.answers if beside else ()),
        }

    def given(path: str | None, request: gr.Request) -> Updates:
        if path is None:
            return {notice: gr.skip()}
        session = request.session_hash
        asked = ctx.photos.get(session)
        try:
            if asked is None:
                raise FaceLLMError(texts.PHOTO_FIRST)
            photo = read_second(path)
        except Exception as error:  # a photo can fail in many ways; each becomes a sentence
            return {notice: render("notice", text=sentence(error))}
        now = ctx.photos.get(session)
        if now is None or now.ident != asked.ident:  # another first photo came while this one was read
            return {notice: gr.skip()}
        beside = Second(photo, now.face_index)
        keep(now, beside)
        return job.clear(session, {**drawn(now, beside), line: ""})

    def second_picked(request: gr.Request, event: gr.EventData) -> Updates:
        if sent(event, "second") not in PORTRAITS:
            return {notice: render("notice", text="There is no such example: click one of the pictures.")}
        return given(str(EXAMPLES / sent(event, "second")), request)

    def other_face(request: gr.Request, event: gr.EventData) -> Updates:
        photo = ctx.photos.get(request.session_hash)
        beside = kept(photo)
        if photo is None or beside is None:
            return {notice: render("notice", text=texts.FORGOTTEN)}
        try:
            chosen = choose_face(beside.photo, int(sent(event, "other") or -1))
        except (FaceLLMError, ValueError) as error:
            return {notice: render("notice", text=sentence(error))}
        again = Second(chosen, beside.beside)
        keep(photo, again)
        return job.clear(request.session_hash, {**drawn(photo, again), line: ""})

    def begin(text: str, request: gr.Request) -> Updates:
        question = parameters.question(text, texts.QUESTION_FIRST)
        policy.check(question, ctx.sensitive)
        photo = ctx.photos.get(request.session_hash)
        beside = kept(photo)
        if photo is not None and beside is None:
            raise FaceLLMError(texts.SECOND_FIRST)
        asked = replace(beside, question=question, answers=()) if beside else None
        return {**job.admit(request.session_hash, asked), **answered(())}

    def work(ticket: Ticket, photo: Photo, chosen: str, *raw) -> Iterator[Updates]:
        beside: Second = ticket.given
        used = parameters.read(*raw)
        yield from job.loading(ticket)
        host = ctx.at(ticket.session).host
        model = loaded(host, chosen)
        cells = tuple(Cell(model, beside.question) for _ in (left, right))
        name = texts.VARIANTS[model]
        yield {**answered(cells), **job.say(Line(f"{name} is looking at both photos…", "busy"))}
        views = [one.seen(used.whole) for one in (photo, beside.photo)]
        for _ in fill_each(host, views, cells, used, ticket, ctx.sensitive, DRAW_EVERY):
            yield {**answered(cells), **job.say(Line(f"{name} is writing…", "busy"))}
        if not ticket.discarded:
            keep(photo, replace(beside, answers=cells))
        seconds = max(cell.seconds for cell in cells)
        ended = texts.STOPPED if ticket.stopped else f"{name} · {seconds:.1f} s"
        yield job.say(Line(ended, details=f"{sum(cell.tokens for cell in cells)} tokens"))

    shown = list(drawn(None, None))
    reads: dict[str, Any] = {"concurrency_id": "photo", "concurrency_limit": 2, "api_visibility": "private"}
    outputs = list(dict.fromkeys([*shown, line, *job.looks(False)]))
    upload.upload(given, [upload], outputs, show_progress="minimal", show_progress_on=[second], **reads)
    second.other(other_face, None, outputs, show_progress="minimal", show_progress_on=[second], **reads)
    examples.second(second_picked, None, outputs, show_progress="minimal", show_progress_on=[second], **reads)
    notice.refused(too_large, None, [notice], queue=False, **PRIVATE)
    job.start([(go.click, begin), (own.submit, begin)], [own], [left, right], work, [variant, *settings], [left, right])
    job.stop(stop.click)

    def cleared() -> Updates:
        return {**drawn(None, None), line: "", **job.looks(False)}  # the question is kept, whatever photo comes

    def forgotten(session: str) -> Updates:
        photo = ctx.photos.get(session)
        forget(photo)
        return job.clear(session, {**drawn(photo, None), line: ""})

    def restored(photo: Photo, here: Context) -> Updates:
        return drawn(photo, kept(photo))

    def removed(request: gr.Request) -> Updates:
        return forgotten(request.session_hash)

    remove.click(removed, None, outputs, queue=False, **PRIVATE)
    return TwoPhotos("two", line, cleared, variant, forgotten, restored=restored)
