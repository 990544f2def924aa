"""The KV cache of the sequences that are being decoded: a slot for each, written at that row's own length.

Rows of different images, users and lengths share one buffer. A row begins at column 0 of its slot and nothing is
padded in between, so that a new row is written beside the others without moving them, and a row that leaves is
replaced by the last one. What lies behind a row's length is rubbish that its mask never shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import DynamicCache
from transformers.cache_utils import Cache, CacheLayerMixin

from facellm.engine.kv_cache import KeyValues

GROW = 64  # tokens added to a full buffer: a copy every 64 steps instead of at every step


class _Slots(CacheLayerMixin):
    """One layer: keys and values (slots, heads, capacity, head size)."""

    is_sliding = False

    def __init__(self, owner: SlotsCache) -> None:
        super().__init__()
        self.owner = owner

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        shape = (self.owner.slots, key_states.shape[1], self.owner.capacity, key_states.shape[3])
        # Zeros: a mask hides a number, but not a NaN that happened to lie in the memory.
        self.keys, self.values = key_states.new_zeros(shape), value_states.new_zeros(shape)
        self.is_initialized = True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        return self.owner.write(self.keys, key_states), self.owner.write(self.values, value_states)

    def get_seq_length(self) -> int:
        return max(self.owner.lengths, default=0)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        return -1

    get_max_cache_shape = get_max_length  # its name in earlier transformers 5


class SlotsCache(Cache):
    """The KV cache while rows come and go.

    The next forward pass writes either a window opened by `enter` (new rows, several tokens each) or one token for each
    row in use.

    Attributes:
        lengths: Filled columns of every slot in use, slots 0 to len(lengths) - 1.
    """

    def __init__(self, layers: int, device: torch.device) -> None:
        self.lengths: list[int] = []
        self.slots = self.capacity = 0
        self._device = device
        self._window: tuple[int, int, int, int] | None = None  # slots from, to; columns from, to
        self._flat: torch.Tensor | None = None  # (rows x heads,) where the next token goes in the flattened buffer
        self._stride = 0  # columns of the buffers that _flat was computed for
        self._visible = 0  # columns that the next token's pass looks at
        self._positions = torch.empty(0, dtype=torch.long, device=device)  # (rows,) lengths, on the device
        super().__init__(layers=[_Slots(self) for _ in range(layers)])

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        return self.layers[layer_idx].update(key_states, value_states)

    # -- rows come ----------------------------------------------------------------------------------------------

    def enter(self, prefix: DynamicCache, sources: Sequence[int], width: int) -> None:
        """Opens the next slots for new rows. Call `settle` or `abandon` after the next forward pass.

        Args:
            prefix: Keys and values that they begin with.
            sources: For each new row its row in `prefix`.
            width: Tokens of each new row that the next forward pass writes behind the prefix.
        """
        first, columns = len(self.lengths), prefix.get_seq_length()
        last = first + len(sources)
        self._reserve(last, columns + width)
        index = torch.tensor(sources, device=self._device)
        if columns:
            for layer, before in zip(self.layers, prefix.layers, strict=True):
                if not layer.is_initialized:
                    layer.lazy_initialization(before.keys, before.values)
                layer.keys[first:last, :, :columns] = before.keys.index_select(0, index)
                layer.values[first:last, :, :columns] = before.values.index_select(0, index)
        for layer in self.layers:
            if layer.is_initialized:  # whoever was in these slots may have overflowed
                layer.keys[first:last, :, columns:] = layer.values[first:last, :, columns:] = 0
        self._window = (first, last, columns, columns + width)

    def settle(self, lengths: Sequence[int]) -> None:
        """Takes the new rows in; `lengths` are theirs, prefix included."""
        self._window = None
        self.lengths += lengths
        self._lengths_changed()

    def abandon(self) -> None:
        """Gives up the new rows; those before them are as they were."""
        self._window = None

    # -- one token for everybody --------------------------------------------------------------------------------

    def advance(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Prepares one more token for every row. Nothing is counted before `moved` says that the pass succeeded.

        Returns:
            Positions (rows, 1), and a mask (rows, 1, 1, columns) that is True where a row may look.
        """
        rows, self._visible = len(self.lengths), max(self.lengths) + 1
        if self._visible > self.capacity:
            self._resize(self.slots, self._visible + GROW)
        self._flat = None
        columns = torch.arange(self._visible, device=self._device)
        return self._positions[:, None], (columns <= self._positions[:, None]).view(rows, 1, 1, -1)

    def moved(self) -> None:
        """Counts one more token for every row."""
        self.lengths = [n + 1 for n in self.lengths]
        self._positions = self._positions + 1

    def write(self, buffer: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Writes the running pass's (rows, heads, tokens, size); returns what the pass may look at."""
        if self._window is not None:
            first, last, start, end = self._window
            buffer[first:last, :, start:end] = states
            return buffer[first:last, :, :end]
        rows, heads, _, size = states.shape
        if self._flat is None or self._stride != buffer.shape[2]:
            self._stride = buffer.shape[2]
            slot_heads = torch.arange(rows * heads, device=self._device).view(rows, heads) * self._stride
            self._flat = (slot_heads + self._positions[:, None]).flatten()
        # One contiguous write; indexing with (row, :, position) costs several times as much.
        buffer.view(-1, size).index_copy_(0, self._flat, states.reshape(-1, size))
        return buffer[:rows, :, : self._visible]

    # -- rows go ------------------------------------------------------------------------------------------------

    def keep(self, order: Sequence[int]) -> None:
        """Makes row i what row order[i] was; rows that `order` leaves out are gone.

        Every row may only move to a slot whose own row is gone, as Batch.drop sees to.
        """
        if not order:
            self._release()
            return
        to = [i for i, j in enumerate(order) if i != j]
        if to:
            here = torch.tensor(to, device=self._device)
            there = torch.tensor([order[i] for i in to], device=self._device)
            for layer in self.layers:
                for buffer in (layer.keys, layer.values):
                    buffer[here] = buffer[there]
        self.lengths = [self.lengths[j] for j in order]
        self._lengths_changed()

    def copy(self, row: int) -> KeyValues:
        """Returns one row's keys and values as tensors of their own, (1, heads, tokens, size) per layer."""
        n = self.lengths[row]
        return [
            (one.keys[row : row + 1, :, :n].clone(), one.values[row : row + 1, :, :n].clone()) for one in self.layers
        ]

    # -- memory -------------------------------------------------------------------------------------------------

    @property
    def bytes(self) -> int:
        """Memory that is held, in bytes."""
        return sum(2 * one.keys.numel() * one.keys.element_size() for one in self.layers if one.is_initialized)

    def _reserve(self, slots: int, columns: int) -> None:
        needed = max([columns, *self.lengths])
        # A long row that left is not paid for ever after.
        wasteful = self.slots > 4 * slots or self.capacity > 2 * (needed + GROW)
        if slots > self.slots or needed > self.capacity or wasteful:
            # The first rows get what they need; later ones are expected not to be the last.
            self._resize(slots if not self.lengths else -(-slots // 4) * 4, needed + GROW)

    def _resize(self, slots: int, capacity: int) -> None:
        rows, columns = len(self.lengths), max(self.lengths, default=0)
        held = [layer for layer in self.layers if layer.is_initialized]
        try:
            for layer in held:  # one layer at a time: at most one layer's worth is held twice
                for name in ("keys", "values"):
                    old = getattr(layer, name)
                    new = old.new_zeros(slots, old.shape[1], capacity, old.shape[3])
                    new[:rows, :, :columns] = old[:rows, :, :columns]
                    setattr(layer, name, new)
        finally:  # memory that runs out half-way leaves buffers of two sizes; all hold what is said here
            shapes = [(one.shape[0], one.shape[2]) for layer in held for one in (layer.keys, layer.values)]
            self.slots = min((n for n, _ in shapes), default=slots)
            self.capacity = min((n for _, n in shapes), default=capacity)

    def _release(self) -> None:
        self.lengths, self.slots, self.capacity = [], 0, 0
        self._positions, self._flat = self._positions[:0], None
        for layer in self.layers:
            layer.keys = layer.values = None
            layer.is_initialized = False

    def _lengths_changed(self) -> None:
        self._positions = torch.tensor(self.lengths, device=self._device)
