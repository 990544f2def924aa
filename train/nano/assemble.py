"""Puts nano together: the tuned tower, a projector and a small Qwen2 decoder in one InternVL, with its processor.

Nothing is trained here.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import (
    GotOcr2ImageProcessorPil,
    InternVLConfig,
    InternVLForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from facellm.weights.processor import FaceProcessor
from train.nano.vision import augment
from train.nano.vision.pretrained import PATCH_PX, vision_config

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>")
IMAGE_TOKENS = (augment.IMAGE_PX // PATCH_PX // 2) ** 2  # pixel shuffle by 0.5 joins 2 x 2 patches
# InternVL3's template (the Hugging Face conversion of OpenGVLab/InternVL3-*).
CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\n' }}"
    "{% elif content['type'] == 'video' %}{{ '<video>\n' }}"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{'<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n' }}{% endif %}"
)
DECODER = {
    "hidden_size": 320,
    "intermediate_size": 896,
    "num_hidden_layers": 6,
    "num_attention_heads": 5,
    "num_key_value_heads": 5,
}


def make_processor(tokenizer_file: Path) -> FaceProcessor:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_file(str(tokenizer_file)),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    image_processor = GotOcr2ImageProcessorPil(
        size={"height": augment.IMAGE_PX, "width": augment.IMAGE_PX},
        crop_to_patches=False,
        image_mean=list(augment.MEAN),
        image_std=list(augment.STD),
    )
    return FaceProcessor(image_processor, tokenizer, image_seq_length=IMAGE_TOKENS, chat_template=CHAT_TEMPLATE)


def make_model(processor: FaceProcessor, tower: torch.nn.Module, seed: int = 0) -> InternVLForConditionalGeneration:
    """The tuned tower in an InternVL whose projector and decoder are new."""
    ids = processor.tokenizer.convert_tokens_to_ids
    config = InternVLConfig(
        vision_config=vision_config(augment.IMAGE_PX),
        text_config=Qwen2Config(
            vocab_size=-(-len(processor.tokenizer) // 64) * 64,
            max_position_embeddings=4096,
            rope_theta=10000.0,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=ids("<|im_end|>"),
            pad_token_id=ids("<|endoftext|>"),
            **DECODER,
        ),
        image_token_id=ids("<IMG_CONTEXT>"),
        image_seq_length=IMAGE_TOKENS,
        tie_word_embeddings=True,
        facellm={"model": "nano", "label_set": "utkface"},
    )
    torch.manual_seed(seed)
    model = InternVLForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.generation_config.eos_token_id = ids("<|im_end|>")
    model.generation_config.pad_token_id = ids("<|endoftext|>")
    return model


def shuffled(model: InternVLForConditionalGeneration, tokens: torch.Tensor) -> torch.Tensor:
    """Patch tokens (n, 64, width) -> what the projector takes, (n, 16, 4 * width): InternVL's pixel shuffle."""
    side = int(tokens.shape[1] ** 0.5)
    grid = model.model.pixel_shuffle(tokens.reshape(len(tokens), side, side, -1), scale_factor=0.5)
    return grid.reshape(len(tokens), -1, grid.shape[-1])
