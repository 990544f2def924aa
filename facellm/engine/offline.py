"""Questions about many images in one forward pass: what measuring needs, where `Engine` serves one image at a time.

Prompts, image features and scores are the engine's. All questions about the same images stand in one row behind one
prefix, and rows of different images in one pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from facellm.engine.features import FeatureStore
from facellm.engine.kv_cache import filled_cache
from facellm.engine.likelihood.scoring import PackedRow, score_rows
from facellm.engine.network import Network, eos_ids, networks_of
from facellm.errors import FaceLLMError
from facellm.messages import build_messages, label_ids, prompt_ids
from facellm.weights.load import LoadedModel

ROWS = 48  # rows in a pass
TOKENS = 12_288  # and at most so many tokens with padding, so that long prompts do not exhaust memory
PACKED = 1_024  # tokens of a row of several questions; a longer row gains little and pads the others
FEATURE_BYTES = 2**30  # of image features kept: 45,000 images of nano, 290 of the 8B


@dataclass(frozen=True)
class Ask:
    """One question.

    Attributes:
        prompt: The user's text.
        images: Keys of the images, in order; may be empty.
        labels: Texts to score.
        numbered: Whether "Image 1:", "Image 2:" stand before the images, where there are several.
        verbatim: Whether the prompt is put as it stands, with its outer blanks and control tokens, which a published
            harness keeps; otherwise they are taken out, as everywhere.
    """

    prompt: str
    images: tuple[Hashable, ...] = ()
    labels: tuple[str, ...] = ()
    numbered: bool = True
    verbatim: bool = False


@dataclass(frozen=True)
class Generated:
    """An answer in words.

    Attributes:
        text: Without special tokens.
        tokens: How many were generated, the EOS token included.
        seconds: The pass's time divided by its rows.
    """

    text: str
    tokens: int
    seconds: float


class OfflineEngine:
    """Scores and generates for an opened model. Not safe to use from several threads."""

    def __init__(self, loaded: LoadedModel, load: Callable[[Any], Any], rows: int = ROWS, tiles: int = 1) -> None:
        """Starts with no image features.

        Args:
            loaded: The opened model.
            load: Gives the RGB PIL image of a key.
            rows: The most rows in a pass.
            tiles: 1, or the most tiles of the grid that an image is cut into by its shape (a thumbnail follows).
        """
        self.loaded, self.load, self.rows, self.tiles = loaded, load, rows, tiles
        self.processor, self.tokenizer = loaded.processor, loaded.processor.tokenizer
        self.networks = networks_of(loaded)
        self.features = FeatureStore(FEATURE_BYTES)
        self._eos = sorted(eos_ids(loaded))
        self._tile_counts: dict[Hashable, int] = {}

    def ids(self, ask: Ask) -> list[int]:
        """Returns the token ids of a question's prompt.  Raises FaceLLMError for an empty one."""
        if ask.verbatim:
            messages: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": ask.prompt}]}]
        else:
            messages = build_messages(ask.prompt, image=False)
        images: list[dict[str, str]] = []
        for number in range(1, len(ask.images) + 1):
            if ask.numbered and len(ask.images) > 1:
                images.append({"type": "text", "text": f"Image {number}: "})
            images.append({"type": "image"})
        messages[0]["content"][:0] = images
        tiles = [self.tile_count(key) for key in ask.images]
        return prompt_ids(self.processor, messages, images=len(ask.images), tiles=tiles)

    def tile_count(self, key: Hashable) -> int:
        """Returns how many tiles an image becomes, its thumbnail included."""
        if self.tiles == 1:
            return 1
        if key not in self._tile_counts:
            width, height = self.load(key).size
            self._tile_counts[key] = self.processor.tile_count(height, width, self.tiles)
        return self._tile_counts[key]

    def fault(self, ask: Ask, variant: str, new_tokens: int = 8) -> str | None:
        """Returns why a question cannot be asked, as a clause; None where it can."""
        try:
            length, limit = len(self.ids(ask)) + new_tokens, self.networks[variant].max_positions
        except FaceLLMError as error:
            return str(error).rstrip(".")
        return f"it needs {length} tokens, and the model has {limit}" if length > limit else None

    def score(self, asks: Sequence[Ask], variant: str) -> Iterator[tuple[int, list[float], float]]:
        """Scores the labels of questions.

        Args:
            asks: The questions.
            variant: "base" or "facellm".

        Yields:
            Index of the question, log-likelihoods of its labels in nats, and seconds; in the order of the passes, long
            rows last.
        """
        network, packed = self.networks[variant], self.pack(asks)
        for part in self._passes([len(row.ids) for _, row in packed]):
            started = time.perf_counter()
            rows = [packed[i] for i in part]
            found = score_rows(
                network,
                [row for _, row in rows],
                self._adapters(variant, len(rows)),
                filled_cache(),
                self._image_features([asks[members[0]] for members, _ in rows], network),
            )
            seconds = (time.perf_counter() - started) / sum(len(members) for members, _ in rows)
            for (members, _), scores in zip(rows, found, strict=True):
                for index, own in zip(members, scores, strict=True):
                    yield index, own, seconds

    def generate(self, asks: Sequence[Ask], variant: str, max_new_tokens: int) -> Iterator[tuple[int, Generated]]:
        """Answers questions greedily.

        Args:
            asks: The questions.
            variant: "base" or "facellm".
            max_new_tokens: The longest answer, in tokens; it also ends where the model's positions do.

        Yields:
            Index of the question and its answer, in the order of the passes.
        """
        prompts = [self.ids(ask) for ask in asks]
        for part in self._passes([len(prompt) + max_new_tokens for prompt in prompts]):
            started = time.perf_counter()
            found = self._generate([asks[i] for i in part], [prompts[i] for i in part], variant, max_new_tokens)
            seconds = (time.perf_counter() - started) / len(part)
            for index, (text, tokens) in zip(part, found, strict=True):
                yield index, Generated(text, tokens, seconds)

    def pack(self, asks: Sequence[Ask]) -> list[tuple[list[int], PackedRow]]:
        """Packs questions about the same images into rows; returns each with the indices of its questions."""
        labels = {label: label_ids(self.processor, label) for ask in asks for label in ask.labels}
        prompts = [self.ids(ask) for ask in asks]
        return [
            (group, PackedRow([prompts[i] for i in group], [[labels[x] for x in asks[i].labels] for i in group]))
            for group in self.groups(asks, prompts)
        ]

    def groups(self, asks: Sequence[Ask], prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Yields the indices of questions that stand in one row: the same images, at most PACKED tokens. A question
        without images stands alone."""
        open_rows: dict[tuple[tuple[Hashable, ...], bool], tuple[list[int], int]] = {}
        for index, (ask, prompt) in enumerate(zip(asks, prompts, strict=True)):
            key = (ask.images, ask.numbered) if ask.images else ((index,), True)
            members, tokens = open_rows.get(key, ([], 0))
            if members and tokens + len(prompt) > PACKED:
                yield members
                members, tokens = [], 0
            open_rows[key] = ([*members, index], tokens + len(prompt))
        for members, _ in open_rows.values():
            yield members

    def _passes(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        part: list[int] = []
        for index in sorted(range(len(lengths)), key=lengths.__getitem__):
            if part and (len(part) >= self.rows or (len(part) + 1) * lengths[index] > TOKENS):
                yield part
                part = []
            part.append(index)
        if part:
            yield part

    def _image_features(self, asks: Sequence[Ask], network: Network) -> torch.Tensor | None:
        """Features of all images of all questions, in their order, (image tokens, hidden)."""
        keys = [key for ask in asks for key in ask.images]
        found = self.features.encode(network, {key: partial(self._pixels, key) for key in keys})
        return torch.cat([found[key] for key in keys]) if keys else None

    def _pixels(self, key: Hashable) -> torch.Tensor:
        return self.processor.pixels(self.load(key), self.tiles)

    def _adapters(self, variant: str, rows: int) -> list[bool]:
        return [variant == "facellm" and self.networks[variant].switch is not None] * rows

    @torch.inference_mode()
    def _generate(
        self, asks: Sequence[Ask], prompts: Sequence[Sequence[int]], variant: str, max_new_tokens: int
    ) -> list[tuple[str, int]]:
        network = self.networks[variant]
        n, width, pad = len(prompts), max(map(len, prompts)), self.tokenizer.pad_token_id
        ids = torch.full((n, width), pad)
        mask = torch.zeros(n, width, dtype=torch.long)
        for i, prompt in enumerate(prompts):  # left padding: every row's next token stands in the last column
            ids[i, width - len(prompt) :], mask[i, width - len(prompt) :] = torch.tensor(prompt), 1
        embeddings = network.embed(ids.to(network.device), self._image_features(asks, network))
        rooms = [min(max_new_tokens, network.max_positions - len(prompt)) for prompt in prompts]
        switch = network.switch
        with nullcontext() if switch is None else switch.rows(self._adapters(variant, n), network.device):
            rows = network.model.generate(
                inputs_embeds=embeddings, attention_mask=mask.to(network.device), max_new_tokens=max(rooms),
                do_sample=False, num_beams=1, repetition_penalty=1.0, temperature=None, top_p=None, top_k=None,
                pad_token_id=pad, eos_token_id=self._eos,
            ).tolist()  # fmt: skip
        found = []
        for row, room in zip(rows, rooms, strict=True):
            row = row[:room]
            stop = next((k for k, token in enumerate(row) if token in self._eos), None)
            # Bytes that are no character are left out, as the engine does.
            text = self.tokenizer.decode(row[:stop], skip_special_tokens=True).replace("\ufffd", "").strip()
            found.append((text, len(row) if stop is None else stop + 1))
        return found
