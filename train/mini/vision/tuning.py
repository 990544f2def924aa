"""The tower's cycles: tuned at a low resolution first, where faces are cheap, then at the one it is used at.

`python -m train.mini tower --cycle NAME --data DIR --onnx FILE --work DIR --minutes N` runs one of `CYCLES`, in their
order: the first begins with the pretrained tower, each other with what the one before it saved. Each writes
`tower-NAME.pt` (tower and readers, with figures on val) and lines of `tower.jsonl` (losses, figures), and goes on from
`tower-NAME.last.pt` where it was stopped. A cycle is measured in minutes of its own work, so that it always ends.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from facellm.errors import FaceLLMError
from facellm.storage.files import atomic_path
from train.mini.vision import face_table, negatives, readings, token_cache
from train.mini.vision.augment import View, augmented, whole
from train.mini.vision.figures import face_or_not, table
from train.mini.vision.targets import FACE, Targets, epoch_rows, loss_of, no_face
from train.mini.vision.tower import FaceNet, at_side, build, load, predict, side_of
from train.nano.vision.augment import normalise
from train.nano.vision.pretrained import load_tower
from train.seen.known import split

CHECKPOINT_SECONDS = 240
LOG_STEPS = 25
WARM_UP = 0.05  # share of the cycle over which the rate rises
LAYER_DECAY = 0.9  # each layer learns this much slower than the one above it


@dataclass(frozen=True)
class Cycle:
    """One rise and fall of the learning rate.

    side: of the input in pixels.  rate: peak for the tower's last layer.  head_rate: for the readers.  strength: of the
    augmentation, 1 is full.  kept: (share of the cycle, patches that pass) pairs in rising order: until that share is
    done, so many patches of each image pass through the tower.  no_face: pictures without a face in each batch beside
    its `batch` faces.  after: the cycle that it goes on from.
    """

    name: str
    side: int
    rate: float
    head_rate: float
    strength: float
    kept: tuple[tuple[float, int], ...]
    after: str | None = None
    batch: int = 48
    no_face: int = 0

    def keep(self, done: float) -> int:
        """How many patches pass when `done` (0..1) of the cycle is over."""
        return next((count for share, count in self.kept if done < share), self.kept[-1][1])


LOW = Cycle("low", 112, 1.5e-4, 1.5e-3, 1.0, ((0.85, 32), (1.0, 64)))
HIGH = Cycle("high", 168, 1e-4, 6e-4, 0.7, ((0.6, 64), (1.0, 112)), after="low", no_face=4)
POLISH = Cycle("polish", 168, 6e-5, 3e-4, 0.5, ((0.7, 100), (1.0, 144)), after="high", no_face=4)
CYCLES = {cycle.name: cycle for cycle in (LOW, HIGH, POLISH)}


def saved_path(work: Path, name: str) -> Path:
    """Where cycle `name` leaves its net."""
    return work / f"tower-{name}.pt"


def newest(work: Path) -> Path:
    """The net of the last cycle that has ended."""
    for name in reversed(CYCLES):
        if saved_path(work, name).exists():
            return saved_path(work, name)
    raise FaceLLMError(f"There is no tuned tower in {work}: run `python -m train.mini tower` first.")


def measure(data: Path, work: Path, net: Path, side: int, val_every: int = 1) -> dict[str, float]:
    """Figures on val (on every `val_every`-th face of it) of a saved net at input side `side`."""
    faces, opened = face_table.load(data, work), load(net, side)
    rows = faces.rows(split.VAL)[::val_every]
    out = predict(opened, faces, rows, side)
    corners = faces.pixels[rows[faces.gender[rows] >= 0][:200]]
    without = {kind: _drawn((kind,), None, opened, side) for kind in negatives.DRAWN}
    without["corner"] = _drawn((), corners, opened, side)
    return table(out, Targets(faces), rows) | face_or_not(out[FACE], without)


def believe(work: Path, net: Path) -> int:
    """Writes a saved net's readings of all faces with cached features to `work/readings.npz`; returns their number."""
    opened = load(net)
    side = side_of(opened.state_dict())
    return readings.write(opened, token_cache.of(opened, work / f"features-{side}"), work / "readings.npz")


