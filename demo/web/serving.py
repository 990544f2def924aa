"""The web server of the page: a socket of its own, Gradio behind the shield, an orderly end.

Gradio's `launch` asks the page over HTTP whether it is there, through whatever proxy the environment names, and cannot
listen on every IPv6 address; a server of our own needs neither.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import fastapi
import gradio as gr
import uvicorn
from starlette.routing import Mount

from demo.runtime.context import Context
from demo.web import installable, ready, sessions
from demo.web.limits import Limits
from demo.web.shield import Shield

MAX_FILE = "20mb"
# Seconds: for answers that are stopped to send their last words; for connections to end after that; for all of it.
LAST_WORDS, LINGER, AT_MOST = 4.0, 2, 8.0


class PageServer(uvicorn.Server):
    """Serves one page, in this thread with `run` or in one of its own with `start`.

    Attributes:
        url: Where the page is.
        app: Gradio's application, as `gradio.routes.App`.
        gone: Called when the end takes longer than AT_MOST, before the process is ended.
    """

    def __init__(
        self,
        page: gr.Blocks,
        ctx: Context,
        listener: socket.socket,
        look: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Makes the application.

        Args:
            page: What is served.
            ctx: What the page works with.
            listener: A bound socket.
            look: Arguments for `gr.mount_gradio_app`: theme, styles and the like.
            limits: What one client may ask for.
        """
        options = ctx.options
        page.state_session_capacity = 1000
        page.has_launched = True  # else Gradio does not look at the paths of files
        outer = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        outer.router.routes += ready.routes()
        if options.installable:
            outer.router.routes += installable.routes()  # before Gradio's, which has a manifest with icons of its own
        shown = dict(look or {})
        shown["head"] = f"{shown.get('head') or ''}{installable.head(options.installable)}"
        gr.mount_gradio_app(
            outer,
            page,
            path="/",
            server_name=options.host,
            server_port=listener.getsockname()[1],
            auth=options.auth,
            mcp_server=options.mcp,
            app_kwargs={"lifespan": sessions.lifespan(ctx.photos)},
            max_file_size=MAX_FILE,
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            show_error=False,
            **shown,
        )
        # The page knows another, of before it was mounted; its `close` has to end the streams of this one.
        self.app = page.app = next(route.app for route in outer.routes if isinstance(route, Mount))
        self._page, self._ctx = page, ctx
        self._shield = Shield(ready.Ready(outer), options, limits)
        self._listener = listener
        self._thread: threading.Thread | None = None
        self.gone: Callable[[], None] = lambda: None
        self.ready: Callable[[], None] = lambda: None
        host = f"[{options.host}]" if ":" in options.host else options.host
        self.url = f"http://{host}:{listener.getsockname()[1]}"
        # On Spaces the hub's proxies say who a visitor is; elsewhere FORWARDED_ALLOW_IPS names proxies to believe.
        trusted = "*" if options.space else None
        super().__init__(
            uvicorn.Config(
                self._shield, log_level="warning", timeout_graceful_shutdown=LINGER, forwarded_allow_ips=trusted
            )
        )

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until SIGINT or SIGTERM, or `close` from another thread."""
        super().run(sockets or [self._listener])

    def start(self) -> None:
        """Serves in a thread; returns when the page can be reached."""
        self._thread = threading.Thread(target=self.run, name="facellm-page", daemon=True)
        self._thread.start()
        while not self.started and self._thread.is_alive():
            time.sleep(0.01)

    def close(self) -> None:
        """Ends what `start` began."""
        self.should_exit = True
        if self._thread is not None:
            self._thread.join(AT_MOST)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As in uvicorn; calls `ready` once the page can be reached."""
        await super().startup(sockets)
        if self.started:
            self.ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins the end; whatever hangs, the process is gone after AT_MOST seconds."""
        if not self.should_exit:
            timer = threading.Timer(AT_MOST, self._give_up)
            timer.daemon = True
            timer.start()
        super().handle_exit(sig, frame)

    def _give_up(self) -> None:
        self.gone()
        os._exit(0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops the model, lets running streams end with what was written, then ends the server."""
        self._shield.closing = True
        self._ctx.runs.stop_all()
        end = time.monotonic() + LAST_WORDS
        while self._ctx.runs.count() and time.monotonic() < end:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)  # for the last words on their way
        # From here on connections are cut, about which Gradio and uvicorn would write tracebacks.
        for name in ("uvicorn.error", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._page.close(verbose=False)
        await super().shutdown(sockets)
