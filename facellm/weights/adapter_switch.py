"""The adapter's switch: base rows and FaceLLM rows through one copy of the weights, in one batch.

A LoRA layer computes W x + s B (A x). Multiplying A x by 0 for base rows and by 1 for FaceLLM rows gives exactly the
base's and exactly the adapter's result, row by row. PEFT's own `adapter_names` gives the same numbers, but gathers
and scatters rows in every layer and registers its hooks at each call, and leaves them behind if the call raises.
Inside rows() each LoRA layer runs the three products itself: PEFT's forward takes as long as they do on small models.
Outside, PEFT's forward runs as ever.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.nn import functional

# bitsandbytes, which PEFT imports, looks for an optional package at import and warns on a laptop that it is missing.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

from peft import PeftModel  # noqa: E402
from peft.tuners.lora.layer import LoraLayer  # noqa: E402


class AdapterSwitch:
    """Says for the next forward pass which rows the adapter applies to.

    Attributes:
        mixable: Whether base and adapter rows can share a batch, as with plain LoRA. With DoRA and LoRA with bias they
            cannot: their difference to the base is not a product with A x.
    """

    def __init__(self, model: PeftModel, adapter_name: str) -> None:
        self._name = adapter_name
        self._layers = [m for m in model.modules() if isinstance(m, LoraLayer) and adapter_name in m.lora_A]
        self.mixable = all(
            not layer.lora_variant.get(adapter_name) and not layer.lora_bias.get(adapter_name) for layer in self._layers
        )
        self._rows: tuple[bool, ...] | None = None  # of the forward pass that is running
        self._mask: torch.Tensor | None = None  # (rows, 1, 1), 1 where the adapter applies; None: everywhere
        self._kept: tuple[tuple[bool, ...], torch.Tensor] | None = None  # a decode asks for the same mask at each step
        if self.mixable:
            for layer in self._layers:
                layer.forward = self._gated(layer, adapter_name)

    def _gated(self, layer: LoraLayer, name: str):
        """The layer's forward: its own inside rows(), PEFT's outside."""
        pefts = layer.forward
        base, scale = layer.base_layer, layer.scaling[name]
        down, up = layer.lora_A[name].weight, layer.lora_B[name].weight

        def forward(x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
            if self._rows is None:
                return pefts(x, *args, **kwargs)
            result = base(x)
            if not any(self._rows):
                return result
            inner = functional.linear(x, down)
            if self._mask is not None:
                inner = inner * self._mask
            # result + scale * inner @ up.T as one product, in place: three fewer kernels in each of some 200 layers.
            result.view(-1, result.shape[-1]).addmm_(inner.view(-1, inner.shape[-1]), up.t(), alpha=scale)
            return result

        return forward

    @contextmanager
    def rows(self, applies: Sequence[bool], device: torch.device) -> Iterator[None]:
        """Sets the rows of the forward passes inside: the adapter applies where True. Afterwards it applies to all."""
        wanted = tuple(applies)
        mixed = any(wanted) and not all(wanted)
        if not self.mixable:
            if mixed:
                raise ValueError("This adapter's rows cannot share a batch with the base's.")
            self._enable(all(wanted))
        elif mixed:
            if self._kept is None or self._kept[0] != wanted:
                dtype = next(iter(self._layers)).lora_A[self._name].weight.dtype
                self._kept = (wanted, torch.tensor(wanted, dtype=dtype, device=device).view(-1, 1, 1))
            self._mask = self._kept[1]
        try:
            if self.mixable:
                self._rows = wanted
            yield
        finally:
            self._rows = self._mask = None
            if not self.mixable:
                self._enable(True)

    def _enable(self, enabled: bool) -> None:
        for layer in self._layers:
            # The layer's own flag; PEFT's enable_adapters() would also touch requires_grad of every weight.
            layer._disable_adapters = not enabled
