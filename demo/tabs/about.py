"""About: the loaded model's card, measured figures, what it must not be used for, how to run it elsewhere, citation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from demo.page import texts
from demo.page.components import Updates
from demo.page.plots import table
from demo.page.render import render
from demo.runtime.context import Context
from facellm.weights.registry import MODELS

# Written by the measuring commands (`python -m train evaluate`) beside the weights: {"rows": [{"metric", "facellm",
# "base", ...}]}.
RESULTS = "results.json"

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


def figures(card: Mapping[str, Any]) -> str:
    """Measured figures of the loaded model, where the measuring commands left them beside its weights; else how to get
    them."""
    spec = MODELS.get(str(card.get("name", "")))
    try:
        rows = json.loads((Path(spec.base if spec else "") / RESULTS).read_text(encoding="utf-8"))["rows"]
        shown = [[str(r["metric"]), *(_figure(r.get(v)) for v in ("facellm", "base"))] for r in rows]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return render("figures", table="", name=_title(card))
    caption = f"{_title(card)}, on faces set aside from training"
    return render("figures", table=table(caption, ["", "FaceLLM", "Base"], shown))


def _figure(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, (int, float)) else "—" if value is None else str(value)


def _title(card: Mapping[str, Any]) -> str:
    name = str(card.get("name", ""))
    return f"FaceLLM-{name}" if name in MODELS else name


def _told(card: Mapping[str, Any]) -> dict[str, Any]:
    """The loaded model's name, size in words, and whether it was made here."""
    spec = MODELS.get(str(card.get("name", "")))
    size = spec.parameters if spec is not None else 0
    return {
        "name": _title(card),
        "size": f"{size / 1e9:.1f} billion" if size >= 1e9 else f"{size / 1e6:.0f} million" if size else "",
        "embedded": spec is not None and spec.adapter is not None,
    }


def introduction(card: Mapping[str, Any]) -> str:
    """One sentence on what this is and which model is loaded."""
    return render("introduction", **_told(card))


def read_more() -> str:
    """Where there is more to read."""
    space = os.environ.get("SPACE_ID", "")
    code = f"https://huggingface.co/spaces/{space}/tree/main" if space else texts.CODE
    return render("read_more", paper=texts.PAPER, code=code, own=bool(space))


@dataclass(frozen=True)
class AboutTab:
    """What of the tab speaks of the loaded model."""

    prose: gr.HTML
    card: gr.HTML
    figures: gr.HTML

    def drawn(self, ctx: Context) -> Updates:
        """These parts as the host stands now."""
        card = ctx.host.card()
        return {
            self.prose: render("about", **_told(card), sensitive=ctx.sensitive, banned=texts.NOT_FOR),
            self.card: model_card(card, ctx.host.status.message),
            self.figures: figures(card),
        }


def build(ctx: Context) -> AboutTab:
    """The tab; what speaks of the model is to be drawn again when the model is there."""
    with gr.Row(elem_classes="about", equal_height=False):
        with gr.Column(min_width=300):
            prose = gr.HTML("", elem_classes="prose")
            card = gr.HTML("", elem_id="model-card", elem_classes="prose")
        with gr.Column(min_width=300):
            measured = gr.HTML("", elem_id="figures", elem_classes="prose")
    gr.HTML(render("elsewhere", citation=texts.CITATION), elem_classes="prose")
    tab = AboutTab(prose, card, measured)
    for part, value in tab.drawn(ctx).items():
        part.value = value
    return tab
