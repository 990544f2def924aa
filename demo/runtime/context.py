"""What every tab is made of: the context it works in, its status line, model switch, start and stop buttons.

Input: nothing of a visitor's. What this file does not know: any particular tab.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import Any

import gradio as gr

from demo.page import texts
from demo.runtime.host import Host, sentence
from demo.runtime.options import Options
from demo.runtime.photos import Photos
from demo.runtime.tickets import Runs
from demo.votes import Votes

# Listeners of the page itself: not in the API, no overlay over what is being written.
PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}


@dataclass(frozen=True)
class Context:
    """Shared by all tabs of one page."""

    options: Options
    host: Host
    votes: Votes
    photos: Photos = field(default_factory=Photos)
    runs: Runs = field(default_factory=Runs)

    @property
    def sensitive(self) -> bool:
        return self.options.sensitive


@dataclass
class Tab:
    """What the page wires together.  reset: outputs cleared for a new photo.  cleared: () -> their values."""

    name: str
    reset: list
    cleared: Callable[[], tuple]
    extras: dict[str, Any] = field(default_factory=dict)


def status(text: str = "", kind: str = "", aside: str = "") -> str:
    """The tab's status line; kind: "", busy or bad.  aside: what ticks, and so is not to be announced each time."""
    if not text:
        return ""
    role = "alert" if kind == "bad" else "status"
    beside = f'<span class="aside">{escape(aside)}</span>' if aside else ""
    return f'<p class="status {kind}" role="{role}">{escape(text)}</p>{beside}'


def status_line(name: str) -> gr.HTML:
    return gr.HTML("", elem_id=f"{name}-status", elem_classes="status-line")


def variant_radio(name: str) -> gr.Radio:
    """Base or FaceLLM."""
    return gr.Radio(
        [(texts.VARIANTS["facellm"], "facellm"), (texts.VARIANTS["base"], "base")],
        value="facellm",
        label="Model",
        elem_id=f"{name}-which",
        elem_classes="segmented",
    )


def sides(host: Host) -> dict:
    """The update of a `which_radio`: where only one model is loaded, there is no choice."""
    if len(host.variants) > 1:
        return gr.skip()
    return gr.update(choices=[(texts.VARIANTS[w], w) for w in host.variants], value=host.variants[0])


def buttons(name: str, go: str) -> tuple[gr.Button, gr.Button]:
    """The button that starts and the one that stops, which takes its place while the tab runs."""
    start = gr.Button(go, variant="primary", elem_id=f"{name}-go", min_width=120)
    stop = gr.Button("Stop", variant="stop", visible=False, elem_id=f"{name}-stop", elem_classes="stop", min_width=120)
    return start, stop


def running(on: bool) -> tuple[dict, dict]:
    """Updates for `buttons`."""
    return gr.update(visible=not on), gr.update(visible=on)


def failure(error: BaseException) -> str:
    """A status line for an error."""
    return status(sentence(error), "bad")
