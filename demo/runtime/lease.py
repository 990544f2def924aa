"""The model's answers on a GPU that ZeroGPU lends for one request, computed in a fork of this process."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from demo.runtime import spaces
from demo.runtime.sentences import sentence

if TYPE_CHECKING:
    from facellm.engine.sampling import Sampling
    from facellm.interface import Questions
    from facellm.profile import Profile
    from facellm.results import Delta, Row
    from facellm.vision.faces import FaceView

# The fork runs module-level functions and finds the model here; Host puts it there before the first lease.
model: Questions = None  # type: ignore[assignment]


def stream(
    view: FaceView, rows: Sequence[Row], sampling: Sampling, cancel: threading.Event, tiles: int
) -> Iterator[Delta]:
    """As `Questions.stream`. The fork sees no event of this process, so a file tells it to stop."""
    if cancel.is_set():  # no lease for nothing
        return
    with tempfile.TemporaryDirectory(prefix="facellm-") as folder:
        stop = Path(folder) / "stop"
        source = _stream(view, rows, sampling, tiles, str(stop))
        try:
            for delta in source:
                if cancel.is_set():
                    stop.touch()
                yield delta
        finally:
            stop.touch()  # before closing: that waits until the fork has come to its end, and the lease runs on
            source.close()


def profiles(view: FaceView, variants: Sequence[str]) -> dict[str, Profile]:
    """As `Questions.profiles`."""
    return next(_profiles(view, variants))


def _seconds(view: FaceView, rows: Sequence[Row], sampling: Sampling, tiles: int, stop: str) -> int:
    """GPU seconds to reserve: 20 steps a second is a slow eager decode, 10 s for what comes before."""
    return min(120, 10 + sampling.max_new_tokens // 20)


@spaces.on_gpu(duration=_seconds)
def _stream(view: FaceView, rows: Sequence[Row], sampling: Sampling, tiles: int, stop: str):
    cancel = threading.Event()
    with _errors_that_cross():
        for delta in model.stream(view, rows, sampling, cancel, tiles):
            yield delta
            if Path(stop).exists():
                cancel.set()


@spaces.on_gpu(duration=lambda view, variants: 30)
def _profiles(view: FaceView, variants: Sequence[str]):
    with _errors_that_cross():
        yield model.profiles(view, variants)


@contextlib.contextmanager
def _errors_that_cross() -> Iterator[None]:
    """Every failure as gr.Error with its sentence: of any other, ZeroGPU hands on no more than the class's name."""
    try:
        yield
    except Exception as error:
        import gradio as gr

        raise gr.Error(sentence(error), print_exception=False) from None
