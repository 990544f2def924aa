"""What `train evaluate` reports: results.json as tables, sentences and plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from train.evaluate import published
from train.reports.pages import NAMES, Report, Table, p_value, percent
from train.reports.plots import COLOURS, figure, svg

LISTED = 20  # questions about images that were trained on; results.json has them all


def report(results: dict[str, Any]) -> Report:
    """Arranges the content of results.json for reading."""
    settings = results["settings"]
    part = f" (part {results['shard']} of the benchmark)" if results.get("shard") else ""
    return Report(
        title=f"{settings.get('model', 'model')} on {results['benchmark']}",
        paragraphs=[
            f"{results['asked']} questions{part}, {settings.get('setting', 'zero-shot')}, scorer {results['scorer']}. "
            "Per cent right with Wilson 95 % intervals in brackets; gains by Agresti and Min's interval, p by "
            "McNemar's test, over sub-tasks by Holm. An answer that names no option counts as wrong.",
            published.used(results),
            published.comparable(results),
            *_warnings(results),
            *_drops(results),
        ],
        tables=list(_tables(results)),
        notes=_notes(results),
        settings=settings,
    )


def figures(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Draws accuracies and letters. Returns (SVG, caption) pairs."""
    methods = _methods(results)
    scores = [(plot_scores(_by_model(results, method)), f"By {method}") for method in methods]
    return scores + [(plot_letters(_by_model(results, method)), f"Letters, by {method}") for method in methods]


def _methods(results: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(method for by in results["models"].values() for method in by))


def _by_model(results: dict[str, Any], method: str) -> dict[str, Any]:
    """variant -> numbers by that method"""
    return {variant: by[method] for variant, by in results["models"].items() if method in by}


def _each(by_variant: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, Any]]:
    """(the variant's name, method, numbers)"""
    for variant, by in by_variant.items():
        for method, numbers in by.items():
            yield NAMES[variant], method, numbers


def _tables(results: dict[str, Any]) -> Iterator[Table]:
    methods = _methods(results)
    for method in methods:
        yield from _scores(_by_model(results, method), results["paired"].get(method), method)
    yield _published(_by_model(results, methods[0]))
    yield _failures(results)
    if agreement := results["methods"]:
        rows = [
            [NAMES[variant], row["same"]["total"], percent(row["same"]),
             *(f"{seconds:.1f}" for seconds in row["seconds"].values()),
             f"{row['speed_up']} x" if row["speed_up"] else "-"]
            for variant, row in agreement.items()
        ]  # fmt: skip
        times = [f"{method}, s" for method in next(iter(agreement.values()))["seconds"]]
        head = ["model", "questions", "same letter, %", *times, "speed-up"]
        yield Table("likelihood against generate", head, rows)
    for name, method, bias in _each(results["permuted"]):
        rows = [[f"right option at {place}", percent(rate)] for place, rate in bias["by_place"].items()]
        rows.append(["standard deviation over the places", f"{100 * bias['recall_std']:.1f}"])
        rows.append(["same option in every order", percent(bias["steady"])])
        rows.append(["right by the vote of all orders", percent(bias["voted"])])
        yield Table(f"Option order: {name}, {method}", ["", "%"], rows)
    for name, method, numbers in _each(results["wordings"]):
        yield _other_words(name, method, numbers)
    if results["blind"]:
        rows = [
            [NAMES[variant], method, percent(results["models"][variant][method]["overall"]["accuracy"]),
             percent(blind["overall"]["accuracy"])]
            for variant, by in results["blind"].items() for method, blind in by.items()
        ]  # fmt: skip
        yield Table("Without any image", ["model", "method", "with images, %", "blind, %"], rows)
    if overlap := results.get("overlap"):
        rows = [[arm, percent(rate), percent(overlap["without"][arm])] for arm, rate in overlap["with"].items()]
        count = len({pair[0] for pair in overlap["pairs"]})
        title = f"Overlap with {overlap['source']}: {count} questions show a near copy of a training image"
        yield Table(title, ["arm", "all questions, %", "without those, %"], rows)


