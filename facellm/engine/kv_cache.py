"""KV caches: keys and values of the rows of one pass, and the prefixes stored between requests.

transformers' DynamicCache copies everything at each token; here rows write into one buffer that grows in steps.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

GROW = 64  # tokens added to a full buffer: a copy every 64 steps instead of at every step

KeyValues = list[tuple[torch.Tensor, torch.Tensor]]  # per layer: keys, values, each (rows, kv heads, tokens, head dim)


class RowsLayer(CacheLayerMixin):
    """One layer's keys and values for all rows, (n, h, capacity, d) of which the first `length` tokens are filled."""

    is_sliding = False

    def __init__(self):
        super().__init__()
        self.length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.is_initialized = True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[2]
        if end > self.keys.shape[2]:
            self.reserve(end + GROW)
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reserve(self, capacity: int) -> None:
        """Grows the buffer to `capacity` tokens; the filled ones are kept."""
        for name in ("keys", "values"):
            old = getattr(self, name)
            n, h, _, d = old.shape
            new = old.new_empty(n, h, capacity, d)
            new[:, :, : self.length] = old[:, :, : self.length]
            setattr(self, name, new)

    def select(self, rows: torch.Tensor, capacity: int | None = None) -> None:
        """Keeps (or repeats) the rows of these indices, in that order."""
        capacity = capacity or self.keys.shape[2]
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_empty(len(rows), old.shape[1], capacity, old.shape[3])
            new[:, :, : self.length] = old[:, :, : self.length].index_select(0, rows)
            setattr(self, name, new)

    def get_seq_length(self) -> int:
        return self.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_max_length(self) -> int:
        return -1

    get_max_cache_shape = get_max_length  # its name in earlier transformers 5


class RowsCache(Cache):
    """The KV cache of one pass, given to the decoder."""

    def __init__(self, layers: int, start: KeyValues | None = None) -> None:
        super().__init__(layers=[RowsLayer() for _ in range(layers)])
        for layer, (keys, values) in zip(self.layers, start or (), strict=False):
            layer.update(keys, values)

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        return self.layers[layer_idx].update(key_states, value_states)

    @property
    def length(self) -> int:
        return self.layers[0].length

    def select(self, rows: Sequence[int], capacity: int | None = None) -> None:
        """Keeps the rows of these indices only; an index may repeat, so that a prefix becomes many rows."""
        index = None
        for layer in self.layers:
            if layer.is_initialized:
                if index is None:
                    index = torch.tensor(rows, device=layer.keys.device)
                layer.select(index, capacity)

    def copy(self, row: int) -> KeyValues:
        """Returns one row's keys and values as tensors of their own, (1, heads, tokens, size) per layer."""
        here, n = slice(row, row + 1), self.length
        return [(one.keys[here, :, :n].clone(), one.values[here, :, :n].clone()) for one in self.layers]


def size_in_bytes(key_values: KeyValues) -> int:
    """Returns the bytes that these tensors hold."""
    return sum(t.numel() * t.element_size() for pair in key_values for t in pair)


@dataclass
class _Prefix:
    ids: tuple[int, ...]
    key_values: KeyValues
    bytes: int


class PrefixCache:
    """Prefilled prefixes of recent requests, so that a conversation's next turn only prefills its new tokens.

    A prefix has an owner: whatever must be equal for keys and values to be equal (image, model, adapter on or off). At
    most `max_bytes` and `max_entries` are kept; the least recently used leave first.
    """

    def __init__(self, max_bytes: int, max_entries: int = 64) -> None:
        self.max_bytes, self.max_entries = max_bytes, max_entries
        self._entries: OrderedDict[tuple[Hashable, tuple[int, ...]], _Prefix] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        return sum(e.bytes for e in self._entries.values())

    def longest(self, owner: Hashable, ids: Sequence[int]) -> tuple[int, KeyValues]:
        """Returns the longest stored beginning of `ids`: its tokens, and keys and values cut to them; else (0, [])."""
        best, found = 0, None
        for key, entry in self._entries.items():
            if key[0] == owner and (n := common_prefix([entry.ids, ids])) > best:
                best, found = n, key
        if found is None:
            return 0, []
        self._entries.move_to_end(found)
        return best, [(k[:, :, :best], v[:, :, :best]) for k, v in self._entries[found].key_values]

    def put(self, owner: Hashable, ids: Sequence[int], key_values: KeyValues) -> None:
        """Stores a prefix in place of stored beginnings of it."""
        ids, size = tuple(ids), size_in_bytes(key_values)
        if size > self.max_bytes or not ids:
            return
        for key in [k for k in self._entries if k[0] == owner and ids[: len(k[1])] == k[1]]:
            del self._entries[key]
        self._entries[owner, ids] = _Prefix(ids, key_values, size)
        while len(self._entries) > self.max_entries or self.bytes > self.max_bytes:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Drops everything."""
        self._entries.clear()


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Returns the length of the longest beginning that all sequences share."""
    first, limit = sequences[0], min(map(len, sequences))
    for i in range(limit):
        token = first[i]
        if any(s[i] != token for s in sequences):
            return i
    return limit
