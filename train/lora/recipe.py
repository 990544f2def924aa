"""Settings of a LoRA run: a recipe file, with flags on top, checked by name and value."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from facellm.errors import FaceLLMError
from train.lora.parts.parts import check_combination

RECIPES = Path(__file__).parents[1] / "recipes"
DATASET = "dataset"  # a recipe's part for the teacher, which train.dataset.options reads


def _setting(default: Any, text: str, choices: tuple[str, ...] = (), positive: bool = False, free: bool = False) -> Any:
    """A setting of a run. free: whether it may differ between a checkpoint and the run that goes on from it, because
    the curve does not depend on it."""
    return field(default=default, metadata={"help": text, "choices": choices, "positive": positive, "free": free})


INITS = ("default", "gaussian", "orthogonal", "pissa", "pissa_niter_16", "olora")  # PEFT's init_lora_weights


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes the result; written beside the adapter as recipe.yaml."""

    train: str = _setting(
        "adapter", "what trains, with commas between: adapter, projector, decoder, encoder; all is full fine-tuning"
    )  # fmt: skip
    rank: int = _setting(16, "rank of the adapter (r)", positive=True)
    alpha: int = _setting(32, "LoRA alpha; the adapter's output is scaled by alpha / rank", positive=True)
    dropout: float = _setting(0.0, "dropout before the adapter")
    target_modules: str = _setting("", "linear layers of the decoder with an adapter, as q_proj,v_proj (empty: all)")
    use_dora: bool = _setting(False, "DoRA: the adapter learns magnitude and direction apart")
    use_rslora: bool = _setting(False, "rsLoRA: the adapter's output is scaled by alpha / sqrt(rank)")
    init: str = _setting("default", "how the adapter's weights begin", choices=INITS)
    loraplus_ratio: float = _setting(0.0, "LoRA+: B learns so many times as fast as A (0: as fast)")
    learning_rate: float = _setting(1e-5, "peak learning rate", positive=True)
    schedule: str = _setting("cosine", "how the learning rate falls", choices=("cosine", "linear", "constant"))
    warmup: float = _setting(0.0, "share of the steps over which the rate rises, 0 to 1")
    epochs: float = _setting(1.0, "passes over the training set")
    max_steps: int = _setting(0, "stop after this many optimiser steps (0: epochs decide)")
    batch: int = _setting(80, "question-answer pairs an optimiser step, over all processes", positive=True)
    weight_decay: float = _setting(0.0, "AdamW's weight decay")
    max_grad_norm: float = _setting(1.0, "gradients are clipped to this norm", positive=True)
    weighting: str = _setting(
        "token", "token: every answer token weighs the same (the paper); answer: every answer does; root: between them",
        choices=("token", "root", "answer"),
    )  # fmt: skip
    precision: str = _setting(
        "bf16", "of the computation and of what is frozen; what trains is in float32. fp16 for cards without bf16",
        choices=("bf16", "fp16", "float32"),
    )  # fmt: skip
    quantization: str = _setting("none", "nf4: a 4-bit base (QLoRA)", choices=("none", "nf4"))
    cutoff: int = _setting(
        2048, "longest sequence in tokens; nothing is ever cut, longer rows are refused", positive=True
    )  # fmt: skip
    packed: bool = _setting(
        True, "all pairs of an image behind one image prefix; --no-packed (or --plain) trains pair by pair"
    )  # fmt: skip
    micro_tokens: int = _setting(4096, "tokens of one forward pass, the memory's bound", positive=True)
    gradient_checkpointing: bool = _setting(
        False, "recompute activations in the backward pass: less memory, a third slower"
    )  # fmt: skip
    cache_features: bool = _setting(True, "encode every image once to disk; off: encode in every step")
    system_prompt: str = _setting(
        "", "of rows without one: a text, or intern_vl for the one of LLaMA-Factory's template of that name"
    )  # fmt: skip
    seed: int = _setting(0, "of the shuffle and of the adapter's initial weights")
    val_images: int = _setting(256, "images of the validation set that each evaluation reads (0: all)", free=True)
    eval_every: int = _setting(200, "steps between evaluations (0: at the end only)", free=True)
    save_every: int = _setting(200, "steps between checkpoints (0: at the end only)", free=True)
    log_every: int = _setting(10, "steps between log lines", positive=True, free=True)
    samples: int = _setting(3, "sample answers written at each evaluation", free=True)
    sample_tokens: int = _setting(96, "longest sample answer in tokens", free=True)


SETTINGS = {one.name: one for one in dataclasses.fields(Recipe)}
FREE = frozenset(name for name, one in SETTINGS.items() if one.metadata["free"])


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
    """Makes a recipe of settings by name; those that are missing take their defaults.

    Args:
        values: Setting -> value, as YAML or a command line gives it.
        source: Where they come from, for messages.

    Returns:
        The recipe.

    Raises:
        FaceLLMError: For an unknown setting, or a value of another type or out of range.
    """
    if unknown := sorted(set(values) - set(SETTINGS)):
        raise FaceLLMError(f"Unknown setting {unknown[0]!r} in {source}; there are {', '.join(SETTINGS)}.")
    clean: dict[str, Any] = {}
    for name, value in values.items():
        kind, choices = type(SETTINGS[name].default), SETTINGS[name].metadata["choices"]
        if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
            try:
                value = float(value)  # YAML reads 1e-5 as text
            except ValueError:
                raise FaceLLMError(f"{name} in {source} must be a number, not {value!r}.") from None
        if type(value) is not kind:
            raise FaceLLMError(f"{name} in {source} must be of type {kind.__name__}, not {value!r}.")
        if choices and value not in choices:
            raise FaceLLMError(f"{name} in {source} must be one of {', '.join(choices)}, not {value!r}.")
        if kind in (int, float) and value < 0:
            raise FaceLLMError(f"{name} in {source} must not be negative, but is {value}.")
        if SETTINGS[name].metadata["positive"] and not value:
            raise FaceLLMError(f"{name} in {source} must be above 0.")
        clean[name] = value
    recipe = Recipe(**clean)
    if recipe.weighting != "token" and not recipe.packed:
        raise FaceLLMError(
            f"weighting in {source} is {recipe.weighting}, which packed training alone knows; leave out --plain."
        )
    check_combination(recipe, source)
    return recipe


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag for each setting; flags not given are absent from the namespace, so that the recipe decides."""
    group = parser.add_argument_group("settings (they override the recipe)")
    for name, setting in SETTINGS.items():
        kind, choices = type(setting.default), setting.metadata["choices"]
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": setting.metadata["help"]}
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options.update(type=kind, choices=choices or None, metavar=None if choices else "N")
        group.add_argument(f"--{name.replace('_', '-')}", **options)
    group.add_argument(
        "--plain", dest="packed", action="store_false", default=argparse.SUPPRESS, help="same as --no-packed"
    )


def from_flags(args: argparse.Namespace) -> Recipe:
    given = {name: getattr(args, name) for name in SETTINGS if hasattr(args, name)}
    return load_recipe(args.recipe, given)


def dump(recipe: Recipe) -> str:
    return yaml.safe_dump(dataclasses.asdict(recipe), sort_keys=False)
