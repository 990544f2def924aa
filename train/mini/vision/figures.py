"""What the tower's readers get right: the table that resolutions and cycles are chosen by.

Figures are 0..1 unless the name ends in `_years` or `_deg`; each is over the faces of which that thing is known.
"""

from __future__ import annotations

import numpy as np
import torch

from train.faces.measures import MEASUREMENTS, YAW_FRONTAL_DEG, YAW_TURNED_DEG
from train.mini.vision.targets import TAG, Targets
from train.nano.vision.targets import YEARS
from train.seen.known import tags

YAW = MEASUREMENTS.index("yaw_deg")
FREQUENT_EXPRESSIONS = 6  # contempt and fear are too rare in the set to count
# Traits that people ask for, as one question with yes or no.
YES_OR_NO = ("facial_hair", "glasses", "headwear", "makeup", "earrings", "covering", "teeth", "hair_tied")


def table(out: dict[str, torch.Tensor], targets: Targets, rows: np.ndarray) -> dict[str, float]:
    """All figures of faces `rows`."""
    index = torch.from_numpy(rows)
    truth = {name: column[index] for name, column in targets.columns.items()}
    figures = _labels(out, truth) | _pose(out["mesh"], targets, index)
    for name in tags.FIELDS:
        known = truth[TAG + name] >= 0
        if known.any():
            figures[name] = _share(out[TAG + name][known].argmax(1) == truth[TAG + name][known])
    for name in YES_OR_NO:
        figures |= _yes_or_no(name, out[TAG + name], truth[TAG + name])
    return {name: round(float(value), 4) for name, value in figures.items()}


def face_or_not(of_faces: torch.Tensor, of_others: dict[str, torch.Tensor]) -> dict[str, float]:
    """How many faces are called none ("faces_missed"), and of each kind of picture without a face, how many are called
    so ("none_KIND"). Readings of head `FACE`, (n, 2)."""
    figures = {"faces_missed": _share(of_faces.argmax(1) == 0)}
    figures |= {f"none_{kind}": _share(logits.argmax(1) == 0) for kind, logits in of_others.items()}
    return {name: round(value, 4) for name, value in figures.items()}


def _share(right: torch.Tensor) -> float:
    return right.float().mean().item() if len(right) else float("nan")


def _labels(out: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]) -> dict[str, float]:
    figures = {}
    for name in ("gender", "race", "age_group"):
        known = truth[name] >= 0
        figures[name] = _share(out[name][known].argmax(1) == truth[name][known])
    four = (truth["race"] >= 0) & (truth["race"] < 4)
    figures["race_of_4"] = _share(out["race"][four][:, :4].argmax(1) == truth["race"][four])
    aged = truth["age_group"] >= 0
    figures["age_of_4"] = _among_neighbours(out["age_group"][aged], truth["age_group"][aged])
    years = (out["age_years"].softmax(1) * torch.arange(YEARS)).sum(1)
    figures["age_mae_years"] = (years[aged] - truth["age_years"][aged]).abs().mean().item()
    recalls = []
    for label in range(FREQUENT_EXPRESSIONS):
        own = truth["expression"] == label
        if own.any():
            recalls.append(_share(out["expression"][own][:, :FREQUENT_EXPRESSIONS].argmax(1) == label))
    figures["expression_balanced_6"] = float(np.mean(recalls)) if recalls else float("nan")
    return figures


def _among_neighbours(logits: torch.Tensor, truth: torch.Tensor, wanted: int = 4) -> float:
    """Accuracy among `wanted` neighbouring groups of which one is right, over all such windows, as the tasks draw them
    (`train.faces.tasks`)."""
    groups, shares = logits.shape[1], []
    for first in range(groups - wanted + 1):
        inside = (truth >= first) & (truth < first + wanted)
        right = logits[inside][:, first : first + wanted].argmax(1) + first == truth[inside]
        # A face counts as one, whether one window holds its group or four.
        windows = torch.minimum(truth, torch.tensor(groups - wanted)) - (truth - wanted + 1).clamp(min=0) + 1
        shares.append((right.float() / windows[inside]).sum())
    return (torch.stack(shares).sum() / max(1, len(truth))).item() if len(truth) else float("nan")


def _pose(mesh: torch.Tensor, targets: Targets, index: torch.Tensor) -> dict[str, float]:
    """Yaw's mean error, and left, right or frontal among heads that are clearly one of them."""
    yaw = targets.mesh[index, YAW]
    predicted = mesh[:, YAW] * targets.mesh_std[YAW] + targets.mesh_mean[YAW]
    known = ~yaw.isnan()
    clear = known & ((yaw.abs() <= YAW_FRONTAL_DEG) | (yaw.abs() >= YAW_TURNED_DEG))
    middle = (YAW_FRONTAL_DEG + YAW_TURNED_DEG) / 2

    def side(degrees: torch.Tensor) -> torch.Tensor:
        return torch.where(degrees.abs() < middle, 0.0, degrees.sign())

    return {
        "yaw_mae_deg": (predicted[known] - yaw[known]).abs().mean().item(),
        "head_pose": _share(side(predicted[clear]) == side(yaw[clear])),
    }


def _yes_or_no(name: str, logits: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Accuracy and F1 of "is there any": the probabilities of all words that say so are added up."""
    known = truth >= 0
    if not known.any():
        return {}
    absent = torch.tensor([word in tags.ABSENT[name] for word in tags.WORDS[name]])
    says = logits[known].softmax(1)[:, ~absent].sum(1) > 0.5
    holds = ~absent[truth[known]]
    both = (says & holds).sum()
    return {
        f"{name}_yes_no": _share(says == holds),
        f"{name}_f1": (2 * both / (says.sum() + holds.sum()).clamp_min(1)).item(),
    }
