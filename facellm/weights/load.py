"""Opens a base with its adapter, or beside a merged FaceLLM, and reports what was chosen and why."""

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
from facellm.weights.device import choose_dtype, device_facts
from facellm.weights.fetch import Unfetched
from facellm.weights.processor import FaceProcessor
from facellm.weights.quantization import check_quantized, quantization_config
from facellm.weights.registry import (
    DTYPES,
    EMBEDDED,
    GIB,
    METADATA,
    QUANTIZATIONS,
    Declared,
    Source,
    choose,
    read_declared,
    resolve,
)  # fmt: skip

logger = logging.getLogger("facellm.weights.load")


@dataclass(frozen=True)
class LoadReport:
    """What was opened and why.

    Attributes:
        name: The model's name as asked for, "auto" resolved.
        base: The base's folder; None where it cannot be asked.
        facellm: The folder of the adapter or of the merged FaceLLM; None where there is none.
        device: For example "cuda:1".
        dtype: For example "float32".
        quantization: One of `registry.QUANTIZATIONS`.
        memory_bytes: Of all weights.
        reason: Why this model was chosen.
        revision: Hub commit of FaceLLM, or of the base where there is no FaceLLM; None for local files.
        seconds: How long opening took.
        sharing: How base and FaceLLM are answered together: "one batch", "two batches" or "one model".
        notes: Sentences worth knowing.
        base_revision: Hub commit of the base; None for local files or where it was not opened.
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
        """Returns what json.dumps accepts."""
        return {**asdict(self), "seconds": round(self.seconds, 3), "notes": list(self.notes)}

    def __str__(self) -> str:
        models = " and ".join(m for m in (self.base and "base", self.facellm and "FaceLLM") if m)
        return (
            f"{self.name} ({models}) on {self.device}, {self.dtype}, quantization {self.quantization}, "
            f"{self.memory_bytes / 2**20:,.1f} MiB, in {self.seconds:.1f} s; chosen because {self.reason}"
        )


@dataclass(frozen=True)
class LoadedModel:
    """Opened weights in eval mode.

    Attributes:
        model: An InternVLForConditionalGeneration, or a PeftModel around it.
        processor: Its tokenizer and image processor.
        adapter_name: Name of the adapter in `model`; None without one.
        merged: A FaceLLM with weights of its own, beside `model`; None without one.
        variants: The models that can be asked, of "base" and "facellm".
        report: What was opened and why.
        folder: Where the weights of `model` lie.
        declared: The labels that it was trained to choose from, and the fields.
        switch: Turns the adapter on and off for each row; None without an adapter.
        lock: Held for every forward pass, because `switch` is one for the whole model.
    """

    model: Any
    processor: FaceProcessor
    adapter_name: str | None
    merged: Any | None
    variants: tuple[str, ...]
    report: LoadReport
    folder: Path
    declared: Declared = field(default_factory=Declared)
    switch: AdapterSwitch | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def label_set(self) -> str:
        """The labels that it was trained to choose from, one of `labels.LABEL_SETS`."""
        return self.declared.label_set


def open_model(
    name: str = "auto",
    *,
    adapter: str | None = None,
    quantization: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    base: bool | None = True,
    offload_encoder: bool = False,
) -> LoadedModel:
    """Opens a model. "auto" and "embedded" go on to the next embedded model where their choice cannot be fetched.

    Args:
        name: A name of the registry, a folder or a hub id, each with an optional @revision, "auto", or "embedded" for
            the best of `registry.EMBEDDED`.
        adapter: A PEFT LoRA for the base, or a merged FaceLLM checkpoint to stand beside it. With one "auto" does not
            fall back, because the adapter would not fit another model.
        quantization: One of `registry.QUANTIZATIONS`; None takes "nf4" for 8b and up on CUDA, "none" elsewhere.
        device: "cuda", "cuda:1", "mps" or "cpu"; None takes the best there is.
        dtype: One of `registry.DTYPES`; None takes what suits the device.
        base: False opens FaceLLM alone. None opens the base too, unless it would be a second set of weights (beside a
            merged FaceLLM).
        offload_encoder: Keeps the image encoder in main memory, from where its layers visit the card one at a time for
            each new image; meant for a 38b in NF4 on a card of 24 GB.

    Returns:
        The opened model.

    Raises:
        FaceLLMError: In one sentence, for whatever cannot be opened.
    """
    started = time.perf_counter()
    for what, value, known in (("quantization", quantization, QUANTIZATIONS), ("dtype", dtype, DTYPES)):
        if value is not None and value not in known:
            raise FaceLLMError(f"There is no {what} {value!r}; choose from {', '.join(known)}.")
    facts = device_facts(device)
    if facts.kind == "mps" and quantization not in (None, "none"):
        raise FaceLLMError(f"{quantization} needs a CUDA GPU or a CPU; on Apple GPUs use --quantization none.")
    wanted, reason = str(name).strip(), "it was asked for"
    automatic = wanted in ("auto", "embedded")
    if wanted == "embedded":
        wanted, reason = EMBEDDED[0], "it is the best that needs no hub"
    elif automatic:
        wanted, reason = choose(facts, quantization, _copies(adapter, base))
    later = EMBEDDED[EMBEDDED.index(wanted) + 1 :] if wanted in EMBEDDED else EMBEDDED
    for following in (*(later if automatic and adapter is None else ()), None):
        source = resolve(wanted, adapter)
        try:
            found = _find(source, base)
            break
        except (checkpoint.Unreachable, checkpoint.Unavailable, Unfetched) as error:
            if following is None:
                raise
            logger.warning("%s is opened, because %s could not be fetched: %s", following, wanted, error)
            reason = f"{reason}, but {wanted} could not be fetched: {error}"
            wanted = following

    notes, target = found.notes, device or facts.kind
    chosen = getattr(torch, dtype) if dtype else choose_dtype(facts, source.spec)
    if quantization is None:
        quantization = source.spec.cuda_quantization if source.spec and facts.kind == "cuda" else "none"
    if offload_encoder and facts.kind != "cuda":
        notes.append(f"the encoder is kept: {facts.kind} computes in main memory, so there is nothing to free")
        offload_encoder = False
    model = read_weights(found.first, chosen, quantization, target, offload_encoder)
    declared = read_declared({METADATA: getattr(model.config, METADATA, None)}, found.first / "config.json")
    merged, switch, sharing = None, None, "one model"
    if found.base and found.merged:
        merged = read_weights(found.merged, chosen, quantization, target, offload_encoder)
        sharing = "two batches"
    if found.adapter:
        model = attach(model, found.adapter, "facellm", source.name)
        switch = AdapterSwitch(model, "facellm")
        if len(found.variants) == 2:
            sharing = "one batch" if switch.mixable else "two batches"
            if not switch.mixable:
                notes.append(
                    "this adapter (DoRA or LoRA with bias) cannot share a batch with its base, so the two are answered "
                    "as two batches that take turns"
                )
    if offload_encoder:
        for one in (model, merged):
            if one is not None:
                offload.visit(one.get_base_model() if one is model and switch else one, torch.device(target))
        notes.append(f"the image encoder stays in main memory; its layers visit {target} for each new image")
    facellm = found.adapter or found.merged or (found.first if found.variants == ("facellm",) else None)
    report = LoadReport(
        name=source.name,
        base=str(found.base) if found.base and "base" in found.variants else None,
        facellm=str(facellm) if facellm else None,
        device=target,
        dtype=str(chosen).removeprefix("torch."),
        quantization=quantization,
        memory_bytes=sum(int(m.get_memory_footprint()) for m in (model, merged) if m is not None),
        reason=reason,
        revision=checkpoint.commit_of(facellm or found.first),
        seconds=time.perf_counter() - started,
        sharing=sharing,
        notes=tuple(notes),
        base_revision=checkpoint.commit_of(found.base) if found.base and found.base != facellm else None,
    )
    logger.info("opened %s", report)
    return LoadedModel(
        model=model,
        processor=checkpoint.open_processor(found.first),
        adapter_name="facellm" if found.adapter else None,
        merged=merged,
        variants=found.variants,
        report=report,
        folder=found.first,
        declared=declared,
        switch=switch,
    )


def _copies(adapter: str | None, base: bool | None) -> int:
    """How many sets of weights `auto` has to find memory for: two where a merged FaceLLM stands beside its base."""
    if not base or adapter is None:
        return 2 if base else 1
    source = resolve("nano", adapter)
    return 1 if source.adapter and checkpoint.adapter_or_merged(source.adapter, source.adapter_revision)[0] else 2


@dataclass(frozen=True)
class _Found:
    """A model's folders, fetched. first: the weights that the adapter, if any, is put onto."""

    first: Path
    base: Path | None
    adapter: Path | None
    merged: Path | None
    variants: tuple[str, ...]
    notes: list[str]


