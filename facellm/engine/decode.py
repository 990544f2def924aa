"""One batch of sequences over one decoder: the shared prefix once, suffixes together, then one token for every sequence
at each step. Sequences of other images and users join between two steps.

A sequence gets the tokens that a run of its own would give it (greedy, float32), because
- the shared prefix is the longest common prefix of the final token ids, never of separately tokenised halves;
- every pass gets the full mask over prefix, padding and suffix, and explicit position ids;
- every sequence has a slot of its own in the KV cache, filled from its first column, and looks at its own columns only.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

import torch
from transformers import DynamicCache

from facellm.engine.kv_cache import PrefixCache, common_prefix, copy_row, filled_cache
from facellm.engine.network import Network
from facellm.engine.sampling import Sampler
from facellm.engine.sequence import RunningSequence
from facellm.engine.slots import SlotsCache


def causal(rows: int, queries: int, cached: int, device: torch.device) -> torch.Tensor:
    """Returns (rows, 1, queries, cached + queries) bool: everything cached, oneself, and what came before."""
    return torch.ones(queries, cached + queries, dtype=torch.bool, device=device).tril(cached).expand(rows, 1, -1, -1)


@torch.inference_mode()
def prefill_prefix(
    network: Network,
    prefix: Sequence[int],
    features: torch.Tensor,
    adapters: Sequence[bool],
    image_key: Hashable,
    prefixes: PrefixCache,
) -> DynamicCache:
    """Prefills the prefix that several prompts about one image share.

    Args:
        network: The model.
        prefix: Token ids, image placeholders expanded.
        features: Of the image, (image tokens, hidden).
        adapters: Whether the adapter applies, for each row of the result.
        image_key: Names the image.
        prefixes: Where stored beginnings of the prefix are taken from, and the whole of it is stored.

    Returns:
        Keys and values, a row for each entry of `adapters`.
    """
    owners = [(network.name, adapter, image_key) for adapter in adapters]
    found = [prefixes.longest(owner, prefix) for owner in owners]
    known = min(length for length, _ in found)
    start = [
        (
            torch.cat([kv[layer][0][:, :, :known] for _, kv in found]),
            torch.cat([kv[layer][1][:, :, :known] for _, kv in found]),
        )
        for layer in range(network.layers if known else 0)
    ]
    cache = filled_cache(start)
    if known < len(prefix):
        rows, device = len(adapters), network.device
        seen = list(prefix[:known]).count(network.image_token)
        ids = torch.tensor([prefix[known:]], device=device)
        embeddings = network.embed(ids, features[seen:]).expand(rows, -1, -1)
        positions = torch.arange(known, len(prefix), device=device).expand(rows, -1)
        network.forward(embeddings, causal(rows, len(prefix) - known, known, device), positions, cache, adapters)
        for row, owner in enumerate(owners):
            prefixes.put(owner, prefix, copy_row(cache, row))
    return cache


class Batch:
    """Sequences that are decoded together; others may join between two steps, and they leave when they are done.

    Attributes:
        running: The sequences, in the order in which `step` answers.
    """

    def __init__(self, network: Network, prefixes: PrefixCache) -> None:
        self.network, self.prefixes, self.device = network, prefixes, network.device
        self.running: list[RunningSequence] = []
        self.cache = SlotsCache(network.layers, self.device)
        self.sampler = Sampler([], [], self.device)
        self._tokens = torch.empty(0, dtype=torch.long, device=self.device)  # (rows,) chosen and not read yet

    @torch.inference_mode()
    def join(self, sequences: Sequence[RunningSequence], features: torch.Tensor, image_key: Hashable) -> list[int]:
        """Prefills the prompts of new sequences about one image. If that raises, the others go on unharmed.

        Args:
            sequences: The new ones.
            features: Of the image, (image tokens, hidden).
            image_key: Names the image.

        Returns:
            The first token of each.
        """
        prompts, adapters = [s.prompt for s in sequences], [s.adapter for s in sequences]
        # At least one token of each prompt is left over, to have something to predict from.
        shared = min(common_prefix(prompts), min(map(len, prompts)) - 1)
        kinds = sorted(set(adapters))
        prefix = prefill_prefix(self.network, prompts[0][:shared], features, kinds, image_key, self.prefixes)
        suffixes = [p[shared:] for p in prompts]
        try:
            self.cache.enter(prefix, [kinds.index(a) for a in adapters], max(map(len, suffixes)))
            hidden = self._prefill(suffixes, shared, features, adapters)
            grammars = [s.grammar for s in sequences]
            sampler = Sampler([s.sampling for s in sequences], prompts, self.device, grammars)
            tokens = sampler.sample(self.network.model.lm_head(hidden))
            first = tokens.tolist()
        except BaseException:
            self.cache.abandon()
            raise
        self.cache.settle([len(p) for p in prompts])
        self.sampler.extend(sampler)
        self._tokens = torch.cat([self._tokens, tokens])
        self.running += sequences
        self._tell(sequences, sampler)
        return first

    def _prefill(
        self, suffixes: Sequence[Sequence[int]], start: int, features: torch.Tensor, adapters: Sequence[bool]
    ) -> torch.Tensor:
        """Hidden state of each suffix's last token, (rows, hidden). Short ones are padded on the right: no token sees
        what comes after it, and the padding is overwritten by the answer."""
        rows, width = len(suffixes), max(map(len, suffixes))
        # Any token that is no placeholder will do as padding; a prompt ends with text.
        ids = torch.tensor([[*s, *[suffixes[0][-1]] * (width - len(s))] for s in suffixes], device=self.device)
        # Placeholders are in the suffixes only where prompts differ before the image (different system prompts).
        left = list(suffixes[0]).count(self.network.image_token)
        embeddings = self.network.embed(ids, features[-left:].repeat(rows, 1) if left else None)
        positions = torch.arange(start, start + width, device=self.device).expand(rows, -1)
        mask = causal(rows, width, start, self.device)
        hidden = self.network.forward(embeddings, mask, positions, self.cache, adapters)
        last = torch.tensor([len(s) - 1 for s in suffixes], device=self.device)
        return hidden[torch.arange(rows, device=self.device), last]

    @torch.inference_mode()
    def step(self) -> list[int]:
        """Returns the next token of every running sequence."""
        positions, mask = self.cache.advance()
        embeddings = self.network.embed(self._tokens[:, None])
        hidden = self.network.forward(embeddings, mask, positions, self.cache, [s.adapter for s in self.running])
        self.cache.moved()
        self._tokens = self.sampler.sample(self.network.model.lm_head(hidden[:, -1]))
        self._tell(self.running, self.sampler)
        return self._tokens.tolist()  # the one wait for the device in a step

    @staticmethod
    def _tell(sequences: Sequence[RunningSequence], sampler: Sampler) -> None:
        """Hands each sequence its newest token's log-probabilities."""
        for sequence, scored in zip(sequences, sampler.logprobs, strict=True):
            sequence.scored = scored

    @torch.inference_mode()
    def drop(self, sequences: Collection[RunningSequence]) -> None:
        """Takes sequences out of the batch; the others go on unchanged, though perhaps in another order."""
        kept = [i for i, sequence in enumerate(self.running) if sequence not in sequences]
        if len(kept) == len(self.running):
            return
        # The last ones move into the slots of those that left, so that few keys and values are copied.
        movers = iter([i for i in kept if i >= len(kept)])
        stay = set(kept)
        order = [i if i in stay else next(movers) for i in range(len(kept))]
        self.cache.keep(order)
        self.running = [self.running[i] for i in order]
        self.sampler.keep(order)
        self._tokens = self._tokens[torch.tensor(order, dtype=torch.long, device=self.device)]

    @torch.inference_mode()
    def store_prefix(self, sequence: RunningSequence, image_key: Hashable) -> None:
        """Stores a sequence's keys and values in the prefix cache, for the conversation's next turn."""
        row = self.running.index(sequence)
        ids = [*sequence.prompt, *sequence.ids][: self.cache.lengths[row]]
        self.prefixes.put((self.network.name, sequence.adapter, image_key), ids, self.cache.copy(row))
