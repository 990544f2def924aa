"""Continuous batching: decides which sequences of which requests are computed next, together.

A batch queue is one batch and the requests that wait for it: one for all sequences where FaceLLM is an adapter, else
one for base and one for FaceLLM, which take turns. Between two steps of a batch at most one waiting request joins it,
so that nobody's text stalls for longer than one prefill takes; sequences that are done, cancelled or no longer read
leave. First come, first served; a request that would exceed MAX_ROWS or the memory for keys and values waits, or joins
in parts.

All work is done by one thread (`model_thread`), and only while some caller waits for a delta: who stops reading holds
nobody up, and what nobody reads is not computed to its end.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from facellm.engine import model_thread
from facellm.engine.decode import Batch
from facellm.engine.sequence import Request, RunningSequence
from facellm.errors import FaceLLMError, out_of_memory
from facellm.results import Delta

T = TypeVar("T")
MAX_ROWS = 32  # sequences in one batch; more wait until some of these are done


class MemoryFullError(FaceLLMError):
    """The device's memory ran out; what could be freed was."""


@dataclass(eq=False)
class BatchQueue:
    """One batch, and the requests that wait to join it.

    Attributes:
        batch: What is decoded together.
        budget: Tokens of keys and values that all its sequences together may take.
        owners: The request of each running sequence.
        waiting: Requests, each with those of its sequences that have not joined yet.
        joined: Whether the last thing that happened here was a join.
        full: Whether memory ran out at a join; nobody joins before a sequence has left.
    """

    batch: Batch
    budget: int
    owners: dict[RunningSequence, Request] = field(default_factory=dict)
    waiting: deque[tuple[Request, deque[RunningSequence]]] = field(default_factory=deque)
    joined: bool = False
    full: bool = False

    def admissible(self) -> int:
        """Returns how many sequences of the first request that waits can join now."""
        if not self.waiting or self.full or (self.joined and self.owners):
            return 0
        count = len(self.owners)
        longest, fits = max((s.max_tokens for s in self.owners), default=0), 0
        for sequence in self.waiting[0][1]:
            longest = max(longest, sequence.max_tokens)
            count += 1
            # All slots are as long as the longest, which is what is bounded. A sequence on its own may always try.
            if count > MAX_ROWS or (count * longest > self.budget and count > 1):
                break
            fits += 1
        return fits


