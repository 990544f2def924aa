"""The model that the page asks: loaded in the background, or behind a server; every failure turned into a sentence."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from demo.runtime import lease, spaces
from demo.runtime.options import Options
from demo.runtime.sentences import sentence, without_paths
from facellm.errors import FaceLLMError
from facellm.results import Row

if TYPE_CHECKING:
    from facellm.engine.sampling import Sampling
    from facellm.interface import Questions
    from facellm.results import Delta
    from facellm.typed.explanation import Explanation
    from facellm.typed.question import Choice, TypedQuestion
    from facellm.vision.faces import FaceView

# What the loading thread does, in order; shown as "step 2 of 4". Behind a server there is less to do.
STEPS = ("Starting PyTorch", "Starting Transformers", "Reading the weights", "Warming up")
REMOTE_STEPS = ("Starting PyTorch", "Reaching the server")
# Seconds: a server's health is asked for at most so often, for all visitors together.
HEALTH_EVERY = 3.0


@dataclass(frozen=True)
class Status:
    """How far the model is.

    Attributes:
        message: For the page: the step, the model's name once it is ready, or why it failed.
        step: Number of the step under way, from 1.
        steps: How many steps there are.
        seconds: Since loading began; once it has ended, how long it took.
    """

    state: Literal["idle", "loading", "ready", "failed"]
    message: str = ""
    step: int = 0
    steps: int = len(STEPS)
    seconds: float = 0.0


class Host:
    """Loads one model in a thread and streams from it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.steps = REMOTE_STEPS if options.backend_url else STEPS
        self._model: Questions | None = None
        self._state = Status("idle", "The model has not been started.")
        self._since = time.monotonic()
        self._lock = threading.Lock()
        self._settled = threading.Event()
        self._health: tuple[float, str] = (float("-inf"), "")
        self._asking = threading.Lock()
        self._failure = ""

    def start(self) -> None:
        """Begins loading; does nothing while loading or once ready.

        ZeroGPU lends its GPU per thread and takes only weights that the main thread had put there before the page was
        served, so on it this returns when the model is there.
        """
        with self._lock:
            if self._state.state in ("loading", "ready"):
                return
            self._settled.clear()
            self._since = time.monotonic()
            self._step(0)
        if spaces.ZERO:
            self._load()
        else:
            threading.Thread(target=self._load, name="facellm-load", daemon=True).start()

    def _step(self, i: int) -> None:
        self._state = Status("loading", self.steps[i], i + 1, len(self.steps))

    def _load(self) -> None:
        steps = len(self.steps)
        try:
            import torch  # noqa: F401 - the slow imports are steps of their own

            self._step(1)
            if not self.options.backend_url:
                import transformers  # noqa: F401

                self._step(2)
            # bitsandbytes would have to quantise anew inside each lease; the lent card is large enough without.
            options = replace(self.options, quantization="none") if spaces.ZERO else self.options
            model = options.open()
            if not self.options.backend_url and not spaces.ZERO:  # which has no GPU outside a request
                self._step(3)
                warm_up(model)
            self._model = lease.model = model
            self._state = Status("ready", model.report.name, steps, steps, time.monotonic() - self._since)
        except BaseException as error:  # a thread's last frame: whatever happened must reach the page as a sentence
            self._state = Status("failed", sentence(error), 0, steps, time.monotonic() - self._since)
        finally:
            self._settled.set()

    @property
    def status(self) -> Status:
        """How far the model is now."""
        s = self._state
        return replace(s, seconds=time.monotonic() - self._since) if s.state == "loading" else s

    @property
    def model(self) -> Questions:
        """The loaded model.

        Raises:
            FaceLLMError: Saying why, while there is none.
        """
        if self._model is None:
            s = self.status
            raise FaceLLMError(s.message if s.state == "failed" else "The model is still loading: try again shortly.")
        return self._model

    @property
    def variants(self) -> tuple[str, ...]:
        """The models that can be asked, FaceLLM first; both while none is loaded."""
        return tuple(reversed(self._model.variants)) if self._model is not None else ("facellm", "base")

    @property
    def answers(self) -> tuple[str, ...]:
        """Intents that the model was measured to answer well; none while none is loaded."""
        return self._model.answers if self._model is not None else ()

    def wait(self, cancel: threading.Event | None = None, every: float = 0.3) -> Iterator[Status]:
        """Yields the status until the model is ready (at once if it is) or `cancel` is set.

        Raises:
            FaceLLMError: Where loading failed.
        """
        while not self._settled.wait(every):
            if cancel is not None and cancel.is_set():
                return
            yield self.status
        self.model  # noqa: B018 - raises where loading failed

    def trouble(self) -> str:
        """Returns why the server cannot be asked just now; "" where it can, and for a model in this process.

        A server that was away when the page started is tried again. Blocks for up to five seconds.
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
                    found = self._model.health()  # type: ignore[attr-defined]
                    self._health = (time.monotonic(), "" if found.ok else without_paths(found.message))
            finally:
                self._asking.release()
        return self._health[1]

    def stream(
        self, view: FaceView, rows: Sequence[Row], sampling: Sampling, cancel: threading.Event, tiles: int = 1
    ) -> Generator[Delta, None, None]:
        """Yields the text of all rows as it grows. Closing the generator or setting `cancel` stops within one token."""
        source = lease.stream if spaces.ZERO else self.model.stream
        yield from source(view, rows, sampling, cancel, tiles)

    def profiles(self, view: FaceView, variants: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
        """Scores all labels in one pass; every model there is for None.

        Returns:
            variant -> `facellm.profile.Profile.to_dict()`.
        """
        source = lease.profiles if spaces.ZERO else self.model.profiles
        return {name: profile.to_dict() for name, profile in source(view, variants or self.variants).items()}

    def choose(self, view: FaceView, question: TypedQuestion) -> dict[str, Choice]:
        """How likely each answer to a question of the visitor's own is, by every model there is.

        Args:
            view: What the model is shown.
            question: The question and its options.

        Returns:
            variant -> its choice, FaceLLM first.

        Raises:
            FaceLLMError: The model is not there, or its server does not tell.
        """
        if spaces.ZERO:
            raise FaceLLMError("Answers of your own cannot be scored on ZeroGPU: start the page elsewhere for them.")
        found = self.model.choose(view, question)
        return {variant: found[variant][0] for variant in self.variants}

    def explain(
        self,
        view: FaceView,
        question: str | TypedQuestion,
        variant: str,
        label: str | None,
        cancel: threading.Event,
    ) -> Explanation:
        """Which regions of the picture one model's answer hangs on.

        Args:
            view: What the model is shown.
            question: Key of a profile field, or a question of the visitor's own.
            variant: Who is asked.
            label: The answer to explain; None explains the likeliest.
            cancel: Ends the work soon after it is set.

        Raises:
            FaceLLMError: The model is not there, or its server cannot tell.
            StoppedError: Once `cancel` is set.
        """
        if spaces.ZERO:
            raise FaceLLMError("Answers cannot be explained on ZeroGPU: start the page elsewhere for that.")
        return self.model.explain(view, question, label, (variant,), cancel=cancel)[variant]

    def card(self) -> dict[str, Any]:
        """Returns what the loaded model is, for visitors: its LoadReport as a dict, empty while there is none."""
        report = self._model.report.to_dict() if self._model is not None else {}
        return {key: _cleaned(value) for key, value in report.items()}


def _cleaned(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_cleaned(v) for v in value]
    return without_paths(value) if isinstance(value, str) else value


def warm_up(model: Questions) -> None:
    """Asks for one token about a grey picture, so that the first visitor does not wait for lazy initialisation."""
    from PIL import Image

    from facellm.engine.sampling import Sampling
    from facellm.vision.faces import view_face

    grey = view_face(Image.new("RGB", (224, 224), (128, 128, 128)), detect=False)
    rows = [Row(variant, "Describe this image.") for variant in model.variants]
    for _ in model.stream(grey, rows, Sampling(max_new_tokens=1)):
        pass
