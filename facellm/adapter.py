"""The adapter's switch: base rows and FaceLLM rows through one copy of the weights, in one batch.

Input: a PeftModel with one LoRA adapter. What this file does not know: tokens, caches, images.

A LoRA layer computes W x + s B (A x). Multiplying A x by 0 for base rows and by 1 for FaceLLM rows gives exactly the
base's and exactly the adapter's result, row by row. PEFT's own `adapter_names` gives the same numbers, but gathers
and scatters rows in every layer and registers its hooks at each call, and leaves them behind if the call raises; here
one hook per layer is set once and reads a mask.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

# bitsandbytes, which PEFT imports, looks for an optional package at import and warns on a laptop that it is missing.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

from peft import PeftModel  # noqa: E402
from peft.tuners.lora.layer import LoraLayer  # noqa: E402


class AdapterSwitch:
    """Says for the next forward pass which rows the adapter applies to.

    mixable: base and adapter rows can share a batch (plain LoRA). DoRA and LoRA with bias cannot: their difference to
    the base is not a product with A x, so their rows are decoded as two batches.
    """

    def __init__(self, model: PeftModel, adapter_name: str):
        self._layers = [m for m in model.modules() if isinstance(m, LoraLayer) and adapter_name in m.lora_A]
        self._mask: torch.Tensor | None = None  # (rows, 1, 1), 1 where the adapter applies
        self._kept: torch.Tensor | None = None
        self._mask_rows: tuple[bool, ...] | None = None
        self.mixable = all(
            not layer.lora_variant.get(adapter_name) and not layer.lora_bias.get(adapter_name) for layer in self._layers
        )
        if self.mixable:
            for layer in self._layers:
                layer.lora_A[adapter_name].register_forward_hook(self._gate)

    def _gate(self, module, inputs, output):
        return None if self._mask is None else output * self._mask.to(output.dtype)

    @contextmanager
    def rows(self, applies: Sequence[bool], device: torch.device) -> Iterator[None]:
        """Inside, forward passes have len(applies) rows, and the adapter applies where True; after, to everything."""
        mixed = any(applies) and not all(applies)
        if mixed and not self.mixable:
            raise ValueError("This adapter's rows cannot share a batch with the base's.")
        if mixed:
            wanted = tuple(applies)
            if wanted != self._mask_rows:
                self._kept = torch.tensor(wanted, device=device).view(-1, 1, 1)
                self._mask_rows = wanted
            self._mask = self._kept
        elif not any(applies):
            self._enable(False)
        try:
            yield
        finally:
            self._mask = None
            if not any(applies):
                self._enable(True)

    def _enable(self, enabled: bool) -> None:
        for layer in self._layers:
            # The layer's own flag; PEFT's enable_adapters() would also touch requires_grad of every weight.
            layer._disable_adapters = not enabled
