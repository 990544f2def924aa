"""The report of an experiment: one table of arms, one of comparisons, one plot; as Markdown, HTML and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from train.experiment.comparison import MEASURES, Comparison, compare, values
from train.experiment.plans import EXPERIMENTS
from train.experiment.trials import Settings, Trial, of_arm
from train.outputs import write_files
from train.reports.pages import Report, Table, html, markdown, p_value
from train.reports.plots import figure, save_png, svg

FIGURES = {
    "trainable": "parameters that train", "steps": "steps", "val_loss": "validation loss",
    "val_token_accuracy": "next token right", "val_short_accuracy": "short answers right", "seconds": "seconds",
}  # fmt: skip


def write_report(name: str, settings: Settings, done: Sequence[Trial], out: Path) -> dict[str, Any]:
    """Writes report.md, report.html, results.json and plot.png.

    Args:
        name: The experiment's.
        settings: What its trials share.
        done: The trials that are done so far.
        out: The experiment's folder.

    Returns:
        The content of results.json.
    """
    experiment = EXPERIMENTS[name]
    arms = [arm.name for arm in experiment.arms]
    comparisons = compare(done, arms)
    wanted = len(arms) * len(settings.seeds)
    results = {
        "experiment": name, "question": experiment.question, "model": settings.model, "seeds": list(settings.seeds),
        "trials": [{"arm": trial.arm, "seed": trial.seed, **trial.figures} for trial in done],
        "benchmark": {arm: _share(done, arm) for arm in arms},
        "comparisons": [vars(one) for one in comparisons], "complete": len(done) == wanted,
    }  # fmt: skip
    report = Report(
        f"Experiment: {name}",
        [
            experiment.question,
            f"{len(done)} of {wanted} trials are done: {len(arms)} arms, each under the seeds "
            f"{', '.join(map(str, settings.seeds))}; every arm is measured on the same rows.",
        ],
        [_arms(done, arms), *([_pairs(comparisons)] if comparisons else [])],
        [
            ("How to read this", [
                "Figures of an arm are means over seeds, with the standard deviation between seeds.",
                "A comparison is the second arm minus the first, over images (or benchmark questions) with seeds "
                "averaged; 95 % normal intervals, Wilcoxon's signed-rank test, Holm's correction over all rows.",
                "The interval speaks of other images, not of other seeds: with few seeds the latter is not known well.",
            ]),
        ],
        {"model": settings.model, **{key: str(value) for key, value in vars(settings.recipe).items()}},
    )  # fmt: skip
    drawing = _plot(done, arms)
    files = {
        "results.json": json.dumps(results, indent=1, ensure_ascii=False) + "\n",
        "report.md": markdown(report),
        "report.html": html(report, [(svg(drawing), "Every trial, and each arm's mean.")]),
    }
    write_files(out, files)
    save_png(drawing, out / "plot.png")
    return results


def _share(done: Sequence[Trial], arm: str) -> float | None:
    found = values([trial for trial in done if trial.arm == arm], "benchmark")
    return mean(found.values()) if found else None


def _arms(done: Sequence[Trial], arms: Sequence[str]) -> Table:
    rows = []
    for arm in arms:
        cells = [_spread([v for v in of_arm(list(done), arm, lambda t, key=key: t.figures.get(key)) if v is not None])
                 for key in FIGURES]  # fmt: skip
        share = _share(done, arm)
        rows.append([arm, len(of_arm(list(done), arm, lambda trial: trial.seed)), *cells,
                     "-" if share is None else f"{100 * share:.1f} %"])  # fmt: skip
    return Table("Arms", ["arm", "seeds", *FIGURES.values(), "benchmark"], rows)


def _spread(found: Sequence[float]) -> str:
    if not found:
        return "-"
    form = ",.0f" if max(found) >= 100 or all(isinstance(one, int) for one in found) else ".4f"
    shown = f"{mean(found):{form}}"
    return shown if len(found) < 2 or not stdev(found) else f"{shown} ± {stdev(found):{form}}"


def _pairs(comparisons: Sequence[Comparison]) -> Table:
    rows = [
        [
            MEASURES[one.measure], f"{one.second} - {one.first}", one.units,
            f"{one.gain:+.4f} [{one.low:+.4f}, {one.high:+.4f}]", p_value(one.p), p_value(one.p_holm),
        ]
        for one in comparisons
    ]  # fmt: skip
    return Table("Comparisons", ["measure", "arms", "units", "difference", "p", "p (Holm)"], rows)


def _plot(done: Sequence[Trial], arms: Sequence[str]) -> Any:
    """Validation loss of every trial and each arm's mean."""
    drawing, axes = figure(1.6 * len(arms) + 2, 4)
    for place, arm in enumerate(arms):
        losses = of_arm(list(done), arm, lambda trial: trial.figures["val_loss"])
        axes.plot([place] * len(losses), losses, "o", color="#9aa5b1")
        if losses:
            axes.plot([place - 0.2, place + 0.2], [mean(losses)] * 2, color="#2563eb", linewidth=2)
    axes.set_xticks(range(len(arms)), arms)
    axes.set(ylabel="validation loss (nats a token)")
    return drawing