def _scores(models: dict[str, Any], pair: dict[str, Any] | None, method: str) -> Iterator[Table]:
    """Accuracy by sub-task (with gains and balanced accuracy), by category and by number of images."""
    names = [NAMES[variant] for variant in models]
    for level, title in (("tasks", "Sub-tasks"), ("categories", "Categories"), ("num_images", "Images a question")):
        full = level == "tasks"
        head = [title.lower(), "questions", *(f"{name}, %" for name in names)]
        head += [f"{name} balanced, %" for name in names] if full else []
        head += ["gain, points", "p (Holm)"] if full and pair else []
        rows = []
        for key in [*dict.fromkeys(k for numbers in models.values() for k in numbers[level]), "overall"]:
            total = key == "overall"
            groups = [numbers["overall"] if total else numbers[level].get(key) for numbers in models.values()]
            row = [key, next(group for group in groups if group)["accuracy"]["total"]]
            row += [percent(group and group["accuracy"]) for group in groups]
            if full:
                row += ["-" if total else percent(group and group["balanced"]) for group in groups]
            if full and pair:
                test = (pair["overall"] if total else pair["tasks"].get(key)) or {}
                row += [percent(test, "gain", signed=True), p_value(test.get("p_holm", test.get("p")))]
            rows.append(row)
        yield Table(f"{title}, by {method}", head, rows)


def _other_words(name: str, method: str, numbers: dict[str, Any]) -> Table:
    """The same questions in words kept out of training, sub-task by sub-task."""
    groups = {**numbers["tasks"], "overall": numbers["overall"]} if numbers["overall"] else {}
    worded = list(numbers["overall"]["worded"]) if groups else []
    head = ["sub-tasks", "questions", "as asked, %", *(f"wording {number}, %" for number in worded),
            "largest drop, points", "right in every wording, %"]  # fmt: skip
    rows = [
        [task, row["questions"], percent(row["as_asked"]), *(percent(row["worded"][number]) for number in worded),
         percent(row["largest_drop"], "gain", signed=True), percent(row["right_in_all"])]
        for task, row in groups.items()
    ]  # fmt: skip
    title = f"Other words, never trained on: {name}, {method} ({numbers['without']} questions have none)"
    return Table(title, head, rows)


def _published(models: dict[str, Any]) -> Table:
    rows = []
    for variant, numbers in models.items():
        groups = (numbers["overall"] if task == "overall" else numbers["tasks"].get(task) for task in published.COLUMNS)
        values = (group["accuracy"]["value"] if group else None for group in groups)
        rows.append([f"{NAMES[variant]} (this run)", *("-" if v is None else f"{100 * v:.1f}" for v in values)])
    for name, row in published.ROWS.items():
        cells = (f"{row[task]:.1f}" if task in row else "-" for task in published.COLUMNS)
        rows.append([f"{name} (published, FaceXBench)", *cells])
    title = "Beside the published rows (other images unless this benchmark is FaceXBench itself)"
    return Table(title, ["", *published.COLUMNS], rows)


def _failures(results: dict[str, Any]) -> Table:
    head = ["model", "method", "tool use, %", "refusals, %", "no letter found", "scorers differ", "not asked", "tokens",
            "seconds", "questions a second"]  # fmt: skip
    rows = [
        [name, method, percent((n["tasks"].get("tools_retrieval") or {}).get("accuracy")),
         percent(n["overall"]["refused"]), n["overall"]["unparsed"], n["scorers_differ"], len(n["errors"]), n["tokens"],
         f"{n['seconds']:.1f}", n["questions_per_second"] or "-"]
        for name, method, n in _each(results["models"])
    ]  # fmt: skip
    return Table("Tool use, refusals, extraction, cost", head, rows)


def _warnings(results: dict[str, Any]) -> list[str]:
    """A sentence on each way in which face tuning is known to go wrong: tool use lost, answers that refuse."""
    tools, refusals = [], []
    for name, method, numbers in _each(results["models"]):
        name += f" ({method})" if len(_methods(results)) > 1 else ""
        if task := numbers["tasks"].get("tools_retrieval"):
            tools.append(f"{name} {percent(task['accuracy'])} %")
        refused = numbers["overall"]["refused"]
        refusals.append(f"{name} {refused['count']} of {refused['total']}")
    return [
        f"Tool use: {'; '.join(tools)}." if tools else "Tool use: this benchmark asks nothing about it.",
        f"Answers that refuse: {'; '.join(refusals)}.",
    ]


