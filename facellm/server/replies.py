"""Answers in OpenAI's form: one JSON object, or a stream of server-sent events.

Input: the events of serve_run. Output: dicts and a Starlette response. What this file does not know: requests, models.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response

from facellm.server.requests import Refusal
from facellm.server.run import End, Seen, Text


def _usage(seen: Seen, end: End) -> dict[str, int]:
    tokens = end.answer.tokens
    return {
        "prompt_tokens": seen.prompt_tokens,
        "completion_tokens": tokens,
        "total_tokens": seen.prompt_tokens + tokens,
    }


def _face(seen: Seen) -> dict[str, Any]:
    return {"face": seen.face, "notice": seen.notice}


def completion(head: dict, seen: Seen, end: End) -> dict[str, Any]:
    """The whole answer.  head: id, created, model."""
    message = {"role": "assistant", "content": end.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": end.reason}
    return {
        **head,
        "object": "chat.completion",
        "choices": [choice],
        "usage": _usage(seen, end),
        "facellm": _face(seen),
    }


class Stream(Response):
    """Server-sent events, each sent as soon as its text is there.

    Starlette's own streaming response notices on some servers only at the next chunk that the client has gone; here
    `watch` has been waiting for that since the request was read. head: id, created, model.  events: what comes after
    `seen`.  usage: whether the counts end the stream.
    """

    def __init__(self, head: dict, seen: Seen, events: AsyncIterator, watch: asyncio.Task, usage: bool):
        super().__init__(media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self.head, self.seen, self.events, self.watch, self.usage = head, seen, events, watch, usage

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for data in self._chunks():
                body = f"data: {data}\n\n".encode()
                await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:  # the client has gone
            pass
        finally:
            self.watch.cancel()
            await self.events.aclose()

    async def _chunks(self) -> AsyncIterator[str]:
        yield self._chunk({"role": "assistant", "content": ""}, facellm=_face(self.seen))
        try:
            async for event in self.events:
                if isinstance(event, Text):
                    yield self._chunk({"content": event.text})
                elif isinstance(event, End):
                    yield self._chunk({}, event.reason)
                    if self.usage:
                        yield json.dumps({**self._head(), "choices": [], "usage": _usage(self.seen, event)})
        except Refusal as error:  # the status is already sent
            yield json.dumps(error.to_dict(), ensure_ascii=False)
        yield "[DONE]"

    def _head(self) -> dict[str, Any]:
        return {**self.head, "object": "chat.completion.chunk"}

    def _chunk(self, delta: dict, reason: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return json.dumps({**self._head(), "choices": [choice], **more}, ensure_ascii=False)
