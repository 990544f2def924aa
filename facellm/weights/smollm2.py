"""SmolLM2-135M-Instruct out of a GGUF file, as a folder that transformers opens: weights, configs, tokenizer.

A Llama of 30 layers, 576 wide, with 9 query and 3 key heads and a tied head of 49,152 words. Four control tokens that
only code was trained on are renamed to those of an InternVL, so that no embedding has to be resized.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

RENAMED = {
    "<repo_name>": "<IMG_CONTEXT>",
    "<reponame>": "<img>",
    "<file_sep>": "</img>",
    "<filename>": "<video>",
}
END_OF_TURN, PAD = "<|im_end|>", "<|endoftext|>"
CONTEXT_TOKENS = 8192
_CONTROL = 3  # GGUF's token type of control tokens


def convert(gguf_file: Path, folder: Path) -> None:
    """Writes a GGUF file of SmolLM2 as a folder that transformers opens.

    Args:
        gguf_file: The weights, in any of GGUF's quantisations.
        folder: A folder that does not exist yet; it gets bf16 safetensors, config, generation config and tokenizer.
    """
    tokenizer = make_tokenizer(gguf_file)
    read_weights(gguf_file, tokenizer).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def read_weights(gguf_file: Path, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Returns the decoder, dequantised to float32; the end of a turn is its EOS token."""
    from transformers import GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        gguf_file.parent,
        gguf_file=gguf_file.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    for config in (model.config, model.generation_config):
        config.bos_token_id = None
        config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    return model


def make_tokenizer(gguf_file: Path) -> PreTrainedTokenizerFast:
    """Returns SmolLM2's byte-level BPE (every digit a token of its own), with InternVL's image tokens in `RENAMED`."""
    words, kinds, merges = _vocabulary(gguf_file)
    ids = {word: place for place, word in enumerate(words)}
    bpe = Tokenizer(models.BPE(ids, [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    control = [word for word, kind in zip(words, kinds, strict=True) if kind == _CONTROL]
    bpe.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in control])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END_OF_TURN,
        pad_token=PAD,
        extra_special_tokens={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT_TOKENS,
    )


def _vocabulary(gguf_file: Path) -> tuple[list[str], list[int], list[str]]:
    """Returns the words in the order of their ids (renamed), their GGUF token types, and the merges."""
    from gguf import GGUFReader

    fields = GGUFReader(gguf_file).fields
    words, kinds, merges = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type", "merges"))
    return [RENAMED.get(word, word) for word in words], kinds, merges
