"""What `train bias` reports: results.json as tables, sentences and plots."""

from __future__ import annotations

from typing import Any

from train.bias import bias_plots
from train.bias.bias_plots import TASK_NAMES, accuracy_rows
from train.reports.pages import NAMES, Report, Table, p_value, percent

GAPS_SHOWN = 20
RARELY = 0.5  # overall accuracy below which a small difference is named as no sign of fairness
SUMMARIES = {  # key -> column
    "difference": "difference, points", "ratio": "ratio", "max_over_geometric_mean": "largest / geometric mean",
    "gini": "Gini",
}  # fmt: skip
ABOUT = (
    "Per cent with bootstrap 95 % intervals in brackets (by image). A gap is the largest minus the smallest rate over "
    "the groups with at least {least} images; over many groups chance alone makes one, so it is held against "
    "{permutations} random deals of the same hits to the same groups, and p is corrected by Holm over all gaps of a "
    "model. Among alike: hits dealt only among people of the same other attributes, so that composition is no gap. "
    "Labels are those of the label file: what annotators thought they saw, not how people describe themselves."
)


def gap_table(results: dict[str, Any], variant: str) -> Table:
    rows = []
    gaps = results["models"][variant]["gaps"]
    for row in gaps[:GAPS_SHOWN]:
        rows.append(
            [row["name"], row["images"], percent(row, "gap"),
             *(f"{row[end]} ({100 * row[f'{end}_value']:.1f})" for end in ("lowest", "highest")),
             f"{100 * row['null_mean']:.1f}; {100 * row['null_high']:.1f}", p_value(row["p"]), p_value(row["p_holm"]),
             p_value(row["p_alike_holm"]) if "p_alike_holm" in row else "-", "yes" if row["significant"] else "no"]
        )  # fmt: skip
    head = ["rate, by group", "images", "gap", "lowest", "highest", "by chance: mean; 95 %", "p", "p (Holm)",
            "among alike: p (Holm)", "significant"]  # fmt: skip
    title = f"Largest gaps of {NAMES[variant]}: {sum(r['significant'] for r in gaps)} of {len(gaps)} beyond chance"
    return Table(title, head, rows)


def summary_table(results: dict[str, Any], variant: str) -> Table:
    """The four summary metrics of every tested rate, beside the rate itself."""
    rows = [
        [row["name"], row["groups"], "-" if row["overall"] is None else f"{100 * row['overall']:.1f}",
         percent(row, "difference"), *(_plain(row, name) for name in tuple(SUMMARIES)[1:])]
        for row in results["models"][variant]["summaries"]
    ]  # fmt: skip
    head = ["rate, by group", "groups", "overall, %", *SUMMARIES.values()]
    return Table(f"Summary metrics of {NAMES[variant]} (equal treatment: 0, 1, 1, 0)", head, rows)


def wording_table(results: dict[str, Any], variant: str) -> Table:
    """Accuracy and its differences over groups when the question is worded otherwise; a row a wording."""
    found = sorted(results["models"][variant]["wordings"], key=lambda r: (r["task"], r["grouping"], r["wording"]))
    rows = [
        [TASK_NAMES[row["task"]], TASK_NAMES[row["grouping"]], row["wording"],
         "-" if row["overall"] is None else f"{100 * row['overall']:.1f}", percent(row, "difference"),
         *(_plain(row, name) for name in tuple(SUMMARIES)[1:])]
        for row in found
    ]  # fmt: skip
    head = ["asked for", "by", "wording", "right, %", *SUMMARIES.values()]
    return Table(f"The same in other wordings: {NAMES[variant]} (wording 1 is the profile's own)", head, rows)


def _plain(row: dict[str, Any], name: str) -> str:
    """A figure that is no share of something, with its interval."""
    if row[name] is None:
        return "-"
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:.2f}" + ("" if low is None else f" [{low:.2f}, {high:.2f}]")


def low_accuracy(results: dict[str, Any]) -> str:
    """Says that a model which is rarely right cannot differ much, and of which rates that is to be feared here."""
    named = [
        f"{TASK_NAMES[m['task']]} of {NAMES[variant]} ({100 * m['overall']:.0f} %)"
        for variant, by in results["models"].items() for m in by["measures"]
        if m["metric"] == "accuracy" and m["grouping"] == ["gender"] and m["overall"] is not None
        and m["overall"] < RARELY
    ]  # fmt: skip
    here = f" Here that is so for {'; '.join(named)}." if named else ""
    return (
        "Low accuracy looks fair: a model that is rarely right, or guesses, is alike in all groups, so difference and "
        f"Gini's coefficient of its accuracy are small. Read every summary metric beside the overall rate.{here}"
    )


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
        row = [first["group"] + (" *" if first["images"] < results["least"] else ""), first["images"]]
        for task in tasks:
            for variant in models:
                own = by[variant][task][place]
                row.append(percent(own))
                if single:
                    row.append(percent(own, "rest", signed=True))
        rows.append(row)
    return Table(f"Right, by {' x '.join(TASK_NAMES[g] for g in grouping)}", head, rows)


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
        rows.append([f"{TASK_NAMES[task]}: {label}", group, counts, *(percent(row) for row in both)])
    head = ["says", "group", "images: of the label; others", "true positives, %", "false positives, %"]
    return Table(f"True and false positive rates of {NAMES[variant]}", head, rows)


