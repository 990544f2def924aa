"""Answers in OpenAI's form: one JSON object, or a stream of server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from facellm.server.refusals import Refusal
from facellm.server.service import End, Seen


def completion(head: dict[str, Any], seen: Seen, end: End) -> dict[str, Any]:
    """Returns the whole answer as a chat completion.  head: Its id, created and model."""
    message = {"role": "assistant", "content": end.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": end.reason}
    return {
        **head,
        "object": "chat.completion",
        "choices": [choice],
        "usage": _usage(seen, end),
        "facellm": _face(seen),
    }


async def event_stream(
    head: dict[str, Any], seen: Seen, events: AsyncIterator[str | End], usage: bool
) -> AsyncIterator[str]:
    """Yields the answer as server-sent events, each as soon as its text is there.

    Args:
        head: The chunks' id, created and model.
        seen: What was found on the image.
        events: What `Service.answer` yields after it.
        usage: Whether the counts of tokens end the stream.
    """

    def sent(**parts: Any) -> str:
        return f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', **parts}, ensure_ascii=False)}\n\n"

    def chunk(delta: dict[str, str], reason: str | None = None, **parts: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return sent(choices=[choice], **parts)

    yield chunk({"role": "assistant", "content": ""}, facellm=_face(seen))
    try:
        async for event in events:
            if isinstance(event, str):
                yield chunk({"content": event})
            elif isinstance(event, End):
                yield chunk({}, event.reason)
                if usage:
                    yield sent(choices=[], usage=_usage(seen, event))
    except Refusal as error:  # the status is already sent
        yield f"data: {json.dumps(error.to_dict())}\n\n"
    yield "data: [DONE]\n\n"


def _usage(seen: Seen, end: End) -> dict[str, int]:
    tokens = end.answer.tokens
    return {
        "prompt_tokens": seen.prompt_tokens,
        "completion_tokens": tokens,
        "total_tokens": seen.prompt_tokens + tokens,
    }


def _face(seen: Seen) -> dict[str, Any]:
    return {"face": seen.face, "notice": seen.notice}
