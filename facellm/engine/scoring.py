"""Log-likelihoods of many short continuations of many questions, in one forward pass.

Input: a network, prompts, continuations as token ids. What this file does not know: what the labels mean.

Each row of the pass is [rest of the question | label 1 | label 2 | ...] behind the shared prefix. A block mask lets a
label see the prefix, its question and itself, and its positions restart where the question ends, so every label gets
exactly the likelihood that it would get alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch

from facellm.engine.decode import Network, prefill_prefix
from facellm.engine.kv_cache import PrefixStore, common_prefix

HEAD_ROWS = 256  # positions whose logits are computed at once: 256 x 151,674 float32 are 155 MB


@torch.inference_mode()
def score_rows(
    network: Network,
    prompts: Sequence[Sequence[int]],
    adapters: Sequence[bool],
    features: torch.Tensor,
    continuations: Sequence[Sequence[Sequence[int]]],
    image_key: Hashable,
    store: PrefixStore,
) -> list[list[float]]:
    """Sum of log-probabilities (nats) of each continuation's tokens after its prompt, per row.

    prompts: token ids per row, image placeholders expanded and within the common prefix.  adapters: per row.
    features: (image tokens, hidden).  continuations: per row, token ids with the end mark.
    """
    device = network.device
    shared = min(common_prefix(prompts), min(map(len, prompts)) - 1)
    kinds = sorted(set(adapters))
    cache = prefill_prefix(network, prompts[0][:shared], features, kinds, image_key, store)
    rows = [Layout(prompt[shared:], labels, shared) for prompt, labels in zip(prompts, continuations, strict=True)]
    width = max(len(r.ids) for r in rows)
    n = len(rows)
    ids = torch.full((n, width), prompts[0][0])
    positions = torch.zeros(n, width, dtype=torch.long)
    mask = torch.zeros(n, 1, width, shared + width, dtype=torch.bool)
    mask[..., :shared] = True  # padding sees the prefix too, so that its softmax is never over nothing
    for i, row in enumerate(rows):
        t = len(row.ids)
        ids[i, :t], positions[i, :t] = torch.tensor(row.ids), torch.tensor(row.positions)
        mask[i, 0, :t, shared : shared + t] = row.visible()
    cache.select([kinds.index(a) for a in adapters], shared + width)
    embeddings = network.embed(ids.to(device), None)
    hidden = network.forward(embeddings, mask.to(device), positions.to(device), cache, adapters)
    where = [(i, place, token, j) for i, row in enumerate(rows) for place, token, j in row.targets]
    picked = hidden[[w[0] for w in where], [w[1] for w in where]]  # (targets, hidden)
    tokens = torch.tensor([w[2] for w in where], device=device)
    gained = []
    for part, token in zip(picked.split(HEAD_ROWS), tokens.split(HEAD_ROWS), strict=True):
        logits = network.model.lm_head(part).float()
        gained += (logits.gather(1, token[:, None])[:, 0] - logits.logsumexp(-1)).tolist()
    scores = [[0.0] * len(labels) for labels in continuations]
    for (i, _, _, j), value in zip(where, gained, strict=True):
        scores[i][j] += value
    return scores


class Layout:
    """One row: ids, positions, and for every label's every token the place from which it is predicted.

    targets: (place in the row, token to predict there, label's number).
    """

    def __init__(self, question: Sequence[int], labels: Sequence[Sequence[int]], start: int):
        self.ids, self.positions = list(question), [start + i for i in range(len(question))]
        self.block = [0] * len(question)  # 0: the question; 1, 2, ...: the labels
        self.targets: list[tuple[int, int, int]] = []
        for j, label in enumerate(labels):
            before = len(question) - 1
            for k, token in enumerate(label):
                self.targets.append((before, token, j))
                if k < len(label) - 1:  # the last token is predicted and need not be read
                    before = len(self.ids)
                    self.ids.append(token)
                    self.positions.append(start + len(question) + k)
                    self.block.append(j + 1)

    def visible(self) -> torch.Tensor:
        """(t, t) bool: what came before in the question or in one's own label, and oneself."""
        block = torch.tensor(self.block)
        own = (block[:, None] == block[None, :]) | (block[None, :] == 0)
        return own & torch.ones(len(block), len(block), dtype=torch.bool).tril()
