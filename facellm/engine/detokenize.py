"""Tokens to text while they arrive, without ever showing half a character."""

from __future__ import annotations

from functools import cache
from typing import Any

BROKEN = "\ufffd"  # what a decoder writes for bytes that are no character (yet)


class TextStream:
    """The text of one answer as it grows, without special tokens and bytes that never become a character.

    Attributes:
        text: Everything given out so far.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._decode = tokenizer.decode
        self._ids: list[int] = []
        self._start = 0  # ids before it are given out and no longer needed for context
        self._read = 0  # ids before it are given out
        self._context = ""  # text of ids[start:read]
        self.text = ""

    def add(self, token: int) -> str:
        """Returns the new text that this token makes certain; empty while a character is incomplete."""
        self._ids.append(token)
        text = self._text(self._start)
        if text.endswith(BROKEN):
            return ""
        return self._give(text)

    def finish(self) -> str:
        """Returns what was held back and is text after all."""
        return self._give(self._text(self._start)) if self._read < len(self._ids) else ""

    def _text(self, start: int) -> str:
        return self._decode(self._ids[start:], skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _give(self, text: str) -> str:
        new = text[len(self._context) :].replace(BROKEN, "")
        self._start, self._read = self._read, len(self._ids)
        self._context = self._text(self._start)
        self.text += new
        return new


def token_text(tokenizer: Any, token: int) -> str:
    """Returns the text of one token; BROKEN stands for the bytes of half a character."""
    return tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)


def token_bytes(tokenizer: Any, token: int, text: str) -> tuple[int, ...] | None:
    """Returns the bytes of one token.

    Args:
        tokenizer: One that works on bytes, as InternVL's does; of others half characters are not known.
        token: The token's id.
        text: What `token_text` says.
    """
    if BROKEN not in text:
        return tuple(text.encode())
    letters = _byte_letters()
    found = [letters.get(letter) for letter in tokenizer.convert_ids_to_tokens(token)]
    return None if None in found else tuple(byte for byte in found if byte is not None)


@cache
def _byte_letters() -> dict[str, int]:
    """Which byte each letter of a byte-level vocabulary stands for, as GPT-2 has it."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {letter: byte for byte, letter in bytes_to_unicode().items()}
