"""The device that a model is opened on, and the dtype that suits it."""

from __future__ import annotations

import torch

from facellm.errors import FaceLLMError
from facellm.weights.registry import Device, ModelSpec


def device_facts(device: str | None = None) -> Device:
    """Finds out about the device to use.

    Args:
        device: "cuda", "cuda:1", "mps" or "cpu"; None takes the best there is.

    Returns:
        Its kind, and on CUDA its free memory and name.

    Raises:
        FaceLLMError: For a device that this machine does not have.
    """
    available = [
        k for k, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())) if there
    ]
    try:
        wanted = torch.device(device or next(iter(available), "cpu"))
    except RuntimeError:
        wanted = None
    if wanted is None or wanted.type not in ("cuda", "mps", "cpu"):
        raise FaceLLMError(f"There is no device {device!r}; choose cuda, mps or cpu, or one of several as cuda:1.")
    kind, index = wanted.type, wanted.index or 0
    if kind != "cpu" and kind not in available:
        raise FaceLLMError(f"This machine has no {kind} device that torch can use; choose cpu or leave the device out.")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if index >= count:
        raise FaceLLMError(f"There is no device {device!r}: this machine's last one is {kind}:{count - 1}.")
    if kind == "cuda":
        return Device("cuda", torch.cuda.mem_get_info(index)[0], torch.cuda.get_device_name(index))
    return Device(kind)


def cpu_has_fast_bfloat16() -> bool:
    """Returns whether this CPU has AMX or AVX512-BF16; on others bfloat16 is about three times slower than float32."""
    try:
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    except (AttributeError, RuntimeError):  # other processors and other torch builds lack these questions
        return False


def choose_dtype(device: Device, spec: ModelSpec | None) -> torch.dtype:
    """Returns the dtype that suits a device and a model; spec is None for one that the registry does not know."""
    if device.kind == "cuda":
        # Cards before Ampere only emulate bfloat16, slowly.
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.kind == "mps":
        return torch.float16
    if spec is not None and spec.cpu_dtype:
        return getattr(torch, spec.cpu_dtype)
    return torch.bfloat16 if cpu_has_fast_bfloat16() else torch.float32
