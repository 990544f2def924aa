"""The answer to a request that was refused before it was read: it still reaches the client."""

from __future__ import annotations

import asyncio
import time

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

IDLE = 1.0  # seconds without a byte, after which nothing more is waited for
LONGEST = 10.0  # seconds in all


class Unread(Response):
    """A response, after which what the client is still sending is read and thrown away before the connection is closed.

    A socket that is closed with unread bytes resets its connection, and a reset may overtake the response that was sent
    just before it: the client would see a broken connection instead of the reason (RFC 9112, section 9.6).
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers as an ASGI application; waits for at most LONGEST seconds, and IDLE without a byte."""
        self.headers["Connection"] = "close"
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        ends, more = time.monotonic() + LONGEST, True
        while more:
            try:
                message = await asyncio.wait_for(receive(), max(0.0, min(IDLE, ends - time.monotonic())))
            except (TimeoutError, asyncio.TimeoutError):
                break
            more = message["type"] == "http.request" and message.get("more_body", False)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
