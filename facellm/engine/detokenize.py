"""Tokens to text while they arrive, without ever showing half a character."""

from __future__ import annotations

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
