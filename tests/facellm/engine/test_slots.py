"""Slots: every row's own columns, whoever comes, goes or was there before."""

import pytest
import torch

from facellm.engine.kv_cache import filled_cache
from facellm.engine.slots import GROW, SlotsCache

CPU = torch.device("cpu")


def marked(rows, count, value):
    """(rows, 2 heads, count, 3): row r of this block holds value + r, told apart by head and token."""
    r, h, t = (
        torch.arange(rows).view(-1, 1, 1, 1),
        torch.arange(2).view(1, -1, 1, 1),
        torch.arange(count).view(1, 1, -1, 1),
    )
    return (value + r + h / 10 + t / 1000).expand(rows, 2, count, 3).contiguous()


def enter(cache, prefix, suffix, lengths, layers=2):
    """New rows: `prefix` tokens in common, `suffix` written, `lengths` of them real."""
    before = filled_cache([(prefix, prefix + 0.5)] * layers if prefix.shape[2] else ())
    cache.enter(before, [0] * len(suffix), suffix.shape[2])
    for layer in range(layers):
        keys, _ = cache.update(suffix, suffix + 0.5, layer)
        assert keys.shape[2] == prefix.shape[2] + suffix.shape[2]
    cache.settle(lengths)


def step(cache, values, layers=2):
    positions, mask = cache.advance()
    new = torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 2, 1, 3).contiguous()
    for layer in range(layers):
        keys, seen = cache.update(new, new, layer)
    cache.moved()
    return positions, mask, keys, seen


def test_rows_of_different_lengths_step_together():
    cache = SlotsCache(2, CPU)
    enter(cache, marked(1, 4, 1.0), marked(2, 3, 10.0), [5, 7])
    enter(cache, marked(1, 0, 0.0), marked(1, 2, 30.0), [2])
    positions, mask, keys, values = step(cache, [100.0, 200.0, 300.0])
    assert positions.tolist() == [[5], [7], [2]] and mask.shape == (3, 1, 1, 8)
    assert mask.sum(-1).flatten().tolist() == [6, 8, 3]
    for row, (length, value) in enumerate(((5, 100.0), (7, 200.0), (2, 300.0))):
        assert torch.equal(keys[row, :, length], torch.full((2, 3), value))
        assert torch.equal(values[row, :, length], torch.full((2, 3), value))
    assert torch.equal(keys[1, :, :4], marked(1, 4, 1.0)[0]) and torch.equal(keys[1, :, 4:7], marked(2, 3, 10.0)[1])
    assert torch.equal(keys[2, :, :2], marked(1, 2, 30.0)[0])


def test_the_buffer_grows_and_shrinks_with_its_rows():
    cache = SlotsCache(2, CPU)
    enter(cache, marked(1, 2, 1.0), marked(1, 1, 5.0), [3])
    for i in range(2 * GROW):
        step(cache, [float(i)])
    assert cache.lengths == [3 + 2 * GROW] and cache.copy(0)[1][0].shape == (1, 2, 3 + 2 * GROW, 3)
    assert torch.equal(cache.copy(0)[0][0][0, 0, 3:, 0], torch.arange(2.0 * GROW))
    enter(cache, marked(1, 2, 1.0), marked(1, 1, 6.0), [3])
    tall = cache.capacity
    cache.keep([1])
    enter(cache, marked(1, 2, 1.0), marked(1, 1, 7.0), [3])
    assert cache.capacity < tall
    assert torch.equal(cache.copy(0)[0][0][:, :, 2:], marked(1, 1, 6.0))
    cache.keep([])
    assert cache.bytes == 0 and cache.lengths == []


def test_rows_that_leave_are_replaced_by_the_last():
    cache = SlotsCache(2, CPU)
    enter(cache, marked(1, 1, 0.0), marked(4, 2, 10.0), [3, 3, 2, 3])
    before = [cache.copy(i) for i in range(4)]
    cache.keep([3, 1])
    assert cache.lengths == [3, 3]
    for new, old in enumerate((3, 1)):
        for (k, v), (k0, v0) in zip(cache.copy(new), before[old], strict=True):
            assert torch.equal(k, k0) and torch.equal(v, v0)


def test_nothing_of_an_overflowed_row_reaches_the_next_in_its_slot():
    cache = SlotsCache(1, CPU)
    enter(cache, marked(1, 1, 0.0), torch.full((2, 2, 9, 3), float("inf")), [10, 10], layers=1)
    cache.keep([0])
    enter(cache, marked(1, 1, 0.0), marked(1, 1, 5.0), [2], layers=1)
    *_, keys, _ = step(cache, [1.0, 2.0], layers=1)
    assert torch.isfinite(keys[1]).all()


def test_rows_that_could_not_be_written_leave_the_others_alone():
    cache = SlotsCache(2, CPU)
    enter(cache, marked(1, 1, 0.0), marked(1, 2, 10.0), [3])
    before = cache.copy(0)
    cache.enter(filled_cache([(marked(1, 1, 0.0),) * 2] * 2), [0, 0, 0], 500)
    cache.abandon()
    assert cache.lengths == [3]
    for (k, v), (k0, v0) in zip(cache.copy(0), before, strict=True):
        assert torch.equal(k, k0) and torch.equal(v, v0)
    _, mask, keys, _ = step(cache, [7.0])
    assert mask.all() and torch.equal(keys[0, :, 3], torch.full((2, 3), 7.0))


@pytest.mark.parametrize("fails_at", [1, 2, 3])  # of the four buffers of two layers
def test_memory_that_runs_out_while_growing_leaves_the_rows_right(monkeypatch, fails_at):
    cache = SlotsCache(2, CPU)
    enter(cache, marked(1, 1, 0.0), marked(2, 2, 10.0), [3, 3])
    made = []

    def new_zeros(self, *shape):
        made.append(shape)
        if len(made) > fails_at:
            raise torch.OutOfMemoryError("no room")
        return torch.zeros(*shape, dtype=self.dtype)

    with monkeypatch.context() as patched, pytest.raises(torch.OutOfMemoryError):
        patched.setattr(torch.Tensor, "new_zeros", new_zeros)
        cache.enter(filled_cache([(marked(1, 1, 0.0),) * 2] * 2), [0, 0, 0], 500)
    cache.abandon()
    cache.advance()
    for layer in range(2):
        new = torch.tensor([77.0, 88.0]).view(-1, 1, 1, 1).expand(-1, 2, 1, 3).contiguous()
        for buffer in cache.update(new, new, layer):
            assert (buffer[0, :, 3] == 77.0).all() and (buffer[1, :, 3] == 88.0).all()
    cache.moved()
    enter(cache, marked(1, 1, 0.0), marked(3, 500, 20.0), [501] * 3)
    assert cache.lengths == [4, 4, 501, 501, 501]
    assert torch.equal(cache.copy(1)[1][0][0, :, 3], torch.full((2, 3), 88.0))
