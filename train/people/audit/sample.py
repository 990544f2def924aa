"""Which pairs are judged: a sample spread evenly over attribute x gender x ethnic group, the same for the same seed.

The pairs are laid in a row by stratum, at random within each, and taken at equal steps from a random beginning
(systematic sampling with implicit stratification). Every pair has the same chance, so plain rates over the sample are
unbiased for the data set without weights; and every stratum gets its share, rounded up or down. The order of the groups
is another one in each attribute: with one order, equal steps could meet the same group, or the same image, every time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from facellm.errors import FaceLLMError
from train.people.audit.items import Item


def draw(items: Sequence[Item], count: int, seed: int) -> list[Item]:
    """`count` items (all of them, where there are no more), shuffled, so that no attribute is judged in one go.

    Hangs on the items' keys and the seed, not on the items' order. Raises FaceLLMError for a count below 1.
    """
    if count < 1:
        raise FaceLLMError(f"--sample is {count}; judge at least 1 pair.")
    row = sorted(items, key=lambda item: item.key)
    rng = random.Random(f"audit:{seed}")
    rng.shuffle(row)
    rank = {stratum: rng.random() for stratum in sorted({item.stratum for item in row})}
    row.sort(key=lambda item: (item.attribute, rank[item.stratum]))  # stable: each stratum stays shuffled
    if count < len(row):
        step = len(row) / count
        begin = rng.random() * step
        row = [row[min(len(row) - 1, int(begin + place * step))] for place in range(count)]
    rng.shuffle(row)
    return row
