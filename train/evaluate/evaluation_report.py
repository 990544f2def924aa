"""The report of `evaluate`: one page of HTML with plots, and the same tables as Markdown.

Input: the content of results.json. Output: text. What this file does not know: models, questions, how a number came
about.
"""

from __future__ import annotations

import html as escaping
from typing import Any

from train.reports.pages import Table, figure, list_html, list_markdown, page, svg, table_html, table_markdown

# FaceXBench, zero-shot, per cent: FaceLLM paper (arXiv 2507.10300); "random" from FaceXBench (arXiv 2501.10360).
# Only what is known to us stands here; the images are FaceXBench's own, so other benchmarks compare in form only.
PUBLISHED: dict[str, dict[str, float]] = {
    "FaceLLM-38B": {
        "overall": 60.52, "age": 54.4, "gender": 90.2, "race": 69.6, "expression": 67.0, "headpose": 36.8,
    },
    "FaceLLM-8B": {"overall": 56.14, "age": 46.0, "gender": 86.2, "race": 63.4, "expression": 65.8, "headpose": 33.8},
    "FaceLLM-1B": {"overall": 38.86},
    "GPT-4o": {"overall": 50.50},
    "random": {"overall": 25.10},
}  # fmt: skip
NAMES = {"base": "base", "facellm": "FaceLLM"}
COLOURS = {"base": "#9aa5b1", "facellm": "#2563eb"}
LISTED = 20  # questions about images that were trained on; results.json has them all


def rate_text(rate: dict[str, Any] | None) -> str:
    if not rate or rate["value"] is None:
        return "-"
    return f"{100 * rate['value']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"


def _p(value: float | None) -> str:
    return "-" if value is None else "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _gain(pair: dict[str, Any] | None) -> list[str]:
    if not pair:
        return ["-", "-"]
    text = f"{100 * pair['gain']:+.1f} [{100 * pair['low']:+.1f}, {100 * pair['high']:+.1f}]"
    return [text, _p(pair.get("p_holm", pair["p"]))]


def tables(results: dict[str, Any]) -> list[Table]:
    """Every table of the report."""
    found: list[Table] = []
    models = results["models"]
    methods = list(dict.fromkeys(m for by in models.values() for m in by))
    for method in methods:
        found += _scores(results, method)
    found.append(_published(results, methods[0]))
    found.append(_failures(results))
    if results["methods"]:
        rows = [
            [NAMES.get(w, w), str(v["same"]["total"]), rate_text(v["same"]),
             *(f"{s:.1f}" for s in v["seconds"].values()), f"{v['speed_up']} x" if v["speed_up"] else "-"]
            for w, v in results["methods"].items()
        ]  # fmt: skip
        names = [f"{method}, s" for method in next(iter(results["methods"].values()))["seconds"]]
        head = ["model", "questions", "same letter, %", *names, "speed-up"]
        found.append(("likelihood against generate", head, rows))
    for variant, by in results["permuted"].items():
        for method, bias in by.items():
            places = bias["by_place"]
            rows = [[f"right option at {place}", rate_text(rate)] for place, rate in places.items()]
            rows.append(["standard deviation over the places", f"{100 * bias['recall_std']:.1f}"])
            rows.append(["same option in every order", rate_text(bias["steady"])])
            rows.append(["right by the vote of all orders", rate_text(bias["voted"])])
            found.append((f"Option order: {NAMES.get(variant, variant)}, {method}", ["", "%"], rows))
    if results["blind"]:
        rows = [
            [NAMES.get(w, w), method, rate_text(models[w][method]["overall"]["accuracy"]),
             rate_text(numbers["overall"]["accuracy"])]
            for w, by in results["blind"].items() for method, numbers in by.items()
        ]  # fmt: skip
        found.append(("Without any image", ["model", "method", "with images, %", "blind, %"], rows))
    if overlap := results.get("overlap"):
        rows = [[arm, rate_text(overlap["with"][arm]), rate_text(overlap["without"][arm])] for arm in overlap["with"]]
        count = len({pair[0] for pair in overlap["pairs"]})
        title = f"Overlap with {overlap['source']}: {count} questions show a near copy of a training image"
        found.append((title, ["arm", "all questions, %", "without those, %"], rows))
    return found


