"""What `train agreement` found, as Markdown and CSV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from train.outputs import csv_text
from train.people.agreement.pairs import HUMAN, SYNTHETIC
from train.reports.pages import render

LISTED = 30  # disagreements that the report lists


def markdown(found: Mapping[str, Any]) -> str:
    """Renders the content of results.json."""
    return render("agreement.md.jinja", found=found, listed=LISTED)


def labels_csv(facts: Mapping[str, Any]) -> str:
    """Returns a line for each fact that either side states."""
    head = ["fact", HUMAN, SYNTHETIC, "both", "same", "rate", "low", "high", "clustered_low", "clustered_high",
            "kappa", "kappa_low", "kappa_high"]  # fmt: skip
    rows = [
        [fact, row[HUMAN], row[SYNTHETIC], row["both"], *(row["same"][k] for k in ("count", "value", "low", "high")),
         *(row["clustered"] or ("", "")), row["kappa"], *(row["kappa_ends"] or ("", ""))]
        for fact, row in facts.items()
    ]  # fmt: skip
    return csv_text(head, rows)
