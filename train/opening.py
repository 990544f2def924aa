"""The options by which a measuring command chooses what it measures: the model, and base, FaceLLM or both."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facellm.errors import FaceLLMError
from facellm.model_options import ModelOptions, add_model_options
from train import journal

if TYPE_CHECKING:
    from facellm.weights.load import LoadedModel

DEFAULT = "nano"  # the model that is measured where none is named


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the model's options, --base and --both."""
    add_model_options(parser, default=DEFAULT, backend=False)
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--base", action="store_true", help="the base alone")
    who.add_argument("--both", action="store_true", help="base and FaceLLM, compared on the same questions")


def open_chosen(args: argparse.Namespace) -> tuple[LoadedModel, tuple[str, ...]]:
    """Opens the chosen model.

    Returns:
        The model, and the variants that are asked: "base", "facellm" or both, in this order.

    Raises:
        FaceLLMError: Where the model cannot be opened, or has no such variant.
    """
    options = ModelOptions.read(args, default=DEFAULT)
    loaded = options.open_weights(args.base or args.both)
    variants = ("base", "facellm") if args.both else ("base",) if args.base else ("facellm",)
    if not set(variants) <= set(loaded.variants):
        instead = "leave out --both" if args.both else "give --base or an --adapter"
        raise FaceLLMError(f"{options.model} answers as {' and '.join(loaded.variants)} only; {instead}.")
    return loaded, variants


def about(loaded: LoadedModel, args: argparse.Namespace) -> dict[str, Any]:
    """Describes whatever of the model decides its answers, for the settings of a run.

    Returns:
        JSON-able settings. Those that are paths are listed under `journal.PATHS` and decide nothing: the fingerprint
        recognises the weights on every machine.
    """
    from facellm.weights.fingerprint import answering_digest
    from facellm.weights.registry import MODELS

    report = loaded.report
    in_folder = report.name not in MODELS and Path(report.name).is_dir()
    return {
        "model": report.name, "adapter": args.adapter, "revision": report.revision,
        "weights": {"base": report.base, "facellm": report.facellm}, "dtype": report.dtype,
        "quantization": report.quantization, "fingerprint": answering_digest(loaded),
        journal.PATHS: ["adapter", "weights", *(["model"] if in_folder else [])],
    }  # fmt: skip


def check_positive(args: argparse.Namespace, *names: str) -> None:
    """Raises FaceLLMError for an option that is given and below 1."""
    for name in names:
        value = getattr(args, name)
        if value is not None and value < 1:
            raise FaceLLMError(f"--{name.replace('_', '-')} is {value}; it must be at least 1.")
