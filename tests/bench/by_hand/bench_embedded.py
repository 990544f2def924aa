"""Memory and time of an embedded model: `python -m tests.bench.by_hand.bench_embedded --model nano [--repeats 5]`.

Every repeat is a process of its own, so that loading is measured cold (but with warm file caches) and the peak memory
is that of one load and one description. Prints medians as JSON and as the rows of the model card's table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

from facellm.weights.registry import EMBEDDED
from tests.paths import EXAMPLES

PORTRAIT = EXAMPLES / "astronaut.jpg"
ONCE = """
import json, resource, sys, time
began = time.perf_counter()
import torch, transformers, peft
imported = time.perf_counter()
from facellm import load
from facellm.vision.images import load_image
model = load(sys.argv[2])
loaded = time.perf_counter()
view = model.view(load_image(sys.argv[1]))
seen = time.perf_counter()
report = model.describe(view)
described = time.perf_counter()
warm = model.describe(view)
again = time.perf_counter()
profile = model.profile(view)
profiled = time.perf_counter()
tokens = sum(answer.tokens for answer in warm.answers)
print(json.dumps({
    "import_seconds": imported - began,
    "load_seconds": loaded - imported,
    "face_seconds": seen - loaded,
    "eight_answers_first_seconds": described - seen,
    "eight_answers_seconds": again - described,
    "tokens": tokens,
    "tokens_per_second": tokens / (again - described),
    "first_token_seconds": min(answer.first_token_seconds for answer in warm.answers),
    "first_words_of_all_seconds": max(answer.first_token_seconds for answer in warm.answers),
    "profile_seconds": profiled - again,
    "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=EMBEDDED, default=EMBEDDED[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "HF_HUB_OFFLINE": "1"}
    runs = []
    for _ in range(args.repeats):
        done = subprocess.run(
            [sys.executable, "-c", ONCE, str(PORTRAIT), args.model],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    medians = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
    print(
        json.dumps({"model": args.model, "repeats": args.repeats, "threads": args.threads, "median": medians}, indent=2)
    )
    for name, value in medians.items():
        print(f"| {name.replace('_', ' ')} | {value:g} |", file=sys.stderr)


if __name__ == "__main__":
    main()
