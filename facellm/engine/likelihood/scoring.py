"""Log-likelihoods of many short labels of many questions, in one forward pass.

A row of the pass is [prefix | question, its labels | question, its labels | ...], behind what is cached already. A
block mask lets a label see the prefix, its question and itself, and positions restart at the prefix's end and at the
question's, so that every label gets exactly the likelihood that it would get alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from facellm.engine.kv_cache import common_prefix
from facellm.engine.network import Network

HEAD_ROWS = 256  # positions whose logits are computed at once: 256 x 151,674 float32 are 155 MB


class PackedRow:
    """Questions about the same images in one row.

    Attributes:
        shared: Tokens at the row's beginning that all its questions see.
        ids: Token ids. A label's last token is predicted and need not be read.
        positions: Of the tokens.
        targets: For each label's each token (place in the row that predicts it, token, question, label).
        counts: Labels of each question.
    """

    def __init__(
        self, prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[Sequence[int]]], cached: int = 0
    ) -> None:
        """Lays out a row.

        Args:
            prompts: Token ids of each question, without what is cached.
            labels: Token ids of each question's labels.
            cached: Tokens before this row in the KV cache.
        """
        # A question alone shares nothing; of several, each keeps a last token of its own to predict from.
        self.shared = min(common_prefix(prompts), min(map(len, prompts)) - 1) if len(prompts) > 1 else 0
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.targets: list[tuple[int, int, int, int]] = []
        self.counts = [len(own) for own in labels]
        self._blocks: list[tuple[int, int]] = []  # of each token: question (-1: all), label (0: the question itself)
        self._append(prompts[0][: self.shared], cached, (-1, 0))
        for question, (prompt, own) in enumerate(zip(prompts, labels, strict=True)):
            self._append(prompt[self.shared :], cached + self.shared, (question, 0))
            last = len(self.ids) - 1
            for number, label in enumerate(own):
                places = (last, *range(len(self.ids), len(self.ids) + len(label) - 1))
                self.targets += [(p, token, question, number) for p, token in zip(places, label, strict=True)]
                self._append(label[:-1], cached + len(prompt), (question, number + 1))

    def _append(self, ids: Sequence[int], position: int, block: tuple[int, int]) -> None:
        self.ids += ids
        self.positions += range(position, position + len(ids))
        self._blocks += [block] * len(ids)

    def visible(self) -> torch.Tensor:
        """Returns (tokens, tokens) bool, True where the row's token may look at the column's."""
        question, label = torch.tensor(self._blocks).T
        own = (question[:, None] == question) & ((label == 0) | (label[:, None] == label))
        return ((question < 0) | own).tril()


@torch.inference_mode()
def score_rows(
    network: Network,
    rows: Sequence[PackedRow],
    adapters: Sequence[bool],
    cache: DynamicCache,
    features: torch.Tensor | None = None,
) -> list[list[list[float]]]:
    """Scores all labels of all rows in one pass.

    Args:
        network: The model.
        rows: What is read.
        adapters: For each row, whether the adapter applies.
        cache: What stands before the rows, one row for each; may be empty.
        features: Of the image placeholders in the rows, in their order, (placeholders, hidden).

    Returns:
        For each row, question and label the sum of its tokens' log-probabilities in nats.
    """
    device, cached = network.device, cache.get_seq_length()
    n, width = len(rows), max(len(row.ids) for row in rows)
    ids = torch.full((n, width), rows[0].ids[-1])  # the padding: any token but a placeholder, and prompts end with text
    positions = torch.zeros(n, width, dtype=torch.long)
    mask = torch.zeros(n, 1, width, cached + width, dtype=torch.bool)
    mask[..., : max(cached, 1)] = True  # for the padding too, so that its softmax is never over nothing
    for i, row in enumerate(rows):
        t = len(row.ids)
        ids[i, :t], positions[i, :t] = torch.tensor(row.ids), torch.tensor(row.positions)
        mask[i, 0, :t, cached : cached + t] = row.visible()
    embeddings = network.embed(ids.to(device), features)
    hidden = network.forward(embeddings, mask.to(device), positions.to(device), cache, adapters)
    targets = [(i, *target) for i, row in enumerate(rows) for target in row.targets]
    picked = hidden[[t[0] for t in targets], [t[1] for t in targets]]  # (targets, hidden)
    tokens = torch.tensor([t[2] for t in targets], device=device)
    gained: list[float] = []
    for part, token in zip(picked.split(HEAD_ROWS), tokens.split(HEAD_ROWS), strict=True):
        logits = network.model.lm_head(part).float()
        gained += (logits.gather(1, token[:, None])[:, 0] - logits.logsumexp(-1)).tolist()
    scores = [[[0.0] * count for count in row.counts] for row in rows]
    for (i, _, _, question, label), value in zip(targets, gained, strict=True):
        scores[i][question][label] += value
    return scores
