"""Stage 1 of nano: the vision tower tuned on labels, measurements and face descriptors together.

`python -m train.nano encoder --cycle NAME --data DIR --onnx FILE --work DIR` runs one of `CYCLES`, in their order: the
first begins with the pretrained tower, each other with the `encoder.pt` of the one before, with gentler augmentation
and more weight on the labels. Each writes `encoder.pt` (tower and heads) and `encoder.jsonl` (losses, validation
figures) and resumes from its own `CYCLE.last.pt`.
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

from facellm.storage.files import atomic_path
from facellm.weights.device import cpu_has_fast_bfloat16
from train.nano.vision import faces as data
from train.nano.vision.augment import IMAGE_PX, augment, erase, normalise
from train.nano.vision.pretrained import load_tower
from train.nano.vision.targets import Targets, epoch_rows, loss_of
from train.nano.vision.tower import FaceNet, validate


@dataclass(frozen=True)
class Cycle:
    """One rise and fall of the learning rate.

    rate: peak for the tower; the heads get ten times that.  strength: of the augmentation, 1 is full.
    kept: patches of 64 that pass through the tower until `all_from` of the cycle is done.
    draws: factor on `EXPRESSION_DRAWS`.  weights: of the loss terms.  end: share of the weights that the cycle ended
    with in the result, the rest being those that it began with (Wortsman et al. 2022; chosen on `val`).
    """

    name: str
    rate: float
    strength: float
    kept: int
    all_from: float
    draws: float
    weights: dict[str, float]
    end: float = 1.0


FIRST = Cycle(
    "first",
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
    end=0.5,
)
SHARPEN = Cycle(
    "sharpen",
    7e-5,
    0.35,
    48,
    0.35,
    0.6,
    {
        "gender": 2.0,
        "race": 2.0,
        "age_group": 1.5,
        "age_years": 1.0,
        "expression": 1.2,
        "mesh": 0.5,
        "pixels": 0.2,
        "descriptor": 0.8,
    },
    end=0.75,
)
CYCLES = {cycle.name: cycle for cycle in (FIRST, POLISH, SHARPEN)}


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
            with torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_fast_bfloat16()):
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
        with atomic_path(last) as partial:
            torch.save(state, partial)
        if done >= 1:
            break
    figures = line["val"]
    if cycle.end < 1:
        began_with, ended_with = torch.load(work / "encoder.pt", weights_only=True)["model"], model.state_dict()
        model.load_state_dict(
            {name: (1 - cycle.end) * began_with[name] + cycle.end * ended_with[name] for name in ended_with}
        )
        figures = validate(model, faces, targets)
        print(json.dumps({"cycle": cycle.name, "averaged": figures}), file=log, flush=True)
    saved = {"model": model.state_dict(), "val": figures, "mesh_mean": targets.mesh_mean, "mesh_std": targets.mesh_std}
    with atomic_path(work / "encoder.pt") as partial:
        torch.save(saved, partial)
    return figures
