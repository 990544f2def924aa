"""The settings that all tabs share, in a closed accordion."""

from __future__ import annotations

import gradio as gr

from demo.runtime.parameters import MAX_NEW_TOKENS, MAX_SYSTEM, MAX_TILES

# Of the slider. Sampling above it lets small models' words fall apart; the API allows what other servers allow.
MAX_TEMPERATURE = 1.0


def build() -> list[gr.components.Component]:
    """The accordion.

    Returns:
        Its components, in the order of the arguments of `parameters.read`.
    """
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        look = gr.Radio(
            [("Face crop", "face"), ("Whole photo", "whole")],
            value="face",
            label="What the model sees",
            info="FaceLLM was trained on one tile: the face.",
            elem_id="look",
        )
        tiles = gr.Slider(1, MAX_TILES, value=1, step=1, label="Tiles", info="Only for the whole photo; more is slower")
        tokens = gr.Slider(16, MAX_NEW_TOKENS, value=256, step=8, label="Max new tokens", info="Longest answer")
        temperature = gr.Slider(
            0,
            MAX_TEMPERATURE,
            value=0,
            step=0.05,
            label="Temperature",
            info="0: the likeliest words, the same each time",
        )
        top_p = gr.Slider(0.05, 1, value=1, step=0.05, label="Top-p", info="Share of probability to draw from")
        # No limits here: Gradio would refuse before `read` can say why.
        seed = gr.Number(0, label="Seed", precision=0)
        system = gr.Textbox(
            label="System prompt", lines=2, max_length=MAX_SYSTEM, placeholder="Empty: the model's own", value=""
        )
    return [system, tokens, temperature, top_p, seed, look, tiles]


def look(components: list[gr.components.Component]) -> gr.components.Component:
    """Of the components that `build` returned, the one that says what the model sees."""
    return next(component for component in components if component.elem_id == "look")
