"""What the probes report: results.json as tables and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from train.reports.pages import NAMES, Report, Table, p_value, percent


def report(results: Mapping[str, Any], settings: Mapping[str, Any]) -> Report:
    """Arranges the content of results.json for reading."""
    parts = []
    if "pope" in results:
        parts.append(
            f"{results['faces']} faces whose things are known from tags; as many questions about things that are there "
            "as about things that are not, these drawn at random, by frequency (popular), or by what is there "
            "(adversarial). A model that says yes to everything is right in half of them: read accuracy beside the "
            "share of yes. Tags err too."
        )
    if "general" in results:
        parts.append(
            "Questions without a picture, in words kept out of training: what face tuning may cost. A rate far below "
            "base's is forgetting; where base knows nothing, nothing can be forgotten."
        )
    parts.append("Per cent with Wilson 95 % intervals; gains by Agresti and Min's interval, p by McNemar's test.")
    return Report(f"Probes of {results['model']}", parts, list(_tables(results)), (), settings)


def _tables(results: Mapping[str, Any]) -> Iterator[Table]:
    if "pope" in results:
        yield from _seen(results)
    if general := results.get("general"):
        variants = results["variants"]
        head = ["kind", "questions", *(f"{NAMES[v]}, %" for v in variants), "gain, points", "p"]
        rows = [
            [kind, next(iter(row["models"].values()))["total"], *(percent(row["models"][v]) for v in variants),
             percent(row["paired"], "gain", signed=True), p_value(row["paired"]["p"]) if row["paired"] else "-"]
            for kind, row in general.items()
        ]  # fmt: skip
        yield Table("Without a picture", head, rows)


def _seen(results: Mapping[str, Any]) -> Iterator[Table]:
    rows = []
    for variant, by in results["pope"].items():
        for strategy, row in by.items():
            pair = results["pope_paired"].get(strategy) if variant == "facellm" else None
            rows.append(
                [NAMES[variant], strategy, row["accuracy"]["total"], percent(row["accuracy"]),
                 *(_share(row[name]) for name in ("precision", "recall", "f1")), percent(row["yes"]), row["unread"],
                 percent(pair, "gain", signed=True), p_value(pair["p"]) if pair else "-"]
            )  # fmt: skip
    head = ["model", "absent things", "questions", "right, %", "precision, %", "recall, %", "F1, %", "says yes, %",
            "neither", "gain, points", "p"]  # fmt: skip
    yield Table("Is it there? (POPE)", head, rows)
    models = results["pope"]
    things = list(dict.fromkeys(name for by in models.values() for row in by.values() for name in row["things"]))
    rows = [
        [name, *(percent(by[strategy]["things"].get(name)) for by in models.values() for strategy in by)]
        for name in things
    ]
    head = ["absent thing", *(f"{NAMES[variant]}, {strategy}, %" for variant, by in models.items() for strategy in by)]
    yield Table("Seen although it is not there", head, rows)
    rows = [
        [NAMES[variant], row["texts"]["total"], row["mentions"]["total"], percent(row["mentions"]),
         percent(row["texts"]), percent(row["told"]),
         ", ".join(f"{name} {own['count']}" for name, own in row["things"].items() if own["count"]) or "-"]
        for variant, row in results["chair"].items()
    ]  # fmt: skip
    head = ["model", "descriptions", "mentions", "made up, % of mentions (CHAIR_i)", "with one made up, % (CHAIR_s)",
            "present things told, %", "made up"]  # fmt: skip
    yield Table("What descriptions make up", head, rows)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