def share_table(results: dict[str, Any]) -> Table:
    rows = []
    for variant, by in results["models"].items():
        for source, shares in by["representation"].items():
            for row in shares:
                rows.append(
                    [f"{NAMES[variant]}, {source}", f"{TASK_NAMES[row['task']]}: {row['label']}", row["images"],
                     f"{100 * row['data']:.1f}", f"{100 * row['said']:.1f}", percent(row, "difference", signed=True)]
                )  # fmt: skip
    head = ["said by", "label", "images with a word on it", "metadata, %", "said, %", "difference, points"]
    return Table("Representation: what is said, against the metadata", head, rows)


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
                 TASK_NAMES.get(row["traits"], row["traits"]), row["measure"], percent(row, signed=True), named or "-"]
            )  # fmt: skip
    head = ["model", "against", "groups", "traits", "measure", "amplification, points", "most changed pairs"]
    return Table(
        "Amplification of ties between groups and traits (above 0: stronger than in the reference)", head, rows
    )


def word_table(results: dict[str, Any], variant: str, grouping: str) -> Table:
    rows = [
        [row["group"], row["word"], f"{row['z']:+.1f}", p_value(row["p_holm"]), f"{100 * row['share']:.0f}",
         f"{100 * row['rest_share']:.0f}"]
        for row in results["models"][variant]["words"][grouping]
    ]  # fmt: skip
    head = ["group", "word", "z", "p (Holm)", "of the group's images, %", "of the others', %"]
    return Table(f"Words of {NAMES[variant]} that differ by {TASK_NAMES[grouping]} (label words stripped)", head, rows)


def change_table(results: dict[str, Any]) -> Table:
    rows = [
        [row["name"], f"{100 * row['base']:.1f}", f"{100 * row['facellm']:.1f}", percent(row, "change", signed=True)]
        for row in sorted(results["changes"], key=lambda row: -abs(row["change"]))[:GAPS_SHOWN]
    ]
    head = ["rate, by group", "base", "FaceLLM", "change, points"]
    return Table("Gaps of base and FaceLLM on the same images", head, rows)


def report(results: dict[str, Any]) -> Report:
    """Arranges the content of results.json for reading; tables without a row are left out."""
    models, single = results["models"], ("gender", "ethnicity", "band")
    counts = [(TASK_NAMES[name], label, n) for name, by in results["groups"].items() for label, n in by.items()]
    tables = [
        Table("Images", ["by", "group", "images"], counts),
        *(gap_table(results, variant) for variant in models),
        *(summary_table(results, variant) for variant in models),
        *(wording_table(results, variant) for variant in models),
        change_table(results),
        *(group_table(results, (name,)) for name in single),
        *(rate_table(results, variant) for variant in models),
        share_table(results),
        amplification_table(results),
        *(word_table(results, variant, name) for variant in models for name in single),
        group_table(results, single),
    ]
    refused = "; ".join(f"{NAMES[v]} {by['refused']['count']} of {by['refused']['total']}" for v, by in models.items())
    settings = results["settings"]
    return Report(
        title=f"Groups and bias: {settings.get('model', 'model')}, {results['images']} images",
        paragraphs=[
            ABOUT.format(least=results["least"], permutations=f"{results['permutations']:,}"),
            low_accuracy(results),
            f"Answers that refuse: {refused}. Tool use is measured by train evaluate.",
            "A star marks a group with fewer images than count in a gap.",
        ],
        tables=[table for table in tables if table.rows],
        notes=[("Left out", results["left_out"]), ("Notes", results["notes"])],
        settings={**settings, **{k: results[k] for k in ("labels", "dataset", "seed", "resamples", "permutations")}},
    )


def figures(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Draws all plots that have something to show. Returns (SVG, caption) pairs."""
    models = list(results["models"])
    drawn = [
        (bias_plots.plot_groups(results), "Right, by group"),
        *((bias_plots.plot_gaps(results, v), f"Gaps of {NAMES[v]}, over what chance makes of them") for v in models),
        *((bias_plots.plot_intersections(results, v), f"{NAMES[v]}, by intersection") for v in models),
        (bias_plots.plot_shares(results), "Representation"),
        (bias_plots.plot_amplification(results), "Amplification"),
        *(
            (bias_plots.plot_words(results, v, g), f"Words of {NAMES[v]} by {TASK_NAMES[g]}; blue: significant (Holm)")
            for v in models
            for g in ("gender", "ethnicity", "band")
        ),
    ]
    return [(svg, caption) for svg, caption in drawn if svg]
