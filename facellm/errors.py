"""The errors that a user may see. Each message is one sentence: what is wrong, where, and what to do about it.

Whoever shows them (command line, page) prints ``str(error)`` and nothing else; a traceback means a bug of ours.
"""

from __future__ import annotations


class FaceLLMError(Exception):
    """Something that the user can act on; ``str(error)`` is the sentence to show."""


class ImageError(FaceLLMError):
    """An image that cannot be used: missing, unreadable, of another format, too large, too small."""
