"""The only place that knows quantisation, dtype and device: opens a base with its adapter, or beside a merged FaceLLM.

Input: a model's name or folder. Output: LoadedModel, and a report of what was chosen and why. What this file does not
know: images, questions, answers.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from . import checkpoint, encoder
from .adapter import AdapterSwitch
from .adapter_loading import attach
from .errors import FaceLLMError
from .processor import FaceProcessor
from .registry import GIB, QUANTIZATIONS, Device, Source, choose, resolve

logger = logging.getLogger("facellm")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Full paths: bitsandbytes' matching ignores a bare "vision_tower" and would quantise the encoder silently.
UNQUANTIZED = ["lm_head", "model.vision_tower", "model.multi_modal_projector"]


@dataclass(frozen=True)
class LoadReport:
    """What was opened and why.

    name: as asked for, "auto" resolved.  base, facellm: where each came from (None: not opened).  memory_bytes: of
    all weights.  reason: of the choice.  revision: hub commit of the base or FaceLLM (None: local).  seconds: it took.
    sharing: "one batch", "two batches" or "one model": how base and FaceLLM are answered together.
    notes: sentences worth knowing.
    """

    name: str
    base: str | None
    facellm: str | None
    device: str
    dtype: str
    quantization: str
    memory_bytes: int
    reason: str
    revision: str | None
    seconds: float
    sharing: str = "one model"
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 3), "notes": list(self.notes)}

    def __str__(self) -> str:
        models = " and ".join(m for m in (self.base and "base", self.facellm and "FaceLLM") if m)
        return (
            f"{self.name} ({models}) on {self.device}, {self.dtype}, quantization {self.quantization}, "
            f"{self.memory_bytes / 2**20:,.1f} MiB, in {self.seconds:.1f} s; chosen because {self.reason}"
        )


@dataclass(frozen=True)
class LoadedModel:
    """Opened weights, in eval mode.

    model: InternVLForConditionalGeneration, or a PeftModel around it.  adapter_name: of its adapter.
    merged: a FaceLLM with weights of its own.  which: the models that can be asked.  folder: where `model` lies.
    switch: turns the adapter on and off per row.  lock: held for every forward pass, because that switch is one.
    """

    model: Any
    processor: FaceProcessor
    adapter_name: str | None
    merged: Any | None
    which: tuple[str, ...]
    report: LoadReport
    folder: Path
    is_nano: bool = False
    switch: AdapterSwitch | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)


def device_facts(device: str | None = None) -> Device:
    """The device to use (or the one asked for) and its free memory.  Raises FaceLLMError for one that is not there."""
    available = [
        k for k, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())) if there
    ]
    kind = (device or next(iter(available), "cpu")).split(":")[0]
    if kind not in ("cuda", "mps", "cpu"):
        raise FaceLLMError(f"There is no device {device!r}; choose cuda, mps or cpu.")
    if kind != "cpu" and kind not in available:
        raise FaceLLMError(f"This machine has no {kind} device that torch can use; choose cpu or leave the device out.")
    if kind == "cuda":
        index = torch.device(device or "cuda").index or 0
        return Device("cuda", torch.cuda.mem_get_info(index)[0], torch.cuda.get_device_name(index))
    return Device(kind)


def cpu_has_fast_bfloat16() -> bool:
    """Whether bf16 matrix products are faster than float32 here: AMX or AVX512-BF16 (else they are 3 times slower)."""
    try:
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    except (AttributeError, RuntimeError):  # other processors and other torch builds lack these questions
        return False


def choose_dtype(device: Device, source: Source, dtype: str | None) -> torch.dtype:
    """The dtype asked for, or the device's best."""
    if dtype is not None:
        if dtype not in DTYPES:
            raise FaceLLMError(f"There is no dtype {dtype!r}; choose from {', '.join(DTYPES)}.")
        return DTYPES[dtype]
    if device.kind == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.kind == "mps":
        return torch.float16
    if source.spec is not None and source.spec.cpu_dtype:
        return DTYPES[source.spec.cpu_dtype]
    return torch.bfloat16 if cpu_has_fast_bfloat16() else torch.float32


