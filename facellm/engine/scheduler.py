"""Who is computed next: requests of several callers, decoded together.

Input: requests (rows about one image) from any thread. Output: each caller's own deltas, in order. What this file
does not know: images, prompts, text of questions, attributes.

A lane is a set of rows that can share a batch: all of them where FaceLLM is an adapter; else base and FaceLLM have a
lane each, and the lanes take turns. Between two steps of a lane at most one waiting request joins it, so that nobody's
words stall for longer than one prompt takes to read; rows that are done, cancelled or no longer read leave. First come,
first served; a request that would exceed MAX_ROWS or the memory for keys and values waits, or joins in parts.

All work is done by one thread (model_thread), and only while some caller waits for words of his own: who stops reading
holds nobody up, and a picture that nobody looks at is not computed to its end.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from facellm.engine import model_thread
from facellm.engine.decode import Batch, Network
from facellm.engine.detokenize import TextStream
from facellm.engine.sampling import Sampling
from facellm.errors import FaceLLMError, out_of_memory
from facellm.results import Answer, Delta, Row

T = TypeVar("T")
MAX_ROWS = 32  # rows in one batch; more wait until some of these are done


class MemoryFullError(FaceLLMError):
    """The device's memory ran out; what could be freed was."""


class Live:
    """A row on its way: what the caller asked, and what came so far."""

    def __init__(self, index: int, row: Row, prompt: list[int], sampling: Sampling, tokenizer, started: float):
        self.index, self.row, self.prompt, self.sampling = index, row, prompt, sampling
        self.stream = TextStream(tokenizer)
        self.ids: list[int] = []
        self.started, self.first = started, None
        self.done = False

    @property
    def room(self) -> int:
        """Tokens that it may come to in the cache."""
        return len(self.prompt) + self.sampling.max_new_tokens

    def add(self, token: int, stops: frozenset[int]) -> Delta | None:
        """The row's next token; a Delta when there is something to show."""
        if self.first is None:
            self.first = time.perf_counter()
        if token in stops:
            return self.finish("stop")
        self.ids.append(token)
        text = self.stream.add(token)
        if len(self.ids) >= self.sampling.max_new_tokens:
            return self.finish("length", text)
        return Delta(self.index, text) if text else None

    def finish(self, reason: str, text: str = "") -> Delta:
        self.done = True
        text += self.stream.finish()
        seconds = time.perf_counter() - self.started
        answer = Answer(
            variant=self.row.variant,
            key=self.row.key,
            question=self.row.question,
            text=self.stream.text,
            tokens=len(self.ids),
            seconds=seconds,
            first_token_seconds=None if self.first is None else self.first - self.started,
            tokens_per_second=len(self.ids) / seconds if seconds > 0 else 0.0,
            finish_reason=reason,
            seed=self.sampling.seed,
            token_ids=tuple(self.ids),
        )
        return Delta(self.index, text, True, answer)


@dataclass(eq=False)
class Request:
    """What one caller asked. lives: its rows.  features: gives (image tokens, hidden) for a network, called with the
    model locked.  deltas: what he has not read yet."""

    lives: Sequence[Live]
    image_key: Hashable
    features: Callable[[Network], torch.Tensor]
    adapter: Callable[[Live], bool]
    cancel: threading.Event
    deltas: deque[Delta] = field(default_factory=deque)
    ended: int = 0  # rows whose last delta is among them or was
    error: Exception | None = None
    waits: bool = False  # its caller, for words
    left: bool = False  # its caller is gone

    @property
    def over(self) -> bool:
        """Whether nothing more will come. True only once the last delta is there: the caller looks at both unlocked."""
        return self.left or self.error is not None or self.ended == len(self.lives)

    @property
    def readable(self) -> bool:
        """Whether the caller has something to do before more is computed."""
        return bool(self.deltas) or self.over

    def give(self, delta: Delta) -> None:
        self.deltas.append(delta)
        self.ended += delta.done

    def end(self) -> None:
        """No further token: what is open ends as cancelled."""
        for live in self.lives:
            if not live.done:
                self.give(live.finish("cancelled"))


