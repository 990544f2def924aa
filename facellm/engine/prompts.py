"""From a conversation or a label to token ids, for whoever asks a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from facellm.messages import expand_image, render
from facellm.weights.processor import FaceProcessor


def prompt_ids(
    processor: FaceProcessor, messages: Sequence[dict[str, Any]], *, images: int = 1, tiles: int = 1
) -> list[int]:
    """Renders a conversation as a prompt.

    Args:
        processor: The model's.
        messages: From `build_messages`.
        images: How many images the conversation holds.
        tiles: How many tiles each of them is.

    Returns:
        Token ids, open for the answer, with a placeholder for every image token.

    Raises:
        FaceLLMError: Where the conversation does not hold that many images.
    """
    return text_ids(processor, expand_image(processor, render(processor, messages), tiles, images))


def label_ids(processor: FaceProcessor, label: str) -> list[int]:
    """Returns the token ids of a label as a whole answer: with the EOS token, so that "10" does not beat "10-19"."""
    return [*text_ids(processor, label.strip()), processor.tokenizer.eos_token_id]


def text_ids(processor: FaceProcessor, text: str) -> list[int]:
    """Returns the token ids of a text, with nothing added."""
    return processor.tokenizer(text, add_special_tokens=False)["input_ids"]