def _drops(results: dict[str, Any]) -> list[str]:
    """A sentence on the largest drop of each model in other words."""
    return [
        f"Other words cost {name} ({method}) at most {-100 * drop['gain']:.1f} points [{-100 * drop['high']:.1f}, "
        f"{-100 * drop['low']:.1f}] (wording {drop['wording']} of {len(numbers['overall']['worded'])}; the "
        "interval holds for all of them together). A question without distractor has one more option in other words."
        for name, method, numbers in _each(results["wordings"]) if numbers["overall"]
        for drop in (numbers["overall"]["largest_drop"],)
    ]  # fmt: skip


def _notes(results: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """What was left out, not asked, trained on, or odd."""
    not_asked = [
        f"{name}, {method}{suffix}: {fault}."
        for arms, suffix in (("models", ""), ("blind", ", blind"))
        for name, method, numbers in _each(results[arms]) for fault in numbers["errors"]
    ]  # fmt: skip
    overlap = results.get("overlap") or {"pairs": [], "unread": []}
    copies: dict[str, str] = {}  # by question, which may show several images
    for key, image, bits in overlap["pairs"]:
        copies.setdefault(key, f"{key}: a near copy of {image}, {bits} of 64 bits apart.")
    listed = list(copies.values())
    if len(listed) > LISTED:
        listed[LISTED:] = [f"and {len(listed) - LISTED} more; results.json lists all."]
    return [
        ("Left out", results["problems"]),
        ("Not asked", not_asked),
        ("Questions about images that were trained on", listed),
        ("Notes", [*results["notes"], *overlap["unread"]]),
    ]


def plot_scores(models: dict[str, Any]) -> str:
    """Draws accuracy per sub-task with its interval, a bar for each model, and the line of guessing among four."""
    tasks = list(dict.fromkeys(task for numbers in models.values() for task in numbers["tasks"]))
    drawing, axes = figure(max(5.0, 1.1 * len(tasks) + 1.5), 3.4)
    bars = []
    for variant, numbers in models.items():
        rates = [numbers["tasks"].get(task, {}).get("accuracy") or {} for task in tasks]
        value, low, high = ([100 * (rate.get(key) or 0) for rate in rates] for key in ("value", "low", "high"))
        errors = [
            [max(0.0, v - end) for v, end in zip(value, low, strict=True)],
            [max(0.0, end - v) for v, end in zip(value, high, strict=True)],
        ]
        bars.append((NAMES[variant], value, COLOURS[variant], errors))
    _grouped_bars(axes, tasks, bars, rotation=20, ha="right")
    axes.axhline(25, color="#d97706", linewidth=1, linestyle="--", label="guessing among four")
    axes.set_ylim(0, 100)
    axes.set_ylabel("right, %")
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="upper left", bbox_to_anchor=(0, 1.15))
    return svg(drawing)


def plot_letters(models: dict[str, Any]) -> str:
    """Draws how often each letter was right and was chosen."""
    counts = [("right", next(iter(models.values()))["letters"]["right"], "#d1d5db")]
    counts += [(f"{NAMES[v]} chose", numbers["letters"]["chosen"], COLOURS[v]) for v, numbers in models.items()]
    letters = sorted({letter for _, by, _ in counts for letter in by}, key=lambda letter: (letter == "none", letter))
    drawing, axes = figure(5.0, 2.6)
    bars = [(name, [by.get(letter, 0) for letter in letters], colour, None) for name, by, colour in counts]
    _grouped_bars(axes, letters, bars)
    axes.set_ylabel("questions")
    axes.legend(fontsize=8, frameon=False)
    return svg(drawing)


def _grouped_bars(axes: Any, labels: Sequence[str], bars: Sequence[tuple[str, list, str, Any]], **ticks: Any) -> None:
    """bars: (name, height at each label, colour, errors or None)"""
    width = 0.8 / len(bars)
    for place, (name, heights, colour, errors) in enumerate(bars):
        x = [label + (place - (len(bars) - 1) / 2) * width for label in range(len(labels))]
        axes.bar(x, heights, width, yerr=errors, capsize=2, label=name, color=colour)
    axes.set_xticks(range(len(labels)), labels, **ticks)
