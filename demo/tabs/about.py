"""About: the loaded model's card, measured figures, what it must not be used for, how to run it elsewhere, citation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from demo.page import texts
from demo.page.plots import table
from demo.page.render import render
from demo.runtime.context import Context
from facellm.weights.registry import MODELS

# Written by the measuring commands (`python -m train evaluate`): a list of {"metric", "facellm", "base", ...} rows.
RESULTS = Path(__file__).parents[2] / "facellm" / "nano" / "results.json"

_FACTS = {
    "name": "Model",
    "facellm": "FaceLLM weights",
    "base": "Base weights",
    "revision": "Revision",
    "base_revision": "Base revision",
    "device": "Device",
    "dtype": "Number format",
    "quantization": "Quantization",
    "memory_bytes": "Memory",
    "seconds": "Loaded in",
    "reason": "Why this one",
    "notes": "To note",
}


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
    shown = [key for key in _FACTS if card and (key == "quantization" or card.get(key))]
    facts = [(_FACTS[key], _value(key, card.get(key))) for key in shown]
    return render("model_card", facts=facts, message=message)


def figures(path: Path = RESULTS) -> str:
    """Measured figures, where the measuring commands have left them beside the weights; else where to get them."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        shown = [[str(r["metric"]), *(_figure(r.get(v)) for v in ("facellm", "base"))] for r in rows]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return render("figures", table="")
    caption = "FaceLLM-nano, on faces set aside from training"
    return render("figures", table=table(caption, ["", "FaceLLM", "Base"], shown))


def _figure(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, (int, float)) else "—" if value is None else str(value)


def introduction(card: Mapping[str, Any]) -> str:
    """One sentence on what this is and which model is loaded, with links to read more."""
    name = str(card.get("name", ""))
    spec = MODELS.get(name)
    size = spec.decoder + spec.other if spec is not None else 0
    return render(
        "introduction",
        name=f"FaceLLM-{name}" if spec is not None else name,
        size=f"{size / 1e9:.1f} billion" if size >= 1e9 else f"{size / 1e6:.0f} million" if size else "",
        embedded=spec is not None and spec.adapter is not None,
        paper=texts.PAPER,
    )


def card_html(ctx: Context) -> str:
    """The model card as the host stands now."""
    return model_card(ctx.host.card(), ctx.host.status.message)


def build(ctx: Context) -> gr.HTML:
    """The tab.  Returns the model's card, to be drawn again when the model is there."""
    with gr.Row(elem_classes="about", equal_height=False):
        with gr.Column(min_width=300):
            gr.HTML(render("about", sensitive=ctx.sensitive, banned=texts.NOT_FOR), elem_classes="prose")
            card = gr.HTML(card_html(ctx), elem_id="model-card", elem_classes="prose")
        with gr.Column(min_width=300):
            gr.HTML(figures(), elem_classes="prose")
    gr.HTML(render("elsewhere", citation=texts.CITATION), elem_classes="prose")
    return card
