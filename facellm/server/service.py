"""Answers the requests of many clients over one opened model, without knowing of HTTP.

Each request has a thread, whose text is handed to the event loop. A request whose client has gone is cancelled: the
engine computes no further token for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from facellm import policy
from facellm.api import FaceLLM
from facellm.engine.scheduler import MemoryFullError
from facellm.errors import FaceLLMError, ParameterError, StoppedError
from facellm.interface import face_of
from facellm.messages import build_messages, expand_image, render
from facellm.profile import KNOWN_FIELDS
from facellm.results import Answer, Delta, Row, TokenLogprob
from facellm.server.limits import MAX_REQUESTS, Decoding
from facellm.server.operators.logs import REQUEST_ID
from facellm.server.refusals import Refusal
from facellm.server.schemas import AnyRequest, ChatRequest, ChoicesRequest, ExplanationsRequest, ProfilesRequest
from facellm.typed.question import TypedQuestion
from facellm.vision.faces import FaceView

log = logging.getLogger("facellm.server")


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
class Piece:
    """New text of the choice with this index, and the log-probabilities of its tokens where they are told."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class End:
    """The last event of a choice.

    Attributes:
        index: Of the choice.
        reason: "stop", "length" or "cancelled".
        text: All that was shown.
        answer: What the model said, stop texts and all.
        logprobs: Of the tokens that were shown.
    """

    index: int
    reason: str
    text: str
    answer: Answer
    logprobs: tuple[TokenLogprob, ...] = ()


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


class Choice:
    """One answer of a request on its way to the client: cut at stop texts, screened, with the tokens that remain.

    Attributes:
        over: Whether nothing more of it will be shown.
        cancelled: Whether it ended before its end.
    """

    def __init__(self, index: int, request: ChatRequest, sensitive: bool):
        self.index, self.over, self.cancelled = index, False, False
        self._stops = StopText(tuple(request.stop))
        self._screen = policy.Screen(sensitive, request.as_json)
        self._tokens: list[TokenLogprob] = []  # all that came
        self._told = 0  # of them, how many went out
        self._passed = 0  # characters that the stop texts let pass

    def add(self, delta: Delta) -> Piece | None:
        """Returns what may be shown now that `delta` has come too."""
        self._tokens += delta.logprobs
        passed = self._stops.add(delta.text, delta.done)
        self._passed += len(passed)
        text = self._screen.add(passed, delta.done)
        self.over = self._stops.hit or delta.done
        tokens = self._shown(self._told)
        self._told += len(tokens)
        return Piece(self.index, text, tokens) if text or tokens else None

    def end(self, answer: Answer) -> End:
        """Returns the last event."""
        reason = "stop" if self._stops.hit else answer.finish_reason
        self.cancelled = reason == "cancelled"
        return End(self.index, reason, self._screen.text, answer, self._shown())

    def _shown(self, start: int = 0) -> tuple[TokenLogprob, ...]:
        return tuple(t for t in self._tokens[start:] if t.start < self._passed)


@dataclass
class Counts:
    """What /health and /metrics tell; tokens were read and written for all requests, cancelled ones included."""

    active: int = 0
    answered: int = 0
    cancelled: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    tokens: int = 0