def quantization_config(quantization: str, dtype: torch.dtype, keep_encoder: bool = True):
    """The bitsandbytes config of a quantization's name; None for "none".  keep_encoder: as for open_model."""
    from transformers import BitsAndBytesConfig

    if quantization == "none":
        return None
    # Its name speaks of 32 bits, but all that it does is to allow unquantised parts on the CPU.
    elsewhere = {} if keep_encoder else {"llm_int8_enable_fp32_cpu_offload": True}
    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(UNQUANTIZED), **elsewhere)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(UNQUANTIZED),
        **elsewhere,
    )


def open_model(
    name: str = "auto",
    *,
    adapter: str | None = None,
    quantization: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    base: bool = True,
    keep_encoder: bool = True,
) -> LoadedModel:
    """Open a model by the registry's name, a folder or a hub id (each may end in @revision); "auto" chooses.

    adapter: a PEFT LoRA for the base, or a merged FaceLLM checkpoint to stand beside it.
    quantization: "none", "int8" or "nf4"; None: nf4 for 8b and up on CUDA, none elsewhere.
    device: "cuda", "cuda:1", "mps", "cpu"; None: the best.  dtype: "float32", "bfloat16", "float16"; None: the
    device's best.  base: False opens FaceLLM alone.  keep_encoder: False keeps the image encoder in main memory, from
    where its layers visit the card one at a time for each new image (meant for a 38b in NF4 on a card of 24 GB).
    Raises FaceLLMError, in one sentence, for whatever cannot be opened. Only "auto" falls back (to nano) when the hub
    cannot be reached.
    """
    started = time.perf_counter()
    if quantization is not None and quantization not in QUANTIZATIONS:
        raise FaceLLMError(f"There is no quantization {quantization!r}; choose from {', '.join(QUANTIZATIONS)}.")
    facts = device_facts(device)
    reason = "it was asked for"
    wanted = str(name).strip()
    if wanted == "auto":
        wanted, reason = choose(facts)
    options = (quantization, device, dtype, base, keep_encoder, started)
    try:
        return _open(resolve(wanted, adapter), facts, reason, *options)
    except checkpoint.Unreachable as error:
        if str(name).strip() != "auto" or wanted == "nano":
            raise
        reason = f"{reason}, but {wanted} could not be fetched: {error}"
        return _open(resolve("nano", adapter), facts, reason, *options)