@torch.inference_mode()
def _drawn(kinds: tuple[str, ...], crops: np.ndarray | None, net: FaceNet, side: int, count: int = 32) -> torch.Tensor:
    """What head `FACE` says of pictures without a face, (count, 2); seeded apart from those that are tuned on."""
    rng = np.random.default_rng(10_000)
    if crops is None:
        pictures = negatives.draw(count, face_table.STORED_PX, rng, kinds=kinds)
    else:
        chosen = rng.choice(len(crops), count)
        pictures = np.stack([np.asarray(negatives.corner(crops[row], rng, face_table.STORED_PX)) for row in chosen])
    return net(normalise(whole(torch.from_numpy(pictures), side).pixels))[FACE]


def train(
    data: Path,
    onnx: Path,
    work: Path,
    *,
    cycle: Cycle = LOW,
    minutes: float = math.inf,
    steps: float = math.inf,
    seed: int = 0,
    val_every: int = 1,
) -> dict[str, float]:
    """Runs one cycle, which ends after so many `minutes` or `steps`, whichever is first, and returns its figures on val
    (on every `val_every`-th face of it)."""
    if math.isinf(minutes) and math.isinf(steps):
        raise FaceLLMError(f"The cycle '{cycle.name}' would never end: give it minutes or steps.")
    torch.manual_seed(seed)
    faces = face_table.load(data, work)
    targets = Targets(faces)
    run = Run(_begin(onnx, work, cycle), cycle, seed)
    last = work / f"tower-{cycle.name}.last.pt"
    if last.exists():
        run.restore(last)
    batches = _batches(faces, run.sampler, cycle.batch)
    resumed, began = run.seconds, time.monotonic()
    checked, sums = began, {}
    with (work / "tower.jsonl").open("a") as log:
        while True:
            now = time.monotonic()
            run.seconds = resumed + now - began
            done = max(run.seconds / 60 / minutes, run.step / steps)
            if now - checked > CHECKPOINT_SECONDS or done >= 1:
                run.save(last)
                checked = now
            if done >= 1:
                break
            view, target = _batch(faces, next(batches), targets, cycle, run)
            for name, value in run.learn(view, target, done).items():
                sums.setdefault(name, []).append(value)
            if run.step % LOG_STEPS == 0:
                line = {"cycle": cycle.name, "step": run.step, "done": round(done, 3), "keep": cycle.keep(done)}
                line |= {name: round(float(np.mean(values)), 4) for name, values in sums.items()}
                print(json.dumps(line), file=log, flush=True)
                sums = {}
        rows = faces.rows(split.VAL)[::val_every]
        figures = table(predict(run.net, faces, rows, cycle.side), targets, rows)
        print(json.dumps({"cycle": cycle.name, "step": run.step, "val": figures}), file=log, flush=True)
    moments = {name: getattr(targets, name) for name in ("mesh_mean", "mesh_std", "shape_mean", "shape_std")}
    _write(saved_path(work, cycle.name), {"model": run.net.state_dict(), "val": figures} | moments)
    return figures


