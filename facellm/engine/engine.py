"""One image, many questions, one or two models: streamed answers and likelihoods.

Input: a LoadedModel, a PIL image, rows. Output: text deltas and Answers. What this file does not know: attributes,
faces, files, pages; whose turn it is (scheduler).

The rows of a request are decoded together: image features once, the common prefix once per model, then one batch
(base and FaceLLM rows mixed, where FaceLLM is an adapter), which the rows of other threads' requests join. Where the
two models cannot share a batch (a merged checkpoint beside the base; DoRA), each has its own and they take turns step
by step, so that both columns grow at once.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from facellm.engine.decode import Batch, Network
from facellm.engine.kv_cache import FeatureStore, PrefixStore
from facellm.engine.sampling import Sampling
from facellm.engine.scheduler import MAX_ROWS, Lane, Live, Request, Scheduler
from facellm.engine.scoring import score_rows
from facellm.errors import FaceLLMError
from facellm.messages import build_messages, expand_image, render
from facellm.results import VARIANTS, Answer, Delta, Row

if TYPE_CHECKING:
    from PIL import Image

    from facellm.weights.load import LoadedModel

STORE_SHARE = 0.05  # of the model's bytes: what the kept prefixes may take
STORE_LEAST = 32 * 2**20  # bytes
# Of the memory that is free: what running answers' keys and values may take. As much again is left for the passes
# themselves and for what is kept between requests.
CACHE_SHARE = 0.5


class Engine:
    """Answers for one opened model. Safe to use from several threads."""

    def __init__(self, loaded: LoadedModel):
        self.loaded = loaded
        self.processor = loaded.processor
        self.tokenizer = loaded.processor.tokenizer
        self.lock = loaded.lock
        self.features = FeatureStore()
        self.prefixes = PrefixStore(max(STORE_LEAST, int(STORE_SHARE * loaded.report.memory_bytes)))
        self._networks = networks_of(loaded)
        self._scheduler = Scheduler(loaded.lock, stop_tokens(loaded), self._relieve)
        lanes = {self._lane(variant): network for variant, network in self._networks.items()}
        budget = cache_budget(loaded) // len(lanes)  # bytes for each of them
        for name, network in lanes.items():
            lane = Lane(network, Batch(network, self.prefixes), max(1, budget // network.token_bytes))
            self._scheduler.add_lane(name, lane)

    @property
    def variants(self) -> tuple[str, ...]:
        """The models that can be asked: ("base", "facellm"), or the one that was opened."""
        return tuple(w for w in VARIANTS if w in self._networks)

    @property
    def shared(self) -> bool:
        """Whether base and FaceLLM rows are decoded in one batch."""
        network = self._networks.get("facellm")
        return network is not None and network is self._networks.get("base") and network.switch.mixable

    def stream(
        self,
        image: Image.Image,
        rows: Sequence[Row],
        sampling: Sampling | None = None,
        cancel: threading.Event | None = None,
        tiles: int = 1,
    ) -> Iterator[Delta]:
        """Text of all rows as it grows; each row ends with a Delta that is `done` and carries its Answer.

        image: RGB.  cancel: once set, no further token is computed and every open row ends as "cancelled".
        tiles: at most so many tiles (and a thumbnail) for questions about a whole scene; 1 for a face.
        Closing the iterator stops as well. Raises FaceLLMError: for a row that cannot be asked (at once, before the
        first Delta), or when memory runs out (caches are freed, the next call is fine).
        """
        sampling = sampling or Sampling()
        lives, key, pixels = self._prepare(image, rows, sampling, tiles)
        return self._run(lives, key, pixels, cancel or threading.Event())

    def answer(
        self, image: Image.Image, rows: Sequence[Row], sampling=None, cancel=None, tiles: int = 1
    ) -> list[Answer]:
        """stream() to its end: the Answers in the rows' order."""
        answers = {d.row: d.answer for d in self.stream(image, rows, sampling, cancel, tiles) if d.done}
        return [answers[i] for i in range(len(rows))]

    def score(
        self, image: Image.Image, question: str, continuations: Sequence[str], variant: str = "facellm"
    ) -> list[float]:
        """Log-likelihood (nats) of each continuation, its end mark included, as the answer to the question."""
        return self.score_many(image, [(question, continuations)], (variant,))[variant][0]

    def score_many(
        self, image: Image.Image, items: Sequence[tuple[str, Sequence[str]]], variants: Sequence[str] = ("facellm",)
    ) -> dict[str, list[list[float]]]:
        """Log-likelihoods for many questions at once: {which: [[nats per continuation] per item]}.

        All continuations of all questions for both models stand behind one image prefix, in one forward pass.
        Raises FaceLLMError as stream() does.
        """
        end = self._end_mark()
        rows = [Row(w, question) for w in variants for question, _ in items]
        lives, key, pixels = self._prepare(image, rows, Sampling(), 1)
        for question, continuations in items:
            if not continuations or not all(c.strip() for c in continuations):
                raise FaceLLMError(f"There is nothing to choose from for the question {question!r}.")
        wanted = [[self._ids(c.strip()) + end for c in continuations] for _, continuations in items] * len(variants)
        lanes: dict[tuple, list[Live]] = {}
        for live in lives:
            lanes.setdefault(self._lane(live.row.variant), []).append(live)
        groups = [g[i : i + MAX_ROWS] for g in lanes.values() for i in range(0, len(g), MAX_ROWS)]
        scores: dict[int, list[float]] = {}
        for group in groups:
            values = self._scheduler.alone(lambda group=group: self._score(group, key, pixels, wanted))
            scores.update(zip((r.index for r in group), values, strict=True))
        n = len(items)
        return {w: [scores[j * n + i] for i in range(n)] for j, w in enumerate(variants)}

    def _score(self, group: list[Live], key: tuple, pixels, wanted) -> list[list[float]]:
        network = self._networks[group[0].row.variant]
        return score_rows(
            network,
            [live.prompt for live in group],
            [self._adapter(live.row.variant) for live in group],
            self._image_features(network, key, pixels),
            [wanted[live.index] for live in group],
            key,
            self.prefixes,
        )

    def clear(self) -> None:
        """Forget all image features and prefixes."""
        self._scheduler.alone(self._relieve)

    # -- preparing a request ------------------------------------------------------------------------------------

    def _prepare(self, image, rows: Sequence[Row], sampling: Sampling, tiles: int):
        """([Live], image key, function that gives the pixels). Everything that can be wrong is found here."""
        if not rows:
            raise FaceLLMError("There is no question to answer.")
        for row in rows:
            if row.variant not in self._networks:
                have = " and ".join(self.variants)
                raise FaceLLMError(f"{row.variant!r} was not opened; {self.loaded.report.name} answers as {have} only.")
        if not 1 <= tiles <= 12:
            raise FaceLLMError(f"tiles is {tiles}; it must be between 1 and 12.")
        started = time.perf_counter()
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest()
        key = (digest, image.size, image.mode, tiles)
        pixels = None
        if tiles > 1:
            pixels = self.processor.pixels(image, tiles)
        count = 1 if pixels is None else len(pixels)
        prompts: dict[tuple, list[int]] = {}
        lives = []
        for index, row in enumerate(rows):
            asked = (row.question, row.history, row.system)
            if asked not in prompts:
                prompts[asked] = self._prompt(row, count, sampling.max_new_tokens)
            own = sampling if row.seed is None else replace(sampling, seed=row.seed)
            lives.append(Live(index, row, prompts[asked], own, self.tokenizer, started))
        return lives, key, (lambda: self.processor.pixels(image) if pixels is None else pixels)

    def _prompt(self, row: Row, tiles: int, new_tokens: int) -> list[int]:
        messages = build_messages(row.question, row.history, row.system)
        ids = self._ids(expand_image(self.processor, render(self.processor, messages), tiles))
        limit = min(n.max_positions for n in self._networks.values())
        if len(ids) + new_tokens > limit:
            raise FaceLLMError(
                f"The conversation has {len(ids)} tokens and the answer may have {new_tokens}, together more than the "
                f"model's {limit}; start a new conversation, shorten the question or lower max_new_tokens."
            )
        return ids

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _end_mark(self) -> list[int]:
        return [self.tokenizer.eos_token_id]

    def _adapter(self, variant: str) -> bool:
        return variant == "facellm" and self._networks[variant].switch is not None

    def _lane(self, variant: str) -> tuple:
        """Rows with the same lane can share a batch."""
        network = self._networks[variant]
        apart = network.switch is not None and not network.switch.mixable
        return network.name, variant if apart else None

    def _image_features(self, network: Network, key: tuple, pixels) -> torch.Tensor:
        """(image tokens, hidden) of the image, from the store or from the encoder. Call with the lock held."""
        owner = (network.name, key)
        features = self.features.get(owner)
        if features is None:
            with torch.inference_mode():
                output = network.model.get_image_features(pixels().to(network.device), return_dict=True)
                features = output.pooler_output.flatten(0, 1)
            self.features.put(owner, features)
        return features

    # -- running it ---------------------------------------------------------------------------------------------

    def _run(self, lives: list[Live], key: tuple, pixels, cancel: threading.Event) -> Iterator[Delta]:
        networks = {self._networks[live.row.variant].name: self._networks[live.row.variant] for live in lives}
        if not all((name, key) in self.features for name in networks):
            ready = pixels()  # here, in the caller's thread, so that nobody waits for it

            def pixels():
                return ready

        request = Request(
            lives,
            key,
            features=lambda network: self._image_features(network, key, pixels),
            adapter=lambda live: self._adapter(live.row.variant),
            cancel=cancel,
        )
        lanes: dict[tuple, list[Live]] = {}
        for live in lives:
            lanes.setdefault(self._lane(live.row.variant), []).append(live)
        yield from self._scheduler.run(request, lanes)

    def _relieve(self) -> None:
        self.features.clear()
        self.prefixes.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        elif torch.backends.mps.is_available():
            torch.mps.empty_cache()


