"""Answers the requests of many clients over one opened model, without knowing of HTTP.

Each request has a thread, whose text is handed to the event loop. A request whose client has gone is cancelled: the
engine computes no further token for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from facellm import policy
from facellm.api import FaceLLM
from facellm.engine.scheduler import MemoryFullError
from facellm.errors import FaceLLMError
from facellm.interface import face_of
from facellm.messages import build_messages, expand_image, render
from facellm.results import Answer, Row
from facellm.server.refusals import Refusal
from facellm.server.schemas import AnyRequest, ChatRequest, ProfilesRequest
from facellm.vision.faces import FaceView

log = logging.getLogger("facellm.server")

MAX_REQUESTS = 64  # under way at once; each waits for the model in a thread of its own


@dataclass(frozen=True)
class Seen:
    """The first event of an answer.

    Attributes:
        prompt_tokens: Of the whole prompt, the image included.
        face, notice: As in `Report`, so that the client learns in which `image_size` the box is measured.
    """

    prompt_tokens: int
    face: dict[str, Any] | None
    notice: str | None


@dataclass(frozen=True)
class End:
    """The last event of an answer.

    Attributes:
        reason: "stop", "length" or "cancelled".
        text: All that was shown.
        answer: What the model said, stop texts and all.
    """

    reason: str
    text: str
    answer: Answer


class StopText:
    """Cuts an answer at the first of the texts in `stops`; holds back what may become one of them."""

    def __init__(self, stops: tuple[str, ...]):
        self.stops, self.hit, self._held = stops, False, ""

    def add(self, text: str, done: bool = False) -> str:
        """Returns what may be handed on now that `text` has come too."""
        if self.hit:
            return ""
        self._held += text
        places = [i for s in self.stops if (i := self._held.find(s)) >= 0]
        if places:
            self.hit = True
            return self._held[: min(places)]
        keep = 0
        if not done:
            longest = min(len(self._held), max(map(len, self.stops), default=1) - 1)
            ends = (n for n in range(longest, 0, -1) if any(s.startswith(self._held[-n:]) for s in self.stops))
            keep = next(ends, 0)
        cut = len(self._held) - keep
        out, self._held = self._held[:cut], self._held[cut:]
        return out


@dataclass
class Counts:
    """What /health tells; `tokens` were written for all requests, cancelled ones included."""

    active: int = 0
    answered: int = 0
    cancelled: int = 0
    failed: int = 0
    tokens: int = 0


class Service:
    """One model for many clients; `sensitive` says whether ethnicity and emotion may be asked about."""

    def __init__(self, model: FaceLLM, sensitive: bool = True):
        self.model, self.sensitive = model, sensitive
        self.counts = Counts()
        self.closed = False
        self._lock = threading.Lock()
        self._cancels: set[threading.Event] = set()
        self._threads = ThreadPoolExecutor(MAX_REQUESTS, thread_name_prefix="facellm-serve")

    def close(self) -> None:
        """Cancels all requests and waits for their threads."""
        with self._lock:
            self.closed = True
            for cancel in self._cancels:
                cancel.set()
        self._threads.shutdown()

    def check_ready(self) -> None:
        """Raises Refusal (503) where a new request would not be taken."""
        if self.closed:
            raise Refusal("The server is being stopped.", status=503, kind="server_error")
        if self.counts.active >= MAX_REQUESTS:
            sentence = f"{MAX_REQUESTS} requests are under way; try again in a moment."
            raise Refusal(sentence, status=503, kind="server_error")

    def answer(self, request: ChatRequest, variant: str, cancel: threading.Event) -> AsyncGenerator[Any, None]:
        """Asks "base" or "facellm", as `variant` says, until `cancel` is set.

        Returns:
            An iterator over `Seen` (before it nothing can have been shown), text as it grows, and `End`. It raises
            Refusal where the answer fails; closing it cancels the request.

        Raises:
            Refusal: For a question that the operator switched off.
        """
        row = request.row(variant)
        if not policy.allowed(row.question, self.sensitive):
            raise Refusal(policy.REFUSED, "messages", code="sensitive_off")
        return self._events(lambda put: self._answer(request, row, cancel, put), cancel)

    async def profiles(self, request: ProfilesRequest, variants: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Measures the profiles of the models in `variants`: {served name: "base" or "facellm"}.

        Returns:
            {served name: Profile.to_dict()}.

        Raises:
            Refusal: Where they cannot be measured.
        """

        def work(put: Callable[[Any], None]) -> None:
            found = self.model.profiles(self._view(request), tuple(dict.fromkeys(variants.values())))
            put({name: found[variant].to_dict() for name, variant in variants.items()})
            with self._lock:
                self.counts.answered += 1

        return [event async for event in self._events(work, threading.Event())][-1]

    async def _events(
        self, work: Callable[[Callable[[Any], None]], None], cancel: threading.Event
    ) -> AsyncGenerator[Any, None]:
        """Runs `work` in a thread and yields what it puts.  Raises Refusal."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[Any]()

        def put(event: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is there to read
                loop.call_soon_threadsafe(queue.put_nowait, event)

        def run() -> None:
            try:
                work(put)
                put(None)
            except Exception as error:  # a thread's last frame: the client gets a sentence, whatever happened
                with self._lock:
                    self.counts.failed += 1
                put(refusal_for(error))
            finally:
                with self._lock:
                    self.counts.active -= 1
                    self._cancels.discard(cancel)

        with self._lock:
            self.check_ready()
            self.counts.active += 1
            self._cancels.add(cancel)
        self._threads.submit(run)
        try:
            while (event := await queue.get()) is not None:
                if isinstance(event, Refusal):
                    raise event
                yield event
        finally:
            cancel.set()

    def _answer(self, request: ChatRequest, row: Row, cancel: threading.Event, put: Callable[[Any], None]) -> None:
        view, tiles = self._view(request), request.facellm.tiles
        screen, stops = policy.Screen(self.sensitive), StopText(tuple(request.stop))
        stream: Any = self.model.stream(view, [row], request.sampling, cancel, tiles)  # a generator
        with contextlib.closing(stream) as deltas:
            put(Seen(self._prompt_tokens(row, view, tiles), face_of(view), view.notice))
            for delta in deltas:
                if text := screen.add(stops.add(delta.text, delta.done), delta.done):
                    put(text)
                if stops.hit:
                    cancel.set()
                if delta.answer is not None:
                    reason = "stop" if stops.hit else delta.answer.finish_reason
                    with self._lock:
                        self.counts.tokens += delta.answer.tokens
                        self.counts.cancelled += reason == "cancelled"
                        self.counts.answered += reason != "cancelled"
                    put(End(reason, screen.text, delta.answer))

    def _view(self, request: AnyRequest) -> FaceView:
        return self.model.view(request.file, request.facellm.face, not request.facellm.crop)

    def _prompt_tokens(self, row: Row, view: FaceView, tiles: int) -> int:
        processor = self.model.loaded.processor
        count = 1 if tiles == 1 else len(processor.pixels(view.image, tiles))
        text = expand_image(processor, render(processor, build_messages(row.question, row.history, row.system)), count)
        return len(processor.tokenizer(text, add_special_tokens=False)["input_ids"])


def refusal_for(error: Exception) -> Refusal:
    """Returns what a client is told about a failure; what nobody foresaw goes to the log under a reference."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, MemoryFullError):  # caches were freed meanwhile: the same request may work now
        return Refusal(str(error), status=503, kind="server_error", code="out_of_memory")
    if isinstance(error, FaceLLMError):
        return Refusal(str(error))
    reference = uuid.uuid4().hex[:8]
    log.error("reference %s", reference, exc_info=error)
    sentence = f"Something went wrong in the server; its log has the details under the reference {reference}."
    return Refusal(sentence, status=500, kind="server_error", code="internal_error")
