"""Why a request is not answered: OpenAI's error object, and pydantic's errors as sentences."""

from __future__ import annotations

import reprlib
from typing import Any

from pydantic import ValidationError

from facellm.errors import FaceLLMError

# What a field, by its name, or one of pydantic's error types asks for; completes "... must be".
_EXPECTED = {
    "content": "a text or a list of parts",
    "n": "a whole number between 1 and 16",
    "response_format": "an object with a type",
    "top_logprobs": "a whole number between 0 and 20",
    "image": "a data URI",
    "stop": "up to 4 texts of up to 100 characters",
    "tiles": "a whole number between 1 and 12",
    "side": "a whole number between 1 and 8",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "string_type": "a text",
    "list_type": "a list",
    "model_type": "an object",
}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = LONGEST = 80  # characters of what a client sent that a sentence quotes


class Refusal(FaceLLMError):
    """A request that is not answered.

    Attributes:
        status: The HTTP status.
        param, code, kind: As OpenAI's error object has them (kind is its `type`).
        wait: Seconds after which another try may succeed; sent with 429 and 503.
    """

    def __init__(
        self,
        message: str,
        param: str | None = None,
        *,
        status: int = 400,
        code: str | None = None,
        kind: str = "invalid_request_error",
        wait: int = 1,
    ):
        super().__init__(message)
        self.status, self.param, self.code, self.kind, self.wait = status, param, code, kind, wait

    def to_dict(self) -> dict[str, Any]:
        """Returns OpenAI's error object."""
        return {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}}


def short(value: Any) -> str:
    """Returns repr(value), cut to what a sentence can hold; it escapes what UTF-8 cannot carry."""
    return _SHORT.repr(value)


def refusal_of(error: ValidationError) -> Refusal:
    """Returns the first of pydantic's errors as one sentence that names the parameter."""
    first = error.errors(include_url=False)[0]
    kind, loc = first["type"], first["loc"]
    if kind == "json_invalid":
        return Refusal("The body is not valid JSON.")
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in loc).removeprefix(".")
    name = str(loc[-1])
    if kind == "extra_forbidden" and loc[0] == "facellm":
        return Refusal(f"facellm has no option {short(name)}; there are crop, face and tiles.", place[:LONGEST])
    if kind == "extra_forbidden":
        sentence = f"There is no parameter {short(name)}; leave it out."
        return Refusal(sentence, place[:LONGEST], code="unknown_parameter")
    if name == "role" and kind == "literal_error":
        return Refusal(f"The role {short(first['input'])} is not known here; use system, user or assistant.", place)
    if loc[0] == "messages" and "content" in loc and len(loc) > 3:
        part = f"messages[{loc[1]}].content[{loc[3]}]"
        return Refusal(f"{part} cannot be read: user messages may hold text and image_url parts, others text.", part)
    if kind == "missing" and name != "content":
        return Refusal(f"{place} must be given.", place)
    expected = _EXPECTED.get(str(loc[0])) or _EXPECTED.get(name) or _EXPECTED.get(kind)
    return Refusal(f"{place} must be {expected}." if expected else f"{place} cannot be read: {first['msg']}.", place)
