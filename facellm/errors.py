"""The errors that a user may see. Each message is one sentence: what is wrong, where, and what to do about it.

The command line and the page show `str(error)` and nothing else; a traceback means a bug of ours.
"""

from __future__ import annotations


class FaceLLMError(Exception):
    """Something that the user can act on; `str(error)` is the sentence to show."""


class ImageError(FaceLLMError):
    """An image that cannot be used: missing, unreadable, of another format, too large, too small."""


class StoppedError(FaceLLMError):
    """What was asked for was stopped before its end, by whoever asked."""


class ParameterError(FaceLLMError):
    """A value that cannot be used; `parameter` is the name of the setting, as this interface calls it."""

    def __init__(self, sentence: str, parameter: str) -> None:
        super().__init__(sentence)
        self.parameter = parameter


# Only CUDA has an error class of its own. What torch's plain RuntimeError says: on Apple's GPUs, on CPUs under Windows,
# on other CPUs.
_MEMORY_FULL = ("out of memory", "not enough memory", "allocate memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` is Python's or torch's way, on any device, to say that memory is full. Imports no torch."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _MEMORY_FULL)
