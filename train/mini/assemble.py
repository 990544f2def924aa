"""Puts mini together: tuned tower, connector and SmolLM2 in one InternVL in hub format, with its processor.

The folder opens with `facellm` and with plain transformers. Nothing is trained here; a connector that is not given is
random.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    GotOcr2ImageProcessorPil,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlamaForCausalLM,
)

from facellm.weights.processor import FaceProcessor
from facellm.weights.smollm2 import END_OF_TURN, PAD
from train.mini.vision.tower import FaceNet
from train.nano.assemble import CHAT_TEMPLATE
from train.nano.vision.augment import MEAN, STD
from train.nano.vision.pretrained import PATCH_PX, vision_config

SHARD = "20MB"  # of what is kept in the repository


def image_tokens(side: int) -> int:
    """How many tokens the decoder is given for an input of `side` pixels: pixel shuffle joins 2 x 2 patches."""
    return (side // PATCH_PX // 2) ** 2


def make_processor(decoder: Path, side: int) -> FaceProcessor:
    """The decoder's tokenizer with InternVL's template (and no system prompt), and crops at `side` pixels."""
    tokenizer = AutoTokenizer.from_pretrained(decoder)
    tokenizer.chat_template = CHAT_TEMPLATE
    images = GotOcr2ImageProcessorPil(
        size={"height": side, "width": side}, crop_to_patches=False, image_mean=list(MEAN), image_std=list(STD)
    )
    return FaceProcessor(images, tokenizer, image_seq_length=image_tokens(side), chat_template=CHAT_TEMPLATE)


def make_model(
    net: FaceNet, side: int, decoder: Path, processor: FaceProcessor, seed: int = 0
) -> InternVLForConditionalGeneration:
    """The tower and the decoder, float32, with a connector that is still random."""
    language = LlamaForCausalLM.from_pretrained(decoder, dtype=torch.float32)
    language.config._name_or_path = ""  # a folder of this machine, which config.json would carry
    ids = processor.tokenizer.convert_tokens_to_ids
    config = InternVLConfig(
        vision_config=vision_config(side),
        text_config=language.config,
        image_token_id=processor.image_token_id,
        image_seq_length=image_tokens(side),
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = InternVLForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(net.tower.state_dict())
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.tie_weights()
    model.generation_config.eos_token_id = ids(END_OF_TURN)
    model.generation_config.pad_token_id = ids(PAD)
    return model.eval()


def save(model: InternVLForConditionalGeneration, processor: FaceProcessor, folder: Path) -> None:
    """Writes model (bf16) and processor to `folder`, which appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        unfinished = Path(name) / folder.name
        dtype = next(model.parameters()).dtype
        model.to(torch.bfloat16).save_pretrained(unfinished, max_shard_size=SHARD)
        model.to(dtype)
        save_processor(processor, unfinished)
        for shard in unfinished.glob("*.safetensors"):
            shard.chmod(0o644)  # they are written for their owner alone
        if folder.exists():
            folder.rename(Path(name) / "before")
        unfinished.rename(folder)


def save_processor(processor: FaceProcessor, folder: Path) -> None:
    """The processor's files, those that a plain `AutoProcessor` asks for among them."""
    processor.save_pretrained(folder)
