"""Stage 1 of nano: the vision tower tuned on labels, measurements and face descriptors together.

`python -m train.nano encoder --data DIR --onnx FILE --work DIR` runs the first cycle, with `--polish` the second, which
goes on from `encoder.pt` with gentler augmentation and more weight on the labels. Each writes `encoder.pt` (tower and
heads) and `encoder.jsonl` (losses, validation figures) and resumes from its own `CYCLE.last.pt`.
The heads see only the mean of the patch tokens, which is all of the image that the decoder will be given too.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from train.nano import data
from train.nano.pretrained import WIDTH, load_tower

IMAGE_PX = 112
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as the pretrained tower expects
YEARS = 101
AGE_SIGMA = 2.5  # years; width of the soft age target
GROUP_STARTS = torch.tensor([0, 3, 10, 20, 30, 40, 50, 60, 70])
PIXEL_STATS = ("brightness", "contrast", "sharpness", "saturation", "light_left_minus_right")
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


@dataclass(frozen=True)
class Cycle:
    """One rise and fall of the learning rate.

    rate: peak for the tower; the heads get ten times that.  strength: of the augmentation, 1 is full.
    kept: patches of 64 that pass through the tower until `all_from` of the cycle is done.
    draws: factor on `EXPRESSION_DRAWS`.  weights: of the loss terms.  average: the result is the mean of the weights
    that the cycle began with and those that it ended with (Wortsman et al. 2022), which beat either on `val`.
    """

    name: str
    rate: float
    strength: float
    kept: int
    all_from: float
    draws: float
    weights: dict[str, float]
    average: bool = False


FIRST = Cycle(
    "encoder",
    1e-4,
    1.0,
    40,
    0.55,
    1.0,
    {
        "gender": 1.0,
        "race": 1.0,
        "age_group": 0.7,
        "age_years": 1.0,
        "expression": 1.0,
        "mesh": 1.0,
        "pixels": 0.5,
        "descriptor": 1.5,
    },
)
POLISH = Cycle(
    "polish",
    8e-5,
    0.5,
    48,
    0.4,
    0.6,
    {
        "gender": 1.5,
        "race": 1.5,
        "age_group": 1.2,
        "age_years": 1.0,
        "expression": 1.0,
        "mesh": 0.6,
        "pixels": 0.3,
        "descriptor": 0.8,
    },
    average=True,
)


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
        pooled = self.shared(tokens.float().mean(1))
        return {name: head(pooled) for name, head in self.heads.items()}


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """(n, 3, h, w) in 0..1 -> ImageNet-normalised."""
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    return (pixels - mean) / std


def pixel_stats(pixels: torch.Tensor) -> torch.Tensor:
    """(n, 3, h, w) in 0..1 -> (n, 5): `PIXEL_STATS` of the grey image's middle, each near 0..1."""
    grey = (pixels * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)
    inner = grey[:, 14:-14, 14:-14]
    laplacian = (
        inner[:, 1:-1, 1:-1] * 4 - inner[:, :-2, 1:-1] - inner[:, 2:, 1:-1] - inner[:, 1:-1, :-2] - inner[:, 1:-1, 2:]
    )
    half = inner.shape[2] // 2
    return torch.stack(
        [
            inner.mean((1, 2)),
            inner.std((1, 2)) * 4,
            (laplacian.abs().mean((1, 2)) + 1e-4).log() / 4 + 1,
            (pixels.amax(1) - pixels.amin(1)).mean((1, 2)) * 2,
            (inner[:, :, :half].mean((1, 2)) - inner[:, :, half:].mean((1, 2))) * 4,
        ],
        dim=1,
    )


