"""Stage between base and words: a projector that passes on, louder, what the tower's heads read.

What the decoder learns of a face is near to what a linear reader of the mean image token can tell: of a head's
direction that was right in 95 % of the held-out faces, balanced, where a reader of all the tower's tokens is in 97.5 %.
Here the projector alone is trained, towards its own output plus the part of its mean token that the heads' readings
explain. That doubles this part in the place where the decoder already looks for it, cleans it of what the heads do not
believe, and lets a linear reader of the mean tell a pose (docs/research/nano.md has the figures).

`python -m train.nano projector`: changes the projector in `work/base`, adds figures to `projector.jsonl`. Run twice, it
makes louder twice: begin with the base that `train.nano base` wrote.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import InternVLForConditionalGeneration

from facellm.weights.device import cpu_has_fast_bfloat16
from train.faces.facts import pose_of
from train.faces.measures import MEASUREMENTS, YAW_FRONTAL_DEG, YAW_TURNED_DEG
from train.nano.base import Tokens
from train.nano.language.corpus import Views
from train.nano.vision import faces
from train.reports.stats import softmax

GAIN = 1.0  # how much of the explained part is added; half was as good for an adapter trained before, 2 worse
EPOCHS, BATCH, RATE = 7, 256, 2e-3
TURNED_DRAWS = 2.5  # how often a turned head is drawn beside a frontal one; one in six is turned
MEAN_WEIGHT, POSE_WEIGHT = 3.0, 18.0  # of the mean token's error and the pose's cross-entropy, beside the tokens' error
YAW_DEG, PITCH_DEG = 10.0, 6.0  # a head's turn is coded as tanh(degrees / this): a side, not an angle
RIDGE = 0.01  # per view; the readings are partly the same (softmax columns add up)
POSE_GAIN = 1.0  # how much of the pose's reading is added at the end
# Of the reader's classes (`poses`): which side, and whether frontal.
POSE_CONTRASTS = torch.tensor([[0.0, 1.0, -1.0], [1.0, -0.5, -0.5]])
TURNS = 3  # the last columns of the readings: yaw, frontal or not, pitch
READER_SCALE = 4.0  # the mean token's deviations are about 40 long, in 320 dimensions


def poses(yaw: np.ndarray) -> np.ndarray:
    """(v,) 0 frontal, 1 and 2 turned to either side, -1 between or not measured; degrees in."""
    classes = {"frontal": 0, "left": 1, "right": 2}
    return np.array([classes.get(pose_of(degrees) or "", faces.MISSING) for degrees in yaw])


def readings(views: Views) -> torch.Tensor:
    """(v, k) what is to be heard of each view, standardised over the training views: what the heads say, and last yaw
    and pitch as measured (the head's, where no mesh was fitted), in `TURNS` columns."""
    table = views.table
    yaw, pitch = (
        np.where(np.isnan(table["measurements"][:, axis]), views.mesh[:, axis], table["measurements"][:, axis])
        for axis in (MEASUREMENTS.index("yaw_deg"), MEASUREMENTS.index("pitch_deg"))
    )
    turns = (np.tanh(yaw / YAW_DEG), np.abs(yaw) < (YAW_FRONTAL_DEG + YAW_TURNED_DEG) / 2, np.tanh(pitch / PITCH_DEG))
    said = [softmax(table["gender"])[:, 1:], *(softmax(table[name]) for name in ("race", "expression", "age_group"))]
    said += [table["mesh"][:, 2:], table["pixels"].clip(-3, 3), np.stack(turns, 1)]
    return _standard(torch.from_numpy(np.concatenate(said, 1).astype(np.float32)), torch.from_numpy(views.train))


def _standard(columns: torch.Tensor, train: torch.Tensor) -> torch.Tensor:
    return (columns - columns[train].mean(0)) / columns[train].std(0).clamp_min(1e-6)


def _places(means: torch.Tensor, read: torch.Tensor, train: torch.Tensor) -> torch.Tensor:
    """(k, d) where in the mean tokens (v, d) each of the readings (v, k) stands, by ridge regression."""
    x, y = read[train], means[train] - means[train].mean(0)
    return torch.linalg.solve(x.T @ x + RIDGE * len(x) * torch.eye(x.shape[1]), x.T @ y)


def explained(means: torch.Tensor, read: torch.Tensor, train: torch.Tensor) -> torch.Tensor:
    """(v, d) the part of the mean tokens, as a deviation, that the readings explain."""
    return read @ _places(means, read, train)


@torch.no_grad()
def louder_pose(
    projector: nn.Module, reader: nn.Linear, means: torch.Tensor, read: torch.Tensor, train: torch.Tensor
) -> None:
    """Adds to every token, where a pose stands in it, what the linear reader of the pose says of that token: which
    side, and whether turned at all. Reader and addition are linear, so the projector's second layer takes both in.

    means (v, d): the projector's mean tokens, as deviations from their centre what the reader was fitted to.
    read (v, k): the other readings, so that what only goes along with a turned head (grey crops) is not added too.
    """
    centre = means[train].mean(0)
    asked = POSE_CONTRASTS @ reader.weight / READER_SCALE
    scores = (means - centre) @ asked.T
    spread = scores[train].std(0)
    places = _places(means, torch.cat([scores / spread, read], 1), train)[: len(asked)]
    turn = POSE_GAIN * places.T @ (asked / spread[:, None])
    last = projector.linear_2
    last.bias += turn @ (last.bias - centre)
    last.weight += turn @ last.weight


@torch.no_grad()
def mean_tokens(projector: nn.Module, tokens: Tokens, views: int) -> torch.Tensor:
    """(views, 320) the mean projected token of every view."""
    parts = np.array_split(np.arange(views), max(1, views // BATCH))
    return torch.cat([projector(tokens(part)).mean(1) for part in parts])


def train(folder: Path, work: Path, *, epochs: int = EPOCHS, seed: int = 0) -> dict[str, float]:
    """Trains the projector and writes the model back. Returns, on the held-out views, the share of the wished change
    that came about (R²) and the accuracy of the linear reader of the pose, balanced over frontal, left and right."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    views = Views(folder, work)
    # Opened in the format that it is kept in, so that its config goes on naming that.
    model = InternVLForConditionalGeneration.from_pretrained(work / "base", dtype=torch.bfloat16).float()
    tokens = Tokens(work, model)
    old = model.model.multi_modal_projector.requires_grad_(False)
    new = copy.deepcopy(old).requires_grad_(True).train()
    kept = torch.from_numpy(views.train)
    before = mean_tokens(old, tokens, len(views))
    read = readings(views)
    centre, wished = before[kept].mean(0), GAIN * explained(before, read, kept)
    pose = torch.from_numpy(poses(views.table["measurements"][:, MEASUREMENTS.index("yaw_deg")]))
    reader = nn.Linear(before.shape[1], 3)
    optimizer = torch.optim.AdamW([*new.parameters(), *reader.parameters()], RATE, weight_decay=0.0)
    rows = np.flatnonzero(views.train)
    batch = min(BATCH, len(rows))
    steps = epochs * (len(rows) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    draws = np.where(pose[kept].numpy() > 0, TURNED_DRAWS, 1.0)
    for _ in range(steps):
        chosen = np.sort(rng.choice(rows, batch, p=draws / draws.sum()))
        picked = tokens(chosen)
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_fast_bfloat16()):
            change = (new(picked) - old(picked)).float()
        means, wish = change.mean(1), wished[chosen]
        said = reader((before[chosen] + means - centre) / READER_SCALE)
        known = pose[chosen] != faces.MISSING
        loss = (change - wish[:, None]).pow(2).mean() + MEAN_WEIGHT * (means - wish).pow(2).mean()
        if known.any():
            loss = loss + POSE_WEIGHT * nn.functional.cross_entropy(said[known], pose[chosen][known])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    after = mean_tokens(new.eval(), tokens, len(views))
    figures = _figures(after - before, wished, reader((after - centre) / READER_SCALE), pose, ~kept)
    louder_pose(new, reader, after, read[:, :-TURNS], kept)
    with (work / "projector.jsonl").open("a") as log:
        print(json.dumps({"steps": steps} | figures), file=log)
    model.model.multi_modal_projector = new.requires_grad_(False)
    model.to(torch.bfloat16).eval().save_pretrained(work / "base", max_shard_size="20MB")
    return figures


@torch.no_grad()
def _figures(
    change: torch.Tensor, wished: torch.Tensor, said: torch.Tensor, pose: torch.Tensor, held_out: torch.Tensor
) -> dict[str, float]:
    missed = (change - wished)[held_out].pow(2).sum() / wished[held_out].pow(2).sum()
    truth, guess = pose[held_out], said[held_out].argmax(1)
    recalls = [(guess[truth == label] == label).float().mean().item() for label in range(3) if (truth == label).any()]
    return {"realised": round(1 - missed.item(), 4), "pose": round(float(np.mean(recalls or [0.0])), 4)}
