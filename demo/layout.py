"""The page put together: header, photo at the left, tabs at the right; links, new photos, closed pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import gradio as gr

from demo import api
from demo.page import texts, theme
from demo.page.components import PRIVATE, Line, Tab, Updates, variant_choices
from demo.page.render import render
from demo.runtime.context import Context
from demo.runtime.host import Host, Status
from demo.runtime.options import Options
from demo.tabs import about, attributes, chat, compare, photo, profile, settings
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
    ctx = Context(options, host or Host(options), Votes(options.votes))
    with GuardedBlocks(title="FaceLLM: understanding faces", analytics_enabled=False) as page:
        with gr.Row(elem_id="header"):
            gr.HTML(render("brand", title=texts.TITLE), elem_id="brand")
            state = gr.HTML(pill(ctx.host.status, {}), elem_id="model-state")
            gr.HTML(render("theme_button"), elem_id="theme-box")
        intro = gr.HTML(about.introduction({}), elem_id="intro")
        retry = gr.Button("Load the model again", size="sm", visible=False, elem_id="model-retry")
        gr.HTML(render("consent"), elem_id="consent")
        with gr.Row(equal_height=False, elem_id="body"):
            with gr.Column(scale=4, min_width=300, elem_id="side"):
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
                        card = about.build(ctx)
        api.build(ctx)
        panel.wire(ctx.photos, settings.look(raw))
        _clear_with_photo(ctx, panel, [chatting, describing, comparing, profiling])
        _watch_loading(ctx, page, (state, intro, retry, card), [chatting.variant, describing.variant])

        def linked(request: gr.Request) -> Updates:
            tab, attribute = open_link(request.query_params, ctx.sensitive)
            updates: Updates = {tabs: gr.update(selected=tab) if tab else gr.skip()}
            if attribute is not None:
                updates |= {comparing.choice: attribute.key, chatting.box: gr.update(value=attribute.question)}
            return updates

        page.load(linked, None, [tabs, comparing.choice, chatting.box], queue=False, **PRIVATE)

        async def gone(request: gr.Request) -> None:
            ctx.runs.discard(request.session_hash)
            ctx.photos.drop(request.session_hash)
            sessions.drop(page.state_holder, request.session_hash)

        page.unload(gone)
    page.queue(max_size=options.queue, api_open=False, default_concurrency_limit=8)
    return page, ctx


def _clear_with_photo(ctx: Context, panel: photo.PhotoPanel, tabs: list[Tab]) -> None:
    """Another photo or face, or none, ends what is running and empties all tabs; the same again changes nothing."""
    known = gr.State(None)  # the last photo that there was: its ident

    def cleared() -> Updates:
        return {component: value for tab in tabs for component, value in tab.cleared().items()}

    def clear(before: tuple[str, int] | None, request: gr.Request) -> Updates:
        now = ctx.photos.get(request.session_hash)
        ident = now.ident if now else None
        if ident == before:
            return {known: gr.skip()}
        left = cleared()
        if before and ident:
            note = texts.NEW_FACE if ident[0] == before[0] else texts.NEW_PHOTO
            left[tabs[0].line] = Line(note).html()
        ctx.runs.discard(request.session_hash, left=left)
        return {known: ident or before, **left}

    for event in panel.changed:
        event.then(clear, [known], [known, *cleared()], queue=False, **PRIVATE)


def _watch_loading(
    ctx: Context, page: gr.Blocks, shown: tuple[gr.HTML, gr.HTML, gr.Button, gr.HTML], variants: list[gr.Radio]
) -> None:
    """Every visitor sees the model's loading until it is ready or has failed; then it can be tried again.

    A model behind a server is looked at for as long as the page is open: it may go away and come back.

    Args:
        shown: How things stand, the page's first sentence, the button that tries again, About's card of the model.
        variants: The tabs' model switches.
    """
    state, intro, retry, card = shown

    def shown_now(s: Status, trouble: str = "") -> Updates:
        return {
            state: pill(s, ctx.host.card(), trouble),
            intro: about.introduction(ctx.host.card()),
            retry: gr.update(visible=s.state == "failed" and not trouble),
            card: about.card_html(ctx),
            **{variant: variant_choices(ctx.host.variants) for variant in variants},
        }

    async def watch() -> AsyncIterator[Updates]:
        while (s := ctx.host.status).state in ("idle", "loading"):
            yield {state: pill(s, {})}
            await asyncio.sleep(0.5)
        yield shown_now(s)

    def look(before: str) -> Updates:
        now = shown_now(ctx.host.status, ctx.host.trouble())
        # Else there is nothing new to announce to a screen reader.
        return now if now[state] != before else {state: gr.skip()}

    outputs = [*shown, *variants]
    if ctx.options.backend_url:
        timer = gr.Timer(LOOK_EVERY)
        timer.tick(look, [state], outputs, queue=False, **PRIVATE)
    free: dict[str, Any] = {"concurrency_limit": None, **PRIVATE}
    # First without the queue, which may be full: a visitor refused there still reads how things stand.
    first = page.load(lambda: shown_now(ctx.host.status), None, outputs, queue=False, **PRIVATE)
    first.then(watch, None, outputs, **free)
    retry.click(lambda: ctx.host.start(), None, None, queue=False, **PRIVATE).then(watch, None, outputs, **free)


def look() -> dict[str, Any]:
    """Returns how the page looks, as arguments for `gr.mount_gradio_app`."""
    return {
        "theme": theme.theme(),
        "css_paths": [theme.CSS],
        "head": theme.HEAD,
        "footer_links": ["api"],
    }
