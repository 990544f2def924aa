"""The image encoder where the graphics card has no room for it: in main memory, its layers visiting the card in turn.

Input: an opened model. What this file does not know: why there is no room, images, questions.

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


def placement(device: str, keep_encoder: bool) -> dict[str, str]:
    """The device map to open a model with: all of it on the device, or all but the encoder."""
    return {"": device} if keep_encoder else {"": device, TOWER: "cpu"}


def settle(model: nn.Module) -> None:
    """Take away the hooks that from_pretrained leaves after an opening on two devices.

    PEFT would find them and place the whole model anew, by a map of its own, when an adapter is put onto it.
    """
    from accelerate.hooks import remove_hook_from_submodules

    remove_hook_from_submodules(model)
    if hasattr(model, "hf_device_map"):
        del model.hf_device_map


def visit(model: nn.Module, device: torch.device) -> nn.Module:
    """Let the encoder's layers visit `device` one at a time, their weights staying in main memory; returns the encoder.

    model: InternVLForConditionalGeneration.  On a card the weights are kept in pinned memory, from which copies are
    fastest.
    """
    from accelerate import cpu_offload

    tower: nn.Module = model.get_submodule(TOWER)
    weights = {name: _pinned(weight, device) for name, weight in tower.state_dict().items()}
    layer: Any = type(tower.encoder.layer[0])
    return cpu_offload(tower, device, state_dict=weights, preload_module_classes=[layer.__name__])


def _pinned(weight: torch.Tensor, device: torch.device) -> torch.Tensor:
    weight = weight.to("cpu")
    return weight.pin_memory() if device.type == "cuda" else weight
