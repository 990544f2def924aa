"""Runs an experiment: every arm under every seed, once, all validated on the same rows, whatever each learns."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from facellm.storage.files import write_text
from train.experiment.plans import MAIN, Arm, Experiment
from train.lora.checkpoints import result
from train.lora.conversations import DataSet, read_dataset
from train.lora.parts.parts import images_change
from train.lora.preparation import DataOptions
from train.lora.recipe import Recipe
from train.lora.stages import METHOD, scored, trained

VALIDATION = "validation.jsonl"  # the common validation rows in the experiment's folder; each run leaves its answers


@dataclass(frozen=True)
class Settings:
    """What all trials of an experiment share.

    Attributes:
        data: The set of each name (`MAIN` for that of --data).
        model: The base.
        recipe: All settings that no arm changes.
        seeds: Seeds of the trials of each arm.
        val_data: Rows to validate on; None takes the validation rows of the main set.
        mix: General rows.
        mix_ratio: Their share.
        benchmark: Questions to score by, or None.
        limit: At most so many of them a file.
        device: "cpu" or "cuda".
    """

    data: Mapping[str, Path]
    model: str
    recipe: Recipe
    seeds: tuple[int, ...]
    val_data: Path | None = None
    mix: Path | None = None
    mix_ratio: float = 0.2
    benchmark: Path | None = None
    limit: int | None = None
    device: str | None = None


@dataclass(frozen=True)
class Trial:
    """One arm under one seed, done.

    Attributes:
        arm: The arm's name.
        seed: Of shuffling, initial weights and general rows.
        figures: What the run measured.
        answers: Every validation answer: pack, image, tokens, loss, right.
        right: Question -> whether it was answered rightly, of the benchmark.
    """

    arm: str
    seed: int
    figures: dict[str, Any]
    answers: list[dict[str, Any]]
    right: dict[str, bool]


def trials(experiment: Experiment, settings: Settings, out: Path) -> Iterator[Trial]:
    """Runs what is not done yet, seed by seed, so that a report of all arms is there after the first seed.

    Args:
        experiment: Its arms.
        settings: What they share.
        out: The experiment's folder; each trial has OUT/ARM/seed-N.

    Yields:
        Every trial, those that were done before as well.

    Raises:
        FaceLLMError: Where there is nothing to validate on, or a folder holds a run of another kind.
    """
    validation = common_validation(settings, out)
    for seed in settings.seeds:
        for arm in experiment.arms:
            yield _trial(arm, seed, settings, validation, out)


def _trial(arm: Arm, seed: int, settings: Settings, validation: Path, out: Path) -> Trial:
    folder = out / arm.name / f"seed-{seed}"
    recipe = arm.recipe(settings.recipe, seed)
    done = result(folder) is not None
    print(f"{arm.name}, seed {seed}: {'done before' if done else 'training'}", file=sys.stderr)
    options = DataOptions(validation, settings.mix if arm.mix else None, settings.mix_ratio)
    features = None if images_change(recipe) else _features(settings.data[arm.data], arm, out)
    figures = trained(
        settings.data[arm.data], settings.model, folder, recipe, features=features, device=settings.device,
        options=options,
    )  # fmt: skip
    lines = (folder / VALIDATION).read_text(encoding="utf-8").splitlines()
    right: dict[str, bool] = {}
    if settings.benchmark is not None:
        target = scored(settings.benchmark, settings.model, result(folder), folder, settings.limit, settings.device)
        right = _right(settings.benchmark, target)
    return Trial(arm.name, seed, figures, [json.loads(line) for line in lines], right)


def _features(data: Path, arm: Arm, out: Path) -> Path | None:
    """One feature cache for all trials that learn the same rows; None where the set brings its own."""
    if (data / "features" / "index.json").is_file():
        return None
    return out / "features" / (arm.name if arm.mix else arm.data or "data")


def _right(benchmark: Path, evaluated: Path) -> dict[str, bool]:
    from train.evaluate import facexbench, summary
    from train.evaluate.answering import Arm as Asked
    from train.evaluate.answering import read_replies

    asked = Asked("facellm", METHOD)
    replies = read_replies(evaluated / "replies" / f"{asked.name}.jsonl")
    questions = summary.asked(facexbench.read(benchmark).questions, replies)
    return {question.key: summary.is_right(question, replies[question.key], asked, "ours") for question in questions}


def common_validation(settings: Settings, out: Path) -> Path:
    """Writes the rows that every arm is validated on, so that what is compared is compared on the same answers.

    Returns:
        A file of JSON lines with absolute image paths.

    Raises:
        FaceLLMError: Where there are none.
    """
    if settings.val_data is not None:
        data = read_dataset(settings.val_data)
        examples = data.train + data.val
    else:
        data = read_dataset(settings.data[MAIN])
        examples = data.val
    if not examples:
        raise FaceLLMError(f"{settings.data[MAIN]} has no validation rows to compare the arms on; give --val-data.")
    path = out / VALIDATION
    write_text(path, "".join(json.dumps(_row(data, example)) + "\n" for example in examples))
    return path


def _row(data: DataSet, example: Any) -> dict[str, Any]:
    pairs = [zip(("user", "assistant"), turn, strict=True) for turn in example.turns]
    messages = [{"role": role, "content": text} for pair in pairs for role, text in pair]
    image: list[str] = []
    if example.image in data.held:
        image = [f"data:;base64,{base64.b64encode(data.held[example.image]).decode()}"]
    elif example.image is not None:
        image = [str(data.absolute(example).image)]
    return {"messages": messages, "images": image, **({"system": example.system} if example.system else {})}


def of_arm(done: list[Trial], name: str, figure: Callable[[Trial], Any]) -> list[Any]:
    """What a figure is in each trial of an arm."""
    return [figure(trial) for trial in done if trial.arm == name]
