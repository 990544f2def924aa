"""What the tower is tuned on, as tensors, the joint loss over all of it, and the rows of an epoch."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from facellm.labels import EXPRESSIONS
from train.faces.measures import pixel_stats
from train.nano.vision import faces as data

YEARS = 101
AGE_SIGMA = 2.5  # years; width of the soft age target
# Draws per epoch for a set's images: rare expressions are seen more often, the two frequent ones less.
EXPRESSION_DRAWS = {
    "neutral": 1300,
    "happiness": 1300,
    "surprise": 1100,
    "sadness": 1000,
    "anger": 1000,
    "disgust": 800,
    "fear": 120,
    "contempt": 60,
}


def loss_of(
    out: dict[str, torch.Tensor], target: dict[str, torch.Tensor], weights: dict[str, float]
) -> dict[str, torch.Tensor]:
    """The terms of the joint loss, each already weighted. Missing labels (-1, NaN) take no part."""
    terms: dict[str, torch.Tensor] = {}
    for name in ("gender", "race", "age_group", "expression"):
        if (target[name] >= 0).any():
            terms[name] = F.cross_entropy(out[name], target[name], ignore_index=data.MISSING, label_smoothing=0.05)
    aged = target["age_years"] >= 0
    if aged.any():
        years, truth = torch.arange(YEARS).float(), target["age_years"][aged].clamp(max=YEARS - 1)
        soft = torch.softmax(-0.5 * ((years - truth[:, None]) / AGE_SIGMA) ** 2, dim=1)
        log_p = out["age_years"][aged].log_softmax(1)
        expected = (log_p.exp() * years).sum(1)
        terms["age_years"] = 0.4 * -(soft * log_p).sum(1).mean() + 0.05 * F.l1_loss(expected, truth)
    for name in ("mesh", "pixels"):
        known = ~target[name].isnan().any(1)
        if known.any():
            terms[name] = F.smooth_l1_loss(out[name][known], target[name][known], beta=0.5)
    known = ~target["descriptor"].isnan().any(1)
    if known.any():
        terms["descriptor"] = (1 - F.cosine_similarity(out["descriptor"][known], target["descriptor"][known])).mean()
    return {name: weights[name] * term for name, term in terms.items()}


class Targets:
    """Labels of all faces as tensors, the measurements standardised over the training images."""

    def __init__(self, faces: data.Faces) -> None:
        train = faces.measurements[faces.is_train]
        self.mesh_mean = torch.from_numpy(np.nanmean(train, 0))
        self.mesh_std = torch.from_numpy(np.nanstd(train, 0))
        self.mesh = torch.from_numpy(faces.measurements)
        self.columns = {
            name: torch.from_numpy(getattr(faces, name).copy())
            for name in ("gender", "race", "age_group", "age_years", "expression")
        }
        self.descriptor = torch.from_numpy(faces.descriptors.astype(np.float32))

    def at(self, rows: torch.Tensor, mesh: torch.Tensor, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Targets of faces `rows` as these pixels show them."""
        return self.of(rows, mesh, pixel_stats(pixels))

    def of(self, rows: torch.Tensor, mesh: torch.Tensor, stats: torch.Tensor) -> dict[str, torch.Tensor]:
        """Targets of faces `rows` whose pixels were measured already."""
        target = {name: column[rows] for name, column in self.columns.items()}
        target["mesh"] = (mesh - self.mesh_mean) / self.mesh_std
        target["pixels"] = stats
        target["descriptor"] = self.descriptor[rows]
        return target


def epoch_rows(faces: data.Faces, rng: np.random.Generator, draws: float = 1.0) -> np.ndarray:
    """Rows of one epoch, shuffled: every UTKFace training image once, expressions drawn by `EXPRESSION_DRAWS`."""
    drawn = [np.flatnonzero(faces.is_train & (faces.gender >= 0))]
    for name, count in EXPRESSION_DRAWS.items():
        rows = np.flatnonzero(faces.is_train & (faces.expression == EXPRESSIONS.index(name)))
        count = round(count * draws)
        drawn.append(rng.choice(rows, count, replace=count > len(rows)))
    return rng.permutation(np.concatenate(drawn))
