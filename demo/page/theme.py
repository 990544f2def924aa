"""Colours, type and scripts of the page. System fonts only: the first load must need no other host."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from demo.page.languages import LANGUAGES
from demo.page.render import render

CSS = Path(__file__).parent / "style.css"

# What goes into the page's head: page.js, and the rules that Gradio must not prefix.
HEAD = str(render("head", languages=LANGUAGES))

_SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")


def theme() -> gr.themes.Base:
    """Slate neutrals, one teal accent."""
    made = gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.slate,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=_SANS,
        font_mono=_MONO,
    )
    return made.set(
        body_background_fill="#f6f8f9",
        body_background_fill_dark="#0d1417",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#141d21",
        background_fill_secondary="#f1f4f6",
        background_fill_secondary_dark="#10181b",
        block_background_fill="#ffffff",
        block_background_fill_dark="#141d21",
        block_border_color="#dde4e8",
        block_border_color_dark="#26343a",
        border_color_primary="#dde4e8",
        border_color_primary_dark="#26343a",
        block_shadow="none",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_label_background_fill="*background_fill_secondary",
        block_label_background_fill_dark="*background_fill_secondary",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        input_background_fill="#ffffff",
        input_background_fill_dark="#0f171a",
        input_border_color="#c9d3d9",
        input_border_color_dark="#33444b",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="#0f766e",
        button_primary_background_fill_hover="#0b5f59",
        button_primary_background_fill_dark="#0f766e",
        button_primary_background_fill_hover_dark="#128077",
        button_primary_text_color="#ffffff",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_hover="#eef3f4",
        button_secondary_background_fill_dark="#1b272c",
        button_secondary_background_fill_hover_dark="#22323a",
        button_border_width="1px",
        button_border_width_dark="1px",
        button_secondary_border_color="#c9d3d9",
        button_secondary_border_color_dark="#33444b",
        button_cancel_background_fill="#b4232c",
        button_cancel_background_fill_hover="#961c24",
        button_cancel_background_fill_dark="#b4232c",
        button_cancel_background_fill_hover_dark="#c92c36",
        button_cancel_text_color="#ffffff",
        button_cancel_text_color_dark="#ffffff",
        slider_color="#0f766e",
        slider_color_dark="#2dd4bf",
        checkbox_label_background_fill_selected="#e4f3f1",
        checkbox_label_background_fill_selected_dark="#173b39",
        checkbox_label_text_color_selected="#0b4f4a",
        checkbox_label_text_color_selected_dark="#d3f4ef",
        checkbox_background_color_selected="#0f766e",
        checkbox_background_color_selected_dark="#0f766e",
        checkbox_border_color_selected="#0f766e",
        checkbox_border_color_selected_dark="#2dd4bf",
        link_text_color="#0f6a63",
        link_text_color_dark="#5fd9cc",
    )
