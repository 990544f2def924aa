"""Understands a row in every common form: ShareGPT, alpaca, OpenAI's and TRL's messages with parts, plain questions,
and several pairs about one image.

What a form is told by is its columns; whatever is of another type than it should be is named with that type.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from PIL.Image import Image

from facellm.errors import ImageError
from facellm.messages import clean
from facellm.vision.data_uri import decode_data_uri
from facellm.vision.images import load_image
from train.lora.rows.example import IMAGE_MARK, Example, RowError

CONVERSATIONS = ("conversations", "messages", "conversation")
# Columns of a question and its answer: ours, TRL's, alpaca's, ms-swift's, and The Cauldron's.
PAIRS = (
    ("question", "answer"), ("prompt", "completion"), ("instruction", "output"), ("query", "response"),
    ("user", "assistant"),
)  # fmt: skip
SEVERAL = ("pairs", "texts")  # columns of several conversations about one image; texts is The Cauldron's
_USER, _MODEL, _SYSTEM = {"human", "user"}, {"gpt", "assistant", "model"}, {"system", "developer"}
_TEXT_PARTS, _IMAGE_PARTS = {"text", "input_text", "output_text"}, {"image", "image_url", "input_image"}


def split_pairs(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Splits a row that holds several conversations about one image.

    Args:
        row: The row as its file holds it.

    Returns:
        A row for each of them, with what else the row holds; the row itself where it holds one conversation.

    Raises:
        RowError: Where the column of several holds something else.
    """
    column = next((name for name in SEVERAL if row.get(name) is not None), None)
    if column is None or any(row.get(name) is not None for name in CONVERSATIONS):
        return [row]
    pairs = row[column]
    if not isinstance(pairs, list) or not pairs or not all(isinstance(pair, Mapping) for pair in pairs):
        raise RowError(f"has {column} of another form than a list of objects with a question and an answer each")
    others = {name: value for name, value in row.items() if name != column}
    # Tables fill a column that an object lacks with null, which must not hide the row's.
    return [others | {name: value for name, value in pair.items() if value is not None} for pair in pairs]


def example_of(row: Mapping[str, Any], where: str, image_column: bool = True) -> tuple[Example, bytes | None]:
    """Turns a row into a conversation.

    Args:
        row: The row as its file holds it.
        where: Its file and row.
        image_column: Whether a row without an image column is refused, because a set about faces that lost its images
            would otherwise be learnt blind.

    Returns:
        The conversation, and the bytes of its image where the row itself holds them.

    Raises:
        RowError: With a clause that says what is wrong.
    """
    images = _images(row)
    system, said = row.get("system"), list[str]()
    if system is not None and not isinstance(system, str):
        raise RowError(f"has a system prompt of type {_kind(system)}, where text belongs")
    found = list[Any]()  # images that parts of messages carry
    for message in _messages(row):
        role, text = _turn(message, len(said), found)
        if role in _SYSTEM and not said:
            system = text
        elif role in (_USER, _MODEL)[len(said) % 2]:
            said.append(text)
        else:
            raise RowError(f"must alternate human and gpt turns; found {role!r} as turn {len(said) + 1}")
    if image_column and not found and "images" not in row and "image" not in row:
        raise RowError('has no image column: write `"images": ["path"]`, or `"images": []` where it is about no image')
    if not said or len(said) % 2:
        raise RowError(f"must end with an answer; it has {len(said)} turns")
    images += found
    if len(images) > 1:
        raise RowError(f"has {len(images)} images; FaceLLM sees one image a row")
    marks = sum(text.count(IMAGE_MARK) for text in said[::2])
    if marks > len(images):
        raise RowError(f"mentions {IMAGE_MARK} {marks} times but lists {len(images)} images")
    questions = [clean(text.replace(IMAGE_MARK, "")) for text in said[::2]]
    answers = [clean(text) for text in said[1::2]]
    if not all(questions) or not all(answers):
        raise RowError("has an empty question or answer; take it out or fill it in")
    _check_characters(system or "", *questions, *answers)
    image, content = _image(images[0]) if images else (None, None)
    return Example(image, tuple(zip(questions, answers, strict=True)), system or None, where), content


def _messages(row: Mapping[str, Any]) -> list[Any]:
    for column in CONVERSATIONS:
        if (value := row.get(column)) is not None:
            if not isinstance(value, list):
                raise RowError(f"has {column} of type {_kind(value)}, where a list of turns belongs")
            return value
    for asked, answered in PAIRS:
        if asked in row and answered in row:
            return [*_history(row), *_side(row, asked, "user"), *_side(row, answered, "assistant")]
    if "chosen" in row or "rejected" in row:
        raise RowError("holds a preference (chosen, rejected), where one answer belongs")
    known = ", ".join((*CONVERSATIONS[:2], *(f"{a} and {b}" for a, b in PAIRS)))
    raise RowError(f"has the columns {', '.join(map(str, row)) or 'none'}, where one of these belongs: {known}")


