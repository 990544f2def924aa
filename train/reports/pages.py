"""Reports, cards and page fragments from jinja2 templates: HTML without scripts, and Markdown.

What a report says belongs to the command that writes it; here stand the templates' settings and how figures are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

TEMPLATES = Path(__file__).parent / "templates"
NAMES = {"base": "base", "facellm": "FaceLLM"}  # variants, as reports call them


class Table(NamedTuple):
    """A table of a report."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Report:
    """What a measuring command has found, in the order of reading.

    Attributes:
        title: The heading.
        paragraphs: Sentences under it.
        tables: The figures.
        notes: (title, sentences) of what was left out or is odd; one without sentences is not shown.
        settings: What the figures depend on; a table at the end of the HTML page.
    """

    title: str
    paragraphs: Sequence[str]
    tables: Sequence[Table]
    notes: Sequence[tuple[str, Sequence[str]]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def html(report: Report, figures: Sequence[tuple[str, str]]) -> str:
    """Renders a report as one page without scripts. figures: (SVG, caption), shown before the tables."""
    return render("report.html.jinja", report=report, figures=figures)


def markdown(report: Report) -> str:
    """Renders a report as Markdown, without its figures and settings."""
    return render("report.md.jinja", report=report)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[Any]], align: str = "") -> str:
    """Renders one table as Markdown. align: a letter a column, "r" for right."""
    return render("table.md.jinja", head=head, rows=rows, align=align)


def render(template: str, **values: Any) -> str:
    """Renders a template of `TEMPLATES`; values are escaped where it is HTML.

    Returns:
        The text, which begins with a character that shows and ends with one newline.
    """
    return _environment().get_template(template).render(**values).strip() + "\n"


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(enabled_extensions=("html.jinja",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"cell": _cell, "percent": percent, "ends": ends, "p_value": p_value, "kappa": kappa}
    return made


def _cell(value: Any) -> str:
    """What may stand between the bars of a Markdown table."""
    return str(value).replace("|", "\\|").replace("\n", " ")


def percent(row: Mapping[str, Any] | None, key: str = "value", signed: bool = False) -> str:
    """Shows a fraction of 1 with its interval in per cent, such as "81.0 [75.1, 86.2]".

    Args:
        row: A dictionary with `key` and the ends of its interval, `key`_low and `key`_high or else low and high.
        key: The fraction's name.
        signed: Whether a plus is written, for differences.

    Returns:
        The text; "-" where there is no figure, no brackets where there is no interval.
    """
    if not row or row.get(key) is None:
        return "-"
    prefix = f"{key}_" if f"{key}_low" in row else ""
    low, high = row.get(f"{prefix}low"), row.get(f"{prefix}high")
    form = "+.1f" if signed else ".1f"
    return f"{100 * row[key]:{form}}" + ("" if low is None else f" [{100 * low:{form}}, {100 * high:{form}}]")


def ends(interval: Sequence[float] | None) -> str:
    """Shows an interval of fractions in per cent; "-" for None."""
    return "-" if interval is None else f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def kappa(value: float | None, interval: Sequence[float] | None) -> str:
    """Shows a kappa with its interval; "-" where it is not defined."""
    if value is None:
        return "-"
    return f"{value:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


def p_value(value: float | None) -> str:
    """Shows a p-value to four digits; "-" for None."""
    return "-" if value is None else "< 0.0001" if value < 1e-4 else f"{value:.4f}"
