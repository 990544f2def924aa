"""HTML of the page from the templates beside this file; every value is escaped unless it is already markup."""

from __future__ import annotations

from typing import Any

import jinja2
from markupsafe import Markup

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("demo.page"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def percent(p: float) -> str:
    """A probability in 0..1 as the page writes it: "42 %", and "<1 %" for a small one that is not zero."""
    return "<1 %" if 0 < p < 0.005 else f"{100 * p:.0f} %"


_TEMPLATES.filters["percent"] = percent


def render(name: str, /, **values: Any) -> Markup:
    """The template `name`.html filled with `values`, without the blank space around it."""
    return Markup(_TEMPLATES.get_template(f"{name}.html").render(**values).strip())
