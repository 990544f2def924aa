"""One batch of rows over one decoder: prefix once, suffixes together, then one token for every row at each step.

Input: a network (InternVLForConditionalGeneration), token ids of fully templated prompts, image features.
What this file does not know: images, text, models' names, who reads the answer.

Exactness: a row here gets the tokens that a run of its own would give it (greedy, float32), because
- the shared prefix is the longest common prefix of the final token ids, never of separately tokenised halves;
- every pass gets the full mask over prefix, padding and suffix, and explicit position ids (without them transformers
  counts positions over the padding and is silently wrong);
- padding is on the left, so that all rows' next tokens line up.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from .adapter import AdapterSwitch
from .cache import GROW, PrefixStore, RowsCache, common_prefix
from .sampling import Picker, Sampling


@dataclass(frozen=True)
class Network:
    """One set of weights.

    model: InternVLForConditionalGeneration (with LoRA layers inside, when there is a switch).
    name: tells apart what must not share keys and values.
    """

    model: torch.nn.Module
    name: str
    switch: AdapterSwitch | None = None

    @property
    def device(self) -> torch.device:
        return self.model.lm_head.weight.device

    @property
    def layers(self) -> int:
        return self.model.config.text_config.num_hidden_layers

    @property
    def max_positions(self) -> int:
        return self.model.config.text_config.max_position_embeddings

    def embed(self, ids: torch.Tensor, features: torch.Tensor | None) -> torch.Tensor:
        """(n, t) ids -> (n, t, hidden), image placeholders replaced by features (n x image tokens, hidden)."""
        embeddings = self.model.model.language_model.embed_tokens(ids)
        if features is not None:
            places = (ids == self.model.config.image_token_id).unsqueeze(-1)
            embeddings = embeddings.masked_scatter(places, features.to(embeddings.dtype))
        return embeddings

    def forward(self, embeddings, mask, positions, cache, adapter: Sequence[bool]) -> torch.Tensor:
        """Last hidden states (n, t, hidden).

        embeddings (n, t, hidden); mask (n, 1, t, cached + t) bool, True where a query may look; positions (n, t);
        adapter: per row, whether it applies.
        """
        with nullcontext() if self.switch is None else self.switch.rows(adapter, self.device):
            output = self.model.model.language_model(
                inputs_embeds=embeddings,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )
        return output.last_hidden_state


def causal(rows: int, queries: int, cached: int, device: torch.device) -> torch.Tensor:
    """(rows, 1, queries, cached + queries) bool: everything cached, and oneself and what came before."""
    return torch.ones(queries, cached + queries, dtype=torch.bool, device=device).tril(cached).expand(rows, 1, -1, -1)


def prefill_prefix(
    network: Network,
    prefix: Sequence[int],
    features: torch.Tensor,
    adapters: Sequence[bool],
    image_key: Hashable,
    store: PrefixStore,
) -> RowsCache:
    """Keys and values of the shared prefix, one row for each entry of `adapters`; taken from the store if it has them.

    features: (image tokens, hidden) of the one image.
    """
    owners = [(network.name, adapter, image_key) for adapter in adapters]
    found = [store.longest(owner, prefix) for owner in owners]
    known = min(length for length, _ in found)
    if known:
        start = [
            (
                torch.cat([kv[i][0][:, :, :known] for _, kv in found]),
                torch.cat([kv[i][1][:, :, :known] for _, kv in found]),
            )
            for i in range(network.layers)
        ]
        cache = RowsCache(network.layers, start)
    else:
        cache = RowsCache(network.layers)
    if known < len(prefix):
        rows, device = len(adapters), network.device
        ids = torch.tensor([prefix[known:]], device=device)
        embeddings = _embed_span(network, prefix, known, ids, features).expand(rows, -1, -1)
        positions = torch.arange(known, len(prefix), device=device).expand(rows, -1)
        network.forward(embeddings, causal(rows, len(prefix) - known, known, device), positions, cache, adapters)
        for row, owner in enumerate(owners):
            store.put(owner, prefix, cache.copy(row, slice(0, len(prefix))))
    return cache


def _embed_span(network: Network, ids: Sequence[int], start: int, span: torch.Tensor, features: torch.Tensor):
    """Embeddings of `span` = ids[start:] as (1, t, hidden), with the features of the placeholders inside it."""
    token = network.model.config.image_token_id
    before = sum(1 for i in ids[:start] if i == token)
    return network.embed(span, features[before:])


class Batch:
    """Rows that are decoded together.

    prompts: token ids of each row, fully templated, image placeholders expanded.  adapters: per row.
    features: (image tokens, hidden).  After the constructor `alive` holds the rows' numbers; step() gives each its
    next token; drop() takes finished rows out.
    """

    @torch.inference_mode()
    def __init__(
        self,
        network: Network,
        prompts: Sequence[Sequence[int]],
        adapters: Sequence[bool],
        features: torch.Tensor,
        settings: Sequence[Sampling],
        image_key: Hashable,
        store: PrefixStore,
    ):
        self.network, self.device = network, network.device
        self.alive = list(range(len(prompts)))
        self.prompts = [list(p) for p in prompts]
        self.adapters = list(adapters)
        self.image_key, self.store = image_key, store
        self.picker = Picker(settings, prompts, self.device)
        # At least one token of each prompt is left over, to have something to predict from.
        self.prefix = min(common_prefix(prompts), min(map(len, prompts)) - 1)
        kinds = sorted(set(self.adapters))
        prefix = self.prompts[0][: self.prefix]
        self.cache = prefill_prefix(network, prefix, features, kinds, image_key, store)
        self._hidden = self._prefill_suffixes(features, kinds)

    def _prefill_suffixes(self, features: torch.Tensor, kinds: list[bool]) -> torch.Tensor:
        suffixes = [p[self.prefix :] for p in self.prompts]
        rows, width = len(suffixes), max(map(len, suffixes))
        pads = [width - len(s) for s in suffixes]
        padding = next(iter(suffixes))[0]  # any real token: padded places are never looked at
        image_token = self.network.model.config.image_token_id
        if padding == image_token:
            padding = self.prompts[0][0]
        ids = torch.tensor([[padding] * pad + s for pad, s in zip(pads, suffixes, strict=True)], device=self.device)
        # Placeholders are in the suffixes only where prompts differ before the image (different system prompts).
        left = sum(1 for token in suffixes[0] if token == image_token)
        own = features[len(features) - left :].repeat(rows, 1) if left else None
        embeddings = self.network.embed(ids, own)
        shift = torch.tensor(pads, device=self.device).view(-1, 1)
        places = torch.arange(width, device=self.device)
        positions = self.prefix + (places - shift).clamp(min=0)  # (rows, width)
        self.cache.select([kinds.index(a) for a in self.adapters], self.prefix + width + GROW)
        real = torch.ones(rows, self.prefix + width, dtype=torch.bool, device=self.device)
        real[:, self.prefix :] = places >= shift
        self._visible = torch.zeros(rows, 1, 1, self.prefix + width + GROW, dtype=torch.bool, device=self.device)
        self._visible[:, 0, 0, : self.prefix + width] = real
        # A padded query still sees the prefix, so its softmax is never over nothing.
        mask = causal(rows, width, self.prefix, self.device) & real[:, None, None, :]
        self._position = positions[:, -1:]
        hidden = self.network.forward(embeddings, mask, positions, self.cache, self.adapters)
        return hidden[:, -1]

    @torch.inference_mode()
    def step(self) -> list[int]:
        """The next token of every row in `alive`, in that order."""
        if self._hidden is None:
            self._advance()
        logits = self.network.model.lm_head(self._hidden)  # (rows, vocabulary)
        self._tokens = self.picker.pick(logits)
        self._hidden = None
        return self._tokens.tolist()  # the one wait for the device in a step

    def _advance(self) -> None:
        length = self.cache.length + 1
        if length > self._visible.shape[-1]:
            more = torch.zeros_like(self._visible[..., :1]).expand(-1, -1, -1, GROW)
            self._visible = torch.cat([self._visible, more], -1)
        self._visible[..., length - 1] = True
        self._position = self._position + 1
        embeddings = self.network.embed(self._tokens[:, None], None)
        mask = self._visible[..., :length]
        hidden = self.network.forward(embeddings, mask, self._position, self.cache, self.adapters)
        self._hidden = hidden[:, -1]

    @torch.inference_mode()
    def drop(self, finished: set[int]) -> None:
        """Take these rows (numbers, as in `alive`) out of the batch; the others go on unchanged."""
        keep = [i for i, row in enumerate(self.alive) if row not in finished]
        if len(keep) == len(self.alive):
            return
        self.alive = [self.alive[i] for i in keep]
        self.adapters = [self.adapters[i] for i in keep]
        if not keep:
            self.cache = self._visible = self._hidden = None
            return
        index = torch.tensor(keep, device=self.device)
        self.cache.select(keep)
        self._visible, self._position = self._visible[index], self._position[index]
        self._tokens = self._tokens[index]
        if self._hidden is not None:
            self._hidden = self._hidden[index]
        self.picker.keep(keep)

    @torch.inference_mode()
    def remember(self, row: int, answer: Sequence[int]) -> None:
        """Keep this row's keys and values for the conversation's next turn. answer: its tokens so far."""
        if self.cache is None or row not in self.alive:
            return
        place = self.alive.index(row)
        columns = self._visible[place, 0, 0, : self.cache.length].nonzero()[:, 0].tolist()
        ids = (self.prompts[row] + list(answer))[: len(columns)]
        owner = (self.network.name, self.adapters[place], self.image_key)
        self.store.put(owner, ids, self.cache.copy(place, columns))
