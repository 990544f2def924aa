"""`python -m train experiment NAME`: arms that differ in one thing, each under several seeds, and one report.

Writes into --out: ARM/seed-N/ (a run of `train lora` each), validation.jsonl (the rows that all are measured on),
report.md, report.html, results.json and plot.png. Kill it at any moment: a trial that is done is not repeated, and one
that was killed goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from train import journal
from train.experiment.plans import EXPERIMENTS, MAIN, check_sets
from train.lora.recipe import add_flags, from_flags, names
from train.opening import check_positive
from train.outputs import usable_folder


def parser() -> argparse.ArgumentParser:
    listed = "; ".join(f"{name}: {', '.join(arm.name for arm in one.arms)}" for name, one in EXPERIMENTS.items())
    made = argparse.ArgumentParser(
        prog="python -m train experiment",
        description=__doc__.splitlines()[0],
        epilog=f"Experiments and their arms: {listed}.",
    )
    made.add_argument("name", choices=EXPERIMENTS, metavar="NAME", help=", ".join(EXPERIMENTS))
    made.add_argument("--data", type=Path, required=True, help="set that arms learn unless they have one of their own")
    made.add_argument("--set", action="append", default=[], metavar="NAME=SET", help="the set of another arm")
    made.add_argument("--out", type=Path, required=True, help="folder for trials and report")
    made.add_argument("--seeds", type=int, default=3, help="trials of each arm (default: 3)")
    made.add_argument("--model", default="nano", help="base of all arms: a name, a folder or a hub name")
    made.add_argument("--recipe", help=f"{', '.join(names())}, or the path of a .yaml file")
    made.add_argument("--val-data", type=Path, help="rows to compare on (default: validation rows of --data)")
    made.add_argument("--mix", type=Path, metavar="SET", help="general rows, for the experiment `general`")
    made.add_argument("--mix-ratio", type=float, default=0.2, help="their share of all rows (default: 0.2)")
    made.add_argument("--benchmark", type=Path, help="questions that `train benchmark` made")
    made.add_argument("--limit", type=int, help="at most so many questions of each benchmark file")
    made.add_argument("--device", help="cpu or cuda")
    add_flags(made)
    return made


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    check_positive(args, "seeds", "limit")
    sets = read_sets(args.set)
    check_sets(args.name, sets, args.mix)
    if hasattr(args, "seed"):
        raise FaceLLMError("An experiment sets the seed itself; say with --seeds how many.")
    recipe = from_flags(args)
    if args.benchmark is not None:
        from train.evaluate import facexbench

        facexbench.read(args.benchmark)  # before anything is trained
    from train.experiment.trials import Settings

    settings = Settings(
        {MAIN: args.data, **sets}, args.model, recipe, tuple(range(args.seeds)), args.val_data, args.mix,
        args.mix_ratio, args.benchmark, args.limit, args.device,
    )  # fmt: skip
    run(args.name, settings, args.out)
    print((args.out / "report.md").read_text(encoding="utf-8"))
    return 0


def read_sets(given: Sequence[str]) -> dict[str, Path]:
    """Reads NAME=SET options.

    Raises:
        FaceLLMError: For one without a name or a set.
    """
    sets = {}
    for text in given:
        name, _, place = text.partition("=")
        if not name or not place:
            raise FaceLLMError(f"--set is {text!r}; write it as NAME=SET.")
        sets[name] = Path(place)
    return sets


def run(name: str, settings: Any, out: Path) -> dict[str, Any]:
    """Runs what is not done of an experiment, and writes the report after each trial.

    Args:
        name: One of `EXPERIMENTS`.
        settings: What its trials share (`train.experiment.trials.Settings`).
        out: The experiment's folder.

    Returns:
        The content of results.json.

    Raises:
        FaceLLMError: Where the folder is of another experiment, or data, base or settings changed.
    """
    from train.experiment.experiment_report import write_report
    from train.experiment.trials import trials

    out = usable_folder(Path(out))
    journal.claim(out, {"experiment": name})
    done, results = [], {}
    for trial in trials(EXPERIMENTS[name], settings, out):
        done.append(trial)
        results = write_report(name, settings, done, out)
    print(f"report: {out / 'report.html'}", file=sys.stderr)
    return results
