"""The options by which a measuring command chooses what it measures: the model, and base, FaceLLM or both.

Input: command-line arguments. Output: an opened model and the names of those to ask ("base", "facellm"). What this file
does not know: questions, measures.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facellm.errors import FaceLLMError
from train import journal

if TYPE_CHECKING:
    from facellm.weights.load import LoadedModel


def add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--model", default="nano", help="name, folder or hub id, as for python -m facellm (default: nano)")
    p.add_argument("--adapter", help="LoRA adapter or merged FaceLLM, if the model's name does not imply it")
    p.add_argument("--quantization", choices=("none", "int8", "nf4"))
    p.add_argument("--device")
    p.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="of the weights (default: the model's)")
    who = p.add_mutually_exclusive_group()
    who.add_argument("--base", action="store_true", help="the base alone")
    who.add_argument("--both", action="store_true", help="base and FaceLLM, compared on the same questions")


def open_chosen(args: argparse.Namespace) -> tuple[LoadedModel, tuple[str, ...]]:
    """(the opened model, which of its answers are asked for).

    Raises FaceLLMError where the model does not answer as what was asked for.
    """
    from facellm.weights.load import open_model

    loaded = open_model(
        args.model,
        adapter=args.adapter,
        quantization=args.quantization,
        device=args.device,
        dtype=args.dtype,
        base=args.base or args.both,
    )
    variants = ("base", "facellm") if args.both else ("base",) if args.base else ("facellm",)
    if any(w not in loaded.variants for w in variants):
        raise FaceLLMError(
            f"{args.model} answers as {' and '.join(loaded.variants)} only; "
            + ("leave out --both" if args.both else "give --base or an --adapter") + "."
        )  # fmt: skip
    return loaded, variants


def about(loaded: LoadedModel, args: argparse.Namespace) -> dict[str, Any]:
    """Whatever of the model decides its answers, for a run's settings, and where it lay.

    What is a path is listed under "paths" and decides nothing: the fingerprint knows the weights, on every machine.
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
