"""Offloads the image encoder to main memory, from where its layers visit the graphics card one at a time.

The encoder works once for each new image, and the features that it leaves are small (256 tokens a tile); the decoder
works at every token. InternVL3-38B's encoder takes 11 GB in 16 bits, and its decoder 17 GB in NF4: one of them fits a
card of 24 GB. Accelerate's hooks bring each layer's weights to the card for its own forward pass and drop them after
it, so that the card never holds more than one layer of the encoder.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

TOWER = "model.vision_tower"  # its place in InternVLForConditionalGeneration


def placement(device: str, offload_encoder: bool) -> dict[str, str]:
    """Returns the device map to open a model with: all of it on the device, or all but the encoder."""
    return {"": device, TOWER: "cpu"} if offload_encoder else {"": device}


def settle(model: nn.Module) -> None:
    """Removes the hooks that from_pretrained leaves after it opened a model on two devices.

    PEFT would find them and place the whole model anew, by a map of its own, when an adapter is put onto it.
    """
    from accelerate.hooks import remove_hook_from_submodules

    remove_hook_from_submodules(model)
    if hasattr(model, "hf_device_map"):
        del model.hf_device_map


def visit(model: nn.Module, device: torch.device) -> nn.Module:
    """Lets the encoder's layers visit a device, while their weights stay in main memory.

    Args:
        model: An InternVLForConditionalGeneration.
        device: Where the layers compute. For a card the weights are kept in pinned memory, the fastest to copy from.

    Returns:
        The encoder.
    """
    from accelerate import cpu_offload

    tower: Any = model.get_submodule(TOWER)
    weights = {name: weight.to("cpu") for name, weight in tower.state_dict().items()}
    if device.type == "cuda":
        weights = {name: weight.pin_memory() for name, weight in weights.items()}
    layer = type(tower.encoder.layer[0]).__name__
    return cpu_offload(tower, device, state_dict=weights, preload_module_classes=[layer])
