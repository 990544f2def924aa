"""Trackers that a run reports to, through the Hugging Face Trainer's own callbacks: TensorBoard, wandb, trackio."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from facellm.errors import FaceLLMError

# tracker -> packages any of which brings it
TRACKERS = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "trackio": ("trackio",)}
NAMES = (*TRACKERS, "none")


def check_trackers(chosen: str, out: Path) -> list[str]:
    """Looks for the packages of the trackers, and says where they write.

    Args:
        chosen: Names with commas between, or "none".
        out: The run's folder, in which TensorBoard writes unless TENSORBOARD_LOGGING_DIR says otherwise.

    Returns:
        The names, as the Trainer knows them.

    Raises:
        FaceLLMError: For an unknown tracker, or one whose package is missing.
    """
    names = list(dict.fromkeys(name.strip() for name in chosen.split(",") if name.strip()))
    if unknown := [name for name in names if name not in NAMES]:
        raise FaceLLMError(f"There is no tracker {unknown[0]!r}; choose from {', '.join(NAMES)}.")
    names = [name for name in names if name != "none"]
    for name in names:
        if not any(importlib.util.find_spec(package) for package in TRACKERS[name]):
            raise FaceLLMError(
                f"--report-to {name} needs the package {TRACKERS[name][0]}, which this environment lacks; install it "
                f"with `pip install {TRACKERS[name][0]}`, or leave {name} out."
            )
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(out / "tensorboard"))
    os.environ.setdefault("WANDB_PROJECT", "facellm")
    return names
