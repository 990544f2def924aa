"""A page of HTML without scripts, with tables and SVG plots, and the same tables as Markdown: what reports are made of.

Input: titles, cells, figures. Output: text. What this file does not know: what a report says.
"""

from __future__ import annotations

import html as escaping
import io
from collections.abc import Sequence
from typing import Any

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1f2937}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}th,td{padding:.3rem .7rem;border-bottom:1px solid #e5e7eb;
text-align:right}th:first-child,td:first-child{text-align:left}th{background:#f8fafc}h1{font-size:1.5rem}
h2{font-size:1.1rem;margin-top:2rem}svg{max-width:100%;height:auto}.scroll{overflow-x:auto}"""

Table = tuple[str, list[str], list[list[str]]]  # title, head, rows


def figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """(matplotlib figure, its axes: one, or an array of `columns`); inches."""
    from matplotlib.figure import Figure  # without pyplot: no display and no global state

    drawing = Figure(figsize=(width, height), layout="constrained")
    axes = drawing.subplots(1, columns)
    for one in axes.flat if columns > 1 else [axes]:
        one.spines[["top", "right"]].set_visible(False)
    return drawing, axes


def svg(drawing: Any) -> str:
    """The figure as an SVG element."""
    out = io.StringIO()
    drawing.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()[out.getvalue().index("<svg") :]


def page(title: str, parts: Sequence[str]) -> str:
    """A whole page of HTML in one file, without scripts."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escaping.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>{escaping.escape(title)}</h1>{''.join(parts)}</body></html>"
    )


def table_html(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escaping.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return (
        f'<h2>{escaping.escape(title)}</h2><div class="scroll"><table><thead>{line(head, "th")}</thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def table_markdown(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table under a heading."""
    cells = [head, ["---"] * len(head), *rows]
    return [f"## {title}", "", *("| " + " | ".join(_cell(c) for c in row) + " |" for row in cells), ""]


def list_html(title: str, sentences: Sequence[str]) -> str:
    """A heading and its sentences; nothing where there are none."""
    items = "".join(f"<li>{escaping.escape(s)}</li>" for s in sentences)
    return f"<h2>{escaping.escape(title)}</h2><ul>{items}</ul>" if sentences else ""


def list_markdown(title: str, sentences: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *(f"- {s}" for s in sentences), ""] if sentences else []


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
