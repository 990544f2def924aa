"""The base model of a training run: opened for training, named, and recognised again.

Input: a folder or hub name. Output: model, processor, identity. What this file does not know: adapters' training, data.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from facellm.weights import checkpoint
from facellm.weights.fingerprint import weights_digest
from facellm.weights.load import open_model
from facellm.weights.registry import resolve

COMPLETE = "complete.json"  # written into a checkpoint after everything else
TRAINING = "training.json"  # beside an adapter's weights: base, data, recipe, figures


@dataclass(frozen=True)
class BaseId:
    """Which model an adapter belongs to. `digest` samples every weight (`weights_digest`); sharding does not matter."""

    name: str
    revision: str | None
    digest: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def base_folder(name: str) -> Path:
    """The folder of a base: a name of the registry, a folder, or a hub name (with @revision), fetched where missing."""
    source = resolve(str(name))
    if source.base is None:
        raise FaceLLMError(f"{name} names no base; give the folder or the hub name of an InternVL.")
    folder = checkpoint.model_folder(source.base, source.base_revision or source.merged_revision)
    checkpoint.check(folder)
    return folder


def identify(name: str, folder: Path) -> BaseId:
    return BaseId(str(name), checkpoint.commit_of(folder), weights_digest(folder))


def open_base(folder: Path, precision: str, quantization: str, device: str) -> tuple[Any, Any]:
    """(model, processor) of a base alone, frozen, in training precision."""
    dtype = "bfloat16" if precision == "bf16" else "float32"
    loaded = open_model(str(folder), quantization=quantization, device=device, dtype=dtype)
    return loaded.model, loaded.processor
