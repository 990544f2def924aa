"""Begins the connector as a reader: image tokens that stand for the words of what the tower knows.

A decoder that has never seen a picture understands its own words. So, before it is trained through the decoder, the
connector is fitted to put, in the image's tokens in turn, the embedding of a word for each fact: "woman", "thirties",
"dark hair", "no glasses". Squared error makes a token the mean of the words that may hold, by their probability; a
cross-entropy over a fact's words keeps them apart. Costs minutes, and no pass through the decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from train.mini.dense_facts import FACTS
from train.mini.vision.token_cache import Features

RATE, BATCH = 2e-3, 48
SEPARATION = 0.3  # weight of the cross-entropy beside the squared error, which is 1 for a constant guess


@dataclass(frozen=True)
class Slots:
    """share: (facts, image tokens) how much of each token stands for each fact; rows sum to 1.

    words: for each fact, (words, width) the embeddings of its words.
    """

    share: torch.Tensor
    words: tuple[torch.Tensor, ...]


def layout(facts: int, tokens: int) -> torch.Tensor:
    """(facts, tokens) which tokens each fact has: neighbours in reading order, and shared ones where there are too few
    tokens."""
    if tokens >= facts:
        owner = torch.arange(tokens) * facts // tokens
        share = F.one_hot(owner, facts).T.float()
    else:
        share = F.one_hot(torch.arange(facts) * tokens // facts, tokens).float()
    return share / share.sum(1, keepdim=True)


def make(embeddings: torch.Tensor, tokenizer, tokens: int, names: Sequence[str] = tuple(FACTS)) -> Slots:
    """The slots of facts `names`; a word of several tokens is the mean of their embeddings (vocabulary, width)."""
    words = []
    for name in names:
        ids = [tokenizer(f" {shown}", add_special_tokens=False)["input_ids"] for _, shown in FACTS[name].words.values()]
        words.append(torch.stack([embeddings[row].float().mean(0) for row in ids]))
    return Slots(layout(len(names), tokens), tuple(words))


def loss_of(made: torch.Tensor, truth: torch.Tensor, slots: Slots) -> torch.Tensor:
    """made: (n, tokens, width) what the connector gives.  truth: (n, facts) places of words, -1 unknown."""
    total, count = made.new_zeros(()), 0
    for fact, words in enumerate(slots.words):
        known = truth[:, fact] >= 0
        if not known.any():
            continue
        own = slots.share[fact] > 0
        wanted = words[truth[known, fact]]
        spread = (words - words.mean(0)).pow(2).mean().clamp_min(1e-8)
        error = (made[known][:, own] - wanted[:, None]).pow(2).mean() / spread
        total = total + error + SEPARATION * F.cross_entropy(scores(made[known], fact, slots), truth[known, fact])
        count += 1
    return total / max(1, count)


def scores(made: torch.Tensor, fact: int, slots: Slots) -> torch.Tensor:
    """(n, words): how near the fact's tokens are to each of its words, as logits."""
    words = slots.words[fact]
    mean = torch.einsum("ntd,t->nd", made, slots.share[fact])
    spread = (words - words.mean(0)).pow(2).sum(1).mean().clamp_min(1e-8)
    return -torch.cdist(mean, words).pow(2) / spread * 4


def fit(
    connector: nn.Module,
    features: Features,
    names: np.ndarray,
    truth: np.ndarray,
    slots: Slots,
    *,
    epochs: int = 4,
    seed: int = 0,
) -> float:
    """Fits the connector; names (n,) and truth (n, facts) of the training faces. Returns the last epoch's mean loss."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    batch = min(BATCH, len(names))
    per_epoch = len(names) // batch
    optimizer = torch.optim.AdamW(connector.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=epochs * per_epoch, pct_start=0.1)
    connector.train()
    losses: list[float] = []
    for _ in range(epochs):
        losses = []
        for rows in np.array_split(rng.permutation(len(names))[: per_epoch * batch], per_epoch):
            loss = loss_of(connector(features.of(names[rows])), torch.from_numpy(truth[rows]), slots)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(connector.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    connector.eval()
    return float(np.mean(losses))


@torch.inference_mode()
def right(
    connector: nn.Module,
    features: Features,
    names: np.ndarray,
    truth: np.ndarray,
    slots: Slots,
    facts: Sequence[str] = tuple(FACTS),
) -> dict[str, float]:
    """Share of faces whose nearest word is the right one, by fact."""
    made = torch.cat([connector(features.of(part)) for part in np.array_split(names, max(1, len(names) // 64))])
    found = {}
    for fact, name in enumerate(facts):
        known = torch.from_numpy(truth[:, fact] >= 0)
        if known.any():
            guess = scores(made[known], fact, slots).argmax(1)
            found[name] = round((guess == torch.from_numpy(truth)[known, fact]).float().mean().item(), 4)
    return found
