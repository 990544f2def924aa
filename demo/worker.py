"""The model that the page asks: loaded in the background, or behind a server; every failure turned into a sentence.

Input: `Options`. Output: a status to show and streams of deltas. What this file does not know: Gradio's components,
photos' files, how an answer is made (that is `facellm`).
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from facellm.errors import FaceLLMError
from facellm.results import Row

from . import gpu, texts
from .options import Options

if TYPE_CHECKING:
    from facellm.faces import FaceView
    from facellm.interface import Questions
    from facellm.results import Delta
    from facellm.sampling import Sampling

log = logging.getLogger("facellm.demo")

# What the loading thread does, in order; shown as "step 2 of 4". Behind a server there is less to do.
STEPS = ("Starting PyTorch", "Starting Transformers", "Reading the weights", "Warming up")
REMOTE_STEPS = ("Starting PyTorch", "Reaching the server")
# Seconds: a server's health is asked for at most so often, for all visitors together.
HEALTH_EVERY = 3.0


@dataclass(frozen=True)
class Status:
    """state: idle, loading, ready or failed.  message: for the page.  step, steps: progress.  seconds: since start."""

    state: str
    message: str = ""
    step: int = 0
    steps: int = len(STEPS)
    seconds: float = 0.0


def sentence(error: BaseException) -> str:
    """What the visitor reads about an error. Unexpected ones go to the log under a reference."""
    if isinstance(error, FaceLLMError):
        return str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        free_memory()
        return texts.OUT_OF_MEMORY
    reference = uuid.uuid4().hex[:8]
    log.error("reference %s", reference, exc_info=error)
    return texts.INTERNAL.format(reference=reference)


def free_memory() -> None:
    """Give back what a failed request left behind, on the GPU too."""
    import gc

    gc.collect()
    torch = importlib.import_module("torch")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Host:
    """Loads one model in a thread and streams from it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._model: Questions | None = None
        self._state = Status("idle", "The model has not been started.")
        self._since = time.monotonic()
        self._lock = threading.Lock()
        self._settled = threading.Event()
        self._health: tuple[float, str] = (float("-inf"), "")
        self._asking = threading.Lock()
        self._failure = ""

    # -- loading ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin loading; does nothing while loading or once ready."""
        with self._lock:
            if self._state.state in ("loading", "ready"):
                return
            self._settled.clear()
            self._since = time.monotonic()
            self._step(0)
        threading.Thread(target=self._load, name="facellm-load", daemon=True).start()

    @property
    def steps(self) -> tuple[str, ...]:
        """What loading consists of."""
        return REMOTE_STEPS if self.options.backend_url else STEPS

    def _step(self, i: int) -> None:
        self._state = Status("loading", self.steps[i], i + 1, len(self.steps))

    def _load(self) -> None:
        try:
            importlib.import_module("torch")
            self._step(1)
            if self.options.backend_url:
                model = open_model(self.options)
            else:
                importlib.import_module("transformers")
                self._step(2)
                model = open_model(self.options)
                self._step(3)
                warm_up(model)
            self._model = model
            done = len(self.steps)
            self._state = Status("ready", model.report.name, done, done, time.monotonic() - self._since)
        except BaseException as error:  # a thread's last frame: whatever happened must reach the page as a sentence
            self._state = Status("failed", sentence(error), 0, len(self.steps), time.monotonic() - self._since)
        finally:
            self._settled.set()

    @property
    def status(self) -> Status:
        s = self._state
        return replace(s, seconds=time.monotonic() - self._since) if s.state == "loading" else s

    @property
    def ready(self) -> bool:
        return self._model is not None

    @property
    def model(self) -> Questions:
        """The loaded model.  Raises FaceLLMError, saying why, while there is none."""
        if self._model is None:
            s = self.status
            raise FaceLLMError(s.message if s.state == "failed" else "The model is still loading: try again shortly.")
        return self._model

    def wait(self, cancel: threading.Event | None = None, every: float = 0.3) -> Iterator[Status]:
        """Yields the status until the model is ready (at once if it is).  Raises FaceLLMError if loading failed."""
        while not self._settled.wait(every):
            if cancel is not None and cancel.is_set():
                return
            yield self.status
        self.model  # noqa: B018 - raises where loading failed

    def trouble(self) -> str:
        """Why the server cannot be asked just now, as a sentence; "" where it can, and for a model in this process.

        A server that was away when the page started is tried again.  Blocks for up to five seconds.
        """
        if not self.options.backend_url:
            return ""
        if self._state.state == "failed":
            self._failure = self._state.message
            self.start()
        if self._model is None:
            return self._failure
        if self._asking.acquire(blocking=False):  # one visitor asks, the others read what was last known
            try:
                if time.monotonic() - self._health[0] >= HEALTH_EVERY:
                    found = self._model.health()
                    self._health = (time.monotonic(), "" if found.ok else found.message)
            finally:
                self._asking.release()
        return self._health[1]

    # -- asking -------------------------------------------------------------------------------------------------

    def stream(
        self, view: FaceView, rows: list[Row], sampling: Sampling, cancel: threading.Event, tiles: int = 1
    ) -> Iterator[Delta]:
        """Text deltas of all rows.  Closing the iterator or setting `cancel` stops the model within one token."""
        if gpu.ZERO:
            source = _stream_on_gpu(view, rows, sampling, tiles)
            try:
                yield from itertools.takewhile(lambda _: not cancel.is_set(), source)
            finally:
                source.close()
        else:
            yield from self.model.stream(view, rows, sampling, cancel, tiles)

    def profiles(self, view: FaceView, which: tuple[str, ...] | None = None) -> dict[str, dict]:
        """which -> `facellm.profile.Profile` as a dict, all in one pass; every model there is for None."""
        wanted = which or self.which
        found = next(_profiles_on_gpu(view, wanted)) if gpu.ZERO else self.model.profiles(view, wanted)
        return {name: profile.to_dict() for name, profile in found.items()}

    @property
    def which(self) -> tuple[str, ...]:
        """The models that can be asked, FaceLLM first; both while none is loaded."""
        return tuple(reversed(self._model.which)) if self._model is not None else ("facellm", "base")

    def card(self) -> dict:
        """What the loaded model is: LoadReport as a dict; empty while there is none."""
        return self._model.report.to_dict() if self._model is not None else {}