class Service:
    """One model for many clients; `sensitive` says whether ethnicity and emotion may be asked about."""

    def __init__(self, model: FaceLLM, sensitive: bool = True):
        self.model, self.sensitive = model, sensitive
        self.counts = Counts()
        self._decoding = Decoding()
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
            An iterator over `Seen` (before it nothing can have been shown), for each choice `Piece`s as it grows, and
            an `End`. It raises Refusal where the answer fails; closing it cancels the request.

        Raises:
            Refusal: For a question, or a form of its answer, that the operator switched off.
        """
        row = request.row(variant)
        if not policy.allowed(row.question, self.sensitive):
            raise Refusal(policy.REFUSED, "messages", code="sensitive_off")
        if request.as_json and not policy.allowed(
            json.dumps(request.response_format, ensure_ascii=False), self.sensitive
        ):
            raise Refusal(policy.REFUSED, "response_format", code="sensitive_off")
        if request.logprobs and not self.sensitive:
            sentence = "Log-probabilities would tell words that the operator switched off (FACELLM_SENSITIVE=off)."
            raise Refusal(sentence, "logprobs", code="sensitive_off")
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

    async def choices(self, request: ChoicesRequest, variants: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
        """Scores the options of typed questions for the models in `variants`: {served name: "base" or "facellm"}.

        Returns:
            {served name: [{"ask": question, "scores": {option: nats}}, ...]}.

        Raises:
            Refusal: Where they cannot be scored, or the operator switched a question off.
        """
        asked = request.typed
        if not all(policy.allowed(question.question, self.sensitive) for question in asked):
            raise Refusal(policy.REFUSED, "questions", code="sensitive_off")

        def work(put: Callable[[Any], None]) -> None:
            kinds = tuple(dict.fromkeys(variants.values()))
            found = self.model.option_scores(self._view(request), asked, kinds, request.blank)
            put(
                {
                    name: [
                        {"ask": question.ask, "scores": dict(zip(question.options, scores, strict=True))}
                        for question, scores in zip(asked, found[variant], strict=True)
                    ]
                    for name, variant in variants.items()
                }
            )
            with self._lock:
                self.counts.answered += 1

        return [event async for event in self._events(work, threading.Event())][-1]

    async def explanations(
        self, request: ExplanationsRequest, variants: Mapping[str, str], cancel: threading.Event
    ) -> dict[str, dict[str, Any]]:
        """Explains the answers of the models in `variants`, {served name: "base" or "facellm"}, until `cancel` is set.

        Returns:
            {served name: Explanation.to_dict()}.

        Raises:
            Refusal: Where they cannot be explained, or the operator switched the question off.
        """
        asked = request.asked
        if isinstance(asked, TypedQuestion):
            allowed = policy.allowed(asked.question, self.sensitive)
        else:
            allowed = self.sensitive or not any(f.sensitive for f in KNOWN_FIELDS if f.key == asked)
        if not allowed:
            raise Refusal(policy.REFUSED, "field" if request.question is None else "question", code="sensitive_off")

        def work(put: Callable[[Any], None]) -> None:
            kinds, view = tuple(dict.fromkeys(variants.values())), self._view(request, cancel)
            try:
                found = self.model.explain(view, asked, request.label, kinds, side=request.side, cancel=cancel)
            except StoppedError:
                raise Refusal("The client has gone.", status=499) from None
            put({name: found[variant].to_dict() for name, variant in variants.items()})
            with self._lock:
                self.counts.answered += 1

        return [event async for event in self._events(work, cancel)][-1]

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
        self._threads.submit(contextvars.copy_context().run, run)  # so that log lines of the thread have the id
        try:
            while (event := await queue.get()) is not None:
                if isinstance(event, Refusal):
                    raise event
                yield event
        finally:
            cancel.set()

    def _answer(self, request: ChatRequest, row: Row, cancel: threading.Event, put: Callable[[Any], None]) -> None:
        view, tiles, sampling = self._view(request, cancel), request.facellm.tiles, request.sampling
        choices = [Choice(i, request, self.sensitive) for i in range(request.n)]
        left = len(choices)  # that have not ended
        rows = [replace(row, seed=(sampling.seed + i) % 2**63) for i in range(request.n)]
        try:
            stream: Any = self.model.stream(view, rows, sampling, cancel, tiles)  # a generator
        except ParameterError as error:
            raise request.refusal(error) from None
        with contextlib.closing(stream) as deltas:
            prompt_tokens = self._prompt_tokens(row, view, tiles)
            with self._lock:
                self.counts.prompt_tokens += prompt_tokens
            put(Seen(prompt_tokens, face_of(view), view.notice))
            for delta in deltas:
                choice = choices[delta.row]
                if piece := choice.add(delta):
                    put(piece)
                if all(c.over for c in choices):
                    cancel.set()
                if delta.answer is not None:
                    end = choice.end(delta.answer)
                    left -= 1
                    with self._lock:
                        self.counts.tokens += delta.answer.tokens
                        self.counts.cancelled += not left and any(c.cancelled for c in choices)
                        self.counts.answered += not left and not any(c.cancelled for c in choices)
                    put(end)

    def _view(self, request: AnyRequest, cancel: threading.Event | None = None) -> FaceView:
        with self._decoding.room_for(request.file):
            if cancel is not None and cancel.is_set():  # while it waited for memory
                raise Refusal("The client has gone.", status=499)
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
    if isinstance(error, ParameterError):
        return Refusal(str(error), error.parameter)
    if isinstance(error, FaceLLMError):
        return Refusal(str(error))
    reference = REQUEST_ID.get() or uuid.uuid4().hex[:8]
    log.error("reference %s", reference, exc_info=error)
    sentence = f"Something went wrong in the server; its log has the details under the reference {reference}."
    return Refusal(sentence, status=500, kind="server_error", code="internal_error")
