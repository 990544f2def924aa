"""The only place that builds a conversation, for inference and training alike, and turns it into token ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from facellm.errors import FaceLLMError

Turn = tuple[str, str]  # (question, answer)

# Text of InternVL's and Qwen's control tokens. The tokenizer would read them as such, and a question could then end
# the user's turn or open an assistant's; nobody types them on purpose, so they are dropped.
_CONTROL = re.compile(r"<\|[A-Za-z0-9_]+\|>|</?(?:img|quad|ref|box)>|<IMG_CONTEXT>|<video>")
_NESTED = 8  # control tokens within each other that are taken out one by one; more would only cost time


def clean(text: str) -> str:
    """Returns `text` without outer blanks and control tokens, however these were put into each other."""
    text = str(text)
    for _ in range(_NESTED):  # what stood around a token may be a token once that is gone
        text, found = _CONTROL.subn("", text)
        if not found:
            return text.strip()
    return text.replace("<", "").strip()  # every control token begins with one


def build_messages(
    question: str, history: Sequence[Turn] = (), system: str | None = None, image: bool = True
) -> list[dict[str, Any]]:
    """Builds chat messages in Hugging Face form; the image belongs to the first user turn, before its text.

    Args:
        question: This turn's text.
        history: Earlier (question, answer) pairs, oldest first.
        system: A system prompt; None or blank leaves it out (nano and the published adapters are trained without one).
        image: Whether there is an image.

    Raises:
        FaceLLMError: For a blank question or a blank earlier turn.
    """
    question = clean(question) if isinstance(question, str) else ""
    if not question:
        raise FaceLLMError("The question is empty; write what you want to know about the face.")
    messages: list[dict[str, Any]] = []
    if system and clean(system):
        messages.append(_turn("system", clean(system)))
    for asked, answered in history:
        asked, answered = clean(asked), clean(answered)
        if not asked or not answered:
            raise FaceLLMError("An earlier turn of the conversation is empty; leave it out of the history.")
        messages += [_turn("user", asked), _turn("assistant", answered)]
    messages.append(_turn("user", question))
    if image:
        first = next(m for m in messages if m["role"] == "user")
        first["content"].insert(0, {"type": "image"})
    return messages


def _turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def render(processor: Any, messages: Sequence[dict[str, Any]], answer: str | None = None) -> str:
    """Returns the conversation as text in the model's template, open for the assistant's answer.

    Args:
        processor: A processor or a tokenizer that has a chat template.
        messages: The conversation.
        answer: Given in training; it is appended with the template's EOS token, so that text = render(messages) +
            answer + "<|im_end|>", and the loss covers what follows render(messages).

    Raises:
        FaceLLMError: Where there is no template, or the template does not keep the prompt as a prefix.
    """
    template = getattr(processor, "chat_template", None) or getattr(
        getattr(processor, "tokenizer", None), "chat_template", None
    )
    if not template:
        raise FaceLLMError("This model has no chat template (chat_template.jinja), so no question can be put to it.")
    messages = list(messages)
    prompt = _template(processor, template, messages, True)
    if answer is None:
        return prompt
    full = _template(processor, template, [*messages, _turn("assistant", clean(answer))], False)
    if not full.startswith(prompt):
        raise FaceLLMError(
            "The model's chat template rewrites the prompt once it is answered; it cannot be trained on."
        )
    return full.rstrip("\n")


def _template(processor: Any, template: str, messages: list[dict[str, Any]], generation: bool) -> str:
    tokenizer = getattr(processor, "tokenizer", processor)
    return tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=False, add_generation_prompt=generation
    )


def expand_image(processor: Any, text: str, tiles: int | Sequence[int] = 1, images: int = 1) -> str:
    """Replaces each image placeholder by <img>, `tiles` x image_seq_length placeholders, </img>.

    This gives the text that InternVLProcessor makes of the pixels, without needing the pixels.

    Args:
        processor: The model's.
        text: A rendered conversation.
        tiles: How many tiles each image is: one number for all, or one for each.
        images: How many images the conversation holds.

    Raises:
        FaceLLMError: Where the text does not hold exactly that many placeholders.
    """
    token = processor.image_token
    if text.count(token) != images:
        count = "one image" if images == 1 else f"{images} images"
        raise FaceLLMError(f"The conversation must hold {count}; please do not write {token} in a question.")
    counts = [tiles] * images if isinstance(tiles, int) else tiles
    runs = (
        f"{processor.start_image_token}{token * (processor.image_seq_length * count)}{processor.end_image_token}"
        for count in counts
    )
    first, *others = text.split(token)
    return first + "".join(run + other for run, other in zip(runs, others, strict=True))


def prompt_ids(
    processor: Any, messages: Sequence[dict[str, Any]], *, images: int = 1, tiles: int | Sequence[int] = 1
) -> list[int]:
    """Renders a conversation as a prompt.

    Args:
        processor: The model's.
        messages: From `build_messages`.
        images: How many images the conversation holds.
        tiles: How many tiles each of them is: one number for all, or one for each.

    Returns:
        Token ids, open for the answer, with a placeholder for every image token.

    Raises:
        FaceLLMError: Where the conversation does not hold that many images.
    """
    return text_ids(processor, expand_image(processor, render(processor, messages), tiles, images))


def label_ids(processor: Any, label: str) -> list[int]:
    """Returns the token ids of a label as a whole answer: with the EOS token, so that "10" does not beat "10-19"."""
    return [*text_ids(processor, label.strip()), processor.tokenizer.eos_token_id]


def text_ids(processor: Any, text: str) -> list[int]:
    """Returns the token ids of a text, with nothing added."""
    return processor.tokenizer(text, add_special_tokens=False)["input_ids"]
