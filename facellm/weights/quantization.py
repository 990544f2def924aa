"""Quantised weights: what bitsandbytes is told, and whether it did as it was told.

Only the decoder's linear layers are quantised. The names of the formats are `registry.QUANTIZATIONS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from facellm.errors import FaceLLMError

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig

# Full paths: bitsandbytes' matching ignores a bare "vision_tower" and would quantise the encoder silently.
UNQUANTIZED = ["lm_head", "model.vision_tower", "model.multi_modal_projector"]


def quantization_config(
    quantization: str, dtype: torch.dtype, offload_encoder: bool = False, storage: torch.dtype | None = None
) -> BitsAndBytesConfig | None:
    """Builds the config of a quantisation.

    Args:
        quantization: One of `registry.QUANTIZATIONS`.
        dtype: Of the computation, for "nf4".
        offload_encoder: Whether the image encoder stays in main memory.
        storage: What the 4-bit weights are packed into; FSDP shards them only as the type of the other weights. None
            takes bytes.

    Returns:
        What from_pretrained takes; None for "none".
    """
    if quantization == "none":
        return None
    from transformers import BitsAndBytesConfig

    # The name speaks of 32 bits, but all that the option does is to allow unquantised parts on the CPU.
    common: dict[str, Any] = {
        "llm_int8_skip_modules": list(UNQUANTIZED),
        "llm_int8_enable_fp32_cpu_offload": offload_encoder,
    }
    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, **common)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=storage or torch.uint8,
        **common,
    )


def check_quantized(model: torch.nn.Module, quantization: str) -> None:
    """Checks that every linear layer of the decoder is quantised, and none of encoder, projector and head.

    Args:
        model: An InternVLForConditionalGeneration that was opened with `quantization_config`.
        quantization: "int8" or "nf4".

    Raises:
        FaceLLMError: Naming the first layer that is not as it should be.
    """
    import bitsandbytes as bnb

    wanted = bnb.nn.Linear4bit if quantization == "nf4" else bnb.nn.Linear8bitLt
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear):
            continue
        decoder = name.startswith("model.language_model.")
        if decoder and not isinstance(module, wanted):
            raise FaceLLMError(f"The decoder's layer {name} was not quantised to {quantization}.")
        if not decoder and isinstance(module, (bnb.nn.Linear4bit, bnb.nn.Linear8bitLt)):
            raise FaceLLMError(f"The layer {name} was quantised, although only the decoder should be.")
