"""The page put together: header, photo at the left, tabs at the right; links, new photos, closed pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import gradio as gr

from demo import api
from demo.page import languages, texts, theme
from demo.page.components import HIDDEN, PRIVATE, Line, Tab, Updates, seen, variant_choices
from demo.page.render import render
from demo.runtime import returning
from demo.runtime.context import Context, others
from demo.runtime.host import Host, Status
from demo.runtime.options import Options
from demo.tabs import about, attributes, chat, compare, photo, profile, settings
from demo.tabs.why import panel as why
from demo.votes import Votes
from demo.web import sessions
from demo.web.guard import GuardedBlocks
from facellm import policy
from facellm.attributes import Attribute

# Seconds between two looks at the server that the page asks.
LOOK_EVERY = 4
TABS = ("chat", "attributes", "compare", "profile", "about")


def pill(s: Status, card: dict, trouble: str = "") -> str:
    """The model's state, for the header.

    Args:
        trouble: Why its server cannot be asked just now.
    """
    parts = [card.get("name", "model"), card.get("device", "")]
    if card.get("quantization") not in (None, "", "none", "not told"):
        parts.append(card["quantization"])
    return render("pill", s=s, trouble=trouble, model=" · ".join(str(p) for p in parts if p))


def open_link(query: Mapping[str, str], sensitive: bool) -> tuple[str | None, Attribute | None]:
    """`?tab=compare&attribute=pose`: the tab and the attribute of an address.

    Unknown ones are None, and attributes that the operator switched off.
    """
    tab = query.get("tab")
    known = {a.key: a for a in policy.attributes(sensitive)}
    return tab if tab in TABS else None, known.get(query.get("attribute", ""))


def build(options: Options, host: Host | None = None) -> tuple[gr.Blocks, Context]:
    """The page and what it works with; the model is not loaded yet (`Context.host.start()`)."""
    ctx = Context(options, host or Host(options), Votes(options.votes), others=others(options))
    with GuardedBlocks(title="FaceLLM: understanding faces", analytics_enabled=False) as page:
        with gr.Row(elem_id="header"):
            gr.HTML(render("brand", title=texts.TITLE), elem_id="brand")
            picker = gr.Dropdown(
                options.models or None,
                value=options.model if options.models else None,
                label="Model to ask",
                show_label=False,
                container=False,
                visible=len(options.models) > 1,
                elem_id="model-pick",
                min_width=120,
                scale=0,
            )
            state = gr.HTML(pill(ctx.host.status, {}), elem_id="model-state")
            gr.HTML(render("theme_button"), elem_id="theme-box")
            came = gr.Textbox(visible=False)  # what the tab remembers, filled in by its script
        intro = gr.HTML(about.introduction({}), elem_id="intro")
        retry = gr.Button("Load the model again", size="sm", visible=HIDDEN, elem_id="model-retry")
        gr.HTML(render("consent"), elem_id="consent")
        with gr.Row(equal_height=False, elem_id="body"):
            with gr.Column(scale=4, min_width=300, elem_id="side"):
                with gr.Column(elem_id="giving"):
                    panel = photo.PhotoPanel()
                raw = settings.build()
            with gr.Column(scale=9, min_width=320, elem_id="main"):
                panel.make_gate()
                with gr.Tabs(selected="chat", overflow_behavior="wrap", elem_id="tabs") as tabs:
                    with gr.Tab("Face chat", id="chat", elem_id="tab-chat"):
                        chatting = chat.build(ctx, raw)
                    with gr.Tab("Attributes", id="attributes", elem_id="tab-attributes"):
                        describing = attributes.build(ctx, raw)
                    with gr.Tab("Compare", id="compare", elem_id="tab-compare"):
                        comparing = compare.build(ctx, raw)
                    with gr.Tab("Profile", id="profile", elem_id="tab-profile"):
                        profiling = profile.build(ctx, raw)
                    with gr.Tab("About", id="about", elem_id="tab-about"):
                        info = about.build(ctx)
        gr.HTML(about.read_more(), elem_id="read-more")
        explaining = why.build(ctx, raw)
        api.build(ctx)
        panel.wire(ctx.photos, settings.look(raw), [profiling.crowd.face])
        _watch_loading(
            ctx, page, (picker, state, intro, retry), info, [describing.variant, comparing.two.variant], chatting
        )

        every = [chatting, describing, comparing, comparing.two, profiling, explaining]
        known = _clear_with_photo(ctx, panel, every)
        # 1 where the visitor came back to a photo. No gr.State: its changes are told after the queue only.
        returned = gr.Number(0, visible=False, precision=0)

        def anew(request: gr.Request) -> Updates:
            """A new chat is a new start with the photo: the second one goes too."""
            return comparing.two.forgotten(request.session_hash)

        chatting.anew.click(anew, None, list(comparing.two.cleared()), queue=False, **PRIVATE)

        def linked(told: str, request: gr.Request) -> Updates:
            tab, attribute = open_link(request.query_params, ctx.sensitive)
            back = returning.read(told, request.query_params, settings.MAX_TEMPERATURE)
            updates: Updates = {tabs: gr.update(selected=tab) if tab else gr.skip()}
            if attribute is not None:
                updates |= {comparing.choice: attribute.key, chatting.box: gr.update(value=attribute.question)}
            if back.settings is not None:
                updates |= dict(zip(raw, back.settings, strict=True))
            there = ctx.photos.adopt(request.session_hash, back.key) if back.key else None
            if there is not None:
                updates |= {known: there.ident, returned: 1}
            return updates

        def shown_again(look: str, request: gr.Request) -> Updates:
            there = ctx.photos.get(request.session_hash)
            if there is None:  # taken away since
                return {known: gr.skip()}
            updates = panel.show(there, look)
            for t in every:
                updates |= t.restored(there, ctx.at(request.session_hash))
            return updates

        opened = [tabs, comparing.choice, chatting.box, *raw, known, returned]
        page.load(linked, [came], opened, js="() => facellm.remembered()", queue=False, **PRIVATE)
        # Apart, since few visitors come back and a listener's every output costs a page that opens its time.
        parts = list(dict.fromkeys([known, *panel.empty(), *(c for t in every for c in t.cleared())]))
        returned.change(shown_again, [settings.look(raw)], parts, queue=False, **PRIVATE)
        changes = [setting.change for setting in raw]
        remember = "(...values) => facellm.remember(values)"
        gr.on(changes, None, raw, None, js=remember, queue=False, trigger_mode="always_last", **PRIVATE)

        async def gone(request: gr.Request) -> None:
            ctx.runs.discard(request.session_hash)
            ctx.photos.leave(request.session_hash)
            ctx.chosen.pop(request.session_hash, None)
            sessions.drop(page.state_holder, request.session_hash)

        page.unload(gone)
        _quieten(page)
    page.queue(max_size=options.queue, api_open=False, default_concurrency_limit=8)
    return page, ctx


def _quieten(page: gr.Blocks) -> None:
    """Listeners that show no progress have it shown on one component only.

    Gradio writes the state of every listener to each of its outputs, and again whenever any listener's state changes.
    """
    for listener in page.fns.values():
        if listener.show_progress == "hidden" and listener.outputs:
            listener.show_progress_on = listener.outputs[:1]


def _clear_with_photo(ctx: Context, panel: photo.PhotoPanel, tabs: list[Tab]) -> gr.State:
    """Another photo or face, or none, ends what is running; all tabs show what was asked about it before, or nothing.

    The same photo and face again change nothing.

    Returns:
        The last photo that there was: its ident.
    """
    known = gr.State(None)

    def cleared() -> Updates:
        return {component: value for tab in tabs for component, value in tab.cleared().items()}

    def clear(before: tuple[str, int] | None, request: gr.Request) -> Updates:
        now = ctx.photos.get(request.session_hash)
        ident = now.ident if now else None
        if ident == before:
            return {known: gr.skip()}
        left = cleared()
        if now is not None:
            left |= {
                component: value
                for tab in tabs
                for component, value in tab.restored(now, ctx.at(request.session_hash)).items()
            }
        if before and ident:
            note = texts.NEW_FACE if ident[0] == before[0] else texts.NEW_PHOTO
            left[tabs[0].line] = Line(note).html()
        ctx.runs.discard(request.session_hash, left=left)
        return {known: ident or before, **left}

    for event in panel.changed:
        event.then(clear, [known], [known, *cleared()], queue=False, **PRIVATE)
    return known


def _watch_loading(
    ctx: Context,
    page: gr.Blocks,
    shown: tuple[gr.Dropdown, gr.HTML, gr.HTML, gr.Button],
    info: about.AboutTab,
    variants: list[gr.Radio],
    chatting: chat.ChatTab,
) -> None:
    """Every visitor sees the model's loading until it is ready or has failed; then it can be tried again.

    A model behind a server is looked at for as long as the page is open: it may go away and come back.

    Args:
        shown: The model's picker, how things stand, the page's first sentence, the button that tries again.
        info: What About says of the model.
        variants: The model switches of the tabs beside the chat.
        chatting: The chat, whose questions to start with are the model's.
    """
    picker, state, intro, retry = shown

    def shown_now(here: Context, s: Status, trouble: str = "") -> Updates:
        return {
            picker: here.host.options.model if ctx.options.models else gr.skip(),
            state: pill(s, here.host.card(), trouble),
            intro: about.introduction(here.host.card()),
            retry: seen(s.state == "failed" and not trouble),
            **info.drawn(here),
            **chatting.drawn(here),
            **{variant: variant_choices(here.host.variants) for variant in variants},
        }

    async def watch(request: gr.Request) -> AsyncIterator[Updates]:
        here = ctx.at(request.session_hash)
        while (s := here.host.status).state in ("idle", "loading"):
            yield {state: pill(s, {})}
            await asyncio.sleep(0.5)
        if ctx.at(request.session_hash).host is here.host:  # else the visitor has chosen another one meanwhile
            yield shown_now(here, s)
        else:
            yield {state: gr.skip()}

    def look(before: str) -> Updates:
        now = shown_now(ctx, ctx.host.status, ctx.host.trouble())
        # Else there is nothing new to announce to a screen reader.
        return now if now[state] != before else {state: gr.skip()}

    def first(request: gr.Request) -> Updates:
        here = ctx.at(request.session_hash)
        return shown_now(here, here.host.status)

    def picked(name: str, request: gr.Request) -> None:
        ctx.choose(request.session_hash, name)

    def again(request: gr.Request) -> None:
        ctx.at(request.session_hash).host.start()

    outputs = [*shown, *info.drawn(ctx), *chatting.drawn(ctx), *variants]
    if ctx.options.backend_url:
        timer = gr.Timer(LOOK_EVERY)
        timer.tick(look, [state], outputs, queue=False, **PRIVATE)
    free: dict[str, Any] = {"concurrency_limit": None, "trigger_mode": "multiple", **PRIVATE}
    # First without the queue, which may be full: a visitor refused there still reads how things stand.
    page.load(first, None, outputs, queue=False, **PRIVATE).then(watch, None, outputs, **free)
    retry.click(again, None, None, queue=False, **PRIVATE).then(watch, None, outputs, **free)
    picker.input(picked, [picker], None, queue=False, **PRIVATE).then(watch, None, outputs, **free)


def look() -> dict[str, Any]:
    """Returns how the page looks, as arguments for `gr.mount_gradio_app`."""
    return {
        "theme": theme.theme(),
        "css_paths": [theme.CSS],
        "head": theme.HEAD,
        "footer_links": ["api"],
        "i18n": languages.i18n(),
    }
