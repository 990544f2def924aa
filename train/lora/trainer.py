"""The Hugging Face Trainer, fed with packs: which packs make a step, their loss, validation, checkpoints.

Steps are planned from seed and epoch alone, so a run that was killed goes on with the very batches it would have had,
and several processes share a step's packs without changing its gradient.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments
from transformers.modeling_outputs import BaseModelOutputWithPooling

from facellm.errors import FaceLLMError
from train.lora.conversations import IGNORE
from train.lora.packed_attention import answer_loss, answer_weights, collate, mean_weight, packed_forward
from train.lora.packs import Pack
from train.lora.parts.adapters import optimizer

SHORT = 8  # tokens, the EOS token included
ImageReader = Callable[[Sequence[Any]], dict[str, torch.Tensor]]  # images of a batch -> image_features or pixel_values


class StepPlan:
    """A batch sampler: every optimiser step takes about `batch` pairs, cut into micro-batches of about equal tokens.

    All packs are seen once an epoch: the last step is never a small one, the sizes of steps are evened out instead.
    `accumulate` micro-batches a step and process; micro-batches hold about `micro_tokens` tokens or one long pack.
    """

    def __init__(self, packs: Sequence[Pack], batch: int, micro_tokens: int, seed: int, world: int = 1, rank: int = 0):
        self.lengths = np.array([len(p) for p in packs])
        a_pack = sum(p.pairs for p in packs) / len(packs)  # pairs
        per_step = min(max(1, round(batch / a_pack)), len(packs))
        if per_step < world:
            raise FaceLLMError(
                f"A batch of {batch} pairs is {per_step} images, too few for {world} processes; raise --batch to "
                f"at least {math.ceil(world * a_pack)}, or start fewer processes."
            )
        wanted = math.ceil(per_step * self.lengths.mean() / (micro_tokens * world))
        self.accumulate = max(1, min(wanted, per_step // world))
        self.steps = max(1, min(round(len(packs) / per_step), len(packs) // (self.accumulate * world)))
        self.batch = sum(p.pairs for p in packs) / self.steps  # pairs a step, as it came out
        self.seed, self.world, self.rank, self.epoch = seed, world, rank, 0
        self.drop_last, self.batch_size = False, None

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps * self.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.lengths))
        for step in np.array_split(order, self.steps):
            yield from self._split(step)[self.rank :: self.world]

    def _split(self, step: np.ndarray) -> list[list[int]]:
        """Longest first, each into the micro-batch with the fewest tokens so far; none stays empty."""
        parts: list[list[int]] = [[] for _ in range(self.accumulate * self.world)]
        sizes = np.zeros(len(parts), dtype=np.int64)
        for index in step[np.argsort(-self.lengths[step], kind="stable")]:
            to = int(sizes.argmin())
            parts[to].append(int(index))
            sizes[to] += self.lengths[index]
        return parts


def collate_plain(packs: Sequence[Pack]) -> dict:
    """The reference path: every pair alone, padded on the right to (rows, longest), with its own image."""
    length = max(len(p) for p in packs)
    batch = {"input_ids": 0, "labels": IGNORE, "attention_mask": 0}
    for name, filler in batch.items():
        rows = [np.ones(len(p), np.int32) if name == "attention_mask" else getattr(p, name) for p in packs]
        padded = [np.pad(row, (0, length - len(row)), constant_values=filler) for row in rows]
        batch[name] = torch.from_numpy(np.stack(padded).astype(np.int64))
    return {**batch, "images": [p.image for p in packs if p.image is not None]}


def _measure(
    labels: torch.Tensor, losses: np.ndarray, right: np.ndarray, lengths: Sequence[int]
) -> list[dict[str, Any]]:
    """Sums up answers: the pack that each belongs to (its place in the batch), tokens, mean loss, all right or not.

    labels: as collated.  losses, right: of the answer tokens.  lengths: of the packs, where they lie in one row; empty
    where each has a row of its own.
    """
    learnt = (labels.flatten() != IGNORE).cpu().numpy()
    begins = np.flatnonzero(np.diff(learnt, prepend=False) & learnt)  # no two answers touch: a question is between
    ends = np.flatnonzero(np.diff(learnt, append=False) & learnt) + 1
    tokens = ends - begins
    firsts = np.concatenate([[0], np.cumsum(tokens)[:-1]])
    owners = np.searchsorted(np.cumsum(lengths), begins, "right") if lengths else begins // labels.shape[1]
    whole, summed = np.minimum.reduceat(right, firsts), np.add.reduceat(losses, firsts)
    return [
        {"pack": int(owner), "tokens": int(n), "loss": float(loss / n), "right": bool(all_right)}
        for owner, n, loss, all_right in zip(owners, tokens, summed, whole, strict=True)
    ]


class FaceTrainer(Trainer):
    """Trainer over packs.

    Args:
        model: A PeftModel.
        args: The Trainer's own settings.
        train: Packs to learn from.
        val: Packs to validate on.
        plan: Which packs make a step.
        read_images: Gives a batch's features or pixels.
        micro_tokens: Tokens of a validation batch.
        packed: False takes every pair alone, with its own image.
        weighting: How answers weigh in the loss (`train.lora.packed_attention.answer_weights`).
        loraplus: How many times as fast as A an adapter's B learns; 0 for as fast.
        kwargs: The Trainer's other arguments.
    """

    def __init__(
        self, model: torch.nn.Module, args: TrainingArguments, train: Sequence[Pack], val: Sequence[Pack],
        plan: StepPlan, read_images: ImageReader, micro_tokens: int, packed: bool = True, weighting: str = "token",
        loraplus: float = 0.0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(model=model, args=args, train_dataset=list(train), eval_dataset=list(val), **kwargs)
        self.weighting, self.loraplus = weighting, loraplus
        self.mean_weight = None if weighting == "token" else mean_weight(train, weighting)
        self.plan, self.read_images, self.packed, self.micro_tokens = plan, read_images, packed, micro_tokens
        self.measured: list[dict[str, Any]] = []  # every validation answer, as of the last evaluation
        self._evaluated: tuple[int, dict[str, float]] = (-1, {})
        self.tokens_seen = 0  # of this process, since it started
        self.model_accepts_loss_kwargs = True  # the loss below is already over the whole step's answer tokens

    def collate(self, packs: Sequence[Pack]) -> dict:
        batch = collate(packs) if self.packed else collate_plain(packs)
        return {**batch, **(self.read_images(batch["images"]) if batch["images"] else {})}

    def get_train_dataloader(self) -> DataLoader:
        # Not prepared by accelerate: the plan gives every process its own part of each step.
        return DataLoader(self.train_dataset, batch_sampler=self.plan, collate_fn=self.collate)

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        if not self.loraplus:
            return super().create_optimizer(model)
        if self.optimizer is None:
            self.optimizer = optimizer(self, model or self.model, self.loraplus)
        return self.optimizer

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        self.plan.set_epoch(kwargs["epoch"] if "epoch" in kwargs else args[1])
        super()._run_epoch(*args, **kwargs)

    def answers(self, model: torch.nn.Module, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns logits (answer tokens, vocabulary) and targets (answer tokens,), in the batch's order."""
        features, pixels = batch.get("image_features"), batch.get("pixel_values")
        if self.packed:
            return packed_forward(model, batch, features, pixels)
        given = {} if pixels is None else {"pixel_values": pixels}
        if features is not None:
            given["mm_encoder_outputs"] = {"image": BaseModelOutputWithPooling(pooler_output=features)}
        out = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False, **given)
        targets = batch["labels"][:, 1:].flatten()
        return out.logits[:, :-1].flatten(0, 1)[targets != IGNORE], targets[targets != IGNORE]

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        logits, targets = self.answers(model, inputs)
        weights = answer_weights(inputs["labels"], self.weighting, self.mean_weight)
        loss = answer_loss(logits, targets, tokens=num_items_in_batch, weights=weights)
        self.tokens_seen += inputs["input_ids"].numel()
        # Gradients are averaged over processes, but the sum over all of them is wanted.
        return loss * self.args.world_size

    @property
    def last_evaluation(self) -> dict[str, float]:
        """The figures of an evaluation at the current step; empty if there was none."""
        return self._evaluated[1] if self._evaluated[0] == self.state.global_step else {}

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval") -> dict[str, float]:
        """Measures the validation packs, shared among the processes.

        Returns:
            Mean loss an answer token; the share of answer tokens that are the most likely one; and of short answers
            (option letters, labels: up to SHORT tokens) the share that greedy decoding would give whole.
        """
        packs = list(eval_dataset or self.eval_dataset)
        if not packs:
            return {}
        began, world, rank = time.monotonic(), self.args.world_size, self.args.process_index
        groups, size = [[]], 0  # places of packs
        for place in sorted(range(len(packs)), key=lambda i: len(packs[i])):
            if groups[-1] and size + len(packs[place]) > self.micro_tokens:
                groups.append([])
                size = 0
            groups[-1].append(place)
            size += len(packs[place])
        found: list[dict[str, Any]] = []
        tokens_right = 0
        model = self.model_wrapped
        was_training = model.training
        model.eval()
        # Sharded models need every process in every forward pass, so the last round may repeat a batch, uncounted.
        for place in range(rank, math.ceil(len(groups) / world) * world, world):
            group = groups[min(place, len(groups) - 1)]
            batch = self._prepare_inputs(self.collate([packs[one] for one in group]))
            with torch.no_grad(), self.compute_loss_context_manager():
                logits, targets = self.answers(model, batch)
            if place < len(groups):
                losses = functional.cross_entropy(logits.float(), targets, reduction="none").cpu().numpy()
                right = (logits.argmax(-1) == targets).cpu().numpy()
                lengths = [len(packs[one]) for one in group] if self.packed else []
                for answer in _measure(batch["labels"], losses, right, lengths):
                    found.append({**answer, "pack": group[answer["pack"]]})
                tokens_right += int(right.sum())
        model.train(was_training)
        if world > 1:
            found, parts = gather_object(found), gather_object([tokens_right])
            tokens_right = sum(parts)
        found.sort(key=lambda answer: answer["pack"])  # stable: answers of a pack stay in order
        self.measured = [{**answer, "image": packs[answer["pack"]].image} for answer in found]
        tokens = sum(answer["tokens"] for answer in found)
        short = [answer["right"] for answer in found if answer["tokens"] <= SHORT]
        metrics = {
            f"{metric_key_prefix}_loss": sum(a["loss"] * a["tokens"] for a in found) / tokens,
            f"{metric_key_prefix}_token_accuracy": tokens_right / tokens,
            f"{metric_key_prefix}_short_answers": len(short),
            f"{metric_key_prefix}_short_accuracy": sum(short) / len(short) if short else None,
            f"{metric_key_prefix}_seconds": round(time.monotonic() - began, 2),
        }
        self._evaluated = (self.state.global_step, metrics)
        self.log({name: value for name, value in metrics.items() if value is not None})
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