def _side(row: Mapping[str, Any], column: str, role: str) -> list[Any]:
    """One side of a pair: a text, or the messages that TRL writes there."""
    value = row[column]
    if isinstance(value, list):
        return value
    if column == "instruction" and row.get("input"):
        if not isinstance(value, str) or not isinstance(row["input"], str):
            raise RowError(f"has an input of type {_kind(row['input'])}, where text belongs")
        value = f"{value}\n{row['input']}"  # as LLaMA-Factory joins them
    return [{"role": role, "content": value}]


def _history(row: Mapping[str, Any]) -> list[Any]:
    """Alpaca's earlier turns, each a list of a question and an answer."""
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(turn, (list, tuple)) and len(turn) == 2 for turn in history):
        raise RowError("has a history that is no list of [question, answer]")
    roles = ("user", "assistant")
    return [{"role": role, "content": text} for turn in history for role, text in zip(roles, turn, strict=True)]


def _turn(message: Any, place: int, images: list[Any]) -> tuple[str, str]:
    """(role, text) of a message; what its parts show is appended to `images`."""
    if not isinstance(message, Mapping):
        raise RowError(
            f"has a turn {place + 1} of type {_kind(message)}, where an object with role and content belongs"
        )
    role = message.get("from") or message.get("role")
    content = message.get("value")
    content = message.get("content") if content is None else content
    if isinstance(content, list):
        content = "".join(_part(part, role, images) for part in content)
    if content is None and role in _MODEL | _USER:
        raise RowError("has an empty question or answer; take it out or fill it in")
    if not isinstance(content, str):
        raise RowError(f"has a turn of {role!r} of type {_kind(content)}, without text")
    return str(role), content


def _part(part: Any, role: Any, images: list[Any]) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind in _TEXT_PARTS and isinstance(part.get("text"), str):
        return part["text"]
    if kind in _IMAGE_PARTS:
        shown = next((part[key] for key in ("image", "image_url", "path", "url") if part.get(key) is not None), None)
        if isinstance(shown, Mapping) and "url" in shown:
            shown = shown["url"]
        if shown is not None:
            images.append(shown)
        return IMAGE_MARK
    named = f"of type {kind!r}" if kind else f"that is {_kind(part)}"
    raise RowError(f"has a part {named} in a turn of {role!r}; parts are text or image")


def _images(row: Mapping[str, Any]) -> list[Any]:
    value = row["images"] if row.get("images") is not None else row.get("image")
    if value is None:
        return []
    if isinstance(value, str) and not value:
        raise RowError("has an empty image path")
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _image(value: Any) -> tuple[str, bytes | None]:
    """An image as the set refers to it, and its bytes where the row holds them (as sets on the hub do)."""
    if isinstance(value, Mapping) and {"bytes", "path"} & set(value):
        content, path = value.get("bytes"), value.get("path")
        if isinstance(content, str) and content:
            content = _decoded(content)
        if isinstance(content, (bytes, bytearray)) and content:
            return _held(bytes(content))
        value = path
    if isinstance(value, (bytes, bytearray)):
        return _held(bytes(value))
    if isinstance(value, Image):  # as `datasets` decodes its image columns
        return _held(_stored(value))
    if not isinstance(value, str) or not value:
        raise RowError(f"has an image of type {_kind(value)}, where a path or bytes belong")
    _check_characters(value)
    scheme = urlsplit(value).scheme.lower() if ":" in value else ""
    if scheme == "data":
        try:
            return _held(decode_data_uri(value))
        except ImageError as error:
            raise RowError(f"has an image that cannot be used: {str(error).rstrip('.')}") from None
    if scheme == "file":
        return unquote(urlsplit(value).path), None
    if scheme in ("http", "https"):
        raise RowError(f"names an image by its address ({value[:80]}); download it and give its path")
    return value, None


def _held(content: bytes) -> tuple[str, bytes]:
    return f"sha256:{hashlib.sha256(content).hexdigest()}", content


def _stored(image: Image) -> bytes:
    try:
        upright = load_image(image)
    except ImageError as error:
        raise RowError(f"has an image that cannot be used: {str(error).rstrip('.')}") from None
    content = io.BytesIO()
    upright.save(content, "PNG", compress_level=1)  # lossless, and quick
    return content.getvalue()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RowError("has image bytes that are no base64") from None


def _check_characters(*texts: str) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise RowError(
                f"holds half of a surrogate pair (\\u{ord(text[error.start]):04x}) after "
                f"{text[: error.start][-20:]!r}; write the whole character"
            ) from None


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
