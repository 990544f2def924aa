"""Benchmarks of speed, each a ratio measured side by side: `python -m tests.bench [B1 B2 ...] [options]`.

Without names all are run, on nano and on a random model of middle size ("mid"); with a CUDA GPU, random weights in the
shapes of 1B, 8B and 38B besides. Prints a table; --json and --docs write files. What stands in `by_hand/` has
commands of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

BENCHES = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    made.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(BENCHES)}; default all")
    made.add_argument(
        "--models", metavar="a,b", help="nano, mid; on a CUDA GPU also 1b, 8b, 38b; default all these. 1b-cut: B6 alone"
    )
    made.add_argument("--tokens", type=int, default=128, help="length of an answer (default 128)")
    made.add_argument("--repeats", type=int, default=5, help="of each measurement (default 5)")
    made.add_argument("--threads", type=int, help="of torch on the CPU; default: as many as there are cores")
    made.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: computing time, on a busy machine")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    made.add_argument("--docs", type=Path, metavar="FILE", help="write the tables into docs/performance.md")
    return made


def main(arguments: list[str] | None = None) -> int:
    args = parser().parse_args(arguments)
    wanted = [name.upper() for name in args.names] or list(BENCHES)
    for name in wanted:
        if name not in BENCHES:
            print(f"tests.bench: there is no {name}; choose from {', '.join(BENCHES)}.", file=sys.stderr)
            return 2
    if args.threads:
        os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before torch, and for the processes that are started
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    return run(args, wanted)


def run(args: argparse.Namespace, wanted: list[str]) -> int:
    import torch
    from transformers.utils import logging

    from tests.bench import inference, report, startup, timing
    from tests.bench.models import CUT, SHAPES, subject
    from tests.bench.training import lora_step

    logging.disable_progress_bar()
    timing.use_clock(args.clock)
    usual = ["nano", "mid", *(SHAPES if torch.cuda.is_available() else ())]
    models = args.models.split(",") if args.models else usual
    for name in models:
        if name not in (*usual, CUT):
            print(
                f"tests.bench: there is no model {name} here; choose from {', '.join((*usual, CUT))}.", file=sys.stderr
            )
            return 2
    benches = {
        "B1": inference.eight_answers,
        "B2": inference.sixteen_answers,
        "B3": inference.first_tokens,
        "B4": inference.whole_profile,
        "B5": inference.visitors,
        "B6": lora_step,
        "B7": inference.bandwidth_limit,
    }
    results = []
    for model in models:
        with subject(model) as it:
            for name in wanted:
                # A training step of a whole model in these shapes needs more than one card.
                if name in benches and (model not in SHAPES if name == "B6" else model != CUT):
                    print(f"{model} {name} ...", file=sys.stderr, flush=True)
                    results += benches[name](it, args.tokens, args.repeats)
    if "B8" in wanted:
        print("B8 ...", file=sys.stderr, flush=True)
        results += startup.start("nano", args.repeats)
    print(report.tables(results))
    options = {"tokens": args.tokens, "repeats": args.repeats, "clock": args.clock}
    if args.json:
        report.write_json(args.json, results, options)
    if args.docs:
        report.write_tables(args.docs, results, "python -m tests.bench " + " ".join(sys.argv[1:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