class Run:
    """A cycle under way: net, optimizer, the generators of its draws, and how far it has come.

    sampler draws rows and pictures without a face, rng the augmentation, torch's own generator the dropped patches.
    """

    def __init__(self, net: FaceNet, cycle: Cycle, seed: int) -> None:
        self.net, self.cycle, self.step, self.seconds = net, cycle, 0, 0.0
        self.optimizer = torch.optim.AdamW(_groups(net, cycle), weight_decay=0.05, betas=(0.9, 0.98))
        self.sampler, self.rng = np.random.default_rng(seed), torch.Generator().manual_seed(seed)

    def learn(self, view: View, target: dict[str, torch.Tensor], done: float) -> dict[str, float]:
        """One step when `done` (0..1) of the cycle is over; returns the loss's terms, and their sum as "all"."""
        share = min(1.0, done / WARM_UP) * 0.5 * (1 + math.cos(math.pi * done))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share
        self.net.train()
        terms = loss_of(self.net(normalise(view.pixels), keep=self.cycle.keep(done)), target)
        loss = sum(terms.values())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return {name: value.item() for name, value in (terms | {"all": loss}).items()}

    def save(self, path: Path) -> None:
        """Writes all that `restore` needs."""
        state = {"model": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        state |= {"sampler": self.sampler.bit_generator.state, "rng": self.rng.get_state()}
        state |= {"torch": torch.get_rng_state(), "step": self.step, "spent": self.seconds}
        _write(path, state)

    def restore(self, path: Path) -> None:
        """Goes on where a stopped run was; its epoch begins anew, with rows drawn afresh."""
        state = torch.load(path, weights_only=False)  # written by `save`; holds the generators' states
        self.net.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.sampler.bit_generator.state = state["sampler"]
        self.rng.set_state(state["rng"])
        torch.set_rng_state(state.get("torch", torch.get_rng_state()))
        self.step, self.seconds = state["step"], state["spent"]


def _batch(
    faces: face_table.Faces, rows: np.ndarray, targets: Targets, cycle: Cycle, run: Run
) -> tuple[View, dict[str, torch.Tensor]]:
    """Faces `rows` as they are met this time, pictures without a face behind them, and what is known of each."""
    crops = faces.pixels[rows]
    raw = torch.from_numpy(crops)
    if cycle.no_face:
        drawn = negatives.draw(cycle.no_face, face_table.STORED_PX, run.sampler, crops)
        raw = torch.cat([raw, torch.from_numpy(drawn)])
    view = augmented(raw, cycle.side, run.rng, cycle.strength)
    target = targets.of(torch.from_numpy(rows), view[: len(rows)])
    if cycle.no_face:
        without = no_face(view[len(rows) :])
        target = {name: torch.cat([value, without[name]]) for name, value in target.items()}
    return view, target


def _begin(onnx: Path, work: Path, cycle: Cycle) -> FaceNet:
    if cycle.after is None:
        return FaceNet(load_tower(onnx, cycle.side))
    before = saved_path(work, cycle.after)
    if not before.exists():
        raise FaceLLMError(f"{before} is missing: run the cycle '{cycle.after}' before '{cycle.name}'.")
    return build(at_side(torch.load(before, weights_only=True)["model"], cycle.side), cycle.side)


def _groups(net: FaceNet, cycle: Cycle) -> list[dict]:
    """Parameter groups: the readers, the last norm with the last layer, and each layer below it more slowly."""
    groups = [{"params": [*net.norm.parameters(), *net.heads.parameters()], "peak": cycle.head_rate}]
    layers = [layer for layer in net.tower.encoder.layer if next(layer.parameters()).requires_grad]
    for depth, layer in enumerate(reversed(layers)):
        weights = list(layer.parameters()) + ([] if depth else list(net.tower.layernorm.parameters()))
        groups.append({"params": weights, "peak": cycle.rate * LAYER_DECAY**depth})
    return [group | {"lr": group["peak"]} for group in groups]


def _batches(faces: face_table.Faces, sampler: np.random.Generator, batch: int) -> Iterator[np.ndarray]:
    """Rows of one batch after another, in rising order within a batch (the pixels are a memory map)."""
    while True:
        rows = epoch_rows(faces, sampler)
        for start in range(0, max(1, len(rows) - batch + 1), batch):
            yield np.sort(rows[start : start + batch])


def _write(path: Path, content: dict) -> None:
    with atomic_path(path) as partial:
        torch.save(content, partial)