@dataclass(eq=False)
class Lane:
    """One batch and those who wait for it. `seats`: whose a row of the batch is."""

    network: Network
    batch: Batch
    budget: int  # tokens of keys and values, all rows together
    seats: dict[Live, Request] = field(default_factory=dict)
    waiting: deque[tuple[Request, deque[Live]]] = field(default_factory=deque)
    joined: bool = False  # the last thing that happened here was that somebody joined
    full: bool = False  # memory ran out when somebody wanted to join: nobody does before a row has left

    @property
    def busy(self) -> bool:
        return bool(self.seats or self.waiting)

    def room(self) -> int:
        """How many rows of the first request that waits can join now."""
        if not self.waiting or self.full or (self.joined and self.seats):
            return 0
        n, widest, fits = len(self.seats), max((live.room for live in self.seats), default=0), 0
        for live in self.waiting[0][1]:
            widest = max(widest, live.room)
            n += 1
            # All slots are as long as the longest, which is what is bounded. A row that has the lane to itself may try.
            if n > MAX_ROWS or (n * widest > self.budget and n > 1):
                break
            fits += 1
        return fits


@dataclass(eq=False)
class _Job:
    """A piece of work that wants the model to itself for a moment."""

    work: Callable[[], Any]
    done: bool = False
    result: Any = None
    error: Exception | None = None

    def run(self) -> None:
        try:
            self.result = self.work()
        except Exception as error:  # whatever it is, it is raised in the thread that waits for the result
            self.error = error
        self.done = True


