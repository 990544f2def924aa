"""The plots of the bias report: groups, gaps against chance, representation, intersections, amplification, words.

Plots show figures alone, never a face.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from train.reports.pages import NAMES
from train.reports.plots import COLOURS, figure, svg

TASK_NAMES = {"gender": "gender", "ethnicity": "ethnicity", "age_group": "age group", "band": "age band"}
GAPS_SHOWN = 12


def accuracy_rows(results: dict[str, Any], variant: str, grouping: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """task -> the groups' rows of its accuracy over this grouping."""
    return {
        m["task"]: m["groups"]
        for m in results["models"][variant]["measures"]
        if m["metric"] == "accuracy" and m["grouping"] == list(grouping)
    }


def plot_groups(results: dict[str, Any]) -> str:
    """Accuracy of the three tasks for every gender, ethnicity and age band, with bootstrap intervals."""
    variants = list(results["models"])
    first = {g: accuracy_rows(results, variants[0], (g,)) for g in ("gender", "ethnicity", "band")}
    labels = [row["group"] for by in first.values() for row in next(iter(by.values()))]
    drawing, axes = figure(11, 0.34 * len(labels) * max(1, 0.7 * len(variants)) + 1.2, 3)
    for axis, task in zip(axes, ("gender", "ethnicity", "age_group"), strict=True):
        for place, name in enumerate(variants):
            rows = [row for g in first for row in accuracy_rows(results, name, (g,))[task]]
            y = np.arange(len(rows)) + (place - (len(variants) - 1) / 2) * 0.3
            dots(axis, rows, y, COLOURS[name], NAMES[name])
        axis.set_title(f"right about {TASK_NAMES[task]}, %", fontsize=10)
        axis.set_yticks(range(len(labels)), labels if axis is axes[0] else [""] * len(labels))
        axis.invert_yaxis()
        axis.grid(axis="x", color="#e5e7eb")
    axes[-1].legend(fontsize=8, frameon=False, loc="best")
    return svg(drawing)


def dots(axis: Any, rows: Sequence[dict[str, Any]], y: Any, colour: str, label: str) -> None:
    """Values in per cent with their intervals."""
    values = np.array([100 * row["value"] if row["value"] is not None else np.nan for row in rows])
    low, high = (np.array([100 * row[k] if row[k] is not None else np.nan for row in rows]) for k in ("low", "high"))
    spread = np.abs(np.clip([values - low, high - values], 0, None))
    axis.errorbar(values, y, xerr=spread, fmt="o", markersize=4, capsize=2, linewidth=1, color=colour, label=label)