class Scheduler:
    """Runs requests. Safe to use from any number of threads.

    Attributes:
        queues: The batch queues by the key of the batch.
        eos: Ids of the tokens that end an answer.
    """

    def __init__(
        self,
        lock: threading.Lock,
        eos: frozenset[int],
        free_memory: Callable[[], None],
        queues: Mapping[Hashable, BatchQueue],
    ) -> None:
        """Starts nothing yet.

        Args:
            lock: The model's, held while it runs.
            eos: Ids of the tokens that end an answer.
            free_memory: Frees what can be freed when memory has run out.
            queues: The batch queues by the key of the batch.
        """
        self.queues, self.eos = dict(queues), eos
        self._lock, self._free_memory = lock, free_memory
        self._requests: list[Request] = []
        self._jobs: deque[tuple[Future, Callable[[], Any]]] = deque()
        self._changed = threading.Condition()  # guards everything here
        self._sweeping = False
        self._working = False  # the model thread is at it: the batches are its own until it says otherwise

    @property
    def running(self) -> int:
        """How many sequences are being decoded now."""
        return sum(len(queue.owners) for queue in self.queues.values())

    @property
    def waiting(self) -> int:
        """How many sequences wait to join a batch."""
        return sum(len(sequences) for queue in list(self.queues.values()) for _, sequences in list(queue.waiting))

    # -- the callers' side --------------------------------------------------------------------------------------

    def run(self, request: Request, sequences: Mapping[Hashable, Sequence[RunningSequence]]) -> Iterator[Delta]:
        """Runs a request.

        Args:
            request: What is asked.
            sequences: Its sequences by the key of the batch that they join.

        Yields:
            Deltas until all sequences are done.

        Raises:
            Exception: What the model raised; MemoryFullError where memory ran out.
        """
        with self._changed:
            self._requests.append(request)
            for key, own in sequences.items():
                self.queues[key].waiting.append((request, deque(own)))
        try:
            while True:
                while request.deltas:
                    yield request.deltas.popleft()
                if request.finished and not request.deltas:
                    if request.error is not None:
                        raise request.error
                    return
                with self._changed:
                    request.waiting = True
                    try:
                        while not request.readable:
                            self._wake()
                            self._changed.wait()
                    finally:
                        request.waiting = False
        finally:
            with self._changed:
                request.abandoned = True
                if not self._working:
                    self._sweep()

    def exclusive(self, work: Callable[[], T]) -> T:
        """Runs `work` between two steps with the model locked, without waiting for any request's end.

        Raises:
            Exception: What `work` raised; MemoryFullError where memory ran out.
        """
        job: Future = Future()
        with self._changed:
            self._jobs.append((job, work))
            self._wake()
        return job.result()

    def _wake(self) -> None:
        if not self._working:
            self._working = True
            try:
                model_thread.submit(self._work)
            except RuntimeError:
                self._working = False
                raise FaceLLMError("The program is ending, so nothing more is answered.") from None

    # -- the model's side ---------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Steps for as long as somebody waits for one."""
        try:
            while True:
                with self._changed:
                    self._sweep()
                    self._changed.notify_all()
                    job = self._jobs.popleft() if self._jobs else None
                    wanted = any(r.waiting and not r.readable for r in self._requests)
                    queue = self._next_queue() if wanted else None
                    if job is None and queue is None:
                        self._working = False
                        return
                if job is not None:
                    self._do(*job)
                if queue is not None:
                    self._turn(queue)
        except Exception as error:  # a fault of this file must not leave everybody waiting for ever
            with self._changed:
                for request in self._requests:
                    request.error = error
                for future, _ in self._jobs:
                    future.set_exception(error)
                self._jobs.clear()
                self._working = False
                self._changed.notify_all()

    def _do(self, job: Future, work: Callable[[], Any]) -> None:
        try:
            job.set_result(self._run_model(work))
        except Exception as error:  # whatever it is, it is raised in the thread that waits for the result
            job.set_exception(error)

    def _run_model(self, work: Callable[[], T]) -> T:
        with self._lock:
            return self._guard(work)

    def _guard(self, work: Callable[[], T]) -> T:
        """Raises MemoryFullError, once what can be freed is, where there was no memory for `work`."""
        try:
            return work()
        except Exception as error:
            if not out_of_memory(error):
                raise
        self._free_memory()  # outside of the handler, or the error's frames would keep their tensors alive
        raise MemoryFullError(
            "The device's memory is full; ask fewer questions at once, shorten the answers, or open a smaller model "
            "(with CUDA also --quantization nf4)."
        )

    def _sweep(self) -> None:
        """Lets go of sequences that nobody wants any more."""
        if self._sweeping:  # the garbage collector closed somebody's iterator right here; the loop below sees to it
            return
        self._sweeping = True
        try:
            for request in list(self._requests):
                if not request.finished and request.cancel.is_set():
                    request.end()
            while any(r.finished for r in self._requests):
                gone = {r for r in self._requests if r.finished}
                self._requests = [r for r in self._requests if r not in gone]
                for queue in self.queues.values():
                    queue.waiting = deque(item for item in queue.waiting if item[0] not in gone)
                    self._drop(queue, [sequence for sequence, r in queue.owners.items() if r in gone])
        finally:
            self._sweeping = False

    def _next_queue(self) -> BatchQueue | None:
        """Queues with something to do take turns."""
        for key, queue in list(self.queues.items()):
            if queue.owners or queue.waiting:
                self.queues[key] = self.queues.pop(key)
                return queue
        return None

    def _turn(self, queue: BatchQueue) -> None:
        """A request joins, or every running sequence gets one more token."""
        if fits := queue.admissible():
            self._join(queue, fits)
            return
        queue.joined = False
        if not queue.owners:
            return
        try:
            tokens = self._run_model(queue.batch.step)
            self._hand_out(queue, list(queue.batch.running), tokens)
        except Exception as error:  # each caller gets it; what the batch holds is not known any more
            for request in set(queue.owners.values()):
                request.error = error

    def _join(self, queue: BatchQueue, fits: int) -> None:
        request, waiting = queue.waiting[0]
        sequences, batch = [waiting[i] for i in range(fits)], queue.batch
        try:
            tokens = self._run_model(lambda: batch.join(sequences, request.features(batch.network), request.image_key))
            queue.joined = True
            for sequence in sequences:
                waiting.popleft()
                queue.owners[sequence] = request
            if not waiting:
                queue.waiting.popleft()
            self._hand_out(queue, sequences, tokens)
        except Exception as error:  # the caller who wanted to join gets it; the others go on
            if isinstance(error, MemoryFullError) and any(r is not request for r in queue.owners.values()):
                queue.full = True  # with fewer sequences beside it there may be enough
            else:
                request.error = error

    def _hand_out(self, queue: BatchQueue, sequences: Sequence[RunningSequence], tokens: Sequence[int]) -> None:
        for sequence, token in zip(sequences, tokens, strict=True):
            request = queue.owners[sequence]
            delta = sequence.add(token, self.eos)
            if sequence.grammar is not None and sequence.grammar.fault:
                request.error = FaceLLMError(sequence.grammar.fault)
            # A single sequence is a conversation: its next turn begins with these tokens.
            if sequence.done and len(request.sequences) == 1:
                with contextlib.suppress(MemoryFullError):  # then that turn reads everything anew
                    self._run_model(partial(queue.batch.store_prefix, sequence, request.image_key))
            if delta is not None:
                request.add(delta)
        self._drop(queue, [sequence for sequence in sequences if sequence.done])

    def _drop(self, queue: BatchQueue, sequences: Sequence[RunningSequence]) -> None:
        """Takes sequences out of the batch. If that fails, all leave it, with the error: what it holds is not known.

        Without the model's lock: no forward pass is made, and a caller's thread may be here in the middle of somebody
        else's, when the garbage collector closes an iterator there.
        """
        if not sequences:
            return
        queue.full = False
        for sequence in sequences:
            del queue.owners[sequence]
        try:
            self._guard(lambda: queue.batch.drop(set(sequences)))
        except Exception as error:
            for request in set(queue.owners.values()):
                request.error = error
            queue.owners.clear()
            queue.batch.drop(set(queue.batch.running))  # all of them: nothing is moved, so no memory is needed
