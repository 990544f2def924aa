"""Puts a LoRA adapter onto its base, after checking that it belongs there."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from facellm.errors import FaceLLMError
from facellm.weights.checkpoint import read_json, tensor_shapes

PREFIX = "base_model.model."
FROZEN = ("vision_tower", "multi_modal_projector", "vision_model", "mlp1")
# What a LoRA or DoRA adds to a linear layer. Anything else is a module of its own, which base rows would pass as well.
ADDED = re.compile(r"(?P<layer>.+)\.(?P<side>lora_A|lora_B|lora_magnitude_vector)(\.weight|\.bias)?")
# transformers before 4.52 nested InternVL the other way round.
RENAMED = (("language_model.model.", "model.language_model."),)


def attach(model: Any, folder: Path, name: str, base_name: str) -> Any:
    """Puts an adapter onto a base.

    Args:
        model: An InternVLForConditionalGeneration.
        folder: The adapter's, in PEFT's form.
        name: For the adapter.
        base_name: Of the base, for errors.

    Returns:
        The base wrapped as a PeftModel, the adapter active, in the base's dtype.

    Raises:
        FaceLLMError: For an adapter that is not a LoRA, that changes more than linear layers of the decoder (base and
            FaceLLM share all else), or whose shapes are not this base's.
    """
    from peft import PeftModel

    config = read_json(folder / "adapter_config.json")
    if config.get("peft_type") != "LORA":
        raise FaceLLMError(f"The adapter in {folder} is {config.get('peft_type')!r}; only LoRA adapters are supported.")
    renames = _check(model, folder, base_name)
    options = {"key_mapping": renames} if renames else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers for a name that is going away
            wrapped = PeftModel.from_pretrained(
                model, folder, adapter_name=name, is_trainable=False, autocast_adapter_dtype=False, **options
            )
    except (RuntimeError, ValueError, OSError, SafetensorError) as error:
        raise FaceLLMError(
            f"The adapter in {folder} cannot be put onto {base_name} ({error}).".replace("\n", " ")
        ) from error
    wrapped.eval().requires_grad_(False)
    for key, weight in wrapped.named_parameters():
        if "lora_" in key and weight.dtype != model.lm_head.weight.dtype:
            weight.data = weight.data.to(model.lm_head.weight.dtype)
    return wrapped


def _check(model: Any, folder: Path, base_name: str) -> dict[str, str]:
    """Compares names and shapes with the base's layers; returns PEFT's key mapping for older names."""
    shapes = tensor_shapes(folder / "adapter_model.safetensors")
    layers = dict(model.named_modules())
    renames: dict[str, str] = {}
    if not shapes:
        raise FaceLLMError(f"The adapter in {folder} is empty.")
    for key, shape in shapes.items():
        if any(part in key for part in FROZEN):
            raise FaceLLMError(
                f"The adapter in {folder} changes the image encoder or projector ({key}); FaceLLM adapters change the "
                f"decoder only."
            )
        found = ADDED.fullmatch(key.removeprefix(PREFIX))
        if found is None or ".layers." not in found["layer"]:
            raise _not_lora(folder, key)
        layer, side = found["layer"], found["side"]
        if layer not in layers:
            for old, new in RENAMED:
                if layer.startswith(old) and layer.replace(old, new, 1) in layers:
                    layer = layer.replace(old, new, 1)
                    renames[f"^{PREFIX}{old}".replace(".", r"\.")] = f"{PREFIX}{new}"
        if layer not in layers:
            raise FaceLLMError(f"The adapter in {folder} was made for another model: {base_name} has no layer {layer}.")
        target = layers[layer]
        if not isinstance(target, torch.nn.Linear):
            raise _not_lora(folder, key)
        have, want = (shape[1], target.in_features) if side == "lora_A" else (shape[0], target.out_features)
        if have != want:
            raise FaceLLMError(
                f"The adapter in {folder} was made for another base: its layer {layer} has {have} "
                f"{'inputs' if side == 'lora_A' else 'outputs'}, and {base_name}'s has {want}."
            )
    return renames


def _not_lora(folder: Path, key: str) -> FaceLLMError:
    return FaceLLMError(
        f"The adapter in {folder} holds {key}, which is no LoRA on a linear layer of the decoder; base and FaceLLM "
        f"share all else, so train it without modules_to_save and without embedding and head among its target modules."
    )
