"""The report of `bias`: one page of HTML with plots, and the same tables as Markdown.

Input: the content of results.json. Output: text. What this file does not know: models, images, how a figure came about.
"""

from __future__ import annotations

import html as escaping
from typing import Any

from train.bias import bias_plots
from train.bias.bias_plots import TASK_NAMES, accuracy_rows
from train.evaluate.evaluation_report import NAMES
from train.reports.pages import Table, list_html, list_markdown, page, table_html, table_markdown

GAPS_SHOWN = 20
ABOUT = (
    "Per cent with bootstrap 95 % intervals in brackets (by image). A gap is the largest minus the smallest rate over "
    "the groups with at least {least} images; over many groups chance alone makes one, so it is held against "
    "{permutations} random deals of the same hits to the same groups, and p is corrected by Holm over all gaps of a "
    "model. Among alike: hits dealt only among people of the same other attributes, so that composition is no gap. "
    "Labels are those of the label file: what annotators thought they saw, not how people describe themselves."
)


def per_cent(row: dict[str, Any] | None, key: str = "value", signed: bool = False) -> str:
    """Value with its interval, in per cent."""
    if not row or row.get(key) is None:
        return "-"
    ends = ("low", "high") if key in ("value", "gap", "difference", "change") else (f"{key}_low", f"{key}_high")
    form = "+.1f" if signed else ".1f"
    text = f"{100 * row[key]:{form}}"
    if row.get(ends[0]) is not None:
        text += f" [{100 * row[ends[0]]:{form}}, {100 * row[ends[1]]:{form}}]"
    return text


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def gap_table(results: dict[str, Any], variant: str) -> Table:
    rows = []
    gaps = results["models"][variant]["gaps"]
    for row in gaps[:GAPS_SHOWN]:
        rows.append(
            [row["name"], str(row["images"]), per_cent(row, "gap"),
             *(f"{row[end]} ({100 * row[f'{end}_value']:.1f})" for end in ("lowest", "highest")),
             f"{100 * row['null_mean']:.1f}; {100 * row['null_high']:.1f}", _p(row["p"]), _p(row["p_holm"]),
             _p(row["p_alike_holm"]) if "p_alike_holm" in row else "-", "yes" if row["significant"] else "no"]
        )  # fmt: skip
    head = ["rate, by group", "images", "gap", "lowest", "highest", "by chance: mean; 95 %", "p", "p (Holm)",
            "among alike: p (Holm)", "significant"]  # fmt: skip
    title = f"Largest gaps of {NAMES[variant]}: {sum(r['significant'] for r in gaps)} of {len(gaps)} beyond chance"
    return title, head, rows


def group_table(results: dict[str, Any], grouping: tuple[str, ...]) -> Table:
    """Accuracy of each task and model over one grouping, with the difference to all other groups."""
    models = list(results["models"])
    by = {w: accuracy_rows(results, w, grouping) for w in models}
    tasks = list(by[models[0]])
    single = len(grouping) == 1
    head = ["group", "images"]
    for task in tasks:
        for variant in models:
            head.append(f"{TASK_NAMES[task]}, {NAMES[variant]}")
            if single:
                head.append("minus the rest")
    rows = []
    for place, first in enumerate(by[models[0]][tasks[0]]):
        if not first["images"]:
            continue
        row = [first["group"] + (" *" if first["images"] < results["least"] else ""), str(first["images"])]
        for task in tasks:
            for variant in models:
                own = by[variant][task][place]
                row.append(per_cent(own))
                if single:
                    row.append(per_cent(own, "rest", signed=True))
        rows.append(row)
    return f"Right, by {' x '.join(TASK_NAMES[g] for g in grouping)}", head, rows


def rate_table(results: dict[str, Any], variant: str) -> Table:
    """True and false positive rates of every label over single groups."""
    found: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for m in results["models"][variant]["measures"]:
        if m["positive"] and len(m["grouping"]) == 1:
            for row in m["groups"]:
                found.setdefault((m["task"], m["positive"], row["group"]), {})[m["metric"]] = row
    rows = []
    for (task, label, group), by in found.items():
        both = [by.get(metric) for metric in ("true positive rate", "false positive rate")]
        counts = "; ".join(str(row["images"]) if row else "0" for row in both)
        rows.append([f"{TASK_NAMES[task]}: {label}", group, counts, *(per_cent(row) for row in both)])
    head = ["says", "group", "images: of the label; others", "true positives, %", "false positives, %"]
    return f"True and false positive rates of {NAMES[variant]}", head, rows


def share_table(results: dict[str, Any]) -> Table:
    rows = []
    for variant, by in results["models"].items():
        for source, shares in by["representation"].items():
            for row in shares:
                rows.append(
                    [f"{NAMES[variant]}, {source}", f"{TASK_NAMES[row['task']]}: {row['label']}", str(row["images"]),
                     f"{100 * row['data']:.1f}", f"{100 * row['said']:.1f}", per_cent(row, "difference", signed=True)]
                )  # fmt: skip
    head = ["said by", "label", "images with a word on it", "metadata, %", "said, %", "difference, points"]
    return "Representation: what is said, against the metadata", head, rows


