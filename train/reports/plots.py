"""matplotlib figures as reports show them: plain axes, SVG text or PNG files, no display and no global state."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from facellm.storage.files import atomic_path

COLOURS = {"base": "#9aa5b1", "facellm": "#2563eb"}


def figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """Begins a figure.

    Args:
        width: In inches.
        height: In inches.
        columns: Panels side by side.

    Returns:
        The figure and its axes: one, or an array of `columns`.
    """
    from matplotlib.figure import Figure  # without pyplot: no display and no global state

    drawing = Figure(figsize=(width, height), layout="constrained")
    axes = drawing.subplots(1, columns)
    for one in axes.flat if columns > 1 else [axes]:
        one.spines[["top", "right"]].set_visible(False)
    return drawing, axes


def svg(drawing: Any) -> str:
    """Returns the figure as an SVG element."""
    out = io.StringIO()
    drawing.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()[out.getvalue().index("<svg") :]


def save_png(drawing: Any, path: Path) -> None:
    """Writes the figure as a PNG file, which appears whole or not at all."""
    with atomic_path(path) as partial:
        drawing.savefig(partial, format="png", dpi=120)
