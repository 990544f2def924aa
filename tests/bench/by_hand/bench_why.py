"""Whether maps of "Why?" point at what was drawn, and what a map costs: `python -m tests.bench.by_hand.bench_why`.

The pointing game (Zhang et al., "Top-down neural attention by excitation backprop", IJCV 2018) on composed portraits:
a hit is a map whose strongest region lies at the drawn thing, give or take half a region. Beside the hits stands what a
map that knows nothing would reach. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

from facellm import load
from facellm.intervals import wilson
from facellm.weights.registry import EMBEDDED
from tests.bench.by_hand.drawn import KINDS, by_chance, composed, points_at

# What is drawn -> field of the profile, the label that is explained.
ASKED = {"glasses": ("glasses", "glasses"), "hat": ("headwear", "hat"), "mouth": ("mouth", "open")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=EMBEDDED, default=EMBEDDED[0])
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--side", type=int, help="regions a side; by default as many as the page shows")
    args = parser.parse_args()
    model = load(args.model)
    hits: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    chance, told, seconds = [], [], []
    for one in composed(args.pictures):
        key, label = ASKED[one.kind]
        began = time.perf_counter()
        found = model.explain(one.image, key, label, ("facellm",), side=args.side, whole=True)["facellm"]
        seconds.append(time.perf_counter() - began)
        hits[one.kind].append(points_at(found.influence, one.box))
        told.append(max(found.probabilities, key=found.probabilities.__getitem__) == label)
        chance.append(by_chance(len(found.influence), one.box))
        side = len(found.influence)
    every = [hit for some in hits.values() for hit in some]
    low, high = wilson(sum(every), len(every))
    print(
        json.dumps(
            {
                "model": args.model,
                "regions": side**2,
                "pictures": len(every),
                "hits": sum(every),
                "interval": [round(low, 3), round(high, 3)],
                "by_chance": round(statistics.mean(chance), 3),
                "by_kind": {kind: f"{sum(some)} of {len(some)}" for kind, some in hits.items()},
                "answer_is_what_was_drawn": sum(told),
                "median_seconds": round(statistics.median(seconds), 2),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