def _find(source: Source, base: bool | None) -> _Found:
    notes: list[str] = []
    adapter, merged, lacking = _facellm(source)
    if lacking:
        if base is False:
            raise FaceLLMError(f"{source.name} has no FaceLLM to open alone: {lacking}; give one with --adapter.")
        notes.append(f"the base of {source.name} is opened without a FaceLLM: {lacking}; --adapter adds one")
        logger.warning(notes[-1])
        # The name then stands for its base, so that is what its revision pins.
        source = replace(source, base_revision=source.base_revision or source.merged_revision)
    if base is None:
        base = merged is None
    base_folder = None
    if source.base and (base or merged is None):
        base_folder = checkpoint.model_folder(source.base, source.base_revision)
        if adapter and adapter.is_relative_to(source.base):  # shipped with a base that is opened from the cache
            adapter = base_folder / adapter.relative_to(source.base)
    if base_folder and merged:
        cost = checkpoint.stored_bytes(merged)
        notes.append(
            f"FaceLLM is a merged checkpoint, so it takes {cost / GIB:.2f} GiB (as stored) in addition to the base; "
            f"--only-facellm opens it alone"
        )
        logger.warning(notes[-1])
    first = base_folder or merged
    if first is None:
        raise FaceLLMError(f"{source.name} names no weights.")
    # A single model is the base, unless the caller says that it is FaceLLM by leaving out the base.
    variants: tuple[str, ...] = ("facellm",)
    if base:
        variants = ("base", "facellm") if base_folder and (adapter or merged) else ("base",)
    return _Found(first, base_folder, adapter, merged, variants, notes)


