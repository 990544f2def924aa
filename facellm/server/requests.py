"""What a client asks of the server: the JSON of /v1/chat/completions and /v1/profiles, checked and taken apart.

Input: decoded JSON, the served names. Output: `Asked` or `Profiled`; everything else is a `Refusal`, one sentence with
an HTTP status and OpenAI's error codes. What this file does not know: HTTP, models.

An option that would change the answer and is not understood is refused, never ignored.
"""

from __future__ import annotations

import base64
import binascii
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from facellm.engine.sampling import Sampling
from facellm.errors import FaceLLMError
from facellm.messages import build_messages
from facellm.results import Row

MAX_MESSAGES = 101  # a system prompt, fifty turns: far beyond any model's window
MAX_STOPS, MAX_STOP_CHARACTERS = 4, 100  # OpenAI allows four stop texts

# Parameters that are accepted with the values that change nothing; None means the same as leaving them out.
_NEUTRAL: dict[str, tuple] = {
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "top_k": (-1, 0),
    "min_p": (0,),
}
# These never concern the answer's words.
_IGNORED = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"}
_READ = {
    "model",
    "messages",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "seed",
    "max_tokens",
    "max_completion_tokens",
    "repetition_penalty",
    "stop",
    "facellm",
}


class Refusal(FaceLLMError):
    """A request that is not answered. status: HTTP's.  param, code, kind: as OpenAI's errors name them."""

    def __init__(
        self,
        message: str,
        param: str | None = None,
        *,
        status: int = 400,
        code: str | None = None,
        kind: str = "invalid_request_error",
    ):
        super().__init__(message)
        self.status, self.param, self.code, self.kind = status, param, code, kind

    def to_dict(self) -> dict[str, Any]:
        """OpenAI's error object."""
        return {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class Look:
    """What the model is shown of the image: the extension "facellm".

    image: the file's bytes.  crop: search for a face and show its crop.  face: which, 0 the largest.  tiles: at most
    so many for a whole image.
    """

    image: bytes
    crop: bool = True
    face: int = 0
    tiles: int = 1


@dataclass(frozen=True)
class Asked:
    """One question. model: the name it was asked under.  usage: whether a stream ends with the counts."""

    model: str
    row: Row
    look: Look
    sampling: Sampling
    stop: tuple[str, ...] = ()
    stream: bool = False
    usage: bool = False


@dataclass(frozen=True)
class Profiled:
    """Profiles asked of these models: {served name: "base" or "facellm"}."""

    models: dict[str, str]
    look: Look


def read_chat(body: Any, names: Mapping[str, str]) -> Asked:
    """The request of /v1/chat/completions.  names: {served name: "base" or "facellm"}.  Raises Refusal."""
    body = _object(body)
    for key, value in body.items():
        if key in _NEUTRAL and value not in _NEUTRAL[key]:
            raise Refusal(f"{key} is not offered here; leave it out.", key, code="unsupported_value")
        if key not in _READ and key not in _NEUTRAL and key not in _IGNORED:
            raise Refusal(f"There is no parameter {key!r}; leave it out.", key, code="unknown_parameter")
    model = _text(body, "model")
    variant = _variant(model, names)
    system, history, question, url = _conversation(body.get("messages"))
    look = _look(body.get("facellm"), url)
    stream = _typed(body, "stream", bool, False)
    options = _typed(body, "stream_options", dict, {})
    if options and not stream:
        raise Refusal("stream_options belongs to a request with stream: true.", "stream_options")
    row = Row(variant, question, history, system)
    try:
        build_messages(row.question, row.history, row.system)  # blank texts are refused here, before any work
        sampling = _sampling(body)
    except Refusal:
        raise
    except FaceLLMError as error:
        raise Refusal(str(error)) from None
    return Asked(model, row, look, sampling, _stops(body.get("stop")), stream, options.get("include_usage") is True)


def read_profiles(body: Any, names: Mapping[str, str]) -> Profiled:
    """The request of /v1/profiles: {"model": name or [names], "image": data URI, "facellm": {...}}.  Raises Refusal."""
    body = _object(body)
    for key in body:
        if key not in ("model", "image", "facellm"):
            raise Refusal(f"There is no parameter {key!r}; leave it out.", key, code="unknown_parameter")
    wanted = body.get("model")
    wanted = wanted if isinstance(wanted, list) else [wanted]
    if not wanted or not all(isinstance(name, str) for name in wanted):
        raise Refusal(f"model must be a name or a list of names; there are {', '.join(names)}.", "model")
    look = _look(body.get("facellm"), _text(body, "image"))
    return Profiled({name: _variant(name, names) for name in wanted}, look)


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Refusal("The body must be one JSON object.")
    return {key: value for key, value in body.items() if value is not None}


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise Refusal(f"{key} must be given, as a text.", key)
    return value


def _typed(body: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    value = body.get(key, default)
    good = isinstance(value, (int, float)) if kind is float else isinstance(value, kind)
    if not good or (kind is not bool and isinstance(value, bool)):
        names = {bool: "true or false", int: "a whole number", float: "a number", dict: "an object"}
        raise Refusal(f"{key} must be {names[kind]}.", key)
    return value


def _variant(model: str, names: Mapping[str, str]) -> str:
    if model not in names:
        raise Refusal(
            f"There is no model {model!r} here; choose {' or '.join(names)}.",
            "model",
            status=404,
            code="model_not_found",
        )
    return names[model]


def _sampling(body: Mapping[str, Any]) -> Sampling:
    """Raises Refusal, or FaceLLMError where Sampling does."""
    longest = _typed(body, "max_tokens", int, Sampling.max_new_tokens)
    temperature = _typed(body, "temperature", float, Sampling.temperature)
    # As with other servers, leaving the seed out means new random numbers; greedy answers need none.
    seed = _typed(body, "seed", int, random.getrandbits(31) if temperature else 0)
    return Sampling(
        max_new_tokens=_typed(body, "max_completion_tokens", int, longest),
        temperature=temperature,
        top_p=_typed(body, "top_p", float, Sampling.top_p),
        seed=seed % 2**63,  # clients may send negative ones
        repetition_penalty=_typed(body, "repetition_penalty", float, Sampling.repetition_penalty),
    )


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    good = isinstance(stops, list) and all(isinstance(s, str) and 0 < len(s) <= MAX_STOP_CHARACTERS for s in stops)
    if not good or len(stops) > MAX_STOPS:
        raise Refusal(f"stop must be up to {MAX_STOPS} texts of up to {MAX_STOP_CHARACTERS} characters.", "stop")
    return tuple(stops)


def _conversation(messages: Any) -> tuple[str | None, tuple[tuple[str, str], ...], str, str]:
    """(system prompt, earlier turns, question, image address).  Raises Refusal."""
    if not isinstance(messages, list) or not messages:
        raise Refusal("messages must be a list with at least one message.", "messages")
    if len(messages) > MAX_MESSAGES:
        raise Refusal(f"There are {len(messages)} messages; at most {MAX_MESSAGES} are read.", "messages")
    read = [_message(m, f"messages[{i}]") for i, m in enumerate(messages)]
    images = [(i, url) for i, (_, _, urls) in enumerate(read) for url in urls]
    system = None
    offset = 0
    if read[0][0] == "system":
        system, offset = read[0][1], 1
    turns = read[offset:]
    for i, (role, _, _) in enumerate(turns):
        wanted = ("user", "assistant")[i % 2]
        if role != wanted:
            raise Refusal(
                f"The message is from {role}, where one from {wanted} belongs: after a system message, user and "
                f"assistant take turns, beginning and ending with user.",
                f"messages[{offset + i}].role",
            )
    if not turns or turns[-1][0] != "user":
        raise Refusal("The last message must be the user's question.", "messages")
    if len(images) != 1 or images[0][0] != offset:
        raise Refusal(
            f"The conversation has {len(images)} images; give exactly one, in the first user message, as "
            '{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,..."}}.',
            "messages",
        )
    texts = [text for _, text, _ in turns]
    return system, tuple(zip(texts[:-1:2], texts[1::2], strict=True)), texts[-1], images[0][1]


def _message(message: Any, place: str) -> tuple[str, str, list[str]]:
    """(role, text, image addresses) of one message."""
    if not isinstance(message, dict):
        raise Refusal(f"{place} must be an object with role and content.", place)
    role = {"developer": "system"}.get(message.get("role"), message.get("role"))
    if role not in ("system", "user", "assistant"):
        raise Refusal(f"The role {role!r} is not known here; use system, user or assistant.", f"{place}.role")
    content = message.get("content")
    if isinstance(content, str):
        return role, content, []
    if not isinstance(content, list):
        raise Refusal(f"{place}.content must be a text or a list of parts.", f"{place}.content")
    texts, urls = [], []
    for i, part in enumerate(content):
        at = f"{place}.content[{i}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image_url" and role == "user":
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, dict) else image
            if not isinstance(url, str):
                raise Refusal(f"{at}.image_url must hold a url.", at)
            urls.append(url)
        else:
            raise Refusal(f"{at} cannot be read: user messages may hold text and image_url parts, others text.", at)
    return role, "\n".join(texts), urls


def _look(extension: Any, url: str) -> Look:
    extension = {} if extension is None else extension
    if not isinstance(extension, dict):
        raise Refusal('facellm must be an object, as in {"crop": false}.', "facellm")
    for key in extension:
        if key not in ("crop", "face", "tiles"):
            raise Refusal(f"facellm has no option {key!r}; there are crop, face and tiles.", f"facellm.{key}")
    crop = _typed(extension, "crop", bool, True)
    tiles = _typed(extension, "tiles", int, 1)
    if not 1 <= tiles <= 12:
        raise Refusal(f"tiles is {tiles}; it must be between 1 and 12.", "facellm.tiles")
    if crop and tiles > 1:
        raise Refusal('Tiles are for whole images; a face is one tile: add "crop": false.', "facellm.tiles")
    return Look(_decoded(url), crop, _typed(extension, "face", int, 0), tiles)


def _decoded(url: str) -> bytes:
    """The bytes of a data URI."""
    head, comma, data = url.partition(",")
    if not head.lower().startswith("data:"):
        raise Refusal(
            "Images are not fetched from addresses; send the file itself as data:image/jpeg;base64,...",
            "image_url",
            code="invalid_image_url",
        )
    try:
        if not comma or not head.lower().endswith(";base64"):
            raise ValueError
        return base64.b64decode(data, validate=True)
    except (ValueError, binascii.Error):
        raise Refusal(
            "The image's data URI is damaged; it must read data:image/jpeg;base64, and the file in Base64.",
            "image_url",
            code="invalid_image_url",
        ) from None
