"""What `train agreement` found, as Markdown and CSV.

Input: the content of results.json. Output: text. What this file does not know: how anything was measured.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from train.people.agreement.pairs import HUMAN, SYNTHETIC
from train.reports import stats

APART = 30  # disagreements that are listed


def markdown(found: Mapping[str, Any]) -> str:
    lines = [
        f"# {found['synthetic']}: people's answers against the synthetic ones", "",
        f"{found['pairs']} answers by {', '.join(found['annotators'])} about {found['images']} images, each beside the "
        "synthetic answer to the same question.",
        *found["left_out"], "",
        "## What both state", "",
        "Read from the texts by patterns: a fact counts where an answer names one value without a hedge. Agreement "
        "says nothing about who is right.", "",
        *labels_table(found["labels"]["facts"]), "",
        *_apart(found["labels"]["apart"]),
    ]  # fmt: skip
    if found.get("experiment"):
        lines += ["", *_experiment(found["experiment"])]
    else:
        lines += [
            "",
            "No adapters were trained: --benchmark trains one on each kind of answer and compares them.",
        ]
    return "\n".join([*lines, ""])


def labels_table(facts: Mapping[str, Any]) -> list[str]:
    lines = [
        "| fact | people state it | synthetic states it | both | same (Wilson 95 %) | by images | kappa |",
        "| --- | ---: | ---: | ---: | --- | --- | --- |",
    ]
    for fact, row in facts.items():
        ends = row["clustered"]
        kappa = "-" if row["kappa"] is None else f"{row['kappa']:.2f}"
        if row["kappa_ends"]:
            kappa += f" [{row['kappa_ends'][0]:.2f}, {row['kappa_ends'][1]:.2f}]"
        lines.append(
            f"| {fact} | {row[HUMAN]} | {row[SYNTHETIC]} | {row['both']} | {stats.Rate(**row['same'])} | "
            + (f"[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]" if ends else "-")
            + f" | {kappa} |"
        )
    return lines


def _apart(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return ["Where both state a fact they agree everywhere."]
    shown = [
        f"- {row['fact']}, `{row['image']}` ({row['attribute']}, {row['annotator']}): "
        f"{row[HUMAN]} against {row[SYNTHETIC]}"
        for row in rows[:APART]
    ]
    more = [f"- and {len(rows) - APART} more (results.json)"] if len(rows) > APART else []
    return ["Disagreements, the person's word first:", "", *shown, *more]


def _experiment(found: Mapping[str, Any]) -> list[str]:
    trained = found["adapters"]
    lines = [
        "## One adapter on each", "",
        f"`train lora` twice on {found['model']}: same images, questions, order, recipe and seed; only the answers "
        f"differ. Then both, and the base, on the same {found['questions']} questions of {found['benchmark']} "
        f"({found['method']}).", "",
        "| trained on | answers | steps | training loss | right on the benchmark |",
        "| --- | ---: | ---: | ---: | --- |",
        f"| nothing (base) | - | - | - | {stats.Rate(**found['accuracy']['base'])} |",
    ]  # fmt: skip
    for name in (HUMAN, SYNTHETIC):
        row = trained[name]
        loss = "-" if row["train_loss"] is None else f"{row['train_loss']:.3f}"
        right = stats.Rate(**found["accuracy"][name])
        lines.append(f"| {name} answers | {row['answers']} | {row['steps']} | {loss} | {right} |")
    lines += [
        "", "| compared | sub-task | only first right | only second right | gain of the second (95 %) | p | p (Holm) |",
        "| --- | --- | ---: | ---: | --- | ---: | ---: |",
    ]  # fmt: skip
    for name, result in found["paired"].items():
        rows = {"all": result["overall"], **result["tasks"]}
        for task, row in rows.items():
            gain = f"{100 * row['gain']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
            adjusted = f"{row['p_holm']:.3f}" if "p_holm" in row else "-"
            sides = f"{row['only_first']} | {row['only_second']}"
            lines.append(f"| {name} | {task} | {sides} | {gain} | {row['p']:.3f} | {adjusted} |")
    return [
        *lines, "",
        "Gains in percentage points; McNemar's exact test on the same questions, Holm over the sub-tasks of a "
        "comparison. One seed each: another seed moves both adapters too, and few answers teach neither much.",
    ]  # fmt: skip


def labels_csv(facts: Mapping[str, Any]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["fact", HUMAN, SYNTHETIC, "both", "same", "rate", "low", "high", "clustered_low", "clustered_high",
                     "kappa", "kappa_low", "kappa_high"])  # fmt: skip
    for fact, row in facts.items():
        same = row["same"]
        writer.writerow([fact, row[HUMAN], row[SYNTHETIC], row["both"], same["count"], same["value"], same["low"],
                         same["high"], *(row["clustered"] or ("", "")), row["kappa"],
                         *(row["kappa_ends"] or ("", ""))])  # fmt: skip
    return out.getvalue()
