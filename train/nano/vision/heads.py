"""Heads for a tower that has none: what it takes to go on from shipped weights, which hold no heads.

The tower itself stays as it is; tuning both together is `train.nano.vision.tuning`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForImageTextToText

from train.nano.vision.targets import Targets, loss_of
from train.nano.vision.tower import FaceNet
from train.nano.vision.tuning import POLISH


def bare_net(folder: Path) -> FaceNet:
    """The tower of the InternVL in `folder` (Hugging Face format), under heads that are still random."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    return FaceNet(model.model.vision_tower).eval()


def fit(
    net: FaceNet,
    pooled: torch.Tensor,
    rows: np.ndarray,
    targets: Targets,
    mesh: torch.Tensor,
    stats: torch.Tensor,
    draws: torch.Tensor,
    *,
    epochs: int = 12,
    batch: int = 256,
    rate: float = 1e-3,
    seed: int = 0,
) -> float:
    """Fits the heads, by the loss that the tower was tuned with, and returns the mean loss of the last epoch.

    pooled (v, 384): mean patch token of each training view.  rows (v,): its face.  mesh (v, 13) and stats (v, 5): the
    view's measurements (NaN where unknown) and pixel statistics.  draws (v,): how often a view is drawn, relatively.
    """
    torch.manual_seed(seed)
    heads = [weight for name, weight in net.named_parameters() if not name.startswith("tower.")]
    optimizer = torch.optim.AdamW(heads, lr=rate, weight_decay=0.05)
    steps = epochs * (len(pooled) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    index = torch.from_numpy(rows)
    net.train()
    for _ in range(epochs):
        losses = []
        for chosen in draws.multinomial(len(pooled) // batch * batch, replacement=True).split(batch):
            out = net.read(pooled[chosen])
            target = targets.of(index[chosen], mesh[chosen], stats[chosen])
            loss = sum(loss_of(out, target, POLISH.weights).values())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    net.eval()
    return float(np.mean(losses))
