"""Hugging Face ZeroGPU: asks for a GPU where the `spaces` package is present, and does nothing elsewhere.

Import this before anything that imports torch: `spaces` has to patch CUDA first. On ZeroGPU the decorated function runs
in a forked process: its arguments and results are pickled, an event set in this process is not seen there, and closing
the generator waits for the fork's end. Of its errors only gr.Error keeps its words.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

try:
    import spaces
except ImportError:  # everywhere but on Spaces
    spaces = None

F = TypeVar("F", bound=Callable[..., Any])

# Set by Spaces on ZeroGPU hardware; a CPU or a whole-GPU Space runs everything in this process.
ZERO = spaces is not None and os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def on_gpu(duration: Callable[..., int]) -> Callable[[F], F]:
    """Decorates a generator that needs the GPU.

    Args:
        duration: Takes the generator's arguments, returns the seconds to reserve.
    """
    return spaces.GPU(duration=duration) if spaces is not None else lambda fn: fn


def pack() -> None:
    """Has ZeroGPU take over the weights that are there; it would do so itself in Gradio's `launch`."""
    startup = getattr(getattr(spaces, "zero", None), "startup", None)
    if startup is not None:
        startup()