def amplification_table(results: dict[str, Any]) -> Table:
    rows = []
    for variant, by in results["models"].items():
        for row in by["amplification"]:
            named = "; ".join(
                f"{p['group']} / {p['trait']}: {100 * p['data']:.0f} to {100 * p['said']:.0f} %"
                for p in row["pairs"][:3]
            )  # fmt: skip
            rows.append(
                [NAMES[variant], row["reference"], TASK_NAMES[row["group"]],
                 TASK_NAMES.get(row["traits"], row["traits"]), row["measure"], per_cent(row, signed=True), named or "-"]
            )  # fmt: skip
    head = ["model", "against", "groups", "traits", "measure", "amplification, points", "most changed pairs"]
    return "Amplification of ties between groups and traits (above 0: stronger than in the reference)", head, rows


def word_table(results: dict[str, Any], variant: str, grouping: str) -> Table:
    rows = [
        [row["group"], row["word"], f"{row['z']:+.1f}", _p(row["p_holm"]), f"{100 * row['share']:.0f}",
         f"{100 * row['rest_share']:.0f}"]
        for row in results["models"][variant]["words"][grouping]
    ]  # fmt: skip
    head = ["group", "word", "z", "p (Holm)", "of the group's images, %", "of the others', %"]
    return f"Words of {NAMES[variant]} that differ by {TASK_NAMES[grouping]} (label words stripped)", head, rows


def change_table(results: dict[str, Any]) -> Table:
    rows = [
        [row["name"], f"{100 * row['base']:.1f}", f"{100 * row['facellm']:.1f}", per_cent(row, "change", signed=True)]
        for row in sorted(results["changes"], key=lambda row: -abs(row["change"]))[:GAPS_SHOWN]
    ]
    return "Gaps of base and FaceLLM on the same images", ["rate, by group", "base", "FaceLLM", "change, points"], rows


def tables(results: dict[str, Any]) -> list[Table]:
    """Every table of the report that has a row."""
    models = list(results["models"])
    counts = [[TASK_NAMES[name], label, str(n)] for name, by in results["groups"].items() for label, n in by.items()]
    found: list[Table] = [("Images", ["by", "group", "images"], counts)]
    found += [gap_table(results, variant) for variant in models]
    if results["changes"]:
        found.append(change_table(results))
    found += [group_table(results, (name,)) for name in ("gender", "ethnicity", "band")]
    found += [rate_table(results, variant) for variant in models]
    found.append(share_table(results))
    found.append(amplification_table(results))
    found += [word_table(results, w, g) for w in models for g in ("gender", "ethnicity", "band")]
    found.append(group_table(results, ("gender", "ethnicity", "band")))
    return [table for table in found if table[2]]


def _about(results: dict[str, Any]) -> str:
    return ABOUT.format(least=results["least"], permutations=f"{results['permutations']:,}")


def _refusals(results: dict[str, Any]) -> str:
    told = (f"{NAMES[w]} {by['refused']['count']} of {by['refused']['total']}" for w, by in results["models"].items())
    return f"Answers that refuse: {'; '.join(told)}. Tool use is measured by train evaluate."


def _title(results: dict[str, Any]) -> str:
    return f"Groups and bias: {results['settings'].get('model', 'model')}, {results['images']} images"


def markdown(results: dict[str, Any]) -> str:
    lines = [
        f"# {_title(results)}",
        "",
        _about(results),
        "",
        _refusals(results),
        "",
        "\\* fewer images than count in a gap.",
        "",
    ]
    for table in tables(results):
        lines += table_markdown(*table)
    lines += list_markdown("Left out", results["left_out"]) + list_markdown("Notes", results["notes"])
    return "\n".join(lines)


def html(results: dict[str, Any]) -> str:
    """The report as one page."""
    models = list(results["models"])
    drawn: list[tuple[str | None, str]] = [(bias_plots.plot_groups(results), "Right, by group")]
    drawn += [(bias_plots.plot_gaps(results, w), f"Gaps of {NAMES[w]}, over what chance makes of them") for w in models]
    drawn += [(bias_plots.plot_intersections(results, w), f"{NAMES[w]}, by intersection") for w in models]
    drawn += [
        (bias_plots.plot_shares(results), "Representation"),
        (bias_plots.plot_amplification(results), "Amplification"),
    ]
    drawn += [
        (bias_plots.plot_words(results, w, g), f"Words of {NAMES[w]} by {TASK_NAMES[g]}; blue: significant (Holm)")
        for w in models for g in ("gender", "ethnicity", "band")
    ]  # fmt: skip
    parts = [f"<p>{escaping.escape(text)}</p>" for text in (_about(results), _refusals(results))]
    parts += [f"<figure>{svg}<figcaption>{escaping.escape(text)}</figcaption></figure>" for svg, text in drawn if svg]
    parts += [table_html(*table) for table in tables(results)]
    parts.append("<p>* fewer images than count in a gap.</p>")
    parts += [list_html("Left out", results["left_out"]), list_html("Notes", results["notes"])]
    rows = [[key, str(value)] for key, value in results["settings"].items()]
    rows += [[key, str(results[key])] for key in ("labels", "dataset", "seed", "resamples", "permutations")]
    parts.append(table_html("Run", ["setting", "value"], rows))
    return page(_title(results), parts)
