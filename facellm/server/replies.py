"""Answers in OpenAI's form: one JSON object, or a stream of server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from facellm.results import TokenLogprob
from facellm.server.refusals import Refusal
from facellm.server.service import End, Piece, Seen


def completion(head: dict[str, Any], seen: Seen, ends: Sequence[End], scored: bool) -> dict[str, Any]:
    """Returns the whole answer as a chat completion.

    Args:
        head: Its id, created and model.
        seen: What was found on the image.
        ends: The last event of each choice.
        scored: Whether log-probabilities were asked for.
    """
    choices = [
        {
            "index": end.index,
            "message": {"role": "assistant", "content": end.text, "refusal": None},
            "logprobs": _logprobs(end.logprobs) if scored else None,
            "finish_reason": end.reason,
        }
        for end in sorted(ends, key=lambda end: end.index)
    ]
    return {
        **head,
        "object": "chat.completion",
        "choices": choices,
        "usage": _usage(seen, ends),
        "facellm": _face(seen),
    }


async def event_stream(
    head: dict[str, Any], seen: Seen, events: AsyncIterator[Piece | End], *, choices: int, scored: bool, usage: bool
) -> AsyncIterator[str]:
    """Yields the answer as server-sent events, each as soon as its text is there.

    Args:
        head: The chunks' id, created and model.
        seen: What was found on the image.
        events: What `Service.answer` yields after it.
        choices: How many there are.
        scored: Whether log-probabilities were asked for.
        usage: Whether the counts of tokens end the stream.
    """

    def sent(**parts: Any) -> str:
        return f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', **parts}, ensure_ascii=False)}\n\n"

    def chunk(index: int, delta: dict[str, str], reason: str | None = None, tokens: Any = (), **parts: Any) -> str:
        told = _logprobs(tokens) if scored and tokens else None
        return sent(choices=[{"index": index, "delta": delta, "logprobs": told, "finish_reason": reason}], **parts)

    for index in range(choices):
        parts: dict[str, Any] = {} if index else {"facellm": _face(seen)}
        yield chunk(index, {"role": "assistant", "content": ""}, **parts)
    ends: list[End] = []
    try:
        async for event in events:
            if isinstance(event, Piece):
                yield chunk(event.index, {"content": event.text}, tokens=event.logprobs)
            elif isinstance(event, End):
                yield chunk(event.index, {}, event.reason)
                ends.append(event)
        if usage:
            yield sent(choices=[], usage=_usage(seen, ends))
    except Refusal as error:  # the status is already sent
        yield f"data: {json.dumps(error.to_dict())}\n\n"
    yield "data: [DONE]\n\n"


def _logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    def told(token: TokenLogprob) -> dict[str, Any]:
        return {"token": token.token, "logprob": token.logprob, "bytes": token.bytes and list(token.bytes)}

    content = [{**told(token), "top_logprobs": [told(other) for other in token.top]} for token in tokens]
    return {"content": content, "refusal": None}


def _usage(seen: Seen, ends: Sequence[End]) -> dict[str, int]:
    tokens = sum(end.answer.tokens for end in ends)
    return {
        "prompt_tokens": seen.prompt_tokens,
        "completion_tokens": tokens,
        "total_tokens": seen.prompt_tokens + tokens,
    }


def _face(seen: Seen) -> dict[str, Any]:
    return {"face": seen.face, "notice": seen.notice}
