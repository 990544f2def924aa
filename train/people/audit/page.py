"""The audit's page: photo, question, answer sentence by sentence; a key marks and moves on. And answers of one's own.

Every mark is on the disk before the page shows the next sentence. A key pressed before the next photo has come is not
taken: nobody judges what they have not seen. Labels and the marks of others are not shown: they would be copied.
"""

from __future__ import annotations

import base64
import io
import logging
from functools import lru_cache
from html import escape
from pathlib import Path

import gradio as gr
from PIL import Image

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from facellm.vision.images import load_image
from train.people.audit.judgements import LONGEST_ANSWER, MARKS
from train.people.audit.session import Place, Session
from train.reports.pages import render

HERE = Path(__file__).parent
SHOWN_SIDE = 1024  # px at which a photo is sent to the browser at most
# key on the keyboard, act, what it does, what is written on it; in the order of the legend
KEYS = (
    ("1", f"mark:{MARKS[0]}", "mark as supported", MARKS[0]),
    ("2", f"mark:{MARKS[1]}", "mark as not visible", MARKS[1]),
    ("3", f"mark:{MARKS[2]}", "mark as wrong", MARKS[2]),
    ("u", "undo", "take the last mark back", "undo"),
    ("↑", "sentence:-1", "sentence before", "sentence"),
    ("↓", "sentence:1", "sentence after", "sentence"),
    ("←", "pair:-1", "pair before", "pair"),
    ("→", "pair:1", "pair after", "pair"),
)
_TITLES = {attribute.key: attribute.title for attribute in ATTRIBUTES}
_PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}
# One act after the other, over all visitors: an act begins at the place where the one before ended.
_IN_TURN = {"concurrency_id": "audit", "concurrency_limit": 1, "trigger_mode": "multiple"}
_TOO_EARLY = "That key came before the next photo was shown and was not taken."
_log = logging.getLogger(__name__)


@lru_cache(maxsize=32)
def _photo(path: Path) -> str:
    """The photo, upright, as a data URI."""
    image = load_image(path)
    image.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def judging(session: Session, place: Place, note: str = "") -> str:
    """Returns the HTML of the judging part."""
    return _part("judging", session, place, note)


def writing(session: Session, place: Place, note: str = "") -> str:
    """Returns the HTML of the part for answers of one's own: photo and question, without the data set's answer."""
    return _part("writing", session, place, note)


def _part(name: str, session: Session, place: Place, note: str) -> str:
    item, shown, fault = session.item(place), "", ""
    try:
        shown = _photo(item.path)
    except (FaceLLMError, OSError) as error:
        fault = str(error)
    return render(
        f"audit/{name}.html.jinja", place=place, item=item, note=note, photo=shown, fault=fault, keys=KEYS,
        marks=session.marks(place.annotator), progress=session.progress(place.annotator),
        title=_TITLES.get(item.attribute, item.attribute),
    )  # fmt: skip


def act(session: Session, place: Place, what: str, shown: str) -> tuple[Place, str]:
    """One key or click -> the next place and a note.  shown: key of the item that the visitor saw meanwhile."""
    kind, _, value = what.partition(":")
    if shown != session.item(place).key:
        return place, _TOO_EARLY
    if kind == "mark":
        return session.mark(place, value), f"{value}: saved."
    if kind == "undo":
        back = session.undo(place)
        return (back, "The last mark is taken back.") if back else (place, "There is no mark to take back.")
    if kind == "sentence":
        return session.move_sentence(place, int(value)), ""
    if kind == "pair":
        return session.move_item(place, int(value)), ""
    if kind == "to" and int(value) < len(session.item(place).sentences):
        return Place(place.annotator, place.item, int(value)), ""
    raise FaceLLMError(f"There is no act {what!r}.")


