"""Answers requests of many clients over one opened model: a thread for each, its text handed to the event loop.

Input: an opened FaceLLM, `Asked` and `Profiled`. Output: events (what is seen, text, the end) in the loop's thread.
What this file does not know: HTTP, JSON.

A request whose client has gone is cancelled: the engine computes no further token for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from facellm import policy
from facellm.api import FaceLLM, face_of
from facellm.engine.scheduler import MemoryFullError
from facellm.errors import FaceLLMError
from facellm.messages import build_messages, expand_image, render
from facellm.results import Answer, Row
from facellm.server.requests import Asked, Look, Profiled, Refusal
from facellm.vision.faces import FaceView

log = logging.getLogger("facellm.server.app")

MAX_REQUESTS = 64  # under way at once; each waits for the model in a thread of its own


@dataclass(frozen=True)
class Seen:
    """The first event. prompt_tokens: of the whole prompt, image included.  face, notice: as in Report, so that the
    client learns in which `image_size` the box is measured."""

    prompt_tokens: int
    face: dict[str, Any] | None
    notice: str | None


@dataclass(frozen=True)
class Text:
    """More of the answer."""

    text: str


@dataclass(frozen=True)
class End:
    """The last event. reason: "stop", "length" or "cancelled".  text: all that was shown."""

    reason: str
    text: str
    answer: Answer


class StopText:
    """Cuts an answer at the first of the texts in `stops`; holds back what may become one of them."""

    def __init__(self, stops: tuple[str, ...]):
        self.stops, self.hit, self._held = stops, False, ""

    def add(self, text: str, done: bool = False) -> str:
        """What may be handed on."""
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
    """What /health tells. tokens: written for all requests, cancelled ones too."""

    active: int = 0
    answered: int = 0
    cancelled: int = 0
    failed: int = 0
    tokens: int = 0


class Served:
    """One model for many clients.  sensitive: whether ethnicity and emotion may be asked about."""

    def __init__(self, model: FaceLLM, sensitive: bool = True):
        self.model, self.sensitive = model, sensitive
        self.counts = Counts()
        self._lock = threading.Lock()
        self._cancels: set[threading.Event] = set()
        self._threads = ThreadPoolExecutor(MAX_REQUESTS, thread_name_prefix="facellm-serve")

    def close(self) -> None:
        """Cancel all requests and wait for their threads."""
        with self._lock:
            cancels = list(self._cancels)
        for cancel in cancels:
            cancel.set()
        self._threads.shutdown()

    def answer(self, asked: Asked, cancel: threading.Event) -> AsyncIterator[Seen | Text | End]:
        """Seen, Texts, End; before Seen nothing can have been shown.  Raises Refusal.  Closing it cancels too."""
        if not policy.allowed(asked.row.question, self.sensitive):
            raise Refusal(policy.REFUSED, "messages", code="sensitive_off")
        return self._events(lambda put: self._answer(asked, cancel, put), cancel)

    async def profiles(self, asked: Profiled, cancel: threading.Event) -> dict[str, dict[str, Any]]:
        """{served name: Profile.to_dict()}.  Raises Refusal."""

        def work(put: Callable[[Any], None]) -> None:
            view = self._view(asked.look)
            found = self.model.profiles(view, tuple(dict.fromkeys(asked.models.values())))
            put({name: found[variant].to_dict() for name, variant in asked.models.items()})
            with self._lock:
                self.counts.answered += 1

        return [event async for event in self._events(work, cancel)][-1]

    async def _events(self, work: Callable[[Callable], None], cancel: threading.Event) -> AsyncIterator[Any]:
        loop, queue = asyncio.get_running_loop(), asyncio.Queue()

        def put(event: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is there to read
                loop.call_soon_threadsafe(queue.put_nowait, event)

        def run() -> None:
            try:
                work(put)
                put(None)
            except Exception as error:  # a thread's last frame: the client gets a sentence, whatever happened
                put(self._refusal(error))
            finally:
                with self._lock:
                    self.counts.active -= 1
                    self._cancels.discard(cancel)

        with self._lock:
            if self.counts.active >= MAX_REQUESTS:
                raise Refusal(
                    f"{MAX_REQUESTS} requests are under way; try again in a moment.", status=503, kind="server_error"
                )
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

    def _answer(self, asked: Asked, cancel: threading.Event, put: Callable[[Any], None]) -> None:
        view = self._view(asked.look)
        screen, stops = policy.Screen(self.sensitive), StopText(asked.stop)
        with contextlib.closing(
            self.model.stream(view, [asked.row], asked.sampling, cancel, asked.look.tiles)
        ) as deltas:
            put(Seen(self._prompt_tokens(asked.row, view, asked.look.tiles), face_of(view), view.notice))
            for delta in deltas:
                text = screen.add(stops.add(delta.text, delta.done), delta.done)
                if text:
                    put(Text(text))
                if stops.hit:
                    cancel.set()
                if delta.done:
                    reason = "stop" if stops.hit else delta.answer.finish_reason
                    with self._lock:
                        self.counts.tokens += delta.answer.tokens
                        self.counts.cancelled += reason == "cancelled"
                        self.counts.answered += reason != "cancelled"
                    put(End(reason, screen.text, delta.answer))

    def _view(self, look: Look) -> FaceView:
        return self.model.view(look.image, look.face, not look.crop)

    def _prompt_tokens(self, row: Row, view: FaceView, tiles: int) -> int:
        processor = self.model.loaded.processor
        count = 1 if tiles == 1 else len(processor.pixels(view.image, tiles))
        text = expand_image(processor, render(processor, build_messages(row.question, row.history, row.system)), count)
        return len(processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _refusal(self, error: Exception) -> Refusal:
        with self._lock:
            self.counts.failed += 1
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
