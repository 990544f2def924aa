"""Chooses the next token of every row, greedily or by sampling.

A row's choice depends on its own logits, settings and random stream only, never on its neighbours or its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from facellm.errors import ParameterError
from facellm.grammars.json_grammar import JsonGrammar
from facellm.grammars.response_format import schema_of

MAX_NEW_TOKENS = 4096  # the published models' cutoff is 2,048 tokens; twice that is surely a typing error
MAX_TOP_LOGPROBS = 20  # as OpenAI has it


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. Values outside the ranges raise ParameterError.

    Attributes:
        max_new_tokens: 1 to 4,096.
        temperature: 0 (greedy) to 2.
        top_p: Probability mass of the tokens that are kept, 0 < p <= 1.
        seed: Of each row's random stream, 0 <= seed < 2**63.
        repetition_penalty: 1 (none) to 2, as in CTRL (arXiv 1909.05858): divides positive and multiplies negative
            logits of tokens that were seen.
        response_format: As OpenAI has it: {"type": "json_object"} or {"type": "json_schema", "json_schema": {"name":
            ..., "schema": {...}}} holds the answer to that form; None leaves it free.
        top_logprobs: 0 to 20: the answer tells each token's log-probability, and those of so many likeliest tokens;
            None tells none.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    repetition_penalty: float = 1.0
    response_format: Mapping[str, Any] | None = None
    top_logprobs: int | None = None

    def __post_init__(self) -> None:
        checks = (
            ("max_new_tokens", 1 <= self.max_new_tokens <= MAX_NEW_TOKENS, f"between 1 and {MAX_NEW_TOKENS}"),
            ("temperature", 0 <= self.temperature <= 2, "between 0 (always the likeliest word) and 2"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("seed", isinstance(self.seed, int) and 0 <= self.seed < 2**63, "a whole number from 0 to 2^63 - 1"),
            (
                "top_logprobs",
                self.top_logprobs is None or 0 <= self.top_logprobs <= MAX_TOP_LOGPROBS,
                f"between 0 and {MAX_TOP_LOGPROBS}",
            ),
            ("repetition_penalty", 1 <= self.repetition_penalty <= 2, "between 1 (none) and 2"),
        )
        for name, good, allowed in checks:
            if not good:
                raise ParameterError(f"{name} is {getattr(self, name)!r}; it must be {allowed}.", name)
        schema_of(self.response_format)


@dataclass(frozen=True)
class Scored:
    """Log-probabilities at one place of one row: of the chosen token, and of the likeliest (id, log-probability)."""

    logprob: float
    top: tuple[tuple[int, float], ...]


class Sampler:
    """Chooses tokens for several rows, which may differ in their settings.

    Attributes:
        logprobs: Of the last tokens that were chosen, for the rows that tell them.
    """

    def __init__(
        self,
        settings: Sequence[Sampling],
        prompts: Sequence[Sequence[int]],
        device: torch.device,
        grammars: Sequence[JsonGrammar | None] = (),
    ) -> None:
        """Starts each row's random stream.

        Args:
            settings: Of each row.
            prompts: Token ids of each row's prompt, for the repetition penalty.
            device: Of the logits.
            grammars: What each row's answer is held to; left out where all are free.
        """
        self.settings = list(settings)
        self.grammars = list(grammars) or [None] * len(self.settings)
        self.logprobs: list[Scored | None] = []
        self.device = device
        self._generators = [torch.Generator().manual_seed(s.seed) for s in settings]
        self._prompts = [list(p) for p in prompts]
        self._seen: torch.Tensor | None = None  # (n, vocabulary) bool, only with a penalty
        self._columns()

    def _columns(self) -> None:
        def column(name: str, settings: Sequence[Sampling]) -> torch.Tensor:
            return torch.tensor([[getattr(s, name)] for s in settings], dtype=torch.float32, device=self.device)

        self._penalised = any(s.repetition_penalty != 1 for s in self.settings)
        if self._penalised:
            self._penalty = column("repetition_penalty", self.settings)
        else:
            self._seen = None
        self._held = [i for i, grammar in enumerate(self.grammars) if grammar is not None]
        self._scored = [i for i, s in enumerate(self.settings) if s.top_logprobs is not None]
        rows = [i for i, s in enumerate(self.settings) if s.temperature > 0]
        self._sampled = torch.tensor(rows, device=self.device) if rows else None  # the others are greedy
        if rows:
            sampled = [self.settings[i] for i in rows]
            # Sorting a large vocabulary is slow, so it is done for these rows alone.
            self._temperature, self._top_p = column("temperature", sampled), column("top_p", sampled)
            self._temperature = self._temperature.clamp(min=1e-6)
            self._drawing = [self._generators[i] for i in rows]

    def sample(self, logits: torch.Tensor) -> torch.Tensor:
        """Returns token ids (rows,) int64 for logits (rows, vocabulary)."""
        raw = logits = logits.float()
        if self._penalised:
            logits = self._repetition(logits)
        if self._held:
            logits = self._restrict(logits)
        tokens = logits.argmax(-1)
        if self._sampled is not None:
            tokens[self._sampled] = self._draw(logits[self._sampled])
        for row, chosen in zip(self._held, tokens[self._held].tolist() if self._held else (), strict=True):
            if (taken := self._grammar(row).take(chosen)) != chosen:
                tokens[row] = taken
        self.logprobs = self._score(raw, tokens) if self._scored else [None] * len(self.settings)
        if self._seen is not None:
            self._seen.scatter_(1, tokens[:, None], True)
        return tokens

    def _grammar(self, row: int) -> JsonGrammar:
        grammar = self.grammars[row]
        assert grammar is not None
        return grammar

    def _restrict(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits with -inf where a row's grammar allows no token."""
        held = torch.tensor(self._held, device=self.device)
        width = logits.shape[-1]
        allowed = torch.stack([torch.from_numpy(self._grammar(row).allowed()[:width]) for row in self._held])
        return logits.index_copy(0, held, logits[held].masked_fill(~allowed.to(self.device), float("-inf")))

    def _score(self, logits: torch.Tensor, tokens: torch.Tensor) -> list[Scored | None]:
        rows = torch.tensor(self._scored, device=self.device)
        logprobs = logits[rows].log_softmax(-1)
        chosen = logprobs.gather(1, tokens[rows][:, None])[:, 0].tolist()
        values, ids = (part.tolist() for part in logprobs.topk(min(MAX_TOP_LOGPROBS, logits.shape[-1])))
        found: list[Scored | None] = [None] * len(self.settings)
        for i, row in enumerate(self._scored):
            count = self.settings[row].top_logprobs
            found[row] = Scored(chosen[i], tuple(zip(ids[i][:count], values[i][:count], strict=True)))
        return found

    def _repetition(self, logits: torch.Tensor) -> torch.Tensor:
        if self._seen is None:
            self._seen = torch.zeros_like(logits, dtype=torch.bool)
            for row, ids in enumerate(self._prompts):
                self._seen[row, torch.tensor(ids, device=self.device)] = True
        scaled = torch.where(logits < 0, logits * self._penalty, logits / self._penalty)
        return torch.where(self._seen, scaled, logits)

    def _draw(self, logits: torch.Tensor) -> torch.Tensor:
        probabilities, order = (logits / self._temperature).softmax(-1).sort(-1, descending=True)
        mass = probabilities.cumsum(-1)
        # A token is kept while the mass before it is below top_p, so the likeliest is always kept.
        kept = mass - probabilities < self._top_p
        total = torch.where(kept, probabilities, 0).sum(-1, keepdim=True)
        # One number per row from its own generator, on the CPU so that a seed means the same on every device.
        draws = torch.stack([torch.rand(1, generator=g) for g in self._drawing]).to(self.device)
        chosen = (mass < draws * total).sum(-1, keepdim=True)
        chosen = torch.minimum(chosen, (probabilities > 0).sum(-1, keepdim=True) - 1)  # sums differ in their last bit
        return order.gather(1, chosen)[:, 0]

    def extend(self, other: Sampler) -> None:
        """Appends another sampler's rows; all go on as they would have alone."""
        known = self._seen if self._seen is not None else other._seen
        if known is not None:
            # Rows without a penalty need no record, so rows that have none yet begin with an empty one.
            self._seen = torch.cat([
                known.new_zeros(len(s.settings), known.shape[1]) if s._seen is None else s._seen for s in (self, other)
            ])  # fmt: skip
        self.settings += other.settings
        self.grammars += other.grammars
        self._generators += other._generators
        self._prompts += other._prompts
        self._columns()

    def keep(self, rows: Sequence[int]) -> None:
        """Keeps these rows only, in this order."""
        self.settings = [self.settings[r] for r in rows]
        self.grammars = [self.grammars[r] for r in rows]
        self._generators = [self._generators[r] for r in rows]
        self._prompts = [self._prompts[r] for r in rows]
        if self._seen is not None:
            self._seen = self._seen[torch.tensor(rows, dtype=torch.long, device=self.device)]
        self._columns()
