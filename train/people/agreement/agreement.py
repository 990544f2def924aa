"""`python -m train agreement`: people's answers against the synthetic ones, and against what is learnt from each.

Writes into --out: results.json, report.md, labels.csv; with --benchmark also human/ and synthetic/ (a data set, a run
of `train lora` and an evaluation each) and base/. Stages that are done are not done again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facellm.errors import FaceLLMError
from train.lora.recipe import Recipe, add_flags, from_flags, names
from train.outputs import usable_folder, write_files
from train.people.agreement.agreement_report import labels_csv, markdown
from train.people.agreement.pairs import HUMAN, SYNTHETIC, Pair, read_pairs, write_data

if TYPE_CHECKING:
    from train.evaluate.facexbench import Question


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m train agreement", description=__doc__.splitlines()[0])
    p.add_argument("--synthetic", type=Path, required=True, help="data set with images, as `train dataset` writes it")
    p.add_argument(
        "--human", type=Path, required=True,
        help="CSV with image, question or attribute, answer; or the SQLite file of `train audit`",
    )  # fmt: skip
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--benchmark", type=Path, help="questions to score by: then one adapter is trained on each")
    p.add_argument("--limit", type=int, help="at most so many questions of each benchmark file")
    p.add_argument("--model", default="nano", help="base of both adapters: a name, a folder or a hub name")
    p.add_argument("--recipe", default=None, help=f"{', '.join(names())}, or the path of a .yaml file")
    p.add_argument("--device", default=None, help="cpu or cuda")
    add_flags(p)
    return p


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    recipe = from_flags(args)
    if args.limit is not None and args.limit < 1:
        raise FaceLLMError(f"--limit is {args.limit}; it must be at least 1.")
    if args.benchmark is not None:
        from train.evaluate import facexbench

        facexbench.read(args.benchmark)  # before anything is trained
    agreement(
        args.synthetic, args.human, args.out, recipe,
        benchmark=args.benchmark, model=args.model, limit=args.limit, device=args.device,
    )  # fmt: skip
    print((args.out / "report.md").read_text(encoding="utf-8"))
    return 0


def agreement(
    synthetic: Path, human: Path, out: Path, recipe: Recipe, *, benchmark: Path | None = None, model: str = "nano",
    limit: int | None = None, device: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """All stages; returns the content of results.json.

    Raises FaceLLMError for input at fault, and where `out` holds adapters of another base, other answers or settings,
    or scores of other questions.
    """
    from train.people.agreement.shared_facts import compare

    read = read_pairs(synthetic, human)
    usable_folder(out)
    for line in read.left_out:
        print(line, file=sys.stderr)
    found: dict[str, Any] = {
        "synthetic": synthetic.resolve().name, "human": human.name, "pairs": len(read.pairs),
        "images": len({pair.item.image for pair in read.pairs}),
        "annotators": list(dict.fromkeys(pair.annotator for pair in read.pairs)), "left_out": list(read.left_out),
        "labels": compare(read.pairs), "experiment": None,
    }  # fmt: skip
    _write(out, found)  # what is known before training
    if benchmark is not None:
        found["experiment"] = _experiment(read.pairs, out, recipe, benchmark, model, limit, device)
        _write(out, found)
    return found


def _experiment(
    pairs: Sequence[Pair], out: Path, recipe: Recipe, benchmark: Path, model: str, limit: int | None, device: str | None
) -> dict[str, Any]:
    from train.evaluate import facexbench, summary
    from train.evaluate.answering import Arm
    from train.evaluate.evaluate import limited
    from train.lora.checkpoints import result
    from train.lora.stages import METHOD, trained

    adapters = {}
    for variant in (HUMAN, SYNTHETIC):
        data = write_data(out / variant / "data", pairs, variant)
        # Both runs share the images' features.
        figures = trained(data, model, out / variant, recipe, features=out / "features", device=device)
        adapters[variant] = {"answers": len(pairs), "steps": figures["steps"], "train_loss": figures["train_loss"]}
    replies = {
        "base": _evaluate(benchmark, model, None, out / "base", limit, device),
        **{w: _evaluate(benchmark, model, result(out / w), out / w, limit, device) for w in (HUMAN, SYNTHETIC)},
    }
    arms = {name: Arm("base" if name == "base" else "facellm", METHOD) for name in replies}
    asked = limited(facexbench.read(benchmark).questions, limit)
    questions = [q for q in asked if all(q.key in own for own in replies.values())]
    return {
        "model": model, "benchmark": benchmark.resolve().name, "method": METHOD, "questions": len(questions),
        "recipe": dataclasses.asdict(recipe), "adapters": adapters,
        "accuracy": {name: _accuracy(questions, replies[name], arms[name]) for name in replies},
        "paired": {
            f"{first}, {second}": summary.compare(
                questions, replies[first], replies[second], (arms[first], arms[second]), "ours"
            )
            for first, second in ((HUMAN, SYNTHETIC), ("base", HUMAN), ("base", SYNTHETIC))
        },
    }  # fmt: skip


def _evaluate(
    benchmark: Path, model: str, adapter: Path | None, folder: Path, limit: int | None, device: str | None
) -> dict[str, Any]:
    """Question -> reply; those of an earlier run with a larger limit are among them."""
    from train.evaluate.answering import Arm, read_replies
    from train.lora.stages import METHOD, scored

    target = scored(benchmark, model, adapter, folder, limit, device)
    arm = Arm("facellm" if adapter else "base", METHOD)
    return read_replies(target / "replies" / f"{arm.name}.jsonl")


def _accuracy(questions: Sequence[Question], replies: dict[str, Any], arm: Any) -> dict[str, Any]:
    from train.evaluate import summary

    return summary.of_arm(questions, replies, arm, "ours")["overall"]["accuracy"]


def _write(out: Path, found: dict[str, Any]) -> None:
    write_files(
        out,
        {
            "results.json": json.dumps(found, indent=2, ensure_ascii=False),
            "labels.csv": labels_csv(found["labels"]["facts"]),
            "report.md": markdown(found),
        },
    )
