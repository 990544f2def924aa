"""The pieces that tabs are built from: status line, model switch, start and stop buttons, the photo's input."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import gradio as gr

from demo.page import texts
from demo.page.render import render

# What a handler returns: {component: its new value, or gr.update(...)}.
Updates = dict[Any, Any]

# Listeners of the page itself: not in the API, no overlay over what is being written.
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def sent(event: gr.EventData, name: str) -> str:
    """What the page's script sent with an event; empty where a forged request leaves it out."""
    return str(getattr(event, name, "") or "")


def came_from(event: gr.EventData, component: gr.components.Component) -> bool:
    """Whether the component, which has an elem_id, started the event.

    Gradio names the session's copy of it, which has another number.
    """
    return getattr(event.target, "elem_id", None) == component.elem_id


@dataclass(frozen=True)
class Line:
    """What a tab's status line says.

    Attributes:
        kind: "busy" while something is under way, "bad" for a failure, else "".
        aside: What ticks (seconds); it stands outside the live region, so that a screen reader does not announce it.
        details: What only some want to know; it opens on a click.
    """

    text: str = ""
    kind: Literal["", "busy", "bad"] = ""
    aside: str = ""
    details: str = ""

    def html(self) -> str:
        """The line as HTML; empty without a text."""
        return render("status", line=self) if self.text else ""


@dataclass
class Tab:
    """What the page needs to know of a tab.

    Attributes:
        name: The tab's id in addresses and tickets.
        line: Its status line.
        cleared: Returns the tab as it looks without anything asked, for a new photo.
        restored: (photo, the visitor's context) -> what the tab shows of a photo that a visitor came back to, in parts
            that `cleared` names too.
    """

    name: str
    line: gr.HTML
    cleared: Callable[[], Updates]
    restored: Callable[[Any, Any], Updates] = field(kw_only=True, default=lambda photo, ctx: {})


# A part of the page that is not to be seen yet. With False Gradio takes it out of the page, and where two updates
# follow each other closely it may never come back: so every part that comes and goes stays in the page.
HIDDEN: Literal["hidden"] = "hidden"


def seen(on: bool) -> Any:
    """The update that shows a part of the page, or hides it."""
    return gr.update(visible=True if on else HIDDEN)


def status_line(name: str) -> gr.HTML:
    """An empty status line."""
    return gr.HTML("", elem_id=f"{name}-status", elem_classes="status-line")


def variant_radio(name: str) -> gr.Radio:
    """The switch between FaceLLM and the base model."""
    return gr.Radio(
        [(title, variant) for variant, title in texts.VARIANTS.items()],
        value="facellm",
        label="Model",
        elem_id=f"{name}-variant",
        elem_classes="segmented",
    )


def variant_choices(variants: Sequence[str]) -> Any:
    """The update of a `variant_radio`: where only one model is loaded, there is no choice."""
    choices = [(texts.VARIANTS[v], v) for v in variants]
    return gr.update(choices=choices) if len(variants) > 1 else gr.update(choices=choices, value=variants[0])


def buttons(name: str, go: str) -> tuple[gr.Button, gr.Button]:
    """The button that starts and the one that stops, which takes its place while the tab runs."""
    start = gr.Button(go, variant="primary", elem_id=f"{name}-go", min_width=120)
    stop = gr.Button("Stop", variant="stop", visible=HIDDEN, elem_id=f"{name}-stop", elem_classes="stop", min_width=120)
    return start, stop


def running(start: gr.Button, stop: gr.Button, on: bool) -> Updates:
    """How `buttons` look while the tab runs, and while it does not."""
    return {start: seen(not on), stop: seen(on)}


def _uploaded_file(self: Any, payload: Any) -> str | None:
    if payload is None:
        return None
    if payload.url and payload.url.startswith("data:"):
        return gr.Image.preprocess(self, payload)
    return payload.path


# gr.Image that hands over the uploaded file itself: orientation, HEIC and refusals are facellm's to decide. Made
# without a class statement, because Gradio's metaclass writes a stub file beside a module that has one.
PhotoInput: Any = ABCMeta.__new__(
    type(gr.Image),
    "PhotoInput",
    (gr.Image,),
    {"__module__": __name__, "is_template": True, "preprocess": _uploaded_file},
)
