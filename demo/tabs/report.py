"""The whole report as a file: JSON, Markdown, and one HTML page that needs nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from demo.page import texts
from demo.page.downloads import data_uri, downloads
from demo.page.render import render
from demo.runtime.photos import CROP_SIDE, Photo, decode, jpeg
from demo.runtime.streaming import Cell
from facellm.attributes import attribute


def to_dict(cells: Sequence[Cell], photo: Photo, card: Mapping[str, Any]) -> dict[str, Any]:
    """Everything of the report but the picture, ready for JSON.

    Of each answer, look is "face" (its crop) or "whole" (the photo, in at most `tiles` tiles); seconds and
    tokens_per_second are as measured.
    """
    return {
        "made_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "model": dict(card),
        "photo": {
            "width": photo.size[0],
            "height": photo.size[1],
            "face": photo.view.face.to_dict() if photo.view.face else None,
            "faces": len(photo.view.faces),
        },
        "answers": [
            {
                "key": c.key,
                "title": attribute(c.key).title if c.key else c.question,
                "variant": c.variant,
                "question": c.question,
                "look": "whole" if c.parameters.whole or photo.view.face is None else "face",
                "tiles": c.parameters.tiles,
                "temperature": c.parameters.temperature,
                "top_p": c.parameters.top_p,
                "seed": c.parameters.seed,
                "max_new_tokens": c.parameters.max_new_tokens,
                "system": c.parameters.system,
                "text": texts.BROKEN if c.state == "broken" else c.text,
                "state": c.state,
                "tokens": c.tokens,
                "seconds": round(c.seconds, 3),
                "first_token_seconds": None if c.first is None else round(c.first, 3),
                "tokens_per_second": None if c.rate is None else round(c.rate, 2),
            }
            for c in cells
            if c.finished
        ],
        "note": texts.ESTIMATES,
    }


def to_markdown(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    lines = ["# FaceLLM report", "", _made(report), ""]
    for a in report["answers"]:
        lines += [f"## {a['title']}", "", a["text"], "", f"*{_measures(a)}*", ""]
    return "\n".join([*lines, "---", "", report["note"], ""])


def to_html(report: Mapping[str, Any], photo: Photo) -> str:
    """The report as one self-contained page with the face's crop, or the photo where an answer is about all of it."""
    whole = any(a["look"] == "whole" for a in report["answers"])
    return render(
        "report",
        picture=data_uri(jpeg(decode(photo.source) if whole else photo.view.image, CROP_SIDE)),
        shown="The photo" if whole else "The face that was described",
        made=_made(report),
        answers=[(a, _measures(a)) for a in report["answers"]],
        note=report["note"],
    )


def links(cells: Sequence[Cell], photo: Photo, card: Mapping[str, Any]) -> str:
    """Three download links that hold the report themselves; empty where no answer is finished."""
    report = to_dict(cells, photo, card)
    if not report["answers"]:
        return ""
    return downloads(
        "Download the report",
        [
            ("JSON", "facellm-report.json", "application/json", json.dumps(report, indent=2, ensure_ascii=False)),
            ("Markdown", "facellm-report.md", "text/markdown", to_markdown(report)),
            ("Web page", "facellm-report.html", "text/html", to_html(report, photo)),
        ],
    )


def _made(report: Mapping[str, Any]) -> str:
    variants = sorted({a["variant"] for a in report["answers"]}, reverse=True)
    model = report["model"].get("name", "unknown model")
    return f"{', '.join(texts.VARIANTS[v] for v in variants)} ({model}), {report['made_utc']}"


def _measures(a: Mapping[str, Any]) -> str:
    parts = [texts.VARIANTS[a["variant"]]]
    if a["look"] == "whole":
        parts.append("whole photo" + (f" in up to {a['tiles']} tiles" if a["tiles"] > 1 else ""))
    if a["temperature"]:
        parts.append(f"temperature {a['temperature']:g}, seed {a['seed']}")
    return ", ".join([*parts, f"{a['tokens']} tokens in {a['seconds']:.1f} s"])
