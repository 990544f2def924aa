"""The whole report as a file: JSON, Markdown, and one HTML page that needs nothing else.

Input: finished cells and the photo. Output: text, and links that hold it (no copy lies on the server). What this file
does not know: Gradio, the model.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from demo.page import texts
from demo.runtime.photos import CROP_SIDE, Photo, data_uri, decode, jpeg
from demo.runtime.streaming import Cell
from facellm.attributes import attribute

_STYLE = """
:root{color-scheme:light dark}body{font:16px/1.6 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}
header{display:flex;gap:1.25rem;align-items:center}header img{width:9rem;border-radius:.75rem}
h1{margin:0;font-size:1.6rem}h2{margin:1.6rem 0 .2rem;font-size:1.1rem}small,footer{color:#68707c}
footer{margin-top:2rem;border-top:1px solid #8884;padding-top:1rem;font-size:.9rem}
"""


def title_of(cell: Cell) -> str:
    """The attribute's title, or the question where it is the visitor's own."""
    return attribute(cell.key).title if cell.key else cell.question


def to_dict(cells: Sequence[Cell], photo: Photo, card: Mapping[str, Any]) -> dict:
    """Everything of the report but the picture, ready for JSON.

    Of each answer, look: "face" (its crop) or "whole" (the photo, in at most `tiles` tiles).  seconds,
    tokens_per_second: as measured.
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
                "title": title_of(c),
                "variant": c.variant,
                "question": c.question,
                "look": "whole" if c.parameters.whole or photo.view.face is None else "face",
                "tiles": c.parameters.tiles,
                "temperature": c.parameters.temperature,
                "top_p": c.parameters.top_p,
                "seed": c.parameters.seed,
                "max_new_tokens": c.parameters.max_new_tokens,
                "system": c.parameters.system,
                "text": c.text,
                "state": c.state,
                "tokens": c.tokens,
                "seconds": round(c.seconds, 3),
                "first_token_seconds": None if c.first is None else round(c.first, 3),
                "tokens_per_second": None if c.rate is None else round(c.rate, 2),
            }
            for c in cells
            if c.finished
        ],
        "note": "Estimates from one picture, not facts about a person; not for identifying or deciding about anyone.",
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
    picture = data_uri(jpeg(decode(photo.source) if whole else photo.view.image, CROP_SIDE))
    shown = "The photo" if whole else "The face that was described"
    parts = "".join(
        f"<section><h2>{escape(a['title'])}</h2>{paragraphs(a['text'])}<small>{escape(_measures(a))}</small></section>"
        for a in report["answers"]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>FaceLLM report</title><style>{_STYLE}</style></head><body><header>"
        f'<img src="{picture}" alt="{shown}"><div><h1>FaceLLM report</h1>'
        f"<small>{escape(_made(report))}</small></div></header>{parts}"
        f"<footer>{escape(report['note'])}</footer></body></html>"
    )


def paragraphs(text: str) -> str:
    """Escaped text as HTML paragraphs."""
    blocks = [b.strip() for b in text.split("\n\n") if b.strip()]
    return "".join(f"<p>{escape(b)}</p>".replace("\n", "<br>") for b in blocks)


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


def downloads(label: str, files: Sequence[tuple[str, str, str, str]]) -> str:
    """Links that save files held in the link itself.  files: (text, file name, media type, content)."""
    made = "".join(
        f'<a class="download" download="{escape(name)}" href="{data_uri(content.encode(), kind)}">{escape(text)}</a>'
        for text, name, kind, content in files
    )
    return f'<nav class="downloads" aria-label="{escape(label)}"><span>{escape(label)}</span>{made}</nav>'


def _made(report: Mapping[str, Any]) -> str:
    name = report["model"].get("name", "unknown model")
    variant = {a["variant"] for a in report["answers"]}
    return f"{', '.join(texts.VARIANTS[w] for w in sorted(variant, reverse=True))} ({name}), {report['made_utc']}"


def _measures(a: Mapping[str, Any]) -> str:
    parts = [texts.VARIANTS[a["variant"]]]
    if a["look"] == "whole":
        parts.append("whole photo" + (f" in up to {a['tiles']} tiles" if a["tiles"] > 1 else ""))
    if a["temperature"]:
        parts.append(f"temperature {a['temperature']:g}, seed {a['seed']}")
    return ", ".join([*parts, f"{a['tokens']} tokens in {a['seconds']:.1f} s"])