def _scores(results: dict[str, Any], method: str) -> list[Table]:
    models = {w: by[method] for w, by in results["models"].items() if method in by}
    pair = results["paired"].get(method)
    found: list[Table] = []
    for level, title in (("tasks", "Sub-tasks"), ("categories", "Categories"), ("num_images", "Images a question")):
        head = [title.lower(), "questions", *(f"{NAMES.get(w, w)}, %" for w in models)]
        if level == "tasks":
            head += [f"{NAMES.get(w, w)} balanced, %" for w in models]
        if pair and level == "tasks":
            head += ["gain, points", "p (Holm)"]
        rows = []
        keys = list(dict.fromkeys(k for numbers in models.values() for k in numbers[level]))
        for key in [*keys, "overall"]:
            groups = [n["overall"] if key == "overall" else n[level].get(key) for n in models.values()]
            some = next(g for g in groups if g)
            row = [key, str(some["accuracy"]["total"]), *(rate_text(g and g["accuracy"]) for g in groups)]
            if level == "tasks":
                row += ["-" if key == "overall" else rate_text(g and g["balanced"]) for g in groups]
            if pair and level == "tasks":
                row += _gain(pair["overall"] if key == "overall" else pair["tasks"].get(key))
            rows.append(row)
        found.append((f"{title}, by {method}", head, rows))
    return found


def _published(results: dict[str, Any], method: str) -> Table:
    tasks = ["overall", "age", "gender", "race", "expression", "headpose"]
    rows = []
    for variant, by in results["models"].items():
        numbers = by[method]
        values = [numbers["overall"], *(numbers["tasks"].get(t) for t in tasks[1:])]
        rows.append(
            [f"{NAMES.get(variant, variant)} (this run)"]
            + [
                "-" if not v or v["accuracy"]["value"] is None else f"{100 * v['accuracy']['value']:.1f}"
                for v in values
            ]
        )
    for name, row in PUBLISHED.items():
        rows.append([f"{name} (published, FaceXBench)", *(f"{row[t]:.1f}" if t in row else "-" for t in tasks)])
    title = "Beside the published rows (other images unless this benchmark is FaceXBench itself)"
    return title, ["", *tasks], rows


def _failures(results: dict[str, Any]) -> Table:
    rows = []
    for variant, by in results["models"].items():
        for method, n in by.items():
            tools = n["tasks"].get("tools_retrieval")
            overall = n["overall"]
            rows.append(
                [NAMES.get(variant, variant), method, rate_text(tools and tools["accuracy"]), rate_text(overall["refused"]),
                 str(overall["unparsed"]), str(n["scorers_differ"]), str(len(n["errors"])), str(n["tokens"]),
                 f"{n['seconds']:.1f}", str(n["questions_per_second"] or "-")]
            )  # fmt: skip
    head = ["model", "method", "tool use, %", "refusals, %", "no letter found", "scorers differ", "not asked", "tokens",
            "seconds", "questions a second"]  # fmt: skip
    return "Tool use, refusals, extraction, cost", head, rows


def warnings(results: dict[str, Any]) -> list[str]:
    """A sentence on each way in which face tuning is known to go wrong: tool use lost, answers that refuse."""
    tools, refusals = [], []
    for variant, by in results["models"].items():
        for method, n in by.items():
            name = NAMES.get(variant, variant) + (f" ({method})" if len(by) > 1 else "")
            if task := n["tasks"].get("tools_retrieval"):
                tools.append(f"{name} {rate_text(task['accuracy'])} %")
            refused = n["overall"]["refused"]
            refusals.append(f"{name} {refused['count']} of {refused['total']}")
    return [
        f"Tool use: {'; '.join(tools)}." if tools else "Tool use: this benchmark asks nothing about it.",
        f"Answers that refuse: {'; '.join(refusals)}.",
    ]


