"""The page in other languages: what stands on it in English is the key; one file a language, `{}` for what varies."""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

LANGUAGES = ("es", "fr", "de", "zh")


def translations() -> dict[str, dict[str, str]]:
    """Returns language -> English words -> that language's. Words that no file has stay English."""
    folder = Path(__file__).parent
    return {code: json.loads((folder / f"{code}.json").read_text(encoding="utf-8")) for code in LANGUAGES}


def i18n() -> gr.I18n:
    """Returns the translations as Gradio takes them: it hands them to the page, and translates labels of components."""
    return gr.I18n(**translations())
