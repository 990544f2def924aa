"""What the connector is trained to make the decoder say: lists of facts in random order, and captions.

In a list only the facts' values are learnt: their names are given, so that every learnt token is something to be
seen.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from facellm.messages import build_messages, expand_image, render
from train.lora.conversations import IGNORE
from train.lora.packs import Conversation
from train.mini.dense_facts import FACTS, words_of

LIST_PROMPTS = (
    "List what you see.",
    "Name the facts about this face.",
    "What is to be seen here? Give a list.",
    "Describe the face in keywords.",
)
CAPTION_PROMPTS = (
    "Describe this face.",
    "Describe the picture.",
    "What do you see?",
    "Write a caption for this face.",
    "Tell me about this person's appearance.",
)
FACTS_IN_LIST = 8


def prompt_ids(processor: Any, question: str) -> list[int]:
    """Token ids of a conversation that is open for the answer to `question` about the image."""
    text = expand_image(processor, render(processor, build_messages(question)))
    return processor.tokenizer(text, add_special_tokens=False)["input_ids"]


def conversation(processor: Any, question: str, pieces: Sequence[tuple[str, bool]]) -> Conversation:
    """Ids and labels of `question` and an answer in pieces, (text, whether it is learnt); the end of the turn is."""
    ids = prompt_ids(processor, question)
    labels = [IGNORE] * len(ids)
    for text, learnt in [*pieces, (processor.tokenizer.eos_token, pieces[-1][1])]:
        piece = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        ids += piece
        labels += piece if learnt else [IGNORE] * len(piece)
    return ids, labels


def caption(processor: Any, text: str, draw: random.Random) -> Conversation:
    """The caption as the answer to one of the ways to ask for it."""
    return conversation(processor, draw.choice(CAPTION_PROMPTS), [(text, True)])


def fact_list(
    processor: Any,
    places: dict[str, int],
    weights: dict[str, np.ndarray],
    draw: random.Random,
    count: int = FACTS_IN_LIST,
) -> Conversation | None:
    """Some of a face's facts in random order. places: fact -> place of its word, -1 unknown.  weights: fact -> by
    place, how much a word is to be stated.  None where nothing is known."""
    known = {name: place for name, place in places.items() if place >= 0}
    if not known:
        return None
    # The largest of u ** (1 / w) are a draw without replacement by weight (Efraimidis and Spirakis 2006).
    keys = {name: draw.random() ** (1 / max(1e-6, float(weights[name][place]))) for name, place in known.items()}
    chosen = sorted(known, key=keys.__getitem__, reverse=True)[:count]
    draw.shuffle(chosen)
    pieces: list[tuple[str, bool]] = []
    for name in chosen:
        key = draw.choice(FACTS[name].keys)
        pieces.append((f"{'; ' if pieces else ''}{key if pieces else key.capitalize()}:", False))
        pieces.append((f" {words_of(name)[known[name]]}", True))
    return conversation(processor, draw.choice(LIST_PROMPTS), pieces)


def open_fact(processor: Any, name: str) -> list[int]:
    """Token ids up to where the value of fact `name` is to follow, as the only one of its list."""
    ids = prompt_ids(processor, LIST_PROMPTS[0])
    key = f"{FACTS[name].keys[0].capitalize()}:"
    return ids + processor.tokenizer(key, add_special_tokens=False)["input_ids"]


def first_tokens(processor: Any, name: str) -> list[int]:
    """The first token of every word of fact `name`; by these a word is recognised."""
    tokenizer = processor.tokenizer
    return [tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in words_of(name)]
