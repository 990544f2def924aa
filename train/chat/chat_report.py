"""The report of a run: figures with their intervals, base beside FaceLLM, and examples with pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from train.chat.tallies import GROUPS, Judged, examples
from train.reports.pages import NAMES, render

COLUMNS = ("right", "wrong", "evasive", "off_topic", "broken", "contradicts", "ethnicity", "yes", "no")


def html(
    title: str,
    lead: str,
    summaries: Mapping[str, Mapping[str, Any]],
    judged: Mapping[str, Sequence[Judged]],
    thumbnail: Callable[[str], str] | None = None,
) -> str:
    """The page. thumbnail: a picture's data URL by file; None leaves pictures out."""
    models = [NAMES.get(variant, variant) for variant in summaries]
    of = dict(zip(models, summaries.values(), strict=True))
    first = next(iter(summaries.values()))
    pictures: dict[str, str] = {}

    def shown(row: Judged) -> dict[str, Any]:
        file = row.question.file
        if thumbnail is not None and file not in pictures:
            pictures[file] = thumbnail(file)
        return {
            "question": row.question.text,
            "history": row.question.history,
            "text": row.reply.text,
            "verdict": row.verdict,
            "file": file,
            "picture": pictures.get(file),
        }

    samples = {
        name: {intent: [shown(row) for row in own] for intent, own in examples(judged[variant]).items()}
        for name, variant in zip(models, summaries, strict=True)
    }
    columns = [column for column in COLUMNS if column in first["all"]]
    return render(
        "chat.html.jinja",
        title=title,
        lead=lead,
        models=models,
        columns=columns,
        groups=[name for name in GROUPS if name in first["groups"]],
        intents=list(first["intents"]),
        overall=lambda variant, name: of[variant]["all"],
        by_group=lambda variant, name: of[variant]["groups"][name],
        by_intent=lambda variant, name: of[variant]["intents"][name],
        samples=samples,
    )


def lines(summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The figures that matter most, for the terminal."""
    found = []
    for variant, summary in summaries.items():
        own = summary["all"]
        parts = [
            f"{kind.replace('_', ' ')} {100 * own[kind]['value']:.1f} %"
            for kind in COLUMNS[:7]
            if own[kind]["value"] is not None
        ]
        found.append(f"{NAMES.get(variant, variant)}: {own['total']} answers, {', '.join(parts)}")
    return found
