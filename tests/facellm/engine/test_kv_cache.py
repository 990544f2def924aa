"""Stored prefixes and features: right contents, bounded size."""

import pytest
import torch

from facellm.engine.features import FeatureStore
from facellm.engine.kv_cache import PrefixCache, common_prefix, copy_row, filled_cache, size_in_bytes


def tokens(n, count, start=0):
    """(n, 2 heads, count, 3): every entry tells its token's number."""
    values = torch.arange(start, start + count, dtype=torch.float32).view(1, 1, count, 1)
    return values.expand(n, 2, count, 3) + 100 * torch.arange(n).view(n, 1, 1, 1)


def test_a_copied_row_is_its_own():
    cache = filled_cache([(tokens(2, 4), tokens(2, 4) + 0.5)])
    kept = copy_row(cache, 1)
    cache.layers[0].keys.zero_()
    assert torch.equal(kept[0][0], tokens(2, 4)[1:2]) and torch.equal(kept[0][1], tokens(2, 4)[1:2] + 0.5)
    assert filled_cache().get_seq_length() == 0


@pytest.mark.parametrize(
    ("sequences", "length"), [([[1, 2, 3], [1, 2, 4]], 2), ([[1, 2], [1, 2, 3]], 2), ([[5]], 1), ([[1], [2]], 0)]
)
def test_common_prefix(sequences, length):
    assert common_prefix(sequences) == length


def test_prefix_store_finds_the_longest_of_the_same_owner():
    store = PrefixCache(max_bytes=10**6)
    store.put("a", [1, 2, 3, 4], [(tokens(1, 4), tokens(1, 4))])
    store.put("a", [1, 9], [(tokens(1, 2), tokens(1, 2))])
    assert store.longest("b", [1, 2]) == (0, [])
    length, kept = store.longest("a", [1, 2, 3, 7])
    assert length == 3
    assert torch.equal(kept[0][0], tokens(1, 3))
    store.put("a", [1, 2, 3, 4, 5], [(tokens(1, 5), tokens(1, 5))])
    assert len(store) == 2  # the longer one took its beginning's place


def test_prefix_store_is_bounded_in_bytes_and_entries():
    one = [(tokens(1, 4), tokens(1, 4))]
    size = size_in_bytes(one)
    assert size == 2 * 2 * 4 * 3 * 4
    store = PrefixCache(max_bytes=3 * size, max_entries=10)
    for i in range(8):
        store.put("a", [i, 1, 2, 3], one)
        assert store.bytes <= 3 * size
    assert len(store) == 3 and store.longest("a", [0, 1])[0] == 0 and store.longest("a", [7, 1])[0] == 2
    store.put("a", [99, 1], [(tokens(1, 40), tokens(1, 40))])
    assert store.longest("a", [99, 1]) == (0, [])  # too large to keep
    few = PrefixCache(max_bytes=10**6, max_entries=2)
    for i in range(5):
        few.put("a", [i], one)
    assert len(few) == 2


def test_feature_store_forgets_the_least_recently_used():
    store = FeatureStore(max_bytes=8)
    store.put(("net", "a"), torch.zeros(1))
    store.put(("net", "b"), torch.ones(1))
    assert store.get(("net", "a")) is not None
    store.put(("net", "c"), torch.ones(1))
    assert ("net", "b") not in store and store.get(("net", "b")) is None and store.get(("net", "a")) is not None
    assert (store.hits, store.misses) == (2, 1)
    store.put(("net", "a"), torch.zeros(2))
    assert len(store) == 1 and store.bytes == 8
    store.put(("net", "large"), torch.zeros(9))  # the image that is asked about stays, however large
    assert len(store) == 1 and ("net", "large") in store
    store.clear()
    assert store.bytes == len(store) == 0
