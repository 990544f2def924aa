"""A model's words in a chat bubble, which Gradio renders as Markdown."""

from __future__ import annotations

import re

# What begins an image, a link, a tag or a bare address, and how Markdown shows it as it stands.
_AS_TEXT = {"[": r"\[", "<": "&lt;", "://": "&#58;//", "www.": "www&#46;", "mailto:": "mailto&#58;"}
_ACTIVE = re.compile(r"\[|<(?=[A-Za-z/!?])|://|\bwww\.|\bmailto:", re.IGNORECASE)


def inert(text: str) -> str:
    """Returns Markdown that shows `text` with its emphasis and lists, but its images, links and tags as written.

    What a model writes may name any address; a picture or a link there would have the visitor's browser go to it.
    """
    return _ACTIVE.sub(lambda found: _AS_TEXT[found.group().lower()], text)
