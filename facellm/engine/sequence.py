"""A sequence that is being decoded, and the request that it belongs to."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from facellm.engine.detokenize import TextStream, token_bytes, token_text
from facellm.engine.network import Network
from facellm.engine.sampling import Sampling, Scored
from facellm.grammars.json_grammar import JsonGrammar
from facellm.results import Answer, Delta, Row, TokenLogprob


class RunningSequence:
    """A prompt, and the answer as far as it has come.

    Attributes:
        index: Of the row in its request.
        row: What was asked.
        prompt: Token ids, image placeholders expanded.
        adapter: Whether the adapter applies.
        sampling: How tokens are chosen.
        ids: The answer's token ids so far.
        done: Whether the answer has ended.
        grammar: What the answer is held to; None where it is free.
        scored: The newest token's log-probabilities, where they are told.
    """

    def __init__(
        self,
        index: int,
        row: Row,
        prompt: list[int],
        adapter: bool,
        sampling: Sampling,
        tokenizer: Any,
        started: float,
        grammar: JsonGrammar | None = None,
    ) -> None:
        self.index, self.row, self.prompt, self.adapter, self.sampling = index, row, prompt, adapter, sampling
        self.grammar = grammar
        self.scored: Scored | None = None
        self._tokenizer = tokenizer
        self._logprobs: list[TokenLogprob] = []
        self._told = 0  # of them, how many went out with a delta
        self.ids: list[int] = []
        self.done = False
        self._text = TextStream(tokenizer)
        self._started = started  # by time.perf_counter()
        self._first: float | None = None  # when the first token came

    @property
    def max_tokens(self) -> int:
        """The most tokens that it can take in the KV cache."""
        return len(self.prompt) + self.sampling.max_new_tokens

    def add(self, token: int, eos: frozenset[int]) -> Delta | None:
        """Adds the next token; returns a Delta where there is something to show."""
        if self._first is None:
            self._first = time.perf_counter()
        cut = self.grammar is not None and self.grammar.cut
        if token in eos:
            return self.finish("length" if cut else "stop")
        if self.scored is not None:
            self._logprobs.append(self._logprob(token, self.scored))
        self.ids.append(token)
        text = self._text.add(token)
        if self.grammar is not None and self.grammar.ended:
            return self.finish("length" if cut else "stop", text)
        if len(self.ids) >= self.sampling.max_new_tokens:
            return self.finish("length", text)
        return Delta(self.index, text, logprobs=self._new_logprobs()) if text else None

    def _logprob(self, token: int, scored: Scored) -> TokenLogprob:
        def told(one: int, logprob: float, **more: Any) -> TokenLogprob:
            text = token_text(self._tokenizer, one)
            return TokenLogprob(text, logprob, token_bytes(self._tokenizer, one, text), **more)

        top = tuple(told(one, logprob) for one, logprob in scored.top)
        return told(token, scored.logprob, top=top, start=len(self._text.text))

    def _new_logprobs(self) -> tuple[TokenLogprob, ...]:
        new, self._told = tuple(self._logprobs[self._told :]), len(self._logprobs)
        return new

    def finish(self, reason: str, text: str = "") -> Delta:
        """Ends the answer; returns its last Delta, which begins with `text`."""
        self.done = True
        text += self._text.finish()
        seconds = time.perf_counter() - self._started
        answer = Answer(
            variant=self.row.variant,
            key=self.row.key,
            question=self.row.question,
            text=self._text.text,
            tokens=len(self.ids),
            seconds=seconds,
            first_token_seconds=None if self._first is None else self._first - self._started,
            tokens_per_second=len(self.ids) / seconds if seconds > 0 else 0.0,
            finish_reason=reason,
            seed=self.sampling.seed,
            token_ids=tuple(self.ids),
            logprobs=tuple(self._logprobs),
        )
        return Delta(self.index, text, True, answer, self._new_logprobs())


@dataclass(eq=False)
class Request:
    """What one caller asks about one image.

    Attributes:
        sequences: One for each row.
        image_key: Names the image in the stores.
        features: Gives the image's (image tokens, hidden) for a network; called with the model locked.
        cancel: Ends all open sequences once it is set.
        deltas: What the caller has not read yet.
        error: Raised in the caller's thread in place of further deltas.
        waiting: Whether the caller waits for a delta.
        abandoned: Whether the caller reads no more.
    """

    sequences: Sequence[RunningSequence]
    image_key: Hashable
    features: Callable[[Network], torch.Tensor]
    cancel: threading.Event
    deltas: deque[Delta] = field(default_factory=deque)
    error: Exception | None = None
    waiting: bool = False
    abandoned: bool = False
    _ended: int = 0  # sequences whose last delta was added

    @property
    def finished(self) -> bool:
        """Whether nothing more will come. True only once the last delta is there: callers look at both unlocked."""
        return self.abandoned or self.error is not None or self._ended == len(self.sequences)

    @property
    def readable(self) -> bool:
        """Whether the caller has something to do before more is computed."""
        return bool(self.deltas) or self.finished

    def add(self, delta: Delta) -> None:
        """Hands a delta to the caller."""
        self.deltas.append(delta)
        self._ended += delta.done

    def end(self) -> None:
        """Ends what is open as cancelled."""
        for sequence in self.sequences:
            if not sequence.done:
                self.add(sequence.finish("cancelled"))
