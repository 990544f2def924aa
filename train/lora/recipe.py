"""Settings of a LoRA run: a recipe file, with flags on top, checked by name and value."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from facellm.errors import FaceLLMError

RECIPES = Path(__file__).parents[1] / "recipes"
DATASET = "dataset"  # a recipe's part for the teacher, which train.dataset.options reads
CHOICES = {
    "schedule": ("cosine", "linear", "constant"),
    "precision": ("bf16", "float32"),
    "quantization": ("none", "nf4"),
    "weighting": ("token", "root", "answer"),
}


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes the result; written beside the adapter as recipe.yaml. `HELP` says what each is."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    learning_rate: float = 1e-5
    schedule: str = "cosine"
    warmup: float = 0.0
    epochs: float = 1.0
    max_steps: int = 0
    batch: int = 80
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    weighting: str = "token"
    precision: str = "bf16"
    quantization: str = "none"
    cutoff: int = 2048
    packed: bool = True
    micro_tokens: int = 4096
    gradient_checkpointing: bool = False
    cache_features: bool = True
    seed: int = 0
    val_images: int = 256
    eval_every: int = 200
    save_every: int = 200
    log_every: int = 10
    samples: int = 3
    sample_tokens: int = 96


HELP = {
    "rank": "rank of the adapter (r)",
    "alpha": "LoRA alpha; the adapter's output is scaled by alpha / rank",
    "dropout": "dropout before the adapter",
    "learning_rate": "peak learning rate",
    "schedule": "how the learning rate falls",
    "warmup": "share of the steps over which the rate rises, 0 to 1",
    "epochs": "passes over the training set",
    "max_steps": "stop after this many optimiser steps (0: epochs decide)",
    "batch": "question-answer pairs an optimiser step, over all processes",
    "weight_decay": "AdamW's weight decay",
    "max_grad_norm": "gradients are clipped to this norm",
    "weighting": "token: every answer token weighs the same (the paper); answer: every answer does; root: between them",
    "precision": "bf16 (base in bf16, adapter in float32) or float32",
    "quantization": "nf4: a 4-bit base (QLoRA)",
    "cutoff": "longest sequence in tokens; nothing is ever cut, longer rows are refused",
    "packed": "all pairs of an image behind one image prefix; --no-packed (or --plain) trains pair by pair",
    "micro_tokens": "tokens of one forward pass, the memory's bound",
    "gradient_checkpointing": "recompute activations in the backward pass: less memory, a third slower",
    "cache_features": "encode every image once to disk; off: encode in every step",
    "seed": "of the shuffle and of the adapter's initial weights",
    "val_images": "images of the validation set that each evaluation reads (0: all)",
    "eval_every": "steps between evaluations (0: at the end only)",
    "save_every": "steps between checkpoints (0: at the end only)",
    "log_every": "steps between log lines",
    "samples": "sample answers written at each evaluation",
    "sample_tokens": "longest sample answer in tokens",
}
# What may differ between a checkpoint and the run that goes on from it, because the curve does not depend on it.
FREE = frozenset({"eval_every", "save_every", "log_every", "samples", "sample_tokens", "val_images"})


def names() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name: str | Path | None = None, overrides: dict[str, Any] | None = None) -> Recipe:
    """The recipe of that name or file (None: the defaults), with overrides. Raises FaceLLMError for a wrong setting."""
    values = read_file(name) if name is not None else {}
    values.pop(DATASET, None)
    return check({**values, **(overrides or {})}, str(name or "the settings"))


def read_file(name: str | Path) -> dict[str, Any]:
    """A recipe file's content as it stands. Raises FaceLLMError where there is none or it holds no settings."""
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"
    if not path.is_file():
        raise FaceLLMError(f"There is no recipe {name}; choose {', '.join(names())}, or give the path of a .yaml file.")
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise FaceLLMError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise FaceLLMError(f"{path} must hold settings as `name: value` lines.")
    return values


def check(values: dict[str, Any], source: str = "the settings") -> Recipe:
    fields = {field.name: field for field in dataclasses.fields(Recipe)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise FaceLLMError(f"Unknown setting {unknown[0]!r} in {source}; there are {', '.join(fields)}.")
    clean: dict[str, Any] = {}
    for name, value in values.items():
        kind = type(fields[name].default)
        if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
            try:
                value = float(value)  # YAML reads 1e-5 as text
            except ValueError:
                raise FaceLLMError(f"{name} in {source} must be a number, not {value!r}.") from None
        if type(value) is not kind:
            raise FaceLLMError(f"{name} in {source} must be of type {kind.__name__}, not {value!r}.")
        if name in CHOICES and value not in CHOICES[name]:
            raise FaceLLMError(f"{name} in {source} must be one of {', '.join(CHOICES[name])}, not {value!r}.")
        if kind in (int, float) and value < 0:
            raise FaceLLMError(f"{name} in {source} must not be negative, but is {value}.")
        clean[name] = value
    recipe = Recipe(**clean)
    for name in ("rank", "alpha", "batch", "cutoff", "micro_tokens", "learning_rate", "log_every", "max_grad_norm"):
        if not getattr(recipe, name):
            raise FaceLLMError(f"{name} in {source} must be above 0.")
    if recipe.weighting != "token" and not recipe.packed:
        raise FaceLLMError(
            f"weighting in {source} is {recipe.weighting}, which packed training alone knows; leave out --plain."
        )
    return recipe


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag for each setting; flags not given are absent from the namespace, so that the recipe decides."""
    group = parser.add_argument_group("settings (they override the recipe)")
    for field in dataclasses.fields(Recipe):
        kind = type(field.default)
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": HELP[field.name]}
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options.update(type=kind, choices=CHOICES.get(field.name), metavar=None if field.name in CHOICES else "N")
        group.add_argument(f"--{field.name.replace('_', '-')}", **options)
    group.add_argument(
        "--plain", dest="packed", action="store_false", default=argparse.SUPPRESS, help="same as --no-packed"
    )


def from_flags(args: argparse.Namespace) -> Recipe:
    given = {f.name: getattr(args, f.name) for f in dataclasses.fields(Recipe) if hasattr(args, f.name)}
    return load_recipe(args.recipe, given)


def dump(recipe: Recipe) -> str:
    return yaml.safe_dump(dataclasses.asdict(recipe), sort_keys=False)
