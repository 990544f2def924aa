"""Results as JSON and as Markdown tables, the tables in docs/performance.md between two marks.

What this file does not know: how anything is measured.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch
import transformers

from tests.bench.timing import Result

BEGIN, END = "<!-- tables: written by python -m tests.bench -->", "<!-- end of the tables -->"
TITLES = {
    "B1": "Eight answers",
    "B2": "Sixteen answers, base and FaceLLM",
    "B3": "First token of all eight",
    "B4": "Profile",
    "B5": "Eight visitors at once",
    "B6": "LoRA step",
    "B7": "Distance to the bandwidth limit",
    "B8": "Start",
}


def machine() -> dict[str, str]:
    """What it was measured on."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or "unknown",
    )
    memory = next((int(line.split()[1]) / 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "memory": f"{memory:.0f} GiB",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def tables(results: Sequence[Result]) -> str:
    """One Markdown table a benchmark."""
    parts = []
    for bench in sorted({r.bench for r in results}):
        rows = [r for r in results if r.bench == bench]
        parts += [f"### {bench}: {TITLES[bench]}", ""]
        parts += ["| model | what | here | against | there | ratio (all repeats) | target |", "|" + "---|" * 7]
        for r in rows:
            spread = f"**{_round(r.ratio)}** ({_round(r.spread[0])} to {_round(r.spread[1])}, {r.repeats})"
            target = "" if r.met is None else f"{r.target}: {'met' if r.met else 'missed'}"
            cells = (r.model, r.what, f"{_round(r.ours)} {r.unit}", r.other_is, f"{_round(r.other)} {r.unit}")
            parts.append("| " + " | ".join((*cells, spread, target)) + " |")
        noted = [f"{r.model}, {r.what}: " + "; ".join(f"{k} {v}" for k, v in r.notes.items()) for r in rows if r.notes]
        parts += ["", *[f"- {line}." for line in noted], ""]
    return "\n".join(parts)


def _round(value: float) -> str:
    """Three figures that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def write_json(path: Path, results: Sequence[Result], options: dict) -> None:
    path.write_text(
        json.dumps({"machine": machine(), "options": options, "results": [r.to_dict() for r in results]}, indent=1)
        + "\n"
    )


def write_tables(path: Path, results: Sequence[Result], command: str) -> None:
    """Put the tables between the marks of `path`.  Raises SystemExit where the marks are missing."""
    text = path.read_text()
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{path} has no place for the tables: it must hold {BEGIN} and {END}")
    about = machine()
    said = (
        f"`{command}`, {about['date']}: {about['cores']} cores of {about['cpu']}, {about['memory']}, "
        f"{about['threads']} threads, GPU {about['gpu']}; Python {about['python']}, torch {about['torch']}, "
        f"transformers {about['transformers']}."
    )
    head, rest = text.split(BEGIN)
    path.write_text(f"{head}{BEGIN}\n{said}\n\n{tables(results)}\n{END}{rest.split(END)[1]}")
