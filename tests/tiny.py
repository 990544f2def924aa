"""A tiny random InternVL in hub format, and adapters for it: the real classes and files, thousands of weights.

Tests open these folders through the same code that opens a 38 B model. Needs no network and no torchvision.
What it does not know: faces. Its answers are noise, but the same noise for the same seed.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

IMAGE_SIDE = 56  # px: 4 x 4 patches of 14 px, so 4 image tokens after pixel shuffle by 0.5
VOCABULARY = 400
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>",
)  # fmt: skip
# InternVL3's own template (the Hugging Face conversion of OpenGVLab/InternVL3-*).
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
CORPUS = (
    "Describe the face pose of the image based on the visual information. The head is turned to the viewer's left.",
    "What is the age group of the person? Answer with one of: 0-2, 3-9, 10-19, 20-29, more than 70.",
    "The face is evenly lit, the mouth is open, and the eyes are closed: happiness, surprise or neutral.",
)


@lru_cache(maxsize=1)
def _trained_bpe() -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer.to_str()


def make_processor(image_side: int = IMAGE_SIDE):
    """The processor of the tiny model: byte-level BPE, PIL image processor, one tile."""
    from tokenizers import Tokenizer
    from transformers import GotOcr2ImageProcessorPil, PreTrainedTokenizerFast

    from facellm.weights.processor import FaceProcessor

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained_bpe()),
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
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    image_processor = GotOcr2ImageProcessorPil(
        size={"height": image_side, "width": image_side},
        crop_to_patches=False,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    tokens = (image_side // 14 // 2) ** 2
    return FaceProcessor(image_processor, tokenizer, image_seq_length=tokens, chat_template=CHAT_TEMPLATE)


def make_tiny_internvl(
    folder: str | Path,
    seed: int = 0,
    *,
    hidden: int = 64,
    layers: int = 2,
    image_side: int = IMAGE_SIDE,
    dtype: str = "float32",
    end_bias: float = 0.0,
    gain: float = 1.5,
) -> Path:
    """Write a random InternVL in hub format into `folder` and return it (about 0.3 M parameters).

    hidden, layers: of the decoder.  end_bias: added along the end token's embedding, so that greedy answers stop by
    themselves after a while instead of running to the limit (0: they rarely stop).
    """
    import torch
    from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLVisionConfig, Qwen2Config

    folder = Path(folder)
    processor = make_processor(image_side)
    ids = processor.tokenizer.convert_tokens_to_ids
    config = InternVLConfig(
        vision_config=InternVLVisionConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            image_size=[image_side, image_side],
            attention_bias=True,
            use_mean_pooling=False,
        ),
        text_config=Qwen2Config(
            vocab_size=len(processor.tokenizer),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=ids("<|im_end|>"),
            pad_token_id=ids("<|endoftext|>"),
        ),
        image_token_id=ids("<IMG_CONTEXT>"),
        image_seq_length=processor.image_seq_length,
        tie_word_embeddings=True,
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = InternVLForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "position" not in name:
                weight.normal_(0, 0.1 if "embed_tokens" in name else gain / weight.shape[-1] ** 0.5)
        model.model.language_model.embed_tokens.weight[ids("<|im_end|>")] *= 1.0 + end_bias
    torch.random.set_rng_state(state)
    model.generation_config.eos_token_id = ids("<|im_end|>")
    model.generation_config.pad_token_id = ids("<|endoftext|>")
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make_tiny_adapter(
    base: str | Path, out: str | Path, seed: int = 1, *, rank: int = 4, scale: float = 0.4, **options
):
    """Write a PEFT LoRA for the model in `base` into `out` and return it: all linear layers of the decoder, B not 0.

    scale: standard deviation of B (large enough that base and adapter answer differently).
    options: further LoraConfig arguments (target_modules, use_dora, ...).
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    settings = {
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)",
        "task_type": "CAUSAL_LM",
        **options,
    }
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = get_peft_model(AutoModelForImageTextToText.from_pretrained(base), LoraConfig(**settings))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, scale / weight.shape[-1] ** 0.5)
    torch.random.set_rng_state(state)
    model.save_pretrained(out)
    return Path(out)


def make_tiny_merged(base: str | Path, adapter: str | Path, out: str | Path) -> Path:
    """Write the adapter merged into the base as a checkpoint of its own, as the published FaceLLM models are."""
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    model = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), adapter).merge_and_unload()
    model.save_pretrained(out)
    make_processor().save_pretrained(out)
    return Path(out)


def picture(seed: int = 0, side: int = 96):
    """A colourful PIL image that is different for every seed."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
