"""Packs: the question-answer pairs of one image behind ONE image prefix, as arrays of token ids.

The pairs of an image share a long beginning (system prompt, image tokens, often the first words of the question). A
`Pack` holds that prefix once and the rest of every pair behind it::

    [ prefix | q1 a1 | q2 a2 | ... | q8 a8 ]      position ids restart at the prefix's end for every pair
                                                  a pair sees the prefix and itself, never another pair

Training on packs (`train.lora.packed_attention`) gives the loss and gradients of training on every pair alone, at about
half the tokens and an eighth of the encoder's work. This module needs no torch.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from train.lora.conversations import IGNORE, Tokens

Conversation = tuple[Sequence[int], Sequence[int]]  # token ids and labels, equally long; labels are ids or IGNORE
Arrays = tuple[np.ndarray, np.ndarray]  # the same as int32 arrays


@dataclass(frozen=True)
class Pack:
    """One image's prefix and pairs.

    Attributes:
        input_ids: Token ids, int32 of shape (tokens,).
        labels: The same where a token is learnt, else IGNORE; int32 of shape (tokens,).
        position_ids: int32 of shape (tokens,).
        starts: Where each pair begins.
        image: Whatever identifies the image to the caller; None for text alone.
    """

    input_ids: np.ndarray
    labels: np.ndarray
    position_ids: np.ndarray
    starts: tuple[int, ...]
    image: Hashable | None

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def pairs(self) -> int:
        return len(self.starts)


def pack(
    conversations: Sequence[Conversation],
    image: Hashable | None,
    image_token_id: int | None = None,
    max_tokens: int | None = None,
) -> list[Pack]:
    """Packs the conversations of ONE image. A conversation of several turns is one row.

    Args:
        conversations: Token ids and labels of each.
        image: Whatever identifies the image to the caller (None: no image).
        image_token_id: The token that stands for the image; conversations that differ before its last place cannot
            share a prefix.
        max_tokens: The longest pack.

    Returns:
        Packs; more than one where `max_tokens` or differing beginnings ask for it.

    Raises:
        ValueError: For a conversation without an answer, or with an answer that begins the sequence.
    """
    groups: dict[bytes, list[Arrays]] = {}
    for ids, labels in conversations:
        ids, labels = np.asarray(ids, dtype=np.int32), np.asarray(labels, dtype=np.int32)
        if ids.shape != labels.shape or ids.ndim != 1:
            raise ValueError(f"Token ids {ids.shape} and labels {labels.shape} of a conversation differ in length.")
        answer = np.flatnonzero(labels != IGNORE)
        if not len(answer) or answer[0] < 2:
            raise ValueError("A conversation needs a question of at least two tokens and an answer after it.")
        places = np.flatnonzero(ids == image_token_id) if image_token_id is not None else ()
        # The image stands in the prefix once, so only rows that are equal up to its last token can share one.
        head = ids[: places[-1] + 1].tobytes() if len(places) else b""
        groups.setdefault(head, []).append((ids, labels))
    packs = []
    for rows in groups.values():
        taken, prefix = [rows[0]], _usable(rows[0])
        for row in rows[1:]:
            shared = _common(taken[0], row, prefix)
            if max_tokens is not None and shared + sum(len(i) - shared for i, _ in [*taken, row]) > max_tokens:
                packs.append(_join(taken, prefix, image))
                taken, shared = [], _usable(row)
            taken, prefix = [*taken, row], shared
        packs.append(_join(taken, prefix, image))
    return packs


def _usable(row: Arrays) -> int:
    """Longest prefix that leaves the token which predicts the first answer token inside the pair itself."""
    return int(np.flatnonzero(row[1] != IGNORE)[0]) - 1


def _common(first: Arrays, row: Arrays, prefix: int) -> int:
    limit = min(prefix, _usable(row))
    different = np.flatnonzero(first[0][:limit] != row[0][:limit])
    return int(different[0]) if len(different) else limit


def _join(rows: Sequence[Arrays], prefix: int, image: Hashable | None) -> Pack:
    lengths = [len(ids) - prefix for ids, _ in rows]
    starts = prefix + np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return Pack(
        input_ids=np.concatenate([rows[0][0][:prefix], *(ids[prefix:] for ids, _ in rows)]),
        labels=np.concatenate([rows[0][1][:prefix], *(labels[prefix:] for _, labels in rows)]),
        position_ids=np.concatenate(
            [np.arange(prefix), *(np.arange(prefix, prefix + length) for length in lengths)]
        ).astype(np.int32),
        starts=tuple(int(start) for start in starts),
        image=image,
    )


def pack_rows(rows: Sequence[Tokens], image_token_id: int, cutoff: int | None, packed: bool = True) -> list[Pack]:
    """Packs encoded conversations about many images, in the order of the data set.

    Args:
        rows: The conversations.
        image_token_id: The token that stands for the image.
        cutoff: The longest pack, in tokens; None for no limit.
        packed: False gives every row a pack of its own, for the plain path.

    Returns:
        The packs.
    """
    groups: dict[Hashable, list[Tokens]] = {}
    for place, row in enumerate(rows):
        # A row without an image shares its prefix with nothing but other such rows, eight at a time.
        key = row.example.image if row.example.image is not None else ("text", place // 8)
        groups.setdefault(key if packed else place, []).append(row)
    return [
        made
        for mine in groups.values()
        for made in pack([(r.ids, r.labels) for r in mine], mine[0].example.image, image_token_id, cutoff)
    ]
