"""Why an answer was given: which regions of the image it hangs on, and what the model would say without the image.

A region's influence is what the answer's log-odds lose when the image tokens of that region are replaced by the mean
of all image tokens: occlusion (Zeiler and Fergus 2014, arXiv 1311.2901), done on what the decoder reads. The image is
encoded once, and all regions are scored as rows of one batch.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from facellm.engine.kv_cache import filled_cache
from facellm.engine.likelihood.scoring import PackedRow, score_rows
from facellm.errors import FaceLLMError, StoppedError
from facellm.messages import build_messages, label_ids, prompt_ids

if TYPE_CHECKING:
    from PIL import Image

    from facellm.engine.engine import Engine
    from facellm.engine.network import Network

# Regions that are scored while everybody else's answers wait: each costs a prefill of the whole picture.
ROWS_AT_ONCE = 8


def occluded_scores(
    engine: Engine,
    image: Image.Image,
    question: str,
    labels: Sequence[str],
    variant: str,
    side: int,
    cancel: threading.Event | None = None,
) -> torch.Tensor:
    """Scores the labels with the whole image, and with each region of it hidden.

    Args:
        engine: Whose model is asked.
        image: An RGB image, shown as one tile.
        question: What is asked.
        labels: What is scored.
        variant: "base" or "facellm".
        side: Regions a side; there are side * side.
        cancel: Ends the work soon after it is set.

    Returns:
        (1 + side * side, labels) log-likelihoods in nats: the whole image first, then the regions row by row.

    Raises:
        FaceLLMError: Where the model's image tokens cannot be divided so.
        StoppedError: Once `cancel` is set.
    """
    network = engine.networks[variant]
    adapter = variant == "facellm" and network.switch is not None
    prompt = prompt_ids(engine.processor, build_messages(question))
    row = PackedRow([prompt], [[label_ids(engine.processor, label) for label in labels]])
    found: list[list[float]] = []

    def encode() -> torch.Tensor:
        features = network.encode(engine.processor.pixels(image)).flatten(0, 1)
        return torch.stack([features, *hidden_regions(features, side)])

    def score(part: torch.Tensor) -> None:
        scores = score_rows(network, [row] * len(part), [adapter] * len(part), filled_cache(), part.flatten(0, 1))
        found.extend(one[0] for one in scores)

    for part in engine.scheduler.exclusive(encode).split(ROWS_AT_ONCE):
        if cancel is not None and cancel.is_set():
            raise StoppedError("The explanation was stopped.")
        engine.scheduler.exclusive(partial(score, part))
    return torch.tensor(found, dtype=torch.float64)


def hidden_regions(features: torch.Tensor, side: int) -> list[torch.Tensor]:
    """Returns the features with each region's tokens replaced by the mean of all.

    Args:
        features: (image tokens, hidden) of one square tile, row by row.
        side: Regions a side; at most as many as tokens. Where they do not divide evenly, some are a token larger.

    Returns:
        side * side tensors like `features`.

    Raises:
        FaceLLMError: For tokens that are no square, or fewer a side than `side`.
    """
    tokens = math.isqrt(len(features))
    if tokens * tokens != len(features) or not 1 <= side <= tokens:
        raise FaceLLMError(f"This model's {len(features)} image tokens cannot be divided into {side} x {side} regions.")
    edges = [round(i * tokens / side) for i in range(side + 1)]
    grid, mean = features.view(tokens, tokens, -1), features.mean(0)
    found = []
    for top, bottom in pairwise(edges):
        for left, right in pairwise(edges):
            copy = grid.clone()
            copy[top:bottom, left:right] = mean
            found.append(copy.view_as(features))
    return found


def influence(scores: Sequence[Sequence[float]], label: int, side: int) -> list[list[float]]:
    """Returns what a label's log-odds lose when each region is hidden.

    Args:
        scores: (1 + side * side, labels) in nats, as of `occluded_scores`, calibrated or not.
        label: Index of the label.
        side: Regions a side.

    Returns:
        (side, side) in nats; above 0 where the region speaks for the label, below 0 where it speaks against it.
    """
    logs = torch.as_tensor(scores, dtype=torch.float64).log_softmax(-1)
    others = torch.cat([logs[:, :label], logs[:, label + 1 :]], -1).logsumexp(-1)
    odds = logs[:, label] - others
    return (odds[0] - odds[1:]).view(side, side).tolist()


def tokens_a_side(network: Network) -> int:
    """Returns how many image tokens one tile has on a side."""
    return math.isqrt(network.model.config.image_seq_length)
