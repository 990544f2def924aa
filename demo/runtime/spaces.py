"""Hugging Face ZeroGPU: `on_gpu` asks for a GPU where the `spaces` package is present, and does nothing elsewhere.

Import this before anything that imports torch: `spaces` has to patch CUDA first. What this file does not know: models.
On ZeroGPU the decorated function runs in a forked process: its arguments and results are pickled, an event set in this
process is not seen there, and closing the generator waits for the fork's end. Of its errors only gr.Error keeps words.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

try:
    import spaces
except ImportError:  # everywhere but on Spaces
    spaces = None

F = TypeVar("F", bound=Callable)

# Set by Spaces on ZeroGPU hardware; a CPU or a whole-GPU Space runs everything in this process.
ZERO = spaces is not None and os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def on_gpu(duration: Callable[..., int]) -> Callable[[F], F]:
    """Decorator for a generator that needs the GPU.  duration: its arguments -> seconds to reserve."""

    def wrap(fn: F) -> F:
        return spaces.GPU(duration=duration)(fn) if spaces is not None else fn

    return wrap
