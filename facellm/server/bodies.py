"""Reads a request's body within limits of size, time and memory, and parses it away from the event loop."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from facellm.server.limits import Admission
from facellm.server.refusals import Refusal
from facellm.server.schemas import Kind, parse

IDLE = 10.0  # seconds without a byte
LONGEST = 120.0  # seconds for a whole body: 32 MB at 2 Mbit/s
MAX_VALUES = 250_000  # of a body; beside it an object takes a hundred bytes of memory for two of its text
PARSED_AT_ONCE = 2  # bodies; parsing one of 32 MB takes three times that


class Bodies:
    """Reads bodies for one server."""

    def __init__(self, max_body: int) -> None:
        """Reads nothing yet.

        Args:
            max_body: Bytes of a body at most.
        """
        self._max_body = max_body
        self._parsing = asyncio.Semaphore(PARSED_AT_ONCE)

    async def read(self, request: Request, kind: type[Kind], admission: Admission) -> Kind:
        """Reads and checks a request.

        Args:
            request: With its body unread.
            kind: What it must be.
            admission: Where the body's bytes are counted.

        Raises:
            Refusal: 413 and 415 for a body of the wrong size or kind, 408 for one that does not come, 429 and 503 where
                too much is held already, 400 for what is wrong with it.
            ClientDisconnect: Where the client has gone.
        """
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != "application/json":  # also keeps other web sites' forms from asking through a visitor's browser
            raise Refusal("Send JSON, with Content-Type: application/json.", status=415)
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_body:
            raise self._too_large()
        body = await self._bytes(request, admission)
        if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
            sentence = f"The body has more than {MAX_VALUES:,} values; that is no question about a face."
            raise Refusal(sentence, status=413)
        async with self._parsing:
            return await asyncio.to_thread(parse, kind, body)

    async def _bytes(self, request: Request, admission: Admission) -> bytes:
        body, deadline, more = bytearray(), time.monotonic() + LONGEST, True
        while more:
            wait = min(IDLE, deadline - time.monotonic())
            try:
                message: Any = await asyncio.wait_for(request.receive(), max(wait, 0))
            except asyncio.TimeoutError:
                raise Refusal("The body did not arrive in time; send the request again.", status=408) from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part = message.get("body", b"")
            if len(body) + len(part) > self._max_body:
                raise self._too_large()
            admission.hold(len(part))
            body += part
            more = message.get("more_body", False)
        request.state.whole = True
        return bytes(body)

    @staticmethod
    def whole(request: Request) -> bool:
        """Whether a request's body was read to its end here."""
        return getattr(request.state, "whole", False)

    def _too_large(self) -> Refusal:
        sentence = f"The request is larger than {self._max_body / 2**20:g} MB; send a smaller image."
        return Refusal(sentence, status=413)
