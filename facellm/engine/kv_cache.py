"""Keys and values of one pass, and the prefixes that are stored between requests."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

KeyValues = Sequence[tuple[torch.Tensor, torch.Tensor]]  # per layer: keys, values, each (rows, heads, tokens, size)


def filled_cache(key_values: KeyValues = ()) -> DynamicCache:
    """Returns a KV cache that holds these keys and values."""
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(key_values):
        cache.update(keys, values, layer)
    return cache


def copy_row(cache: DynamicCache, row: int) -> KeyValues:
    """Returns one row's keys and values as tensors of their own, (1, heads, tokens, size) per layer."""
    here = slice(row, row + 1)
    return [(layer.keys[here].clone(), layer.values[here].clone()) for layer in cache.layers]


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
