"""Links that save a file which is held in the link itself, so that no copy lies on the server."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from demo.page.render import render


def data_uri(data: bytes, kind: str = "image/jpeg") -> str:
    """Bytes as a data: address."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV with a header."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(head)
    writer.writerows(rows)
    return out.getvalue()


def downloads(label: str, files: Sequence[tuple[str, str, str, str]]) -> Markup:
    """The links.  files: (text, file name, media type, content)."""
    links = [(text, name, data_uri(content.encode(), kind)) for text, name, kind, content in files]
    return render("downloads", label=label, links=links)
