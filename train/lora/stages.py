"""The stages of an experiment with several adapters: each is done once, and is never taken for that of another input.

Input: data, a base, a recipe, questions, a folder. Output: the figures of a run of `train lora`; the folder of a
`train evaluate`. What this file does not know: which adapters are compared, and what for.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from train.lora.recipe import Recipe

METHOD = "likelihood"  # by which questions are scored


def trained(
    data: Path, model: str, out: Path, recipe: Recipe, *, base_name: str | None = None, features: Path | None = None,
    device: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The figures of the adapter in `out`, which is trained (or goes on) where it is not finished.

    Raises FaceLLMError where it was trained on another base, on other data or with other settings.
    """
    from train.lora import lora
    from train.lora.base_model import TRAINING, base_folder, identify
    from train.lora.conversations import read_dataset

    record = out / "adapter" / TRAINING
    if not record.is_file():
        return lora.train(data, model, out, recipe, base_name=base_name, features=features, device=device)
    made, wanted = json.loads(record.read_text(encoding="utf-8")), dataclasses.asdict(recipe)
    changed = next((name for name in wanted if made["recipe"].get(name) != wanted[name]), None)
    if made["base"]["digest"] != identify(model, base_folder(model)).digest:
        what = f"on another base than {model}"
    elif made["data"]["digest"] != read_dataset(data).digest:
        what = f"on other data than {data} holds"
    elif changed:
        what = f"with {changed}={made['recipe'].get(changed)}, not {wanted[changed]}"
    else:
        return made["figures"]
    raise FaceLLMError(f"The adapter in {out} was trained {what}; name another --out, or remove {out}.")


def scored(
    benchmark: Path, model: str, adapter: Path | None, out: Path, limit: int | None, device: str | None
) -> Path:  # fmt: skip
    """The folder `out`/evaluation, with the likelihood scores of an adapter (None: of the base alone).

    `train evaluate` itself asks nothing twice, and raises FaceLLMError where the folder holds answers of other weights
    or other questions.
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