def open_model(options: Options) -> Questions:
    """The model that the options name: a server's where there is a backend URL, else a local one."""
    if options.backend_url:
        return importlib.import_module("facellm.remote").connect(options.backend_url, model=options.model)
    load = importlib.import_module("facellm").load
    # ZeroGPU lends a large card by the request: bitsandbytes would have to quantise anew inside each of them.
    quantization = "none" if gpu.ZERO else options.quantization
    return load(options.model, adapter=options.adapter, quantization=quantization, device=options.device)


def check_model_name(options: Options) -> None:
    """Refuse an unknown model before anything is loaded.  Raises FaceLLMError."""
    if not options.backend_url and options.model != "auto":
        importlib.import_module("facellm.registry").resolve(options.model, options.adapter)


def warm_up(model: Questions) -> None:
    """One token about a grey picture, so that the first visitor does not wait for lazy initialisation."""
    if gpu.ZERO:  # no GPU outside a request there
        return
    from PIL import Image

    sampling = importlib.import_module("facellm.sampling")
    faces = importlib.import_module("facellm.faces")
    grey = faces.view_face(Image.new("RGB", (224, 224), (128, 128, 128)), detect=False)
    rows = [Row(which, "Describe this image.") for which in model.which]
    with contextlib.closing(model.stream(grey, rows, sampling.Sampling(max_new_tokens=1), None)) as stream:
        for _ in stream:
            pass


# The host that serves this process: ZeroGPU runs module-level functions in a fork, which finds the model through it.
_serving: Host | None = None


def serve(host: Host) -> Host:
    """Make `host` the one that GPU functions use."""
    global _serving
    _serving = host
    return host


def _seconds(view: FaceView, rows: list[Row], sampling: Sampling, tiles: int) -> int:
    """GPU seconds to reserve: 20 steps a second is a slow eager decode, 10 s for what comes before."""
    return min(120, 10 + sampling.max_new_tokens // 20)


@gpu.on_gpu(duration=_seconds)
def _stream_on_gpu(view: FaceView, rows: list[Row], sampling: Sampling, tiles: int) -> Iterator[Delta]:
    yield from _serving.model.stream(view, rows, sampling, None, tiles)


@gpu.on_gpu(duration=lambda view, which: 30)
def _profiles_on_gpu(view: FaceView, which: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    yield _serving.model.profiles(view, which)
