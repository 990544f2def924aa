"""Writes a model as a checkpoint of its own, which facellm and plain transformers open alike."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from facellm.weights.checkpoint import read_json

# Files of the base that a reader of the model needs too; weights and cards are written anew.
COPIED = ("*.json", "*.jinja", "*.txt", "*.model")
LEFT_OUT = ("model.safetensors.index.json", "calibration.json", "adapter_config.json", "results.json")


def stored_dtype(base: Path) -> str:
    """How a base's weights are stored, "bf16" or "float32"."""
    config = read_json(base / "config.json")
    return "bf16" if (config.get("dtype") or config.get("torch_dtype")) == "bfloat16" else "float32"


def write_model(model: Any, base: Path, out: Path, dtype: str | None = None, max_shard_size: str = "5GB") -> None:
    """Writes weights, config, tokenizer and processor into a folder.

    Args:
        model: An InternVLForConditionalGeneration; its weights are cast in place.
        base: The folder of the base that it was made of, which has all but the weights.
        out: The folder to write; what is in it is removed.
        dtype: "float32" or "bf16", how weights are stored (None: as the base's are).
        max_shard_size: The largest file.
    """
    shutil.rmtree(out, ignore_errors=True)
    stored = torch.bfloat16 if (dtype or stored_dtype(base)) == "bf16" else torch.float32
    model.to(stored).save_pretrained(out, max_shard_size=max_shard_size)
    for pattern in COPIED:
        for file in base.glob(pattern):
            if file.name not in LEFT_OUT and not (out / file.name).exists():
                shutil.copy(file, out / file.name)


def restore(model: Any, saved: Path) -> None:
    """Puts weights that the Trainer saved back into a model.

    The Trainer itself would leave them out without a word: files have the hub's names of weights, modules have others,
    and it loads by name what fits.

    Args:
        model: The InternVLForConditionalGeneration that goes on.
        saved: A checkpoint's folder; one without weights of a whole model is left to the Trainer.
    """
    if any(saved.glob("model*.safetensors")):
        model.load_state_dict(rebuilt(saved).state_dict())


def rebuilt(saved: Path) -> Any:
    """Opens weights that the Trainer saved, on the CPU, as one model in float32; its attention is the stock one."""
    from facellm.weights.load import read_weights

    return read_weights(saved, torch.float32, "none", "cpu")
