"""The page put together: header, photo at the left, tabs at the right; links, new photos, closed pages.

Input: `Options`. Output: gr.Blocks and the arguments to launch it with. What this file does not know: what happens
inside a tab, or how a model is loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from html import escape

import gradio as gr

from demo import api
from demo.page import texts, theme
from demo.runtime import sessions
from demo.runtime.context import PRIVATE, Context, Tab, sides, status
from demo.runtime.host import Host, Status
from demo.runtime.options import Options
from demo.tabs import about, attributes, chat, compare, photo, profile
from demo.tabs import parameters as settings
from demo.votes import Votes
from facellm import policy

MAX_FILE = "20mb"
# Seconds: how often uploads are swept, and how old they may get.
SWEEP_EVERY, KEEP_UPLOADS = 60, 300
# Seconds between two looks at the server that the page asks.
LOOK_EVERY = 4
TABS = ("chat", "attributes", "compare", "profile", "about")

_MARK = (
    '<svg class="mark" viewBox="0 0 40 40" aria-hidden="true"><rect width="40" height="40" rx="11" fill="#0f766e"/>'
    '<path d="M9 14V11a2 2 0 0 1 2-2h3M26 9h3a2 2 0 0 1 2 2v3M31 26v3a2 2 0 0 1-2 2h-3M14 31h-3a2 2 0 0 1-2-2v-3" '
    'fill="none" stroke="#fff" stroke-width="2" stroke-linecap="round"/><circle cx="16" cy="18" r="1.7" fill="#fff"/>'
    '<circle cx="24" cy="18" r="1.7" fill="#fff"/><path d="M15 24c2.6 2.4 7.400 2.400 10 0" fill="none" stroke="#fff" '
    'stroke-width="2" stroke-linecap="round"/></svg>'
)
_THEME_BUTTON = (
    '<button id="theme" type="button" aria-label="Switch between light and dark" aria-pressed="false">'
    '<svg viewBox="0 0 24 24" aria-hidden="true" fill="currentColor"><path d="M12 3a9 9 0 1 0 0 18V3z"/>'
    '<circle cx="12" cy="12" r="8.500" fill="none" stroke="currentColor" stroke-width="1.500"/></svg></button>'
)


def pill(s: Status, card: dict, trouble: str = "") -> str:
    """The model's state, for the header.  trouble: why its server cannot be asked just now."""
    if trouble:
        return f'<p class="pill lost" role="alert"><i aria-hidden="true"></i>{escape(trouble)}</p>'
    if s.state == "ready":
        parts = [str(card.get("name", "model")), str(card.get("device", ""))]
        if card.get("quantization") not in (None, "", "none", "not told"):
            parts.append(str(card["quantization"]))
        words = " · ".join(p for p in parts if p)
        said = f'{escape(words)}<span class="word"> · ready</span>'  # on a phone the green dot says it
        return f'<div class="pill ready"><i aria-hidden="true"></i><span role="status">{said}</span></div>'
    if s.state == "failed":
        return f'<div class="notice bad" role="alert">The model could not be loaded. {escape(s.message)}</div>'
    return (  # the seconds stand outside the live region: a screen reader is to say the steps, not every tick
        f'<div class="pill loading"><i aria-hidden="true"></i><span role="status">{escape(s.message)}</span>'
        f'<progress max="{s.steps}" value="{max(0, s.step - 1)}" aria-label="Loading, step {s.step} of {s.steps}">'
        f"</progress><span>{s.seconds:.0f} s</span></div>"
    )


def open_link(query: Mapping[str, str], sensitive: bool) -> tuple:
    """`?tab=compare&attribute=pose`: updates of the tabs, of Compare's choice and of Chat's box.

    Unknown ones are ignored, and those that the operator switched off.
    """
    wanted, key = query.get("tab", ""), query.get("attribute", "")
    tab = gr.update(selected=wanted) if wanted in TABS else gr.skip()
    known = {a.key: a for a in policy.attributes(sensitive)}
    if key not in known:
        return tab, gr.skip(), gr.skip()
    return tab, gr.update(value=key), gr.update(value=known[key].question)


