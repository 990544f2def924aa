"""The same multiple-choice question in other words: of the question, of its options, and of options never right.

Words are in `options.yaml`, where a part of them is kept out of all training, to measure with.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from train.faces.tasks import TASKS

FILE = Path(__file__).with_name("options.yaml")
WORDINGS = 3  # of each task of FaceXBench, none of them trained on


@cache
def table() -> dict[str, Any]:
    """options.yaml, every word as text."""
    return yaml.load(FILE.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)


def reworded(task: str, options: Sequence[str], right: int, wording: int) -> tuple[str, tuple[str, ...]] | None:
    """Puts a question into words that were kept out of training.

    Options keep their places. Those that are never right ("Both", "None of the above") become others that are never
    right; a question without one gets one more option of this kind at the end.

    Args:
        task: FaceXBench's sub-task.
        options: Their texts.
        right: Index of the right one.
        wording: Which of the `WORDINGS`, from 1.

    Returns:
        The question and its options; None where the task or an option has no other words, or the right option names no
        label ("None of the above").
    """
    own = table()["tasks"].get(task)
    if own is None or task not in TASKS or not 1 <= wording <= WORDINGS:
        return None
    known, never = _labels(task), table()["distractors"]["kept_out"]
    found: list[str] = []
    spare = 0
    for place, option in enumerate(options):
        label = known.get(option.strip().lower())
        if label is not None:
            words = own["labels"][label]["kept_out"]
            found.append(words[(wording - 1) % len(words)])
        elif option.strip().lower() in _never_right(task) and place != right:
            found.append(never[(2 * (wording - 1) + spare) % len(never)])
            spare += 1
        else:
            return None
    if not spare:
        found.append(never[2 * (wording - 1) % len(never)])
    stems = own["questions"]["kept_out"]
    return (stems[(wording - 1) % len(stems)], tuple(found)) if len(set(found)) == len(found) else None


@cache
def _labels(task: str) -> dict[str, str]:
    """Text of an option in lower case -> label, in FaceXBench's words and those of the table."""
    labels = table()["tasks"][task]["labels"]
    found = {word.lower(): label for label, cuts in labels.items() for word in cuts["trained"]}
    wordy = dict(zip(TASKS[task].labels, TASKS[task].words.values(), strict=False))
    for label, word in wordy.items():
        name = label if label in labels else word  # a pose is named by its word
        if name in labels:
            found |= {label.lower(): name, word.lower(): name}
    return found


@cache
def _never_right(task: str) -> frozenset[str]:
    return frozenset(word.lower() for word in (*TASKS[task].decoys, *table()["distractors"]["trained"]))
