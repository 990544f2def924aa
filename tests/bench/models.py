"""The models that are benchmarked: nano, one of middle size, and random weights in InternVL3's own shapes.

Output: a Subject with the model as this project opens it, and, where there is room, the published way to open it: base
and merged FaceLLM as two checkpoints. Speed does not depend on what the weights say, so random ones will do.
What this file does not know: what is measured.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from facellm.engine.engine import Engine
from facellm.results import VARIANTS
from facellm.weights.adapter_switch import AdapterSwitch
from facellm.weights.load import LoadedModel, LoadReport, open_model
from facellm.weights.processor import FaceProcessor
from facellm.weights.quantization import quantization_config
from facellm.weights.registry import NANO
from tests import tiny
from tests.bench.timing import in_model_thread

LORA = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
# layers, hidden, MLP width, heads, kv heads of the decoder; layers, hidden, MLP width, heads of the encoder.
SHAPES = {
    "1b": ((24, 896, 4864, 14, 2), (24, 1024, 4096, 16)),
    "8b": ((28, 3584, 18944, 28, 4), (24, 1024, 4096, 16)),
    "38b": ((64, 5120, 27648, 40, 8), (45, 3200, 12800, 25)),
}
# InternVL3-1B's decoder at half its depth, nano's encoder on 224 px: 0.18 billion weights in the decoder's layers.
MID = ((12, 896, 4864, 14, 2), (12, 384, 1536, 6))
# InternVL3-1B's widths, vocabulary and image size at a twelfth of its depth: for a training step on a CPU.
CUT, CUT_SHAPE = "1b-cut", ((2, 896, 4864, 14, 2), (2, 1024, 4096, 16))
VOCABULARY = 151_674


@dataclass
class Subject:
    """loaded: by this project.  published: base and merged FaceLLM side by side (None: no room for copies; the plain
    way then runs on `loaded`).  folders: what both were opened from (base, adapter, merged).  The model that is cut in
    depth is only ever trained, and not opened here."""

    name: str
    loaded: LoadedModel | None
    published: LoadedModel | None = None
    folders: dict[str, str] = field(default_factory=dict)

    def engine(self) -> Engine:
        """A new engine whose answers never end before the limit, so that both sides write equally many tokens."""
        engine = Engine(self.loaded)
        engine.scheduler.eos = frozenset()
        return engine

    @property
    def plain(self) -> LoadedModel:
        return self.published or self.loaded


def endless(loaded: LoadedModel) -> LoadedModel:
    """No token ends an answer of generate() any more."""
    for model in (loaded.model, loaded.merged):
        if model is not None:
            model.generation_config.eos_token_id = None
    return loaded


@contextlib.contextmanager
def subject(name: str) -> Iterator[Subject]:
    """A model by name ("nano", "mid", a shape); what it needs on disk is gone afterwards."""
    with TemporaryDirectory() as folder:
        if name in SHAPES:
            yield Subject(name, endless(random_shape(name, "nf4" if name == "38b" else "none", "cuda")))
            return
        if name == CUT:
            base = write_random(Path(folder) / "base", *CUT_SHAPE, image_side=448, vocabulary=VOCABULARY)
            yield Subject(name, None, folders={"base": str(base)})
            return
        yield in_model_thread(lambda: _with_copies(name, Path(folder)))


def _with_copies(name: str, root: Path) -> Subject:
    """nano or mid, as this project and as others open it; files that are missing are written under `root`."""
    if name == "nano":
        base, adapter = NANO, NANO / "adapter"
    else:
        base = write_random(root / "base", *MID, image_side=224)
        adapter = tiny.make_tiny_adapter(base, root / "adapter", rank=16)
    folders = {"base": str(base), "adapter": str(adapter), "merged": str(merge(base, adapter, root / "merged"))}
    return Subject(name, endless(open_ours(folders)), endless(open_published(folders)), folders)


def open_ours(folders: dict[str, str]) -> LoadedModel:
    return open_model(folders["base"], adapter=folders["adapter"], device="cpu", dtype="float32")


def open_published(folders: dict[str, str], base: bool = True) -> LoadedModel:
    """Base and merged FaceLLM, or FaceLLM alone."""
    if not base:
        return open_model(folders["merged"], device="cpu", dtype="float32", base=False)
    return open_model(folders["base"], adapter=folders["merged"], device="cpu", dtype="float32")


def processor_for(image_side: int) -> FaceProcessor:
    """Nano's tokenizer, with pictures of this many pixels a side."""
    processor = FaceProcessor.from_pretrained(NANO)
    processor.image_processor.size = {"height": image_side, "width": image_side}
    processor.image_seq_length = (image_side // 28) ** 2
    return processor


def config_for(decoder: tuple[int, ...], encoder: tuple[int, ...], image_side: int, vocabulary: int) -> Any:
    """The InternVLConfig of these shapes."""
    from transformers import InternVLConfig, InternVLVisionConfig, Qwen2Config

    layers, hidden, wide, heads, kv = decoder
    vision_layers, vision_hidden, vision_wide, vision_heads = encoder
    tokenizer = processor_for(image_side).tokenizer
    return InternVLConfig(
        vision_config=InternVLVisionConfig(
            hidden_size=vision_hidden,
            num_hidden_layers=vision_layers,
            num_attention_heads=vision_heads,
            intermediate_size=vision_wide,
            image_size=[image_side, image_side],
            attention_bias=True,
            use_mean_pooling=False,
        ),
        text_config=Qwen2Config(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=wide,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv,
            max_position_embeddings=4096,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=(image_side // 28) ** 2,
    )


def write_random(
    folder: Path, decoder: tuple[int, ...], encoder: tuple[int, ...], image_side: int, vocabulary: int | None = None
) -> Path:
    """A random model in hub format.  vocabulary: more entries than the tokenizer has; None for as many."""
    from transformers import InternVLForConditionalGeneration

    processor = processor_for(image_side)
    torch.manual_seed(0)
    entries = vocabulary or len(processor.tokenizer)
    model = InternVLForConditionalGeneration(config_for(decoder, encoder, image_side, entries))
    model.to(torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def merge(base: str | Path, adapter: str | Path, out: Path) -> Path:
    """FaceLLM as it is published: a checkpoint with the adapter merged in."""
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(base, dtype="float32")
    PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(out)
    FaceProcessor.from_pretrained(base).save_pretrained(out)
    return out


def random_shape(name: str, quantization: str, device: str, shapes=SHAPES, vocabulary: int = VOCABULARY) -> LoadedModel:
    """Random weights in one of InternVL3's shapes, with a LoRA of rank 16, made on the device: nothing is downloaded.

    Opened as open_model would: bfloat16, in NF4 the decoder's linear layers only, base and FaceLLM in one batch.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import InternVLForConditionalGeneration

    config = config_for(*shapes[name], image_side=448, vocabulary=vocabulary)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("meta"):
            model = InternVLForConditionalGeneration(config)
        _fill(model, quantization, torch.device(device))
        peft = get_peft_model(
            model, LoraConfig(r=16, lora_alpha=32, target_modules=LORA, init_lora_weights=False), adapter_name="facellm"
        )
    finally:
        torch.set_default_dtype(before)
    peft.to(device).eval().requires_grad_(False)
    for key, weight in peft.named_parameters():
        if "lora_" in key:
            weight.data = weight.data.to(torch.bfloat16)
    report = LoadReport(
        name, "random", "random", device, "bfloat16", quantization, peft.get_memory_footprint(), "", None, 0.0
    )
    switch = AdapterSwitch(peft, "facellm")
    return LoadedModel(peft, processor_for(448), "facellm", None, VARIANTS, report, Path(), switch=switch)


def _fill(model: torch.nn.Module, quantization: str, device: torch.device) -> None:
    """Random numbers in place of meta tensors, layer by layer; linear layers of the decoder quantised as they come."""
    settings = quantization_config(quantization, torch.bfloat16)
    for name, module in list(model.named_modules()):
        decoder = ".language_model." in name or name.startswith("language_model.")
        if decoder and settings is not None and isinstance(module, torch.nn.Linear):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, _quantized(module, settings, device))
            continue
        for key, weight in list(module.named_parameters(recurse=False)):
            filled = torch.empty(weight.shape, dtype=weight.dtype, device=device)
            filled = torch.ones_like(filled) if filled.dim() == 1 else filled.normal_(0, 0.02)
            setattr(module, key, torch.nn.Parameter(filled, requires_grad=False))
        for key, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, key, torch.zeros(buffer.shape, dtype=buffer.dtype, device=device))
    rotary = model.model.language_model.rotary_emb  # computed, not learnt
    rotary.inv_freq = rotary.compute_default_rope_parameters(model.config.text_config)[0].to(device)
    model.tie_weights()


def _quantized(module: torch.nn.Linear, settings: Any, device: torch.device) -> torch.nn.Module:
    import bitsandbytes as bnb

    new = bnb.nn.Linear4bit(
        module.in_features,
        module.out_features,
        bias=module.bias is not None,
        compute_dtype=settings.bnb_4bit_compute_dtype,
        compress_statistics=settings.bnb_4bit_use_double_quant,
        quant_type=settings.bnb_4bit_quant_type,
    )
    weight = torch.empty(module.weight.shape, dtype=torch.bfloat16, device=device).normal_(0, 0.02)
    new.weight = bnb.nn.Params4bit(
        weight.cpu() if device.type == "cuda" else weight,
        requires_grad=False,
        compress_statistics=settings.bnb_4bit_use_double_quant,
        quant_type=settings.bnb_4bit_quant_type,
    )
    if module.bias is not None:
        new.bias = torch.nn.Parameter(torch.zeros(module.out_features, dtype=torch.bfloat16), requires_grad=False)
    return new.to(device)  # quantises
