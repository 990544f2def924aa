"""OpenAI's `response_format`, checked without a model and turned into the JSON schema that an answer must match."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from facellm.errors import ParameterError

PARAMETER = "response_format"
MAX_BYTES = 32 * 2**10  # of a schema as JSON: hundreds of properties, more than an answer here has tokens for
MAX_DEPTH = 32  # of lists and objects within each other
_OPEN = {"additionalProperties", "patternProperties", "unevaluatedProperties"}  # who has one of them says what it wants
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # as OpenAI has it


def schema_of(response_format: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Reads a `response_format`.

    Args:
        response_format: {"type": "text"}, {"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": ...,
            "schema": {...}}}, or None.

    Returns:
        The JSON schema; None where the answer is free text.

    Raises:
        ParameterError: Where it is none of these, or the schema is too large. Whether the schema can be satisfied is
            found when a model reads it (`facellm.grammars.json_grammar`).
    """
    if response_format is None:
        return None
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    if kind != "json_schema":
        raise _fault("response_format must be an object with the type text, json_object or json_schema.")
    form = response_format.get("json_schema")
    if not isinstance(form, Mapping) or not isinstance(form.get("schema"), Mapping):
        raise _fault('response_format.json_schema must be {"name": a word, "schema": a JSON schema}.')
    name = form.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _fault("response_format.json_schema.name must be 1 to 64 letters, digits, hyphens and underscores.")
    schema = dict(form["schema"])
    if _depth(schema) > MAX_DEPTH:
        raise _fault(f"The schema of response_format is nested deeper than {MAX_DEPTH} levels; flatten it.")
    try:
        text = json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError):
        raise _fault("The schema of response_format must be plain JSON.") from None
    if len(text) > MAX_BYTES:
        raise _fault(f"The schema of response_format is larger than {MAX_BYTES // 2**10} kB; shorten it.")
    # A part of allOf says only some of an object's names, so closing it would forbid the others'.
    return schema if '"allOf"' in text else _closed(schema)


def _closed(schema: Any) -> Any:
    """The schema without names that it does not list, where it does not say whether it wants them.

    JSON schema allows any, and a model that begins to invent some does not end; answers to both forms match the first.
    """
    if not isinstance(schema, Mapping):
        return schema
    closed = dict(schema)
    for word in ("properties", "$defs", "definitions"):
        if isinstance(schema.get(word), Mapping):
            closed[word] = {name: _closed(part) for name, part in schema[word].items()}
    for word in ("anyOf", "oneOf", "prefixItems"):
        if isinstance(schema.get(word), list):
            closed[word] = [_closed(part) for part in schema[word]]
    for word in ("items", "additionalProperties"):
        if word in schema:
            closed[word] = _closed(schema[word])
    if schema.get("properties") and not _OPEN & schema.keys():
        closed["additionalProperties"] = False
    return closed


def _depth(value: Any) -> int:
    """Levels of lists and objects within each other, counted no further than one beyond MAX_DEPTH."""
    level, depth = [value], 0
    while level and depth <= MAX_DEPTH:
        level = [
            child
            for parent in level
            if isinstance(parent, (Mapping, list, tuple))
            for child in (parent.values() if isinstance(parent, Mapping) else parent)
        ]
        depth += 1
    return depth


def _fault(sentence: str) -> ParameterError:
    return ParameterError(sentence, PARAMETER)
