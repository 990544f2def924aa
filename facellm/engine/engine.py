"""One image, many questions, one or two models: streamed answers and likelihoods.

The rows of a request are decoded together: image features once, the common prefix once per model, then one batch (base
and FaceLLM mixed, where FaceLLM is an adapter), which other threads' requests join. Where the two models cannot share a
batch (a merged checkpoint beside the base; DoRA), each has its own and they take turns, so that both grow at once.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

import torch

from facellm.engine.decode import Batch, prefill_prefix
from facellm.engine.features import FeatureStore
from facellm.engine.kv_cache import PrefixCache, common_prefix
from facellm.engine.likelihood.scoring import PackedRow, score_rows
from facellm.engine.network import eos_ids, networks_of
from facellm.engine.sampling import Sampling
from facellm.engine.scheduler import MAX_ROWS, BatchQueue, Scheduler
from facellm.engine.sequence import Request, RunningSequence
from facellm.errors import FaceLLMError, ParameterError
from facellm.grammars.json_grammar import Grammars
from facellm.grammars.response_format import schema_of
from facellm.messages import build_messages, label_ids, prompt_ids
from facellm.results import VARIANTS, Answer, Delta, Row

if TYPE_CHECKING:
    from PIL import Image

    from facellm.weights.load import LoadedModel

STORE_SHARE = 0.05  # of the model's bytes: what the prefix cache may take
STORE_LEAST = 32 * 2**20  # bytes
# Of the memory that is free: what running answers' keys and values may take. As much again is left for the passes
# themselves and for what is kept between requests.
CACHE_SHARE = 0.5


class Engine:
    """Answers for one opened model. Safe to use from several threads.

    Attributes:
        loaded: The opened model.
        networks: The network of each variant.
        features: Image features of recent images.
        prefixes: The prefix cache.
        scheduler: Runs the requests of all threads.
        lock: Held while the model runs.
        grammars: Makes what answers are held to.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded, self.processor, self.lock = loaded, loaded.processor, loaded.lock
        self.networks = networks_of(loaded)
        self.features = FeatureStore()
        self.prefixes = PrefixCache(max(STORE_LEAST, int(STORE_SHARE * loaded.report.memory_bytes)))
        networks = {self._batch_key(variant): network for variant, network in self.networks.items()}
        budget = cache_budget(loaded) // len(networks)  # bytes for each batch
        queues = {
            key: BatchQueue(Batch(network, self.prefixes), max(1, budget // network.token_bytes))
            for key, network in networks.items()
        }
        vocabulary = max(network.vocabulary for network in self.networks.values())
        self.grammars = Grammars(self.processor.tokenizer, vocabulary, eos_ids(loaded))
        self.scheduler = Scheduler(loaded.lock, eos_ids(loaded), self._free_memory, queues)

    @property
    def variants(self) -> tuple[str, ...]:
        """The models that can be asked: ("base", "facellm"), or the one that was opened."""
        return tuple(variant for variant in VARIANTS if variant in self.networks)

    @property
    def shared(self) -> bool:
        """Whether base and FaceLLM are decoded in one batch."""
        return len(self.networks) == 2 and len(self.scheduler.queues) == 1

    def stream(
        self,
        image: Image.Image,
        rows: Sequence[Row],
        sampling: Sampling | None = None,
        cancel: threading.Event | None = None,
        tiles: int = 1,
    ) -> Iterator[Delta]:
        """Answers rows together. Closing the iterator stops as well as `cancel` does.

        Args:
            image: An RGB image.
            rows: What is asked.
            sampling: How tokens are chosen; greedily where left out.
            cancel: Once set, no further token is computed and every open row ends as "cancelled".
            tiles: At most so many tiles (and a thumbnail) for questions about a whole scene; 1 for a face.

        Returns:
            An iterator over the text of all rows as it grows; each row ends with a Delta that is `done` and carries its
            Answer. It raises FaceLLMError where memory runs out; caches are freed then, and the next call is fine.

        Raises:
            FaceLLMError: At once, for a row that cannot be asked.
        """
        sequences, key, pixels = self._prepare(image, rows, sampling or Sampling(), tiles)
        networks = {self.networks[row.variant] for row in rows}
        if not all((network.name, key) in self.features for network in networks):
            pixels()  # here, in the caller's thread, so that nobody waits for it
        request = Request(
            sequences,
            key,
            features=lambda network: self.features.encode(network, {key: pixels})[key],
            cancel=cancel or threading.Event(),
        )
        return self.scheduler.run(request, self._by_batch(sequences))

    def answer(
        self,
        image: Image.Image,
        rows: Sequence[Row],
        sampling: Sampling | None = None,
        cancel: threading.Event | None = None,
        tiles: int = 1,
    ) -> list[Answer]:
        """Runs `stream` to its end; returns the answers in the rows' order."""
        answers = {d.row: d.answer for d in self.stream(image, rows, sampling, cancel, tiles) if d.answer}
        return [answers[i] for i in range(len(rows))]

    def score(self, image: Image.Image, question: str, labels: Sequence[str], variant: str = "facellm") -> list[float]:
        """Returns the log-likelihood in nats of each label, EOS token included, as the answer to the question."""
        return self.score_many(image, [(question, labels)], (variant,))[variant][0]

    def score_many(
        self, image: Image.Image, items: Sequence[tuple[str, Sequence[str]]], variants: Sequence[str] = ("facellm",)
    ) -> dict[str, list[list[float]]]:
        """Scores the labels of many questions, for both models behind one image prefix, in one forward pass.

        Args:
            image: An RGB image.
            items: Questions, each with its labels.
            variants: Who is asked.

        Returns:
            For each variant, question and label the log-likelihood in nats.

        Raises:
            FaceLLMError: As `stream` does, and for a question without labels.
        """
        for question, own in items:
            if not own or not all(label.strip() for label in own):
                raise FaceLLMError(f"There is nothing to choose from for the question {question!r}.")
        rows = [Row(variant, question) for variant in variants for question, _ in items]
        sequences, key, pixels = self._prepare(image, rows, Sampling(), 1)
        labels = [[label_ids(self.processor, label) for label in own] for _, own in items]
        scores: dict[int, list[float]] = {}

        def score(group: Sequence[RunningSequence]) -> None:
            network = self.networks[group[0].row.variant]
            prompts, adapters = [s.prompt for s in group], [s.adapter for s in group]
            shared = min(common_prefix(prompts), min(map(len, prompts)) - 1)
            kinds = sorted(set(adapters))
            features = self.features.encode(network, {key: pixels})[key]
            prefix = prefill_prefix(network, prompts[0][:shared], features, kinds, key, self.prefixes)
            packed = [PackedRow([s.prompt[shared:]], [labels[s.index % len(items)]], shared) for s in group]
            prefix.batch_select_indices(torch.tensor([kinds.index(a) for a in adapters], device=network.device))
            found = score_rows(network, packed, adapters, prefix)
            scores.update((s.index, values[0]) for s, values in zip(group, found, strict=True))

        for same in self._by_batch(sequences).values():
            for start in range(0, len(same), MAX_ROWS):
                self.scheduler.exclusive(partial(score, same[start : start + MAX_ROWS]))
        return {v: [scores[j * len(items) + i] for i in range(len(items))] for j, v in enumerate(variants)}

    def check_variant(self, variant: str) -> None:
        """Raises FaceLLMError where a model was not opened."""
        if variant not in self.networks:
            have = " and ".join(self.variants)
            raise FaceLLMError(f"{variant!r} was not opened; {self.loaded.report.name} answers as {have} only.")

    def clear(self) -> None:
        """Drops all image features and stored prefixes."""
        self.scheduler.exclusive(self._free_memory)

    def _prepare(
        self, image: Image.Image, rows: Sequence[Row], sampling: Sampling, tiles: int
    ) -> tuple[list[RunningSequence], Hashable, Callable[[], torch.Tensor]]:
        """Sequences, image key, and a function that gives the pixels. Everything that can be wrong is found here."""
        if not rows:
            raise FaceLLMError("There is no question to answer.")
        for row in rows:
            self.check_variant(row.variant)
        if not 1 <= tiles <= 12:
            raise FaceLLMError(f"tiles is {tiles}; it must be between 1 and 12.")
        started = time.perf_counter()
        key = (hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest(), image.size, image.mode, tiles)
        pixels = cache(lambda: self.processor.pixels(image, tiles))
        count = len(pixels()) if tiles > 1 else 1

        @cache
        def prompt(question: str, history: tuple[tuple[str, str], ...], system: str | None) -> list[int]:
            ids = prompt_ids(self.processor, build_messages(question, history, system), tiles=count)
            limit = min(n.max_positions for n in self.networks.values())
            if len(ids) + sampling.max_new_tokens > limit:
                raise ParameterError(
                    f"The conversation has {len(ids)} tokens and the answer may have {sampling.max_new_tokens}, "
                    f"together more than the model's {limit}; start a new conversation, shorten the question or lower "
                    f"max_new_tokens.",
                    "max_new_tokens",
                )
            return ids

        sequences, schema, tokenizer = [], schema_of(sampling.response_format), self.processor.tokenizer
        for index, row in enumerate(rows):
            adapter = row.variant == "facellm" and self.networks[row.variant].switch is not None
            own = sampling if row.seed is None else replace(sampling, seed=row.seed)
            ids = prompt(row.question, tuple(row.history), row.system)
            grammar = None if schema is None else self.grammars.json(schema, sampling.max_new_tokens)
            sequences.append(RunningSequence(index, row, ids, adapter, own, tokenizer, started, grammar))
        return sequences, key, pixels

    def _batch_key(self, variant: str) -> Hashable:
        """Sequences of equal keys can share a batch."""
        network = self.networks[variant]
        apart = network.switch is not None and not network.switch.mixable
        return network.name, variant if apart else None

    def _by_batch(self, sequences: Sequence[RunningSequence]) -> dict[Hashable, list[RunningSequence]]:
        found: dict[Hashable, list[RunningSequence]] = {}
        for sequence in sequences:
            found.setdefault(self._batch_key(sequence.row.variant), []).append(sequence)
        return found

    def _free_memory(self) -> None:
        self.features.clear()
        self.prefixes.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        elif torch.backends.mps.is_available():
            torch.mps.empty_cache()


def cache_budget(loaded: LoadedModel) -> int:
    """Returns the bytes that keys and values of running answers may take, by what is free once weights are loaded."""
    device = torch.device(loaded.report.device)
    if device.type == "cuda":
        return int(CACHE_SHARE * torch.cuda.mem_get_info(device)[0])
    # What is free on a CPU or an Apple GPU changes by the minute; a share of what the machine has is a safe guess.
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows does not say
        memory = 4 * 2**30
    return int(CACHE_SHARE / 4 * memory)