def build(options: Options, host: Host | None = None) -> tuple[gr.Blocks, Context]:
    """The page and what it works with; the model is not loaded yet (`Context.host.start()`)."""
    ctx = Context(options, host or Host(options), Votes(options.votes))
    with gr.Blocks(
        title="FaceLLM: understanding faces", analytics_enabled=False, delete_cache=(SWEEP_EVERY, KEEP_UPLOADS)
    ) as page:
        with gr.Row(elem_id="header"):
            gr.HTML(
                f'<div class="bar">{_MARK}<div><h1>{texts.TITLE}</h1><p>{texts.TAGLINE}</p></div></div>',
                elem_id="brand",
            )
            state = gr.HTML(pill(ctx.host.status, {}), elem_id="model-state")
            gr.HTML(_THEME_BUTTON, elem_id="theme-box")
        retry = gr.Button("Load the model again", size="sm", visible=False, elem_id="model-retry")
        gr.HTML(
            f'<aside aria-label="Before you start"><p>{texts.CONSENT}</p>'
            '<button type="button" id="consent-read">I understand</button></aside>',
            elem_id="consent",
        )
        with gr.Row(equal_height=False, elem_id="body"):
            with gr.Column(scale=4, min_width=300, elem_id="side"):
                panel = photo.build(ctx.photos)
                parameters = settings.build()
            with (
                gr.Column(scale=9, min_width=320, elem_id="main"),
                gr.Tabs(selected="chat", overflow_behavior="wrap", elem_id="tabs") as tabs,
            ):
                with gr.Tab("Face chat", id="chat", elem_id="tab-chat"):
                    chat_tab = chat.build(ctx, parameters)
                with gr.Tab("Attributes", id="attributes", elem_id="tab-attributes"):
                    attributes_tab = attributes.build(ctx, parameters)
                with gr.Tab("Compare", id="compare", elem_id="tab-compare"):
                    compare_tab = compare.build(ctx, parameters)
                with gr.Tab("Profile", id="profile", elem_id="tab-profile"):
                    profile_tab = profile.build(ctx, parameters)
                with gr.Tab("About", id="about", elem_id="tab-about"):
                    about_tab = about.build(ctx)
        api.build(ctx)
        _reset_with_photo(ctx, panel, [chat_tab, attributes_tab, compare_tab, profile_tab])
        switches = [chat_tab.extras["variant"], attributes_tab.extras["variant"]]
        _watch_loading(ctx, page, [state, retry, about_tab.extras["card"], *switches])

        def linked(request: gr.Request) -> tuple:
            return open_link(request.query_params, ctx.sensitive)

        box = chat_tab.reset[2]
        page.load(linked, None, [tabs, compare_tab.extras["choice"], box], queue=False, **PRIVATE)

        async def gone(request: gr.Request) -> None:
            ctx.runs.discard(request.session_hash)
            ctx.photos.drop(request.session_hash)
            sessions.drop(page.state_holder, request.session_hash)

        page.unload(gone)
    page.queue(max_size=options.queue, api_open=False, default_concurrency_limit=8)
    return page, ctx


def _reset_with_photo(ctx: Context, panel: photo.PhotoPanel, tabs: list[Tab]) -> None:
    """Another photo or face, or none, ends what is running and empties all tabs; the same again changes nothing."""
    known = gr.State(None)  # the last photo that there was: its ident
    outputs = [known, *(c for tab in tabs for c in tab.reset)]

    def reset(before: tuple[str, int] | None, request: gr.Request) -> list:
        now = ctx.photos.get(request.session_hash)
        ident = now.ident if now else None
        if ident == before:
            return [gr.skip() for _ in outputs]
        ctx.runs.discard(request.session_hash)
        values = [ident or before]
        for tab in tabs:
            cleared = list(tab.cleared())
            if tab.name == "chat" and before and ident:
                cleared[1] = status(texts.NEW_FACE if ident[0] == before[0] else texts.NEW_PHOTO)
            values += cleared
        return values

    for event in panel.changed:
        event.then(reset, [known], outputs, queue=False, **PRIVATE)


def _watch_loading(ctx: Context, page: gr.Blocks, outputs: list) -> None:
    """Every visitor sees the model's loading until it is ready or has failed; then it can be tried again.

    A model behind a server is looked at for as long as the page is open: it may go away and come back.
    outputs: the pill, the button that tries again, About's card, the tabs' model switches.
    """

    def unchanged() -> list:
        return [gr.skip() for _ in outputs[1:]]

    def shown_now(s: Status, trouble: str = "") -> tuple:
        failed = gr.update(visible=s.state == "failed" and not trouble)
        return pill(s, ctx.host.card(), trouble), failed, about.card_html(ctx), *[sides(ctx.host) for _ in outputs[3:]]

    async def watch() -> AsyncIterator[tuple]:
        while (s := ctx.host.status).state in ("idle", "loading"):
            yield pill(s, {}), *unchanged()
            await asyncio.sleep(0.5)
        yield shown_now(s)

    def look(shown: str) -> tuple:
        now = shown_now(ctx.host.status, ctx.host.trouble())
        # Else there is nothing new to announce to a screen reader.
        return now if now[0] != shown else (gr.skip(), *unchanged())

    if ctx.options.backend_url:
        timer = gr.Timer(LOOK_EVERY)
        timer.tick(look, [outputs[0]], outputs, queue=False, **PRIVATE)
    free = {"concurrency_limit": None, **PRIVATE}
    # First without the queue, which may be full: a visitor refused there still reads how things stand.
    first = page.load(lambda: shown_now(ctx.host.status), None, outputs, queue=False, **PRIVATE)
    first.then(watch, None, outputs, **free)
    retry = outputs[1]
    retry.click(lambda: ctx.host.start(), None, None, queue=False, **PRIVATE).then(watch, None, outputs, **free)


def launch_arguments(ctx: Context, port: int) -> dict:
    """Everything that `launch` needs: private, quiet, no third-party host."""
    options = ctx.options
    return {
        "server_name": options.host,
        "server_port": port,
        "share": False,
        "auth": options.auth,
        "mcp_server": options.mcp,
        "app_kwargs": {"lifespan": sessions.lifespan(ctx.photos)},
        "theme": theme.theme(),
        "css_paths": [theme.CSS],
        "head": theme.HEAD,
        "max_file_size": MAX_FILE,
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "pwa": False,
        "footer_links": ["api", "settings"],
        "show_error": False,
        "quiet": True,
        "prevent_thread_lock": True,
        "state_session_capacity": 1000,
    }


def close_side_doors(page: gr.Blocks) -> None:
    """Take out the route that would save a visitor's page to disk for a deep link; this page has no such links."""
    routes = page.app.router.routes
    routes[:] = [r for r in routes if "deep_link" not in getattr(r, "path", "")]
