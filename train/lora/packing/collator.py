"""A data collator that packs rows of any form: all the pairs of an image behind one image prefix.

For the Hugging Face `Trainer`, or one derived from it such as TRL's `SFTTrainer`, and an InternVL::

    collator = PackedCollator(model, processor, folder)
    Trainer(model, arguments, data_collator=collator, train_dataset=by_image(rows)).train()

Loss and gradients are those of training every pair alone. docs/examples has both trainers in full.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from facellm.errors import FaceLLMError
from train.lora.conversations import tokenize
from train.lora.feature_cache import pixels
from train.lora.packed_attention import collate, decoder_inputs, use_packed_attention
from train.lora.packs import pack_rows
from train.lora.rows.example import Example, RowError
from train.lora.rows.forms import example_of, split_pairs

Row = Mapping[str, Any]


class PackedCollator:
    """Turns rows into a packed batch that the model takes as it is, `model(**batch).loss` included.

    Args:
        model: An InternVL in Hugging Face's form, PEFT-wrapped or not; it is prepared for packed batches in place and
            goes on answering all other calls.
        processor: The model's.
        folder: Where relative image paths begin.
        max_tokens: The longest pack: the pairs of an image are split into several where they are longer. No pair is
            ever cut. None sets no limit.

    Raises:
        FaceLLMError: For another model than InternVL.
        ValueError: For a decoder with sliding windows.
    """

    def __init__(
        self, model: torch.nn.Module, processor: Any, folder: str | Path = ".", max_tokens: int | None = None
    ) -> None:
        config = getattr(model, "config", None)
        kind = getattr(config, "model_type", type(model).__name__)
        if kind != "internvl":
            raise FaceLLMError(
                "Packed training is for InternVL in Hugging Face's form (OpenGVLab/InternVL3-1B-hf, for example); this "
                f"model is of the type {kind}."
            )
        use_packed_attention(model)
        self.processor, self.folder, self.max_tokens = processor, Path(folder), max_tokens
        self.image_token_id = config.image_token_id

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Packs a batch.

        Args:
            rows: Rows as `train.lora.rows.forms` reads them: a conversation each, or, as `by_image` makes them, all of
                an image in the column `pairs`. Rows about the same image share a pack.

        Returns:
            Arguments of the model: `input_ids`, `labels` and `position_ids` (1, tokens) int64, `pixel_values`
            (packs with an image, 3, height, width) float32, and what packed attention needs.

        Raises:
            FaceLLMError: For a row, or an image, that cannot be used.
        """
        examples, held = list[Example](), dict[str, bytes]()
        for row in rows:
            for example, content in _examples(row, "a training row"):
                examples.append(example)
                if example.image is not None and content is not None:
                    held[example.image] = content
        packed = collate(pack_rows(tokenize(self.processor, examples), self.image_token_id, self.max_tokens))
        batch = {**decoder_inputs(packed), "labels": packed["labels"]}
        if packed["images"]:
            sources = [held.get(image) or self.folder / image for image in packed["images"]]
            batch["pixel_values"] = pixels(self.processor, sources)
        return batch


def by_image(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Gathers the rows about an image, so that a trainer's shuffling keeps them together.

    Args:
        rows: Rows of any form; every one is checked, images are not opened.

    Returns:
        A row for each image, in order of first appearance: `images` with its path or bytes, and `pairs` with the
        messages of each conversation. Rows without an image stay alone. All have the same columns and types, so that
        `datasets.Dataset.from_list` takes them.

    Raises:
        FaceLLMError: For a row that cannot be used; the message counts rows from 1.
    """
    groups = dict[Hashable, dict[str, Any]]()
    for place, row in enumerate(rows, 1):
        for example, content in _examples(row, f"row {place}"):
            key = place if example.image is None else example.image
            if key not in groups:
                shown = (
                    [] if example.image is None else [{"bytes": content, "path": None if content else example.image}]
                )
                groups[key] = {"images": shown, "pairs": []}
            groups[key]["pairs"].append({"messages": _messages(example)})
    return list(groups.values())


def _examples(row: Row, where: str) -> list[tuple[Example, bytes | None]]:
    if not row:
        raise FaceLLMError("The trainer took all columns out of the rows; set remove_unused_columns=False.")
    try:
        return [example_of(one, where) for one in split_pairs(row)]
    except RowError as error:
        raise FaceLLMError(f"{where[0].upper()}{where[1:]} cannot be used: it {error}.") from None


def _messages(example: Example) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": example.system}] if example.system else []
    for question, answer in example.turns:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return messages
