"""Eight answers here beside a vLLM that serves the same weights: `python -m tests.bench.by_hand.bench_vllm --url URL`.

The two take turns on the same portraits, so that a busy machine slows both alike; while one works the other idles. A
round before the measured ones warms the caches of both. docs/serving.md has the command that starts vLLM. Prints
medians as JSON: seconds for the eight answers, tokens a second, and the ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

from facellm import ATTRIBUTES, connect, load
from facellm.interface import Questions, make_sampling
from facellm.results import Row
from facellm.weights.registry import EMBEDDED
from tests.paths import EXAMPLES

PORTRAITS = ("hopper", "collins", "bluford", "jemison", "lindgren", "ochoa", "johnson", "astronaut")


def eight(model: Questions, portrait: str, variant: str, longest: int) -> tuple[float, int]:
    """Seconds and tokens of the eight attributes' answers, greedy."""
    rows = [Row(variant, attribute.question, key=attribute.key) for attribute in ATTRIBUTES]
    began = time.perf_counter()
    given = model.stream(EXAMPLES / f"{portrait}.jpg", rows, make_sampling(None, {"max_new_tokens": longest}))
    answers = [delta.answer for delta in given if delta.answer]
    return time.perf_counter() - began, sum(answer.tokens for answer in answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8123", help="where vLLM answers")
    parser.add_argument("--model", choices=EMBEDDED, default="nano", help="what it serves, opened here too")
    parser.add_argument("--repeats", type=int, default=3, help="rounds over the portraits; another goes before them")
    parser.add_argument("--max-new-tokens", type=int, default=200)
    args = parser.parse_args()
    here, there = load(args.model, dtype="float32", device="cpu"), connect(args.url)
    report = {}
    for variant in here.variants:
        pairs = []
        for number in range(args.repeats + 1):
            for portrait in PORTRAITS:
                ours = eight(here, portrait, variant, args.max_new_tokens)
                other = eight(there, portrait, variant, args.max_new_tokens)
                if number:
                    pairs.append((ours, other))
        report[variant] = {
            "eight_answers_seconds": [round(statistics.median(pair[i][0] for pair in pairs), 3) for i in (0, 1)],
            "tokens_per_second": [
                round(statistics.median(pair[i][1] / pair[i][0] for pair in pairs), 1) for i in (0, 1)
            ],
            "times_vllm": round(statistics.median(other[0] / ours[0] for ours, other in pairs), 2),
        }
    print(json.dumps({"model": args.model, "rounds": args.repeats, "here, vLLM": report}, indent=2))


if __name__ == "__main__":
    main()
