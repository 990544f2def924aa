"""What every request passes before Gradio sees it: names, origins and sizes; what every answer carries: headers."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.runtime.options import Options
from demo.web.installable import MANIFEST
from demo.web.limits import WINDOW, Limits
from facellm.server.unread import Unread

log = logging.getLogger("facellm.demo")

# Bytes of a body: where photos are sent (20 MB and what multipart adds; MCP writes them in base64), and elsewhere.
# JSON is parsed in the event loop, where 2 MB take some 20 ms; twenty turns of a conversation take 40 kB.
MAX_BODY = {"/gradio_api/upload": 21 * 2**20, "/gradio_api/mcp": 28 * 2**20, "": 2 * 2**20}
BODY_SECONDS = 120.0  # for a whole body: a photo of 20 MB at 1.4 Mbit/s
# Routes of Gradio that this page does not use: they fetch addresses, ask models of other people, or save pages.
_CLOSED = (
    *("/gradio_api/file=http", "/gradio_api/file/http", "/gradio_api/proxy=", "/gradio_api/deep_link"),
    *("/gradio_api/vibe", "/gradio_api/undo-vibe", "/gradio_api/process_recording", "/gradio_api/stream/"),
    *("/gradio_api/component_server", "/gradio_api/run-history", "/gradio_api/runs", "/gradio_api/dev/"),
    *("/gradio_api/profiling", "/monitoring", "/pwa_icon"),
)
_ASKS = tuple(f"/gradio_api/{name}/" for name in ("queue/join", "call", "run", "api", "mcp"))
# Gradio compiles its listeners in the page ('unsafe-eval') and writes settings and styles into it ('unsafe-inline').
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors {ancestors}"
)
_HUB = "'self' https://huggingface.co https://*.huggingface.co https://*.hf.space"


class Refused(Exception):
    """A request that Gradio does not get to see, or whose body is not read to its end."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Shield:
    """The ASGI application around Gradio's.

    A page on a loopback address answers to loopback names only: else any web page could have a name of its own point
    to 127.0.0.1 and read it (DNS rebinding). On other addresses all names are good unless `--allow-host` lists them.
    Scripts of other origins are refused everywhere unless `--allow-origin` lists theirs; Gradio alone would let every
    site read a page behind a proxy with its visitor's login.

    Attributes:
        closing: Whether new requests are turned away, because the server is about to end.
    """

    def __init__(self, app: ASGIApp, options: Options, limits: Limits | None = None) -> None:
        self.app, self.limits, self.closing = app, limits or Limits(), False
        self._hosts, self._origins = set(options.allow_host), set(options.allow_origin)
        if options.space:
            self._origins.add("https://huggingface.co")
        # Gradio's manifest would have any page installed, under Gradio's icon.
        self._closed = _CLOSED if options.installable else (*_CLOSED, MANIFEST)
        self._any_host = "*" in self._hosts or (not self._hosts and not _is_loopback(options.host))
        self._headers = {
            "Content-Security-Policy": _POLICY.format(ancestors=_HUB if options.space else "'self'"),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
        }
        if not options.space:  # which the hub shows in a frame; older browsers know no other header
            self._headers["X-Frame-Options"] = "SAMEORIGIN"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or passes it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        client = (scope.get("client") or ("", 0))[0]
        most = next(size for path, size in MAX_BODY.items() if scope["path"].startswith(path))
        body = _Body(receive, most, self.limits, client)
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                if body.refused:  # Gradio's own words about a body that broke off
                    return
                begun = True
                MutableHeaders(scope=message).update(self._headers)
            if begun:
                await send(message)

        try:
            with self.limits.opened(client) as fits:
                if not fits:
                    raise Refused(429, "Too many requests of yours are under way: wait until some have ended.")
                self._check(scope, client, most)
                await self.app(scope, body.receive, answer)
        except Refused as error:
            body.refused = body.refused or error
        except Exception as error:  # forged requests fail in many ways inside Gradio; each costs one line of the log
            if not (body.refused or body.gone):
                log.error("%s %.200s failed (%s: %.200s)", scope["method"], scope["path"], type(error).__name__, error)
                status = 400 if isinstance(error, (UnicodeError, RecursionError)) else 500
                body.refused = Refused(status, "The request could not be handled: check what it holds.")
        if body.refused and not begun:
            headers = {"Retry-After": f"{WINDOW:.0f}", "Connection": "close"} | self._headers
            kind = Response if body.whole else Unread
            await kind(str(body.refused), body.refused.status, headers, "text/plain")(scope, receive, send)

    def _check(self, scope: Scope, client: str, most: int) -> None:
        """Raises Refused for what can be told from a request's head."""
        headers, path = Headers(scope=scope), scope["path"]
        if self.closing:
            raise Refused(503, "The page is being closed: try again in a moment.")
        host = headers.get("host", "").lower()
        if not (self._any_host or _is_loopback(_name_of(host)) or _name_of(host) in self._hosts):
            raise Refused(403, f"This page does not go by the name {_name_of(host)[:80]!r}; --allow-host would add it.")
        origin = headers.get("origin", "").lower()
        # A script of another site cannot send X-Forwarded-Host without being asked for leave first, which is refused.
        own = {host, headers.get("x-forwarded-host", "").lower().split(",")[0].strip()} - {""}
        if origin and origin not in self._origins and urlsplit(origin).netloc not in own:
            raise Refused(403, "Scripts of other sites may not call this page; --allow-origin would let them.")
        if path.startswith(self._closed):
            raise Refused(404, "There is nothing here.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > most:
            raise _too_large(most)
        if scope["method"] == "POST":
            kind = "logins" if path.startswith("/login") else "asks" if f"{path}/".startswith(_ASKS) else None
            if kind and not self.limits.spend(client, kind):
                raise Refused(429, "Too many requests from your address: try again in a minute.")


class _Body:
    """A request's body on its way to Gradio: bounded in bytes and time."""

    def __init__(self, receive: Receive, most: int, limits: Limits, client: str) -> None:
        self.refused: Refused | None = None
        self.whole, self.gone = False, False  # all of it has come; the client went before that
        self._receive, self._most, self._limits, self._client = receive, most, limits, client
        self._bytes, self._ends = 0, time.monotonic() + BODY_SECONDS

    async def receive(self) -> Message:
        if self.whole:  # what comes now is the client's leaving
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._ends - time.monotonic()))
        except (TimeoutError, asyncio.TimeoutError):
            raise self._refuse(Refused(408, "The request did not arrive in time: try again.")) from None
        self.gone = message["type"] == "http.disconnect"
        if message["type"] == "http.request":
            self.whole = not message.get("more_body", False)
            size = len(message.get("body", b""))
            self._bytes += size
            if self._bytes > self._most:
                raise self._refuse(_too_large(self._most))
            if size and not self._limits.spend(self._client, "bytes", size):
                raise self._refuse(Refused(429, "Too much was sent from your address: try again in a minute."))
        return message

    def _refuse(self, error: Refused) -> Refused:
        self.refused = error
        return error


def _too_large(most: int) -> Refused:
    return Refused(413, f"The request is larger than {most / 2**20:.0f} MB: send a smaller photo, or less text.")


def _name_of(host: str) -> str:
    """A Host header's name, without the port and an IPv6 address's brackets; "" for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
