"""Nano's tokenizer, trained on its own corpus and written as `tokenizer.json` beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from train.nano.assemble import SPECIAL_TOKENS

VOCABULARY = 4096


def texts(path: Path) -> Iterator[str]:
    with path.open() as handle:
        for line in handle:
            for turns in json.loads(line)["conversations"]:
                for question, answer in turns:
                    yield question
                    yield answer


def train_tokenizer(out: Path) -> None:
    """A byte-level BPE of `VOCABULARY` tokens with Qwen2's and InternVL's special tokens, as `tokenizer.json`.

    Digits stay single, as in Qwen2, so that numbers are read digit by digit.
    """
    tokenizer = Tokenizer(models.BPE())
    # Qwen2's own splitting rule.
    rule = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(rule), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=3,
        show_progress=False,
    )
    sources = (text for name in ("base", "facellm") for text in texts(out / f"{name}.jsonl"))
    tokenizer.train_from_iterator(sources, trainer)
    tokenizer.save(str(out / "tokenizer.json"))
