"""Where a killed run goes on: whole checkpoints, and what they must have in common with the run that continues."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from facellm.errors import FaceLLMError
from facellm.storage.files import write_json
from train.lora.recipe import FREE, SETTINGS

ADAPTER, MODEL = "adapter", "model"  # folders that a finished run leaves: an adapter for its base, or a whole model
COMPLETE = "complete.json"  # written into a checkpoint after everything else, with the run that it belongs to


def result(out: Path) -> Path | None:
    """Returns what a finished run left in its folder, an adapter or a whole model; None where it is not finished."""
    return next((out / name for name in (ADAPTER, MODEL) if (out / name).is_dir()), None)


class MarkComplete(TrainerCallback):
    """Marks a checkpoint as whole once everything in it is written. run: base, data digest and recipe."""

    def __init__(self, run: dict[str, Any]) -> None:
        self.run = run

    def on_save(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            write_json(Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE, self.run)


def difference(made: dict[str, Any], run: dict[str, Any], free: frozenset[str] = frozenset()) -> str | None:
    """Compares two runs, each of base, data digest and recipe.

    Args:
        made: The run that was begun or finished.
        run: The run that is wanted.
        free: Settings that may differ.

    Returns:
        How `made` was trained otherwise, as a clause; None where it was not.
    """
    if made["base"]["digest"] != run["base"]["digest"]:
        return f"on another base ({made['base']['name']}) than {run['base']['name']}"
    if made["data"] != run["data"]:
        return "on other data than the set holds now"
    for name, wanted in run["recipe"].items():
        before = made["recipe"].get(name, SETTINGS[name].default)  # a run of before there was such a setting
        if name not in free and before != wanted:
            return f"with {name}={before}, not {wanted}"
    return None


def resume_point(out: Path, run: dict[str, Any], overwrite: bool, first: bool) -> Path | None:
    """Finds the newest whole checkpoint of a run.

    Args:
        out: The run's folder.
        run: Base, data digest and recipe.
        overwrite: Whether to begin anew, and remove what is there.
        first: Whether this is the first of several processes, which alone removes files.

    Returns:
        The checkpoint's folder; None to begin.

    Raises:
        FaceLLMError: Where the folder holds a finished adapter or model, or a checkpoint of another run.
    """
    checkpoints = out / "checkpoints"
    if overwrite and first:
        for folder in (checkpoints, out / ADAPTER, out / MODEL):
            shutil.rmtree(folder, ignore_errors=True)
        for name in ("metrics.jsonl", "samples.jsonl", "loss.png"):
            (out / name).unlink(missing_ok=True)
    if done := result(out):
        raise FaceLLMError(f"{done} holds a finished {done.name}; name another --out, or begin anew with --overwrite.")
    whole = sorted(checkpoints.glob(f"checkpoint-*/{COMPLETE}"), key=lambda path: int(path.parent.name.split("-")[1]))
    if not whole:
        return None
    made = json.loads(whole[-1].read_text(encoding="utf-8"))
    if otherwise := difference(made, run, FREE):
        raise FaceLLMError(
            f"The checkpoint in {checkpoints} was trained {otherwise}; train as it was begun, name another --out, or "
            "begin anew with --overwrite."
        )
    return whole[-1].parent
