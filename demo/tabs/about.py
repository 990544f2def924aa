"""About: the loaded model's card, measured figures, what it must not be used for, how to run it elsewhere, citation.

Input: the load report, a results file where one is there. What this file does not know: how figures were measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from demo.page import texts
from demo.page.plots import table
from demo.runtime.context import Context, Tab

# Written by the measuring commands (`python -m train evaluate`): a list of {"metric", "facellm", "base", ...} rows.
RESULTS = Path(__file__).parents[2] / "facellm" / "nano" / "results.json"

_FACTS = (
    ("name", "Model"),
    ("facellm", "FaceLLM weights"),
    ("base", "Base weights"),
    ("revision", "Revision"),
    ("base_revision", "Base revision"),
    ("device", "Device"),
    ("dtype", "Number format"),
    ("quantization", "Quantization"),
    ("memory_bytes", "Memory"),
    ("seconds", "Loaded in"),
    ("reason", "Why this one"),
    ("notes", "To note"),
)

_ELSEWHERE = """
<h3>Run it elsewhere</h3>
<pre tabindex="0"><code># this page, offline, on any laptop
python app.py --model nano
# 8B in 4-bit on a GPU with 8 GB
python app.py --model 8b --quantization nf4
# from Python
from facellm import load
print(load("nano").ask("portrait.jpg", "Is the mouth open?").text)
# from a shell
python -m facellm describe portrait.jpg
# one server for many, this page in front of it
python -m facellm serve --model 8b
python app.py --backend-url http://127.0.0.1:8000</code></pre>
"""


_SWITCHED_OFF = "Ethnicity and emotion are switched off by the operator of this page."


def _value(key: str, value: Any) -> str:
    if value in (None, ""):
        return "none"
    if key == "memory_bytes":
        return f"{value / 2**20:,.0f} MiB" if value < 2**30 else f"{value / 2**30:.1f} GiB"
    if key == "seconds":
        return f"{value:.1f} s"
    return " ".join(value) if isinstance(value, (list, tuple)) else str(value)


def model_card(card: Mapping[str, Any], message: str) -> str:
    """The load report as a list; the loading state's message while there is none."""
    if not card:
        return f'<h3>Loaded model</h3><p class="small">{escape(message)}</p>'
    rows = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(_value(key, card.get(key)))}</dd></div>"
        for key, label in _FACTS
        if key == "quantization" or card.get(key)
    )
    return f'<h3>Loaded model</h3><dl class="facts">{rows}</dl>'


def figures(path: Path = RESULTS) -> str:
    """Measured figures, where the measuring commands have left them beside the weights; else where to get them."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        shown = [[str(r["metric"]), *(_figure(r.get(w)) for w in ("facellm", "base"))] for r in rows]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return (
            '<h3>Measured figures</h3><p class="small">The model card (facellm/nano/README.md) has the embedded '
            "model’s figures; <code>python -m train evaluate</code> measures any other.</p>"
        )
    return "<h3>Measured figures</h3>" + table(
        "FaceLLM-nano, on faces set aside from training", ["", "FaceLLM", "Base"], shown
    )


def _figure(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, (int, float)) else "—" if value is None else str(value)


def words(sensitive: bool) -> str:
    """What this is, what it is not for, and the photo's way."""
    banned = "".join(f"<li>{escape(item)}</li>" for item in texts.NOT_FOR)
    switch = "" if sensitive else f'<p class="notice">{escape(_SWITCHED_OFF)}</p>'
    return (
        f"{switch}<h3>What this is</h3><p>FaceLLM is a vision-language model (InternVL3) with a small adapter on its "
        "language decoder, tuned to describe faces. Where it is an adapter, both run from one copy of the "
        "weights: it is switched off for the base model’s answers.</p>"
        f"<h3>What it must not be used for</h3><ul>{banned}</ul>"
        "<p>It learned from descriptions that another model or a program wrote, for photos that are not the whole "
        "world. Its errors are not the same for everybody; the model card says how they were measured.</p>"
        "<h3>Your photo</h3><p>It is held in this server’s memory for this page only, and dropped when you close the "
        "page or after half an hour without use. Uploaded files are deleted within minutes. Votes and likes are stored "
        "without the photo, the question’s words or the answers.</p>"
    )


def card_html(ctx: Context) -> str:
    """The model card as the host stands now."""
    return model_card(ctx.host.card(), ctx.host.status.message)


def build(ctx: Context) -> Tab:
    """The tab."""
    with gr.Row(elem_classes="about", equal_height=False):
        with gr.Column(min_width=300):
            gr.HTML(words(ctx.sensitive), elem_classes="prose")
            card = gr.HTML(card_html(ctx), elem_id="model-card", elem_classes="prose")
        with gr.Column(min_width=300):
            gr.HTML(figures(), elem_classes="prose")
    cite = f'<h3>Cite</h3><pre tabindex="0"><code>{escape(texts.CITATION)}</code></pre>'
    gr.HTML(_ELSEWHERE + cite, elem_classes="prose")
    return Tab("about", [], tuple, {"card": card})