def cache_budget(loaded: LoadedModel) -> int:
    """Bytes that keys and values of running answers may take, by what is free now that the weights are loaded."""
    device = torch.device(loaded.report.device)
    if device.type == "cuda":
        return int(CACHE_SHARE * torch.cuda.mem_get_info(device)[0])
    # What is free on a CPU or an Apple GPU changes by the minute; a share of what the machine has is a safe guess.
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows does not say
        memory = 4 * 2**30
    return int(CACHE_SHARE / 4 * memory)


def networks_of(loaded: LoadedModel) -> dict[str, Network]:
    """{"base": ..., "facellm": ...}: the same Network twice where FaceLLM is an adapter."""
    if loaded.switch is not None:
        network = Network(loaded.model.get_base_model(), "shared", loaded.switch)
        return dict.fromkeys(loaded.variants, network)
    networks = {loaded.variants[0]: Network(loaded.model, loaded.variants[0])}
    if loaded.merged is not None:
        networks["facellm"] = Network(loaded.merged, "facellm")
    return networks


def stop_tokens(loaded: LoadedModel) -> frozenset[int]:
    """Ids that end an answer: the generation config's and the tokenizer's."""
    stops = {loaded.processor.tokenizer.eos_token_id}
    for model in (loaded.model, loaded.merged):
        if model is not None:
            ids = model.generation_config.eos_token_id
            stops.update(ids if isinstance(ids, list) else [ids])
    return frozenset(i for i in stops if i is not None)
