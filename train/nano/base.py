"""Stage 3 of nano: projector and decoder trained from scratch on the general pairs, the tower frozen.

`python -m train.nano base`: reads the cached tokens and `corpus/base.jsonl`, writes the base model in Hugging Face
format to `work/base`, `base.jsonl` (losses) and `base.last.pt` (to resume from).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facellm.storage.files import atomic_path
from facellm.weights.device import cpu_has_fast_bfloat16
from train.lora.conversations import Example, tokenize
from train.lora.packed_attention import answer_loss, answer_weights, collate, packed_forward, use_packed_attention
from train.lora.packs import Pack, pack
from train.nano import assemble
from train.nano.vision.tower import load_encoder

WEIGHTING = "root"  # of the answers: a letter is one token, a description seventy


def read_packs(processor: Any, path: Path, limit: int | None = None) -> list[Pack]:
    """One pack a line of the corpus; `image` is the view's number."""
    with path.open() as handle:
        lines = [json.loads(line) for number, line in enumerate(handle) if limit is None or number < limit]
    examples = [
        Example(str(line["view"]), tuple(tuple(turn) for turn in turns))
        for line in lines
        for turns in line["conversations"]
    ]
    rows = iter(tokenize(processor, examples))
    packs: list[Pack] = []
    for line in lines:
        own = [next(rows) for _ in line["conversations"]]
        packs += pack([(row.ids, row.labels) for row in own], line["view"], processor.image_token_id)
    return packs


def batches(packs: list[Pack], tokens: int, rng: np.random.Generator) -> Iterator[list[Pack]]:
    """Shuffled packs in groups of about `tokens` tokens."""
    group, size = [], 0
    for index in rng.permutation(len(packs)):
        group.append(packs[index])
        size += len(packs[index])
        if size >= tokens:
            yield group
            group, size = [], 0
    if group:
        yield group


class Tokens:
    """Cached patch tokens, as the projector takes them."""

    def __init__(self, work: Path, model: Any) -> None:
        self.tokens, self.model = np.load(work / "tokens.npy", mmap_mode="r"), model

    def __call__(self, views: Sequence[int]) -> torch.Tensor:
        order = np.argsort(views)
        picked = np.empty((len(views), *self.tokens.shape[1:]), np.float32)
        picked[order] = self.tokens[np.asarray(views)[order]]
        return assemble.shuffled(self.model, torch.from_numpy(picked))


def make_optimizers(model: torch.nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the hidden matrices, its steps scaled to AdamW's size; AdamW for the rest."""
    inner, outer = [], []
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            hidden = weight.dim() == 2 and "embed_tokens" not in name and "lm_head" not in name
            (inner if hidden else outer).append(weight)
    return [
        torch.optim.Muon(inner, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(outer, lr=rate, weight_decay=0.0, betas=(0.9, 0.95)),
    ]


def step_loss(model: Any, tokens: Tokens, group: list[Pack], weighting: str = "token") -> tuple[torch.Tensor, int]:
    batch = collate(group)
    with torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_fast_bfloat16()):
        features = model.model.multi_modal_projector(tokens(batch["images"]))
        logits, targets = packed_forward(model, batch, image_features=features)
    return answer_loss(logits, targets, weights=answer_weights(batch["labels"], weighting)), len(targets)


@torch.no_grad()
def validate(model: Any, tokens: Tokens, packs: list[Pack]) -> float:
    """Mean loss of an answer token."""
    model.eval()
    total, count = 0.0, 0
    for group in batches(packs, 8192, np.random.default_rng(0)):
        loss, answers = step_loss(model, tokens, group)
        total, count = total + loss.item() * answers, count + answers
    model.train()
    return total / count


def train(
    work: Path,
    *,
    epochs: int = 1,
    batch_tokens: int = 4096,
    rate: float = 2.5e-3,
    seed: int = 0,
    max_minutes: float = math.inf,
    limit: int | None = None,
) -> dict[str, float]:
    """Runs the stage; one cycle (rise over 3 %, then cosine to 2 %), measured in time with `max_minutes`."""
    processor = assemble.make_processor(work / "corpus" / "tokenizer.json")
    model = assemble.make_model(processor, load_encoder(work).tower, seed)
    model.model.vision_tower.requires_grad_(False)
    use_packed_attention(model)
    tokens = Tokens(work, model)
    packs = read_packs(processor, work / "corpus" / "base.jsonl", limit)
    held_out = read_packs(processor, work / "corpus" / "val_base.jsonl", 200)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizers = make_optimizers(model, rate)
    last, log = work / "base.last.pt", (work / "base.jsonl").open("a")
    total = epochs * sum(len(p) for p in packs)
    seen, epoch, spent, losses, step, group_in_epoch = 0, 0, 0.0, [], 0, 0
    if last.exists():
        state = torch.load(last, weights_only=False)
        model.load_state_dict(state["model"], strict=False)
        for optimizer, own in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(own)
        seen, epoch, spent, step, group_in_epoch = (state[k] for k in ("seen", "epoch", "spent", "step", "group"))
    began, done = time.monotonic() - spent, 0.0
    print(
        json.dumps({"packs": len(packs), "tokens": total, "trained": sum(p.numel() for p in trained)}),
        file=log,
        flush=True,
    )
    model.train()
    while done < 1 and epoch < epochs:
        for number, group in enumerate(batches(packs, batch_tokens, np.random.default_rng(seed + epoch))):
            if number < group_in_epoch:
                continue
            spent = time.monotonic() - began
            done = max(seen / total, spent / 60 / max_minutes)
            if done >= 1:
                break
            share = min(1.0, done / 0.03) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
            for part in (part for optimizer in optimizers for part in optimizer.param_groups):
                part["lr"] = rate * share
            loss, _ = step_loss(model, tokens, group, WEIGHTING)
            model.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            for optimizer in optimizers:
                optimizer.step()
            seen, step = seen + sum(len(p) for p in group), step + 1
            losses.append(loss.item())
            if step % 50 == 0:
                line = {
                    "step": step,
                    "seen": seen,
                    "done": round(done, 3),
                    "seconds": round(spent, 1),
                    "loss": round(float(np.mean(losses)), 4),
                }
                if step % 300 == 0:
                    line["val_loss"] = round(validate(model, tokens, held_out), 4)
                    kept = {k: v for k, v in model.state_dict().items() if "vision_tower" not in k}
                    state = {
                        "model": kept,
                        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                        "seen": seen,
                        "epoch": epoch,
                        "spent": time.monotonic() - began,
                        "step": step,
                        "group": number + 1,
                    }
                    with atomic_path(last) as partial:
                        torch.save(state, partial)
                print(json.dumps(line), file=log, flush=True)
                losses = []
        epoch, group_in_epoch = epoch + 1, 0
    figures = {"val_loss": round(validate(model, tokens, held_out), 4), "tokens_seen": seen}
    print(json.dumps(figures), file=log, flush=True)
    model.set_attn_implementation({"text_config": "sdpa"})
    model.to(torch.bfloat16).eval().save_pretrained(work / "base", max_shard_size="20MB")
    processor.save_pretrained(work / "base")
    return figures
