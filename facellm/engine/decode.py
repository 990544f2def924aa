"""One batch of rows over one decoder: prefix once, suffixes together, then one token for every row at each step.
Rows of other images and users join between two steps.

Input: a network (InternVLForConditionalGeneration), token ids of fully templated prompts, image features.
What this file does not know: images, text, models' names, who reads the answer.

Exactness: a row here gets the tokens that a run of its own would give it (greedy, float32), because
- the shared prefix is the longest common prefix of the final token ids, never of separately tokenised halves;
- every pass gets the full mask over prefix, padding and suffix, and explicit position ids (without them transformers
  counts positions over the padding and is silently wrong);
- every row has a slot of its own, filled from its first column, and looks at its own columns only.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch

from facellm.engine.kv_cache import PrefixStore, RowsCache, common_prefix
from facellm.engine.sampling import Picker, Sampling
from facellm.engine.slots import SlotsCache
from facellm.weights.adapter_switch import AdapterSwitch


@dataclass(frozen=True)
class Network:
    """One set of weights.

    model: InternVLForConditionalGeneration (with LoRA layers inside, when there is a switch).
    name: tells apart what must not share keys and values.
    """

    model: torch.nn.Module
    name: str
    switch: AdapterSwitch | None = None

    @cached_property
    def cache_name(self) -> str:
        """What the decoder calls its keys and values: "cache" since transformers 5.24, "past_key_values" before."""
        known = inspect.signature(type(self.model.model.language_model).forward).parameters
        return "cache" if "cache" in known else "past_key_values"

    @property
    def device(self) -> torch.device:
        return self.model.lm_head.weight.device

    @property
    def layers(self) -> int:
        return self.model.config.text_config.num_hidden_layers

    @property
    def token_bytes(self) -> int:
        """Bytes that one token of one row takes in the cache: keys and values in every layer."""
        text = self.model.config.text_config
        size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        return 2 * self.layers * text.num_key_value_heads * size * self.model.lm_head.weight.element_size()

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
                use_cache=True,
                **{self.cache_name: cache},
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
            store.put(owner, prefix, cache.copy(row))
    return cache


def _embed_span(network: Network, ids: Sequence[int], start: int, span: torch.Tensor, features: torch.Tensor):
    """Embeddings of `span` = ids[start:] as (1, t, hidden), with the features of the placeholders inside it."""
    token = network.model.config.image_token_id
    before = sum(1 for i in ids[:start] if i == token)
    return network.embed(span, features[before:])


@dataclass(frozen=True)
class _Row:
    prompt: tuple[int, ...]
    adapter: bool
    image_key: Hashable


class Batch:
    """Rows that are decoded together; others may join between two steps, and rows leave when they are done.

    alive: the rows by the names that the caller gave them in join(), in the order in which step() answers.
    """

    def __init__(self, network: Network, store: PrefixStore):
        self.network, self.store, self.device = network, store, network.device
        self.alive: list[Hashable] = []
        self.cache = SlotsCache(network.layers, self.device)
        self.picker = Picker([], [], self.device)
        self._rows: list[_Row] = []
        self._tokens: torch.Tensor | None = None  # (rows,) picked and not read yet

    @torch.inference_mode()
    def join(
        self,
        names: Sequence[Hashable],
        prompts: Sequence[Sequence[int]],
        adapters: Sequence[bool],
        features: torch.Tensor,
        settings: Sequence[Sampling],
        image_key: Hashable,
    ) -> list[int]:
        """Read the prompts of new rows about one image; the first token of each.

        prompts: token ids, fully templated, image placeholders expanded.  adapters: per row.  features: (image
        tokens, hidden).  If it raises, the rows that were there before go on unharmed.
        """
        # At least one token of each prompt is left over, to have something to predict from.
        shared = min(common_prefix(prompts), min(map(len, prompts)) - 1)
        kinds = sorted(set(adapters))
        prefix = prefill_prefix(self.network, prompts[0][:shared], features, kinds, image_key, self.store)
        suffixes = [p[shared:] for p in prompts]
        try:
            self.cache.enter(prefix, [kinds.index(a) for a in adapters], max(map(len, suffixes)))
            hidden = self._read(suffixes, shared, features, adapters)
            picker = Picker(settings, prompts, self.device)
            tokens = picker.pick(self.network.model.lm_head(hidden))
            first = tokens.tolist()
        except BaseException:
            self.cache.abandon()
            raise
        self.cache.settle([len(p) for p in prompts])
        self.picker.extend(picker)
        self._tokens = tokens if self._tokens is None else torch.cat([self._tokens, tokens])
        self.alive += names
        self._rows += [_Row(tuple(p), a, image_key) for p, a in zip(prompts, adapters, strict=True)]
        return first

    def _read(self, suffixes: Sequence[Sequence[int]], start: int, features, adapters) -> torch.Tensor:
        """Hidden state of each suffix's last token, (rows, hidden). Short ones are padded on the right: no token sees
        what comes after it, and the padding is overwritten by the row's answer."""
        rows, width = len(suffixes), max(map(len, suffixes))
        image_token = self.network.model.config.image_token_id
        # Any token that is no placeholder will do; a prompt ends with text.
        padding = suffixes[0][-1]
        ids = torch.tensor([[*s, *[padding] * (width - len(s))] for s in suffixes], device=self.device)
        # Placeholders are in the suffixes only where prompts differ before the image (different system prompts).
        left = sum(1 for token in suffixes[0] if token == image_token)
        own = features[len(features) - left :].repeat(rows, 1) if left else None
        embeddings = self.network.embed(ids, own)
        positions = torch.arange(start, start + width, device=self.device).expand(rows, -1)
        mask = causal(rows, width, start, self.device)
        hidden = self.network.forward(embeddings, mask, positions, self.cache, adapters)
        last = torch.tensor([len(s) - 1 for s in suffixes], device=self.device)
        return hidden[torch.arange(rows, device=self.device), last]

    @torch.inference_mode()
    def step(self) -> list[int]:
        """The next token of every row in `alive`, in that order."""
        positions, mask = self.cache.advance()
        embeddings = self.network.embed(self._tokens[:, None], None)
        hidden = self.network.forward(embeddings, mask, positions, self.cache, [r.adapter for r in self._rows])
        self.cache.moved()
        self._tokens = self.picker.pick(self.network.model.lm_head(hidden[:, -1]))
        return self._tokens.tolist()  # the one wait for the device in a step

    @torch.inference_mode()
    def drop(self, names: Collection[Hashable]) -> None:
        """Take these rows out of the batch; the others go on unchanged, though perhaps in another order."""
        kept = [i for i, name in enumerate(self.alive) if name not in names]
        if len(kept) == len(self.alive):
            return
        # The last rows move into the slots of those that left, so that few keys and values are copied.
        order = [i if i in set(kept) else None for i in range(len(kept))]
        movers = iter(kept[len(kept) - order.count(None) :])
        order = [next(movers) if i is None else i for i in order]
        self.cache.keep(order)
        self.alive = [self.alive[i] for i in order]
        self._rows = [self._rows[i] for i in order]
        self.picker.keep(order)
        self._tokens = self._tokens[torch.tensor(order, device=self.device)] if order else None

    @torch.inference_mode()
    def remember(self, name: Hashable, answer: Sequence[int]) -> None:
        """Keep this row's keys and values for the conversation's next turn. answer: its tokens so far."""
        place = self.alive.index(name)
        row = self._rows[place]
        ids = (*row.prompt, *answer)[: self.cache.lengths[place]]
        self.store.put((self.network.name, row.adapter, row.image_key), ids, self.cache.copy(place))
