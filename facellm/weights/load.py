"""The only place that knows quantisation, dtype and device: opens a base with its adapter, or beside a merged FaceLLM.

Input: a model's name or folder. Output: LoadedModel, and a report of what was chosen and why. What this file does not
know: images, questions, answers.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from facellm.errors import FaceLLMError, out_of_memory
from facellm.weights import checkpoint, offload
from facellm.weights.adapter import attach
from facellm.weights.adapter_switch import AdapterSwitch
from facellm.weights.processor import FaceProcessor
from facellm.weights.registry import GIB, NANO, QUANTIZATIONS, Device, Source, choose, resolve

logger = logging.getLogger("facellm.weights.load")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Full paths: bitsandbytes' matching ignores a bare "vision_tower" and would quantise the encoder silently.
UNQUANTIZED = ["lm_head", "model.vision_tower", "model.multi_modal_projector"]
# By these entries of its config.json nano is known, whatever folder or name it is opened by.
NANO_SHAPE = (
    ("text_config", ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")),
    ("vision_config", ("hidden_size", "num_hidden_layers", "image_size")),
)


@dataclass(frozen=True)
class LoadReport:
    """What was opened and why.

    name: as asked for, "auto" resolved.  base, facellm: where each came from (None: not opened).  memory_bytes: of
    all weights.  reason: of the choice.  seconds: it took.
    revision: hub commit of FaceLLM, or of the base where there is no FaceLLM (None: local).  base_revision: hub commit
    of the base (None: local or not opened).
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
    base_revision: str | None = None

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
    merged: a FaceLLM with weights of its own.  variants: the models that can be asked.  folder: where `model` lies.
    is_nano: whether it is the embedded model, whose answers know other labels (profile.Field.hub_labels).
    switch: turns the adapter on and off per row.  lock: held for every forward pass, because that switch is one.
    """

    model: Any
    processor: FaceProcessor
    adapter_name: str | None
    merged: Any | None
    variants: tuple[str, ...]
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
        # Cards before Ampere only emulate bfloat16, slowly.
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
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
    base: bool | None = True,
    keep_encoder: bool = True,
) -> LoadedModel:
    """Open a model by the registry's name, a folder or a hub id (each may end in @revision); "auto" chooses.

    adapter: a PEFT LoRA for the base, or a merged FaceLLM checkpoint to stand beside it.
    quantization: "none", "int8" or "nf4"; None: nf4 for 8b and up on CUDA, none elsewhere.
    device: "cuda", "cuda:1", "mps", "cpu"; None: the best.  dtype: "float32", "bfloat16", "float16"; None: the
    device's best.  base: False opens FaceLLM alone; None opens the base too, unless it would be a second set of weights
    (beside a merged FaceLLM).  keep_encoder: False keeps the image encoder in main memory, from where its layers visit
    the card one at a time for each new image (meant for a 38b in NF4 on a card of 24 GB).
    Raises FaceLLMError, in one sentence, for whatever cannot be opened. Only "auto" falls back (to nano) when the hub
    cannot be reached or does not hand the model out; not where an adapter is given, which would not fit nano.
    """
    started = time.perf_counter()
    if quantization is not None and quantization not in QUANTIZATIONS:
        raise FaceLLMError(f"There is no quantization {quantization!r}; choose from {', '.join(QUANTIZATIONS)}.")
    facts = device_facts(device)
    reason = "it was asked for"
    wanted = str(name).strip()
    if wanted == "auto":
        wanted, reason = choose(facts, quantization, _copies(adapter, base))
    options = (quantization, device, dtype, base, keep_encoder, started)
    try:
        return _open(resolve(wanted, adapter), facts, reason, *options)
    except (checkpoint.Unreachable, checkpoint.Unavailable) as error:
        if str(name).strip() != "auto" or wanted == "nano" or adapter is not None:
            raise
        logger.warning("nano is opened, because %s could not be fetched: %s", wanted, error)
        reason = f"{reason}, but {wanted} could not be fetched: {error}"
        return _open(resolve("nano"), facts, reason, *options)


def _copies(adapter: str | None, base: bool | None) -> int:
    """How many sets of weights `auto` has to find room for: two where a merged FaceLLM stands beside its base."""
    if not base or adapter is None:
        return 2 if base else 1
    source = resolve("nano", adapter)
    return 1 if checkpoint.adapter_or_merged(source.adapter, source.adapter_revision)[0] else 2


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

    adapter_folder, merged_folder, lacking = _facellm(source)
    if lacking:
        if base is False:
            raise FaceLLMError(f"{source.name} has no FaceLLM to open alone: {lacking}; give one with --adapter.")
        notes.append(f"the base of {source.name} is opened without a FaceLLM: {lacking}; --adapter adds one")
        logger.warning(notes[-1])
        # The name then stands for its base, so that is what its revision pins.
        source = replace(source, base_revision=source.base_revision or source.merged_revision)
    if base is None:
        base = merged_folder is None
    base_folder = None
    if source.base and (base or merged_folder is None):
        base_folder = checkpoint.model_folder(source.base, source.base_revision)
    if base_folder and merged_folder:
        cost = checkpoint.stored_bytes(merged_folder)
        notes.append(
            f"FaceLLM is a merged checkpoint, so it takes {cost / GIB:.2f} GiB (as stored) in addition to the base; "
            f"--only-facellm opens it alone"
        )
        logger.warning(notes[-1])
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
                offload.visit(one if switch is None or one is merged else one.get_base_model(), torch.device(target))
        notes.append(f"the image encoder stays in main memory; its layers visit {target} for each new image")
    variants = _variants(bool(base_folder), adapter_folder is not None or merged_folder is not None, base)
    memory = sum(m.get_memory_footprint() for m in (model, merged) if m is not None)
    facellm_place = adapter_folder or merged_folder or (first if variants == ("facellm",) else None)
    report = LoadReport(
        name=source.name,
        base=str(base_folder) if base_folder and variants != ("facellm",) else None,
        facellm=str(facellm_place) if facellm_place else None,
        device=target,
        dtype=str(chosen).removeprefix("torch."),
        quantization=quantization,
        memory_bytes=int(memory),
        reason=reason,
        revision=checkpoint.commit_of(facellm_place or first),
        seconds=time.perf_counter() - started,
        sharing=sharing,
        notes=tuple(notes),
        base_revision=checkpoint.commit_of(base_folder) if base_folder and base_folder != facellm_place else None,
    )
    logger.info("opened %s", report)
    processor = checkpoint.open_processor(first)
    return LoadedModel(model, processor, adapter_name, merged, variants, report, first, _is_nano(first), switch)


def _facellm(source: Source) -> tuple[Path | None, Path | None, str | None]:
    """(adapter's folder, merged checkpoint's folder, why a model of the registry has neither)."""
    if source.adapter:
        return *checkpoint.adapter_or_merged(source.adapter, source.adapter_revision), None
    if source.merged is None:
        return None, None, "none of this size is known" if source.spec else None
    try:
        return None, checkpoint.model_folder(source.merged, source.merged_revision, source.merged_subfolder), None
    except checkpoint.NotFound:
        if not source.spec.presumed:
            raise
        return None, None, f"{source.merged}, a presumed name, is not on the Hugging Face hub, or is private"


def _is_nano(folder: Path) -> bool:
    found, own = (checkpoint.read_json(place / "config.json") for place in (folder, NANO))
    return all((found.get(part) or {}).get(key) == own[part][key] for part, keys in NANO_SHAPE for key in keys)


def _variants(has_base: bool, has_facellm: bool, base: bool) -> tuple[str, ...]:
    """A single model is the base, unless the caller says that it is FaceLLM by leaving out the base."""
    if not base:
        return ("facellm",)
    return ("base", "facellm") if has_base and has_facellm else ("base",)


def _weights(folder: Path, dtype: torch.dtype, quantization: str, device: str, keep_encoder: bool = True):
    """One set of weights on the device, checked.  Raises FaceLLMError where they do not load or fit, or some lack."""
    from transformers import InternVLForConditionalGeneration

    checkpoint.check(folder)
    try:
        model, info = InternVLForConditionalGeneration.from_pretrained(
            folder,
            dtype=dtype,
            quantization_config=quantization_config(quantization, dtype, keep_encoder),
            device_map=offload.placement(device, keep_encoder),
            use_safetensors=True,
            local_files_only=True,
            attn_implementation="sdpa",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are listed, and refused below with their names
        )
    except StrictDataclassError as error:
        raise FaceLLMError(f"{folder / 'config.json'} cannot be used ({_one_line(error)}).") from error
    except (OSError, ValueError, RuntimeError, MemoryError, SafetensorError) as error:
        if out_of_memory(error):
            smaller = "a smaller model" if device.startswith("mps") else "--quantization nf4 or a smaller model"
            raise FaceLLMError(f"{folder.name} does not fit the memory of {device}; use {smaller}.") from None
        raise FaceLLMError(f"The weights in {folder} cannot be read ({_first_line(error)}).") from error
    _check_complete(folder, info)
    if not keep_encoder:
        offload.settle(model)
    if quantization != "none":
        check_quantized(model, quantization)
    return model.eval().requires_grad_(False)


def _check_complete(folder: Path, info: dict[str, Any]) -> None:
    """Raises FaceLLMError for weights that transformers filled with random numbers: absent, or of another shape.

    A head that shares the embedding's weights is not among those.
    """
    if missing := sorted(info["missing_keys"]):
        raise FaceLLMError(
            f"The checkpoint in {folder} lacks {len(missing)} of the model's weights, {missing[0]} first; download or "
            f"save it again."
        )
    if mismatched := sorted(info["mismatched_keys"]):
        name, found, wanted = mismatched[0]
        raise FaceLLMError(
            f"{len(mismatched)} of the weights in {folder} have another shape than its config.json says, {name} first: "
            f"{tuple(found)} in place of {tuple(wanted)}; use the config.json that was saved with them."
        )


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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
