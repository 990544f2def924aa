"""The model that the page asks: loaded in the background, or behind a server; every failure turned into a sentence.

Input: `Options`. Output: a status to show and streams of deltas. What this file does not know: Gradio's components,
photos' files, how an answer is made (that is `facellm`).
"""

from __future__ import annotations

import contextlib
import html
import importlib
import logging
import re
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from demo.page import texts
from demo.runtime import spaces
from demo.runtime.options import Options
from facellm.errors import FaceLLMError, out_of_memory
from facellm.results import Row

if TYPE_CHECKING:
    from facellm.api import Questions
    from facellm.engine.sampling import Sampling
    from facellm.results import Delta
    from facellm.vision.faces import FaceView

log = logging.getLogger("facellm.demo")

# What the loading thread does, in order; shown as "step 2 of 4". Behind a server there is less to do.
STEPS = ("Starting PyTorch", "Starting Transformers", "Reading the weights", "Warming up")
REMOTE_STEPS = ("Starting PyTorch", "Reaching the server")
# Seconds: a server's health is asked for at most so often, for all visitors together.
HEALTH_EVERY = 3.0
# An absolute path within a sentence; a URL's path is none.
_PATH = re.compile(r"(?<![\w:/\\.~-])(?:[A-Za-z]:[\\/]|/)[^\s'\",;:()]*[^\s'\",;:().]")


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
    if isinstance(error, importlib.import_module("gradio").Error):  # ZeroGPU's: no quota, no GPU free; some have tags
        return html.unescape(re.sub(r"<[^>]+>", "", error.message))
    if out_of_memory(error):
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
        if spaces.ZERO:
            yield from _stream_from_lease(view, rows, sampling, cancel, tiles)
        else:
            yield from self.model.stream(view, rows, sampling, cancel, tiles)

    def profiles(self, view: FaceView, variants: tuple[str, ...] | None = None) -> dict[str, dict]:
        """which -> `facellm.profile.Profile` as a dict, all in one pass; every model there is for None."""
        wanted = variants or self.variants
        found = next(_profiles_on_gpu(view, wanted)) if spaces.ZERO else self.model.profiles(view, wanted)
        return {name: profile.to_dict() for name, profile in found.items()}

    @property
    def variants(self) -> tuple[str, ...]:
        """The models that can be asked, FaceLLM first; both while none is loaded."""
        return tuple(reversed(self._model.variants)) if self._model is not None else ("facellm", "base")

    def card(self) -> dict:
        """What the loaded model is: LoadReport as a dict; empty while there is none.

        Visitors read it (page, report, votes), so of this machine's paths only the last name is left.
        """
        if self._model is None:
            return {}
        return {key: _without_paths(value) for key, value in self._model.report.to_dict().items()}


def _without_paths(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_without_paths(v) for v in value]
    if not isinstance(value, str):
        return value
    if PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute():
        return _last_name(value)
    return _PATH.sub(lambda found: _last_name(found.group()), value)


def _last_name(path: str) -> str:
    """A path's last part; of a folder in the hub's cache, which a commit names, the hub id."""
    parts = re.split(r"[\\/]+", path.rstrip("\\/"))
    cached = next((p for p in parts if p.startswith("models--")), None)
    return cached.removeprefix("models--").replace("--", "/") if cached else parts[-1]


def open_model(options: Options) -> Questions:
    """The model that the options name: a server's where there is a backend URL, else a local one."""
    if options.backend_url:
        return importlib.import_module("facellm.client.client").connect(options.backend_url, model=options.model)
    load = importlib.import_module("facellm").load
    # ZeroGPU lends a large card by the request: bitsandbytes would have to quantise anew inside each of them.
    quantization = "none" if spaces.ZERO else options.quantization
    return load(options.model, adapter=options.adapter, quantization=quantization, device=options.device)


def check_model_name(options: Options) -> None:
    """Refuse an unknown model before anything is loaded.  Raises FaceLLMError."""
    if not options.backend_url and options.model != "auto":
        importlib.import_module("facellm.weights.registry").resolve(options.model, options.adapter)


def warm_up(model: Questions) -> None:
    """One token about a grey picture, so that the first visitor does not wait for lazy initialisation."""
    if spaces.ZERO:  # no GPU outside a request there
        return
    from PIL import Image

    sampling = importlib.import_module("facellm.engine.sampling")
    faces = importlib.import_module("facellm.vision.faces")
    grey = faces.view_face(Image.new("RGB", (224, 224), (128, 128, 128)), detect=False)
    rows = [Row(variant, "Describe this image.") for variant in model.variants]
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


def _seconds(view: FaceView, rows: list[Row], sampling: Sampling, tiles: int, stop: str) -> int:
    """GPU seconds to reserve: 20 steps a second is a slow eager decode, 10 s for what comes before."""
    return min(120, 10 + sampling.max_new_tokens // 20)


def _stream_from_lease(
    view: FaceView, rows: list[Row], sampling: Sampling, cancel: threading.Event, tiles: int
) -> Iterator[Delta]:
    """`Host.stream` on a lent GPU. The fork sees no event of this process, so a file tells it to stop."""
    if cancel.is_set():  # no lease for nothing
        return
    with tempfile.TemporaryDirectory(prefix="facellm-") as folder:
        stop = Path(folder) / "stop"
        source = _stream_on_gpu(view, rows, sampling, tiles, str(stop))
        try:
            for delta in source:
                if cancel.is_set():
                    stop.touch()
                yield delta
        finally:
            stop.touch()  # before closing: that waits until the fork has come to its end, and the lease runs on
            source.close()


@spaces.on_gpu(duration=_seconds)
def _stream_on_gpu(view: FaceView, rows: list[Row], sampling: Sampling, tiles: int, stop: str) -> Iterator[Delta]:
    """Runs in the fork.  stop: a file whose appearance ends the answers within one token."""
    cancel = threading.Event()
    with _errors_that_cross():
        for delta in _serving.model.stream(view, rows, sampling, cancel, tiles):
            yield delta
            if Path(stop).exists():
                cancel.set()


@spaces.on_gpu(duration=lambda view, variants: 30)
def _profiles_on_gpu(view: FaceView, variants: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Runs in the fork."""
    with _errors_that_cross():
        yield _serving.model.profiles(view, variants)


@contextlib.contextmanager
def _errors_that_cross() -> Iterator[None]:
    """Every failure as gr.Error with its sentence: of any other, ZeroGPU hands on no more than the class's name."""
    try:
        yield
    except Exception as error:
        raise importlib.import_module("gradio").Error(sentence(error), print_exception=False) from None
