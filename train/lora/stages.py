"""The stages of an experiment with several adapters: each is done once, and never taken for that of another input."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from train.lora.preparation import ALONE, DataOptions, data_digest
from train.lora.recipe import Recipe

METHOD = "likelihood"  # by which questions are scored


def trained(
    data: Path, model: str, out: Path, recipe: Recipe, *, base_name: str | None = None, features: Path | None = None,
    device: str | None = None, options: DataOptions = ALONE,
) -> dict[str, Any]:  # fmt: skip
    """Trains the adapter in `out`, or goes on with it, where it is not finished. Arguments are those of `lora.train`.

    Returns:
        The adapter's figures.

    Raises:
        FaceLLMError: Where it was trained on another base, on other data or with other settings.
    """
    from train.lora import lora
    from train.lora.base_model import TRAINING, base_folder, identify
    from train.lora.checkpoints import difference, result

    done = result(out)
    if done is None:
        return lora.train(
            data, model, out, recipe, base_name=base_name, features=features, device=device, options=options
        )
    made = json.loads((done / TRAINING).read_text(encoding="utf-8"))
    base = identify(model, base_folder(model)).to_dict()
    run = {"base": base, "data": data_digest(data, options, recipe.seed), "recipe": dataclasses.asdict(recipe)}
    if otherwise := difference({**made, "data": made["data"]["digest"]}, run):
        raise FaceLLMError(f"The adapter in {out} was trained {otherwise}; name another --out, or remove {out}.")
    return made["figures"]


def scored(
    benchmark: Path, model: str, adapter: Path | None, out: Path, limit: int | None, device: str | None
) -> Path:  # fmt: skip
    """Scores questions by likelihood, asking nothing twice.

    Args:
        benchmark: The questions' folder.
        model: The base.
        adapter: The adapter that answers; None asks the base alone.
        out: The folder in which `evaluation` is made.
        limit: At most so many questions of each benchmark file.
        device: "cpu" or "cuda".

    Returns:
        The folder `out`/evaluation, as `train evaluate` wrote it.

    Raises:
        FaceLLMError: Where it holds answers of other weights or to other questions.
    """
    from train.evaluate import evaluate

    target = out / "evaluation"
    options = ["--model", model, "--method", METHOD, "--out", str(target)]
    options += ["--adapter", str(adapter)] if adapter else ["--base"]
    options += ["--limit", str(limit)] if limit else []
    options += ["--device", device] if device else []
    with redirect_stdout(sys.stderr):  # its report is a step of ours
        evaluate.main([str(benchmark), *options])
    return target