def _facellm(source: Source) -> tuple[Path | None, Path | None, str | None]:
    """(adapter's folder, merged checkpoint's folder, why a model of the registry has neither)."""
    if source.adapter:
        return *checkpoint.adapter_or_merged(source.adapter, source.adapter_revision), None
    if source.merged is None:
        return None, None, "none of this size is known" if source.spec else None
    try:
        return None, checkpoint.model_folder(source.merged, source.merged_revision, source.merged_subfolder), None
    except checkpoint.NotFound:
        if not (source.spec and source.spec.presumed):
            raise
        return None, None, f"{source.merged}, a presumed name, is not on the Hugging Face hub, or is private"


def read_weights(
    folder: Path, dtype: torch.dtype, quantization: str, device: str, offload_encoder: bool = False,
    storage: torch.dtype | None = None,
) -> Any:  # fmt: skip
    """Reads one set of weights onto the device, and checks that it is whole and quantised as asked for.

    Args:
        folder: A checkpoint in Hugging Face form.
        dtype: Of what is not quantised.
        quantization: One of `registry.QUANTIZATIONS`.
        device: For example "cuda:1".
        offload_encoder: Leaves the image encoder in main memory.
        storage: What 4-bit weights are packed into (see `quantization_config`).

    Returns:
        An InternVLForConditionalGeneration in eval mode, its weights frozen.

    Raises:
        FaceLLMError: Where the weights cannot be read, do not fit the memory, or some are missing.
    """
    from transformers import InternVLForConditionalGeneration

    checkpoint.check(folder)
    try:
        model, info = InternVLForConditionalGeneration.from_pretrained(
            folder,
            dtype=dtype,
            quantization_config=quantization_config(quantization, dtype, offload_encoder, storage),
            device_map=offload.placement(device, offload_encoder),
            use_safetensors=True,
            local_files_only=True,
            attn_implementation="sdpa",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are listed, and refused below with their names
        )
    except StrictDataclassError as error:
        reason = " ".join(str(error).split())[:200]
        raise FaceLLMError(f"{folder / 'config.json'} cannot be used ({reason}).") from error
    except (OSError, ValueError, RuntimeError, MemoryError, SafetensorError) as error:
        if out_of_memory(error):
            smaller = "a smaller model" if device.startswith("mps") else "--quantization nf4 or a smaller model"
            raise FaceLLMError(f"{folder.name} does not fit the memory of {device}; use {smaller}.") from None
        raise FaceLLMError(f"The weights in {folder} cannot be read ({checkpoint.first_line(error)}).") from error
    _check_complete(folder, info)
    if offload_encoder:
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