def build(session: Session, annotator: str | None = None, source: str = "") -> gr.Blocks:
    """The page.  annotator: whose name is filled in, so that judging begins at once.  source: the data set's name."""
    start = session.begin(annotator) if annotator else None
    with gr.Blocks(title="FaceLLM audit", analytics_enabled=False, fill_width=True) as page:
        place, own = gr.State(start), gr.State(None)
        gr.HTML(
            f"<header><h1>Audit</h1><p>Does the picture support each sentence? {escape(source)}</p></header>",
            elem_id="audit-head",
        )
        with gr.Row(visible=start is None, elem_id="who") as who:
            name = gr.Textbox(label="Your name, or any name that you keep", max_length=40, elem_id="name", scale=3)
            go = gr.Button("Begin", variant="primary", elem_id="begin", scale=1)
        said = gr.HTML("", elem_id="said")
        with gr.Tabs(visible=start is not None, elem_id="modes", overflow_behavior="wrap") as modes:
            with gr.Tab("Judge the answers", id="judge"):
                panel = gr.HTML("", elem_id="judging", js_on_load=(HERE / "page.js").read_text(encoding="utf-8"))
            with gr.Tab("Write your own answers", id="write") as write_tab:
                sheet = gr.HTML("", elem_id="writing")
                answer = gr.Textbox(
                    label="Your answer", lines=4, max_length=LONGEST_ANSWER, elem_id="own-answer",
                    info="Shift+Enter saves it and goes on",
                )  # fmt: skip
                with gr.Row():
                    before = gr.Button("Pair before", elem_id="own-before")
                    after = gr.Button("Pair after", elem_id="own-after")
                    save = gr.Button("Save and go on", variant="primary", elem_id="own-save")

        def shown(at: Place | None) -> tuple:
            """Everything at a place."""
            if at is None:
                return (gr.update(visible=True), "", gr.update(visible=False), "", None)
            return (gr.update(visible=False), "", gr.update(visible=True), judging(session, at), at)

        def opened(at: Place | None) -> tuple:
            # A page that is loaded again begins where the store says, not where this process remembers.
            return shown(session.begin(at.annotator) if at else None)

        def named(text: str) -> tuple:
            try:
                return shown(session.begin(text))
            except FaceLLMError as error:
                return (gr.skip(), _notice(error), gr.skip(), gr.skip(), gr.skip())

        def acted(at: Place | None, event: gr.EventData) -> tuple:
            if at is None:
                return gr.skip(), gr.skip()
            try:
                now, note = act(session, at, str(event.act), str(event.item))
            except (FaceLLMError, ValueError) as error:
                _log.warning("an act failed: %s", error)
                return judging(session, at, f"Not saved: {error}"), at
            return judging(session, now, note), now

        def turned(at: Place | None, mine: Place | None) -> tuple:
            """The writing part is opened: at the first pair without an answer."""
            if at is None:
                return gr.skip(), gr.skip(), gr.skip()
            return sheet_at(mine or session.unwritten(at))

        def sheet_at(at: Place, note: str = "") -> tuple:
            text = session.answers(at.annotator).get(session.item(at).key, "")
            return writing(session, at, note), text, at

        def saved(at: Place | None, text: str) -> tuple:
            if at is None:
                return gr.skip(), gr.skip(), gr.skip()
            try:
                if not text.strip():
                    session.store.write_answer(session.item(at).key, at.annotator, "")
                    return sheet_at(at, "Nothing is written here, so nothing is kept for this pair.")
                return sheet_at(session.write(at, text), "Saved.")
            except FaceLLMError as error:
                return writing(session, at, f"Not saved: {error}"), text, at

        everything = [who, said, modes, panel, place]
        page.load(opened, [place], everything, queue=False, **_PRIVATE)
        go.click(named, [name], everything, **_PRIVATE, **_IN_TURN)
        name.submit(named, [name], everything, **_PRIVATE, **_IN_TURN)
        panel.act(acted, [place], [panel, place], **_PRIVATE, **_IN_TURN)
        write_tab.select(turned, [place, own], [sheet, answer, own], **_PRIVATE, **_IN_TURN)
        for event in (save.click, answer.submit):
            event(saved, [own, answer], [sheet, answer, own], **_PRIVATE, **_IN_TURN)
        for button, step in ((before, -1), (after, 1)):
            button.click(
                lambda at, step=step: sheet_at(session.move_item(at, step)), [own], [sheet, answer, own],
                **_PRIVATE, **_IN_TURN,
            )  # fmt: skip
    page.queue(max_size=200, api_open=False)
    return page


def _notice(error: Exception) -> str:
    return f'<p class="notice bad" role="alert">{escape(str(error))}</p>'


def theme() -> gr.themes.Base:
    """Slate neutrals, one teal accent, and system fonts: the page must need no other host."""
    made = gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.slate,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=("ui-sans-serif", "system-ui", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"),
        font_mono=("ui-monospace", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"),
    )
    return made.set(
        block_shadow="none",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        button_primary_background_fill="#0f766e",
        button_primary_background_fill_hover="#0b5f59",
        button_primary_background_fill_dark="#0f766e",
        button_primary_text_color="#ffffff",
        button_border_width="1px",
        button_secondary_background_fill="*background_fill_primary",
        button_secondary_background_fill_dark="*background_fill_secondary",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_600",
        link_text_color="#0f6a63",
        link_text_color_dark="#5fd9cc",
    )


def launch_arguments(host: str, port: int) -> dict:
    """Private, quiet, no third-party host."""
    return {
        "server_name": host, "server_port": port, "share": False, "theme": theme(),
        "css_paths": [HERE / "page.css"],
        "run_history": False, "enable_monitoring": False, "ssr_mode": False, "pwa": False, "footer_links": [],
        "show_error": False, "quiet": True, "prevent_thread_lock": True,
    }  # fmt: skip
