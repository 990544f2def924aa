"""The vision tower with one head for each thing that is known of a face.

The heads see only the mean of the patch tokens, which is all of the image that the decoder will be given too.
`train.nano.vision.tuning` trains both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from facellm.weights.device import cpu_has_fast_bfloat16
from train.faces.measures import PIXEL_STATS
from train.nano.vision import faces as data
from train.nano.vision.augment import IMAGE_PX, centre, normalise
from train.nano.vision.pretrained import WIDTH, vision_config
from train.nano.vision.targets import YEARS, Targets

HEADS = {
    "gender": 2,
    "race": 5,
    "age_years": YEARS,
    "age_group": 9,
    "expression": 8,
    "mesh": len(data.MEASUREMENTS),
    "pixels": len(PIXEL_STATS),
    "descriptor": 128,
}


class FaceNet(nn.Module):
    """The tower and a head: pixels (n, 3, 112, 112), normalised -> dict of (n, size) logits or values."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.shared = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 512), nn.GELU(), nn.Dropout(0.1))
        self.heads = nn.ModuleDict({name: nn.Linear(512, size) for name, size in HEADS.items()})

    def forward(self, pixels: torch.Tensor, keep: int | None = None) -> dict[str, torch.Tensor]:
        """With `keep`, only that many patches of each image, drawn at random, pass through the tower (patch dropout,
        Liu et al. 2022: cheaper steps, and a regulariser)."""
        hidden = self.tower.embeddings(pixels)
        if keep:
            drawn = torch.rand(hidden.shape[0], hidden.shape[1] - 1).argsort(1)[:, :keep] + 1
            drawn = torch.cat([torch.zeros(len(drawn), 1, dtype=torch.long), drawn], 1)
            hidden = hidden.gather(1, drawn[:, :, None].expand(-1, -1, hidden.shape[2]))
        hidden = self.tower.encoder(hidden).last_hidden_state
        tokens = self.tower.layernorm(hidden)[:, 1:]
        return self.read(tokens.float().mean(1))

    def read(self, pooled: torch.Tensor) -> dict[str, torch.Tensor]:
        """What the heads say of mean patch tokens (n, 384)."""
        shared = self.shared(pooled)
        return {name: head(shared) for name, head in self.heads.items()}


@torch.no_grad()
def predict(model: FaceNet, faces: data.Faces, rows: np.ndarray) -> dict[str, torch.Tensor]:
    """Outputs on the untouched crops of `rows`."""
    model.eval()
    outputs: list[dict[str, torch.Tensor]] = []
    for start in range(0, len(rows), 128):
        raw = torch.from_numpy(faces.pixels[np.sort(rows[start : start + 128])])
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_fast_bfloat16()):
            outputs.append({k: v.float() for k, v in model(normalise(centre(raw))).items()})
    return {name: torch.cat([out[name] for out in outputs]) for name in HEADS}


def validate(model: FaceNet, faces: data.Faces, targets: Targets) -> dict[str, float]:
    """Accuracies on `val`: gender, race of 5 and of 4, age group of 9 and among 4 neighbours, expression balanced over
    the six frequent ones, mean absolute error of age in years and of yaw in degrees."""
    rows = np.flatnonzero(~faces.is_train)
    out = predict(model, faces, rows)
    truth = {name: column[torch.from_numpy(rows)] for name, column in targets.columns.items()}
    result: dict[str, float] = {}
    for name in ("gender", "race", "age_group"):
        known = truth[name] >= 0
        result[name] = (out[name][known].argmax(1) == truth[name][known]).float().mean().item()
    four = (truth["race"] >= 0) & (truth["race"] < 4)
    result["race_of_4"] = (out["race"][four][:, :4].argmax(1) == truth["race"][four]).float().mean().item()
    aged = truth["age_group"] >= 0
    starts = (truth["age_group"][aged] - 2).clamp(0, 5)
    window = out["age_group"][aged].gather(1, starts[:, None] + torch.arange(4))
    result["age_of_4"] = (window.argmax(1) + starts == truth["age_group"][aged]).float().mean().item()
    recalls = []
    for label in range(6):
        own = truth["expression"] == label
        recalls.append((out["expression"][own][:, :6].argmax(1) == label).float().mean().item())
    result["expression_balanced_6"] = float(np.mean(recalls))
    years = (out["age_years"].softmax(1) * torch.arange(YEARS)).sum(1)
    result["age_mae_years"] = (years[aged] - truth["age_years"][aged]).abs().mean().item()
    yaw, known = targets.mesh[torch.from_numpy(rows), 0], ~targets.mesh[torch.from_numpy(rows), 0].isnan()
    predicted = out["mesh"][:, 0] * targets.mesh_std[0] + targets.mesh_mean[0]
    result["yaw_mae_deg"] = (predicted[known] - yaw[known]).abs().mean().item()
    return {name: round(value, 4) for name, value in result.items()}


def load_encoder(work: Path) -> FaceNet:
    """The tower and heads of `encoder.pt`."""
    from transformers import InternVLVisionModel

    saved = torch.load(work / "encoder.pt", weights_only=True)
    model = FaceNet(InternVLVisionModel(vision_config(IMAGE_PX)))
    model.load_state_dict(saved["model"])
    return model.eval()
