"""What made the weights, so that they can be made again: data digests, commands, code version, figures.

`note` is called by every stage when it ends; `write` gathers what was noted into the `manifest.json` that is kept
beside the weights. No path of a machine is written down.
"""

from __future__ import annotations

import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from facellm.storage.files import file_digest, write_json
from facellm.storage.json_lines import Journal, records

STAGES = "stages.jsonl"
PACKAGES = ("torch", "transformers", "tokenizers", "peft", "numpy", "pillow", "onnx", "gguf")
PLACES = ("data", "work", "onnx", "wheel", "tower")  # arguments that name a place of one machine


def code_version() -> str | None:
    """The commit of the checkout that this file is in, with "+" where it was changed since; None outside of git."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(here), *words], check=True, capture_output=True, text=True).stdout

    try:
        return git("rev-parse", "HEAD").strip() + ("+" if git("status", "--porcelain", "--", str(here)).strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def note(work: Path, stage: str, arguments: dict[str, Any], figures: dict[str, Any], seconds: float) -> None:
    """Adds one line about a stage that has ended to `work/stages.jsonl`."""
    given = {
        name: Path(value).name if name in PLACES else value
        for name, value in arguments.items()
        if value is not None and name not in ("stage", "data", "work")
    }
    line = {
        "stage": stage,
        "arguments": given,
        "code": code_version(),
        "ended": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    line |= {"minutes": round(seconds / 60, 1), "figures": figures}
    with Journal(work / STAGES) as log:
        log.append(line)


def write(data: Path, work: Path, out: Path) -> dict[str, Any]:
    """Writes `out` and returns what it holds: digests of every data file, packages, and the stages in their order."""
    stages = work / STAGES
    if not stages.exists():
        raise FaceLLMError(f"{stages} is missing: no stage has ended in this work folder yet.")
    made = {
        "data": {
            path.relative_to(data).as_posix(): file_digest(path) for path in sorted(data.rglob("*")) if path.is_file()
        },
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "stages": [row for *_, row in records(stages, "a stage")],
    }
    write_json(out, made)
    return made


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
