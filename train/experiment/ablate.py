"""`python -m train ablate`: one adapter for each rank, under one seed, measured alike; a table and a plot.

Writes into --out: rank-N/ (a run of `train lora` each), ablation.json, ablation.md and ablation.png. A rank that is
done is not trained again, and one that was killed goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from train.lora.lora import add_run_options
from train.lora.parts.parts import leaves_adapter
from train.lora.recipe import Recipe, add_flags, from_flags
from train.outputs import usable_folder, write_files
from train.reports.pages import markdown_table
from train.reports.plots import figure, save_png

RANKS = (4, 8, 16, 32)
COLUMNS = {
    "rank": "rank", "trainable": "trainable parameters", "train_loss": "training loss", "val_loss": "validation loss",
    "val_token_accuracy": "next token right", "val_short_accuracy": "short answers right", "accuracy": "accuracy",
    "low": "from (95 %)", "high": "to", "seconds": "seconds",
}  # fmt: skip
# What the plot shows: the first that every rank has.
PLOTTED = {
    "accuracy": "accuracy on multiple-choice questions", "val_short_accuracy": "short validation answers right",
    "val_loss": "validation loss (nats a token)", "train_loss": "training loss (nats a token)",
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m train ablate", description=__doc__.splitlines()[0])
    add_run_options(made)
    made.add_argument("--ranks", default=",".join(map(str, RANKS)), help="ranks, with commas between")
    made.add_argument("--benchmark", type=Path, help="questions that `train benchmark` made")
    made.add_argument("--limit", type=int, help="at most so many questions of each benchmark file")
    add_flags(made)
    return made


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    if hasattr(args, "rank") or hasattr(args, "alpha"):
        raise FaceLLMError("ablate sets rank and alpha (twice the rank) itself; choose the ranks with --ranks.")
    recipe = from_flags(args)
    if not leaves_adapter(recipe):
        raise FaceLLMError(f"ablate compares ranks of an adapter, but train is {recipe.train}; leave it out.")
    rows = ablate(
        args.data, args.model, args.out, read_ranks(args.ranks), recipe, base_name=args.base_name,
        features=args.features, benchmark=args.benchmark, limit=args.limit, device=args.device,
    )  # fmt: skip
    print(json.dumps(rows))
    return 0


def read_ranks(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) for part in parts) or len(set(parts)) != len(parts):
        raise FaceLLMError(
            f"--ranks must be different whole numbers with commas between, such as 4,8,16; not {text!r}."
        )
    return [int(part) for part in parts]


def ablate(
    data: Path, model: str, out: Path, ranks: Sequence[int], recipe: Recipe, *, base_name: str | None = None,
    features: Path | None = None, benchmark: Path | None = None, limit: int | None = None, device: str | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Trains and measures every rank; alpha is twice the rank, so that the adapter's scale stays.

    Args:
        data: The training set.
        model: The base.
        out: The folder to write into.
        ranks: Ranks of the adapters.
        recipe: All other settings.
        base_name: What the adapters call their base (None: its name on the hub).
        features: A feature cache (None: one for all ranks in `out`).
        benchmark: Questions to score by.
        limit: At most so many questions of each benchmark file.
        device: "cpu" or "cuda".

    Returns:
        The table, a row a rank.

    Raises:
        FaceLLMError: Where `out` holds a rank of another base, other data, settings or questions.
    """
    from train.lora.stages import trained

    out = usable_folder(Path(out))
    rows: list[dict[str, Any]] = []
    for rank in ranks:
        folder = out / f"rank-{rank}"
        settings = dataclasses.replace(recipe, rank=rank, alpha=2 * rank)
        shared = features or out / "features"
        figures = trained(data, model, folder, settings, base_name=base_name, features=shared, device=device)
        row = {"rank": rank, **figures}
        if benchmark is not None:
            row |= _measure(benchmark, model, folder, limit, device)
        rows.append(row)
        _write(out, rows)
    return rows


def _measure(benchmark: Path, model: str, folder: Path, limit: int | None, device: str | None) -> dict[str, Any]:
    """Accuracy on multiple-choice questions through `train evaluate`."""
    from train.lora.stages import METHOD, scored

    results = scored(benchmark, model, folder / "adapter", folder, limit, device) / "results.json"
    found = json.loads(results.read_text(encoding="utf-8"))
    rate = found["models"]["facellm"][METHOD]["overall"]["accuracy"]
    return {"accuracy": rate["value"], "low": rate["low"], "high": rate["high"], "questions": rate["total"]}


def _write(out: Path, rows: list[dict[str, Any]]) -> None:
    shown = {key: title for key, title in COLUMNS.items() if any(row.get(key) is not None for row in rows)}
    table = markdown_table(list(shown.values()), [[_cell(row.get(k)) for k in shown] for row in rows], "r" * len(shown))
    write_files(out, {"ablation.json": json.dumps(rows, indent=1) + "\n", "ablation.md": table})
    _plot(out / "ablation.png", rows)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if value < 10 else f"{value:,.0f}"


def _plot(path: Path, rows: list[dict]) -> None:
    """Draws the first of `PLOTTED` that every rank has, accuracy with its 95 % interval, against parameters."""
    key = next((key for key in PLOTTED if all(row.get(key) is not None for row in rows)), "train_loss")
    drawing, axes = figure(6, 4)
    points = [(row["trainable"], row[key]) for row in rows]
    axes.plot(*zip(*points, strict=True), marker="o")
    if key == "accuracy":
        around = [[row["accuracy"] - row["low"] for row in rows], [row["high"] - row["accuracy"] for row in rows]]
        axes.errorbar(*zip(*points, strict=True), yerr=around, fmt="none", capsize=3)
    for row, point in zip(rows, points, strict=True):
        axes.annotate(f"rank {row['rank']}", point, textcoords="offset points", xytext=(4, 6))
    axes.set(xlabel="trainable parameters", ylabel=PLOTTED[key], xscale="log")
    save_png(drawing, path)