class Scheduler:
    """Runs requests. Safe to use from any number of threads.

    lock: the model's, held while it runs.  stops: tokens that end an answer.  relieve: frees what can be freed when
    memory has run out.
    """

    def __init__(self, lock: threading.Lock, stops: frozenset[int], relieve: Callable[[], None]) -> None:
        self._model, self._stops, self._relieve = lock, stops, relieve
        self._lanes: dict[Hashable, Lane] = {}
        self._requests: list[Request] = []
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()  # guards everything here
        self._sweeping = False
        self._running = False  # the model thread is at it: the batches are its own until it says otherwise

    def add_lane(self, name: Hashable, lane: Lane) -> None:
        self._lanes[name] = lane

    @property
    def rows(self) -> int:
        """Rows that are being decoded now."""
        return sum(len(lane.seats) for lane in self._lanes.values())

    # -- the callers' side --------------------------------------------------------------------------------------

    def run(self, request: Request, lanes: dict[Hashable, Sequence[Live]]) -> Iterator[Delta]:
        """The request's deltas until all its rows are done. lanes: which rows go where.  Raises what the model did."""
        with self._changed:
            self._requests.append(request)
            for name, lives in lanes.items():
                self._lanes[name].waiting.append((request, deque(lives)))
        try:
            while True:
                while request.deltas:
                    yield request.deltas.popleft()
                if request.error is not None and not request.deltas:
                    raise request.error
                if request.over and not request.deltas:
                    return
                self._await(request)
        finally:
            self._leave(request)

    def alone(self, work: Callable[[], Any]) -> Any:
        """work()'s result, run between two steps with the model locked; it does not wait for anybody's last word."""
        job = _Job(lambda: self._run_model(work))
        with self._changed:
            self._jobs.append(job)
            self._wake()
            self._changed.wait_for(lambda: job.done)
        if job.error is not None:
            raise job.error
        return job.result

    def _await(self, request: Request) -> None:
        with self._changed:
            request.waits = True
            try:
                while not request.readable:
                    self._wake()
                    self._changed.wait()
            finally:
                request.waits = False

    def _wake(self) -> None:
        if not self._running:
            self._running = True
            try:
                model_thread.submit(self._work)
            except RuntimeError:
                self._running = False
                raise FaceLLMError("The program is ending, so nothing more is answered.") from None

    def _leave(self, request: Request) -> None:
        with self._changed:
            request.left = True
            if not self._running:
                self._sweep()

    # -- the model's side ---------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Steps for as long as somebody waits for one."""
        try:
            while True:
                with self._changed:
                    self._sweep()
                    self._changed.notify_all()
                    job = self._jobs.popleft() if self._jobs else None
                    lane = self._next_lane() if any(r.waits and not r.readable for r in self._requests) else None
                    if job is None and lane is None:
                        self._running = False
                        return
                if job is not None:
                    job.run()
                if lane is not None:
                    self._turn(lane)
        except Exception as error:  # a fault of this file must not leave everybody waiting for ever
            with self._changed:
                for request in self._requests:
                    request.error = error
                for job in self._jobs:
                    job.error, job.done = error, True
                self._jobs.clear()
                self._running = False
                self._changed.notify_all()

    def _run_model(self, work: Callable[[], T]) -> T:
        with self._model:
            return self._relieved(work)

    def _relieved(self, work: Callable[[], T]) -> T:
        """work()'s result.  Raises MemoryFullError, once what can be freed is, where there was no memory for it."""
        try:
            return work()
        except Exception as error:
            if not out_of_memory(error):
                raise
        self._relieve()  # outside of the handler, or the error's frames would keep their tensors alive
        raise MemoryFullError(
            "The device's memory is full; ask fewer questions at once, shorten the answers, or open a smaller model "
            "(with CUDA also --quantization nf4)."
        )

    def _sweep(self) -> None:
        """Let go of rows that nobody wants any more."""
        if self._sweeping:  # the garbage collector closed somebody's iterator right here; the loop below sees to it
            return
        self._sweeping = True
        try:
            for request in list(self._requests):
                if not request.over and request.cancel.is_set():
                    request.end()
            while any(r.over for r in self._requests):
                gone = {r for r in self._requests if r.over}
                self._requests = [r for r in self._requests if r not in gone]
                for lane in self._lanes.values():
                    lane.waiting = deque(item for item in lane.waiting if item[0] not in gone)
                    self._drop(lane, [live for live, r in lane.seats.items() if r in gone])
        finally:
            self._sweeping = False

    def _next_lane(self) -> Lane | None:
        """Lanes with something to do take turns."""
        for name, lane in list(self._lanes.items()):
            if lane.busy:
                self._lanes[name] = self._lanes.pop(name)
                return lane
        return None

    def _drop(self, lane: Lane, lives: Sequence[Live]) -> None:
        """These rows leave the batch. If that fails, all leave it, with the error: what it holds is not known any more.

        Without the model's lock: no forward pass is made, and a caller's thread may be here in the middle of somebody
        else's, when the garbage collector closes an iterator there.
        """
        if not lives:
            return
        lane.full = False
        for live in lives:
            del lane.seats[live]
        try:
            self._relieved(lambda: lane.batch.drop(set(lives)))
        except Exception as error:
            for request in set(lane.seats.values()):
                request.error = error
            lane.seats.clear()
            lane.batch.drop(set(lane.batch.alive))  # all of them: nothing is moved, so no memory is needed

    def _turn(self, lane: Lane) -> None:
        """Somebody joins, or everybody has one more token."""
        fits = lane.room()
        if fits:
            self._join(lane, fits)
            return
        lane.joined = False
        if not lane.seats:
            return
        try:
            tokens = self._run_model(lane.batch.step)
            self._hand_out(lane, list(lane.batch.alive), tokens)
        except Exception as error:  # each caller gets it; what the batch holds is not known any more
            for request in set(lane.seats.values()):
                request.error = error

    def _join(self, lane: Lane, fits: int) -> None:
        request, waiting = lane.waiting[0]
        lives = [waiting[i] for i in range(fits)]

        def join() -> list[int]:
            return lane.batch.join(
                lives,
                [live.prompt for live in lives],
                [request.adapter(live) for live in lives],
                request.features(lane.network),
                [live.sampling for live in lives],
                request.image_key,
            )

        try:
            tokens = self._run_model(join)
            lane.joined = True
            for live in lives:
                waiting.popleft()
                lane.seats[live] = request
            if not waiting:
                lane.waiting.popleft()
            self._hand_out(lane, lives, tokens)
        except Exception as error:  # the caller who wanted to join gets it; the others go on
            if isinstance(error, MemoryFullError) and any(r is not request for r in lane.seats.values()):
                lane.full = True  # with fewer rows beside it there may be enough
            else:
                request.error = error

    def _hand_out(self, lane: Lane, lives: Sequence[Live], tokens: Sequence[int]) -> None:
        finished = []
        for live, token in zip(lives, tokens, strict=True):
            request = lane.seats[live]
            delta = live.add(token, self._stops)
            if live.done:
                finished.append(live)
                # A single row is a conversation: its next turn begins with these tokens.
                if len(request.lives) == 1:
                    with contextlib.suppress(MemoryFullError):  # then that turn reads everything anew
                        self._run_model(lambda live=live: lane.batch.remember(live, live.ids))
            if delta is not None:
                request.give(delta)
        self._drop(lane, finished)