def plot_gaps(results: dict[str, Any], variant: str) -> str:
    """The largest gaps by corrected p, with their intervals, over what chance alone makes of the same groups."""
    rows = results["models"][variant]["gaps"][:GAPS_SHOWN]
    drawing, axes = figure(9, 0.36 * len(rows) + 1.3)
    y = np.arange(len(rows))
    axes.barh(y, [100 * row["null_high"] for row in rows], 0.7, color="#e5e7eb", label="95 % of gaps by chance")
    axes.barh(y, [100 * row["null_mean"] for row in rows], 0.7, color="#cbd5e1", label="mean gap by chance")
    for significant, colour, label in ((True, "#dc2626", "significant (Holm)"), (False, "#2563eb", "not significant")):
        own = [i for i, row in enumerate(rows) if row["significant"] == significant]
        if own:
            named = [{"value": rows[i]["gap"], "low": rows[i]["low"], "high": rows[i]["high"]} for i in own]
            dots(axes, named, np.array(own), colour, label)
    axes.set_yticks(y, [row["name"] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("largest minus smallest rate, points")
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    return svg(drawing)


def plot_shares(results: dict[str, Any]) -> str:
    """How often each gender, ethnicity and age band is in the metadata, in the profile, and named in words."""
    variants = list(results["models"])
    first = results["models"][variants[0]]["representation"]["profile"]
    labels = [(row["task"], row["label"]) for row in first]
    drawing, axes = figure(9, 0.34 * len(labels) + 1.2)
    y = np.arange(len(labels))
    axes.barh(y, [100 * row["data"] for row in first], 0.75, color="#e5e7eb", label="metadata")
    for place, name in enumerate(variants):
        for source, marker in (("profile", "o"), ("words", "D")):
            rows = {(r["task"], r["label"]): r for r in results["models"][name]["representation"][source]}
            x = [100 * rows[key]["said"] if key in rows else np.nan for key in labels]
            shift = (place - (len(variants) - 1) / 2) * 0.25
            look = {"markersize": 4, "linestyle": "none", "fillstyle": "full" if source == "profile" else "none"}
            axes.plot(x, y + shift, marker, color=COLOURS[name], label=f"{NAMES[name]}, {source}", **look)
    axes.set_yticks(y, [label for _, label in labels])
    axes.invert_yaxis()
    axes.set_xlabel("share of images, %")
    axes.legend(fontsize=8, frameon=False)
    return svg(drawing)


def plot_intersections(results: dict[str, Any], variant: str) -> str:
    """Accuracy over gender x ethnicity x age band, a panel for each task; cells with too few images stay white."""
    by_task = accuracy_rows(results, variant, ("gender", "ethnicity", "band"))
    bands = list(dict.fromkeys(row["group"].split(", ")[2] for row in next(iter(by_task.values()))))
    people = list(dict.fromkeys(row["group"].rsplit(", ", 1)[0] for row in next(iter(by_task.values()))))
    bands.sort(key=lambda band: int(band.split("-")[0].split()[0]))
    drawing, axes = figure(11, 0.36 * len(people) + 1.3, 3)
    for axis, (task, rows) in zip(axes, by_task.items(), strict=True):
        grid = np.full((len(people), len(bands)), np.nan)
        for row in rows:
            person, band = row["group"].rsplit(", ", 1)
            if row["images"] >= results["least"]:
                grid[people.index(person), bands.index(band)] = 100 * row["value"]
        axis.imshow(grid, cmap="RdYlGn", vmin=0, vmax=100, aspect="auto", alpha=0.6)
        for (i, j), value in np.ndenumerate(grid):
            if not np.isnan(value):
                axis.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=8)
        axis.set_xticks(range(len(bands)), bands, fontsize=8, rotation=20)
        axis.set_yticks(range(len(people)), people if axis is axes[0] else [""] * len(people), fontsize=8)
        axis.set_title(f"right about {TASK_NAMES[task]}, %", fontsize=10)
    return svg(drawing)


def plot_amplification(results: dict[str, Any]) -> str | None:
    """Every amplification with its interval; right of 0: stronger ties than in the reference."""
    named: dict[str, dict[str, dict[str, Any]]] = {}
    for variant, by in results["models"].items():
        for row in by["amplification"]:
            if row["value"] is not None and row["measure"] != "co-occurrence":
                label = f"{TASK_NAMES[row['group']]} / {TASK_NAMES.get(row['traits'], row['traits'])}: {row['measure']}"
                named.setdefault(f"{label} (vs {row['reference']})", {})[variant] = row
    if not named:
        return None
    drawing, axes = figure(10, 0.3 * len(named) + 1.3)
    models = list(results["models"])
    for place, variant in enumerate(models):
        own = [(i, by[variant]) for i, by in enumerate(named.values()) if variant in by]
        if own:
            y = np.array([i for i, _ in own]) + (place - (len(models) - 1) / 2) * 0.3
            dots(axes, [row for _, row in own], y, COLOURS[variant], NAMES[variant])
    axes.axvline(0, color="#64748b", linewidth=1)
    axes.set_yticks(range(len(named)), list(named), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("amplification, points")
    axes.legend(fontsize=8, frameon=False)
    return svg(drawing)


def plot_words(results: dict[str, Any], variant: str, grouping: str) -> str | None:
    """z-scores of the words that differ by group."""
    rows = results["models"][variant]["words"][grouping]
    groups = list(dict.fromkeys(row["group"] for row in rows))
    if not groups:
        return None
    most = max(sum(row["group"] == g for row in rows) for g in groups)
    drawing, axes = figure(max(6, 2.4 * len(groups)), 0.22 * most + 1.2, len(groups))
    for axis, group in zip(np.atleast_1d(axes), groups, strict=True):
        own = [row for row in rows if row["group"] == group]
        colours = ["#2563eb" if row["significant"] else "#cbd5e1" for row in own]
        axis.barh(range(len(own)), [row["z"] for row in own], color=colours)
        axis.set_yticks(range(len(own)), [row["word"] for row in own], fontsize=8)
        axis.invert_yaxis()
        axis.axvline(0, color="#64748b", linewidth=1)
        axis.set_title(group, fontsize=10)
        axis.set_xlabel("z")
    return svg(drawing)