def augment(
    raw: torch.Tensor, mesh: torch.Tensor, rng: torch.Generator, strength: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 (n, s, s, 3) and measurements (n, 13) -> pixels (n, 3, 112, 112) in 0..1 and the measurements that go
    with them: a flip mirrors yaw, roll and the eyes; a rotation adds to roll. Scale and shift vary enough for the
    crops of a detector, which are less well aligned than the sets."""
    count = len(raw)

    def uniform(low: float, high: float) -> torch.Tensor:
        middle = (low + high) / 2  # every range is symmetric about "no change"
        return middle + strength * (torch.rand(count, generator=rng) - 0.5) * (high - low)

    def chance(share: float) -> torch.Tensor:
        return torch.rand(count, generator=rng) < share * strength

    flip, angle, scale = (
        torch.rand(count, generator=rng) < 0.5,
        uniform(-10, 10) * chance(0.6),
        torch.exp(uniform(-0.22, 0.22)),
    )
    shift_x, shift_y = uniform(-0.12, 0.12), uniform(-0.12, 0.12)
    mirror = torch.where(flip, -1.0, 1.0)
    cos, sin = torch.cos(torch.deg2rad(angle)) * scale, torch.sin(torch.deg2rad(angle)) * scale
    affine = torch.stack(
        [torch.stack([cos * mirror, -sin * mirror, shift_x], 1), torch.stack([sin, cos, shift_y], 1)], 1
    )
    source = raw.permute(0, 3, 1, 2).float() / 255
    grid = F.affine_grid(affine, (count, 3, IMAGE_PX, IMAGE_PX), align_corners=False)
    pixels = F.grid_sample(source, grid, mode="bilinear", padding_mode="reflection", align_corners=False)

    def per_image(values: torch.Tensor) -> torch.Tensor:
        return values.view(-1, 1, 1, 1)

    grey = pixels.mean(1, keepdim=True)
    keep_colour = torch.where(chance(0.1), torch.zeros(count), uniform(0.7, 1.3))
    pixels = grey + (pixels - grey) * per_image(keep_colour)
    pixels = (
        pixels
        * (1 + per_image(uniform(-0.1, 0.1)))
        * torch.stack([1 + uniform(-0.04, 0.04) for _ in range(3)], 1)[:, :, None, None]
    )
    middle = pixels.mean((1, 2, 3), keepdim=True)
    pixels = (pixels - middle) * per_image(uniform(0.7, 1.3)) + middle + per_image(uniform(-0.12, 0.12))
    pixels = pixels.clamp(0, 1) ** per_image(torch.exp(uniform(-0.3, 0.3)))
    for side in (40, 64):  # phone photos of small faces, and blur
        chosen = chance(0.07).nonzero().squeeze(1)
        if len(chosen):
            small = F.interpolate(pixels[chosen], size=(side, side), mode="area")
            pixels[chosen] = F.interpolate(small, size=(IMAGE_PX, IMAGE_PX), mode="bilinear", align_corners=False)
    noisy = chance(0.15)
    pixels = pixels + torch.randn(pixels.shape, generator=rng) * per_image(noisy * uniform(0.01, 0.05))
    pixels = pixels.clamp(0, 1)

    mesh = mesh.clone()
    left, right = data.MEASUREMENTS.index("eye_open_left"), data.MEASUREMENTS.index("eye_open_right")
    mesh[flip, 0] *= -1
    mesh[flip, 2] *= -1
    mesh[flip, left], mesh[flip, right] = mesh[flip, right].clone(), mesh[flip, left].clone()
    mesh[:, 2] -= angle * mirror
    return pixels, mesh


def erase(pixels: torch.Tensor, rng: torch.Generator, share: float = 0.25) -> torch.Tensor:
    """Fills one rectangle of a share of the images with a colour (random erasing, Zhong et al. 2020)."""
    for index in (torch.rand(len(pixels), generator=rng) < share).nonzero().squeeze(1).tolist():
        height, width = (torch.randint(14, 44, (2,), generator=rng)).tolist()
        top = int(torch.randint(0, IMAGE_PX - height, (1,), generator=rng))
        left = int(torch.randint(0, IMAGE_PX - width, (1,), generator=rng))
        pixels[index, :, top : top + height, left : left + width] = torch.rand((3, 1, 1), generator=rng)
    return pixels


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
        target = {name: column[rows] for name, column in self.columns.items()}
        target["mesh"] = (mesh - self.mesh_mean) / self.mesh_std
        target["pixels"] = pixel_stats(pixels)
        target["descriptor"] = self.descriptor[rows]
        return target


def epoch_rows(faces: data.Faces, rng: np.random.Generator, draws: float = 1.0) -> np.ndarray:
    """Rows of one epoch, shuffled: every UTKFace training image once, expressions drawn by `EXPRESSION_DRAWS`."""
    drawn = [np.flatnonzero(faces.is_train & (faces.gender >= 0))]
    for name, count in EXPRESSION_DRAWS.items():
        rows = np.flatnonzero(faces.is_train & (faces.expression == data.EXPRESSIONS.index(name)))
        count = round(count * draws)
        drawn.append(rng.choice(rows, count, replace=count > len(rows)))
    return rng.permutation(np.concatenate(drawn))


def centre(raw: torch.Tensor) -> torch.Tensor:
    """uint8 (n, 144, 144, 3) -> (n, 3, 112, 112) in 0..1, the whole crop."""
    return F.interpolate(
        raw.permute(0, 3, 1, 2).float() / 255, size=(IMAGE_PX, IMAGE_PX), mode="bilinear", antialias=True
    )


@torch.no_grad()
def predict(model: FaceNet, faces: data.Faces, rows: np.ndarray) -> dict[str, torch.Tensor]:
    """Outputs on the untouched crops of `rows`."""
    model.eval()
    outputs: list[dict[str, torch.Tensor]] = []
    for start in range(0, len(rows), 128):
        raw = torch.from_numpy(faces.pixels[np.sort(rows[start : start + 128])])
        with torch.autocast("cpu", torch.bfloat16):
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


def train(
    folder: Path,
    onnx: Path,
    work: Path,
    *,
    cycle: Cycle = FIRST,
    epochs: int = 4,
    batch: int = 64,
    seed: int = 0,
    max_minutes: float = math.inf,
) -> dict[str, float]:
    """Runs one cycle and returns the last validation figures: the rate rises over 5 % of it, then falls as a cosine to
    zero. With `max_minutes` the cycle is measured in time, so that it always ends."""
    torch.manual_seed(seed)
    faces = data.load(folder, work)
    targets = Targets(faces)
    model = FaceNet(load_tower(onnx, IMAGE_PX))
    if cycle is not FIRST:
        model.load_state_dict(torch.load(work / "encoder.pt", weights_only=True)["model"])
    model.tower.set_attn_implementation("eager")  # on CPU a step is a fifth faster than with SDPA
    tower = list(model.tower.parameters())
    heads = [p for name, p in model.named_parameters() if not name.startswith("tower.")]
    rates = (cycle.rate, 10 * cycle.rate)
    optimizer = torch.optim.AdamW(
        [{"params": group, "lr": rate, "peak": rate} for group, rate in zip((tower, heads), rates, strict=True)],
        weight_decay=0.05,
        betas=(0.9, 0.98),
    )
    sampler, rng = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    per_epoch = len(epoch_rows(faces, np.random.default_rng(seed), cycle.draws)) // batch
    step, spent, last = 0, 0.0, work / f"{cycle.name}.last.pt"
    if last.exists():
        state = torch.load(last, weights_only=False)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        sampler.bit_generator.state, step, spent = state["sampler"], state["step"], state["spent"]
        rng.set_state(state["rng"])
    total, log = epochs * per_epoch, (work / "encoder.jsonl").open("a")
    began, sums = time.monotonic() - spent, {}
    while step < total:
        rows_of_epoch = epoch_rows(faces, sampler, cycle.draws)
        for at in range(per_epoch):
            spent = time.monotonic() - began
            done = max(step / total, spent / 60 / max_minutes)
            if done >= 1:
                break
            share = min(1.0, done / 0.05) * 0.5 * (1 + math.cos(math.pi * done))
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * share
            rows = np.sort(rows_of_epoch[at * batch : (at + 1) * batch])
            index = torch.from_numpy(rows)
            model.train()
            pixels, mesh = augment(torch.from_numpy(faces.pixels[rows]), targets.mesh[index], rng, cycle.strength)
            target = targets.at(index, mesh, pixels)
            with torch.autocast("cpu", torch.bfloat16):
                erased = erase(pixels, rng, 0.25 * cycle.strength)
                out = model(normalise(erased), keep=cycle.kept if done < cycle.all_from else None)
            terms = loss_of({name: value.float() for name, value in out.items()}, target, cycle.weights)
            loss = sum(terms.values())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
            for name, value in terms.items():
                sums.setdefault(name, []).append(value.item())
            if step % 50 == 0:
                line = {
                    "cycle": cycle.name,
                    "step": step,
                    "of": total,
                    "share_done": round(done, 3),
                    "seconds": round(spent, 1),
                }
                line |= {name: round(float(np.mean(values)), 4) for name, values in sums.items()}
                print(json.dumps(line), file=log, flush=True)
                sums = {}
        line = {
            "cycle": cycle.name,
            "step": step,
            "seconds": round(time.monotonic() - began, 1),
            "val": validate(model, faces, targets),
        }
        print(json.dumps(line), file=log, flush=True)
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "rng": rng.get_state(),
            "sampler": sampler.bit_generator.state,
            "spent": time.monotonic() - began,
        }
        torch.save(state, last.with_suffix(".tmp"))
        last.with_suffix(".tmp").rename(last)
        if done >= 1:
            break
    figures = line["val"]
    if cycle.average:
        began_with, ended_with = torch.load(work / "encoder.pt", weights_only=True)["model"], model.state_dict()
        model.load_state_dict({name: (began_with[name] + ended_with[name]) / 2 for name in ended_with})
        figures = validate(model, faces, targets)
        print(json.dumps({"cycle": cycle.name, "averaged": figures}), file=log, flush=True)
    saved = {"model": model.state_dict(), "val": figures, "mesh_mean": targets.mesh_mean, "mesh_std": targets.mesh_std}
    torch.save(saved, work / "encoder.tmp")
    (work / "encoder.tmp").rename(work / "encoder.pt")
    return figures
