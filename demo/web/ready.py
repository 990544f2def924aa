"""What is the same for every visitor, kept ready to send: Gradio's scripts and styles, the example pictures.

Gradio reads, compresses and sends some ninety files at every first visit, and has browsers ask for each anew at the
next.
"""

from __future__ import annotations

import gzip

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.runtime.examples import PICTURES, picture
from demo.runtime.photos import EXAMPLES

_ASSETS = "/assets/"  # names that hold a hash of what is in them
FOREVER, A_DAY = "public, max-age=31536000, immutable", "public, max-age=86400"
MOST_BYTES = 32 * 2**20  # kept in all; Gradio's own files for this page take 2 MB
LEVEL = 5  # of gzip, for the page: half of its size in 10 ms


class Ready:
    """The ASGI application around Gradio's: answers for assets that it has seen once, and compresses the page."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._kept: dict[tuple[str, str], tuple[Message, bytes]] = {}
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or passes it on."""
        page = scope.get("path") == "/"
        if scope["type"] != "http" or scope["method"] != "GET" or not (page or scope["path"].startswith(_ASSETS)):
            await self.app(scope, receive, send)
            return
        taken = Headers(scope=scope).get("accept-encoding", "")
        coding = next((name for name in ("br", "gzip") if name in taken), "")
        start, body = self._kept.get((scope["path"], coding)) or await self._seen(scope, receive)
        if start["status"] == 200 and page:
            start, body = _compressed(start, body) if "gzip" in taken else (start, body)
        elif start["status"] == 200 and (scope["path"], coding) not in self._kept:
            MutableHeaders(scope=start)["Cache-Control"] = FOREVER
            if self._bytes + len(body) <= MOST_BYTES:
                self._kept[scope["path"], coding] = start, body
                self._bytes += len(body)
        await send({**start, "headers": list(start["headers"])})
        await send({"type": "http.response.body", "body": body})

    async def _seen(self, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
        """Gradio's answer, whole: asked as by a browser that has nothing of it yet."""
        start: Message = {}
        parts: list[bytes] = []

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        conditions = (b"if-none-match", b"if-modified-since", b"range")
        await self.app({**scope, "headers": [h for h in scope["headers"] if h[0] not in conditions]}, receive, keep)
        return start, b"".join(parts)


def _compressed(start: Message, body: bytes) -> tuple[Message, bytes]:
    headers = MutableHeaders(raw=list(start["headers"]))
    if "content-encoding" not in headers:
        body = gzip.compress(body, LEVEL)
        headers["Content-Encoding"], headers["Content-Length"] = "gzip", str(len(body))
        headers.add_vary_header("Accept-Encoding")
    return {**start, "headers": headers.raw}, body


def routes() -> list[Route]:
    """The example pictures, by the names of their files."""

    def drawn(request: Request) -> Response:
        name = request.url.path.rsplit("/", 1)[-1]
        return Response(picture(name), media_type="image/jpeg", headers={"Cache-Control": A_DAY})

    return [Route(f"/{PICTURES}/{file.name}", drawn) for file in sorted(EXAMPLES.glob("*.jpg"))]