def notes(results: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """(title, sentences) of what was left out, not asked, trained on, or odd."""
    asked = [
        f"{NAMES.get(variant, variant)}, {method}{suffix}: {fault}."
        for name, suffix in (("models", ""), ("blind", ", blind"))
        for variant, by in results[name].items() for method, n in by.items() for fault in n["errors"]
    ]  # fmt: skip
    overlap = results.get("overlap") or {"pairs": [], "unread": []}
    first: dict[str, str] = {}  # by question, which may show several images
    for key, image, bits in overlap["pairs"]:
        first.setdefault(key, f"{key}: a near copy of {image}, {bits} of 64 bits apart.")
    copies = list(first.values())
    if len(copies) > LISTED:
        copies[LISTED:] = [f"and {len(copies) - LISTED} more; results.json lists all."]
    return [
        ("Left out", results["problems"]), ("Not asked", asked),
        ("Questions about images that were trained on", copies), ("Notes", [*results["notes"], *overlap["unread"]]),
    ]  # fmt: skip


def _asked(results: dict[str, Any]) -> str:
    part = f" (part {results['shard']} of the benchmark)" if results.get("shard") else ""
    return f"{results['asked']} questions{part}"


def markdown(results: dict[str, Any]) -> str:
    """All tables; rates are per cent with 95 % intervals in brackets."""
    lines = [f"# {results['settings'].get('model', 'model')} on {results['benchmark']}", ""]
    lines += [
        f"{_asked(results)}, {results['settings'].get('setting', 'zero-shot')}, scorer "
        f"{results['scorer']}. Wilson 95 % intervals in brackets; gains by Agresti-Min, p by McNemar's test.", "",
        *warnings(results), "",
    ]  # fmt: skip
    for title, head, rows in tables(results):
        lines += table_markdown(title, head, rows)
    for title, sentences in notes(results):
        lines += list_markdown(title, sentences)
    return "\n".join(lines)


def plot_scores(results: dict[str, Any], method: str) -> str:
    """SVG: accuracy per sub-task with its interval, a bar for each model, and the line of guessing among four."""
    models = {w: by[method] for w, by in results["models"].items() if method in by}
    tasks = list(dict.fromkeys(t for n in models.values() for t in n["tasks"]))
    drawing, axes = figure(max(5.0, 1.1 * len(tasks) + 1.5), 3.4)
    width = 0.8 / len(models)
    for place, (variant, numbers) in enumerate(models.items()):
        rates = [numbers["tasks"].get(t, {}).get("accuracy") for t in tasks]
        values = [100 * (r["value"] or 0) if r else 0 for r in rates]
        errors = [
            [v - 100 * r["low"] if r and r["value"] is not None else 0 for v, r in zip(values, rates, strict=True)],
            [100 * r["high"] - v if r and r["value"] is not None else 0 for v, r in zip(values, rates, strict=True)],
        ]
        errors = [[max(0.0, e) for e in side] for side in errors]
        x = [i + (place - (len(models) - 1) / 2) * width for i in range(len(tasks))]
        axes.bar(
            x, values, width, yerr=errors, capsize=2, label=NAMES.get(variant, variant), color=COLOURS.get(variant)
        )
    axes.axhline(25, color="#d97706", linewidth=1, linestyle="--", label="guessing among four")
    axes.set_xticks(range(len(tasks)), tasks, rotation=20, ha="right")
    axes.set_ylim(0, 100)
    axes.set_ylabel("right, %")
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="upper left", bbox_to_anchor=(0, 1.15))
    return svg(drawing)


def plot_letters(results: dict[str, Any], method: str) -> str:
    """SVG: how often each letter was right and was chosen."""
    models = {w: by[method]["letters"] for w, by in results["models"].items() if method in by}
    letters = sorted({k for v in models.values() for side in v.values() for k in side}, key=lambda k: (k == "none", k))
    bars = {"right": next(iter(models.values()))["right"]}
    bars |= {f"{NAMES.get(w, w)} chose": v["chosen"] for w, v in models.items()}
    drawing, axes = figure(5.0, 2.6)
    width = 0.8 / len(bars)
    colours = ["#d1d5db", *(COLOURS.get(w, "#64748b") for w in models)]
    for place, ((name, counts), colour) in enumerate(zip(bars.items(), colours, strict=True)):
        x = [i + (place - (len(bars) - 1) / 2) * width for i in range(len(letters))]
        axes.bar(x, [counts.get(k, 0) for k in letters], width, label=name, color=colour)
    axes.set_xticks(range(len(letters)), letters)
    axes.set_ylabel("questions")
    axes.legend(fontsize=8, frameon=False)
    return svg(drawing)


def html(results: dict[str, Any]) -> str:
    """The report as one page."""
    settings = results["settings"]
    parts = [
        f"<p>{_asked(results)}, {escaping.escape(str(settings.get('setting', 'zero-shot')))}, scorer "
        f"{escaping.escape(results['scorer'])}. Per cent right with Wilson 95 % intervals; gains by Agresti and Min's "
        f"interval, p by McNemar's test, over sub-tasks by Holm. An answer that names no option counts as wrong.</p>"
    ]
    parts.append("".join(f"<p>{escaping.escape(sentence)}</p>" for sentence in warnings(results)))
    methods = list(dict.fromkeys(m for by in results["models"].values() for m in by))
    parts += [f"<figure>{plot_scores(results, m)}<figcaption>By {m}</figcaption></figure>" for m in methods]
    parts += [table_html(*table) for table in tables(results)]
    parts += [f"<figure>{plot_letters(results, m)}<figcaption>Letters, by {m}</figcaption></figure>" for m in methods]
    parts += [list_html(title, sentences) for title, sentences in notes(results)]
    rows = [[k, str(v)] for k, v in settings.items()]
    parts.append(table_html("Run", ["setting", "value"], rows))
    return page(f"{settings.get('model', 'model')} on {results['benchmark']}", parts)