def _open(
    source: Source, facts: Device, reason, quantization, device, dtype, base, keep_encoder, started
) -> LoadedModel:
    chosen = choose_dtype(facts, source, dtype)
    if quantization is None:
        quantization = source.spec.cuda_quantization if source.spec and facts.kind == "cuda" else "none"
    if quantization != "none" and facts.kind == "mps":
        raise FaceLLMError(f"{quantization} needs a CUDA GPU or a CPU; on Apple GPUs use --quantization none.")
    target = device or facts.kind
    notes: list[str] = []
    if not keep_encoder and facts.kind != "cuda":
        notes.append(f"the encoder is kept: {facts.kind} computes in main memory, so there is nothing to free")
        keep_encoder = True

    adapter_folder, merged_folder, base_folder = None, None, None
    if source.adapter:
        adapter_folder, merged_folder = checkpoint.adapter_or_merged(source.adapter, source.adapter_revision)
    elif source.merged:
        merged_folder = checkpoint.model_folder(source.merged, source.merged_revision, source.merged_subfolder)
    if source.base and (base or merged_folder is None):
        base_folder = checkpoint.model_folder(source.base, source.base_revision)
    if base_folder and merged_folder:
        cost = checkpoint.stored_bytes(merged_folder)
        note = (
            f"FaceLLM is a merged checkpoint, so it takes {cost / GIB:.2f} GiB (as stored) in addition to the base; "
            f"--only-facellm opens it alone"
        )
        notes.append(note)
        logger.info(note)
    first = base_folder or merged_folder
    if first is None:
        raise FaceLLMError(f"{source.name} names no weights.")

    how = (chosen, quantization, target, keep_encoder)
    model = _weights(first, *how)
    merged = _weights(merged_folder, *how) if base_folder and merged_folder else None
    switch, adapter_name, sharing = None, None, "two batches" if merged is not None else "one model"
    if adapter_folder is not None:
        adapter_name = "facellm"
        model = attach(model, adapter_folder, adapter_name, source.name)
        switch = AdapterSwitch(model, adapter_name)
        if base:
            sharing = "one batch" if switch.mixable else "two batches"
            if not switch.mixable:
                notes.append(
                    "this adapter (DoRA or LoRA with bias) cannot share a batch with its base, so the two are answered "
                    "as two batches that take turns"
                )
    if not keep_encoder:
        for one in (model, merged):
            if one is not None:
                encoder.visit(one if switch is None or one is merged else one.get_base_model(), torch.device(target))
        notes.append(f"the image encoder stays in main memory; its layers visit {target} for each new image")
    which = _which(bool(base_folder), adapter_folder is not None or merged_folder is not None, base)
    memory = sum(m.get_memory_footprint() for m in (model, merged) if m is not None)
    facellm_place = adapter_folder or merged_folder or (first if which == ("facellm",) else None)
    report = LoadReport(
        name=source.name,
        base=str(base_folder) if base_folder and which != ("facellm",) else None,
        facellm=str(facellm_place) if facellm_place else None,
        device=target,
        dtype=str(chosen).removeprefix("torch."),
        quantization=quantization,
        memory_bytes=int(memory),
        reason=reason,
        revision=checkpoint.commit_of(merged_folder or first),
        seconds=time.perf_counter() - started,
        sharing=sharing,
        notes=tuple(notes),
    )
    logger.info("opened %s", report)
    processor = checkpoint.open_processor(first)
    is_nano = source.spec is not None and source.spec.name == "nano"
    return LoadedModel(model, processor, adapter_name, merged, which, report, first, is_nano, switch)


def _which(has_base: bool, has_facellm: bool, base: bool) -> tuple[str, ...]:
    """A single model is the base, unless the caller says that it is FaceLLM by leaving out the base."""
    if not base:
        return ("facellm",)
    return ("base", "facellm") if has_base and has_facellm else ("base",)


def _weights(folder: Path, dtype: torch.dtype, quantization: str, device: str, keep_encoder: bool = True):
    """One set of weights on the device, checked.  Raises FaceLLMError where they do not load or do not fit."""
    from transformers import InternVLForConditionalGeneration

    checkpoint.check(folder)
    try:
        model = InternVLForConditionalGeneration.from_pretrained(
            folder,
            dtype=dtype,
            quantization_config=quantization_config(quantization, dtype, keep_encoder),
            device_map=encoder.placement(device, keep_encoder),
            use_safetensors=True,
            local_files_only=True,
            attn_implementation="sdpa",
        )
    except torch.OutOfMemoryError:
        raise FaceLLMError(
            f"{folder.name} does not fit the memory of {device}; use --quantization nf4 or a smaller model."
        ) from None
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise FaceLLMError(f"The weights in {folder} cannot be read ({_first_line(error)}).") from error
    if not keep_encoder:
        encoder.settle(model)
    if quantization != "none":
        check_quantized(model, quantization)
    return model.eval().requires_grad_(False)


def check_quantized(model, quantization: str) -> None:
    """Every linear layer of the decoder is quantised, and none of the encoder, projector and head is.

    Raises FaceLLMError naming the first layer that is not as it should be.
    """
    import bitsandbytes as bnb

    kind = bnb.nn.Linear4bit if quantization == "nf4" else bnb.nn.Linear8bitLt
    quantized = (bnb.nn.Linear4bit, bnb.nn.Linear8bitLt)
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear):
            continue
        decoder = name.startswith("model.language_model.")
        if decoder and not isinstance(module, kind):
            raise FaceLLMError(f"The decoder's layer {name} was not quantised to {quantization}.")
        if not decoder and isinstance(module, quantized):
            raise FaceLLMError(f"The layer {name} was quantised, although only the decoder should be.")


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return (text.splitlines() or [type(error).__name__])[0][:200]
