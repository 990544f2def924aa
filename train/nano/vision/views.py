"""The tuned tower's view of every face, computed once: tokens for the decoder's training, heads for the facts.

Reads `encoder.pt` (or, given a model, takes that one's tower and fits heads to it), writes into the work folder
`tokens.npy` (float16 (v, 64, 384), patch tokens after the final norm) and `views.npz` (row of the face, measurements of
the view, pixel and skin measurements, head outputs). Every face has one untouched view; some training faces have
augmented ones too, so that the decoder also meets faces that the tower is less sure of, and rare expressions and turned
heads more than once; some have one in other light or focus, of which good photos show little.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from facellm.labels import EXPRESSIONS
from facellm.storage.files import atomic_path
from facellm.weights.device import cpu_has_fast_bfloat16
from train.faces.measures import YAW_TURNED_DEG, cheek_difference, pixel_stats
from train.nano.vision import augment, heads
from train.nano.vision import faces as data
from train.nano.vision.pretrained import PATCH_PX, WIDTH
from train.nano.vision.targets import EXPRESSION_DRAWS, Targets
from train.nano.vision.tower import FaceNet, load_encoder, validate

CHANGED_FACES = 5000  # UTKFace training faces with an augmented view
RETOUCHED_FACES = 5000  # training faces of both sets with a view in other light, blurred or sharpened
RARE = ("surprise", "sadness", "anger", "disgust", "fear", "contempt")  # an augmented view each, as turned heads have
TOKENS = (augment.IMAGE_PX // PATCH_PX) ** 2


@torch.no_grad()
def encode(folder: Path, work: Path, *, tower: Path | None = None, batch: int = 64, seed: int = 1) -> int:
    """Computes all views and returns their number. An interrupted run starts again (minutes).

    tower: a model in Hugging Face format to go on from, instead of `encoder.pt`, which is then written.
    """
    torch.manual_seed(seed)
    faces = data.load(folder, work)
    model = heads.bare_net(tower) if tower else load_encoder(work)
    model.tower.set_attn_implementation("sdpa")
    rng = torch.Generator().manual_seed(seed)
    plan = _cut(np.arange(len(faces)), "whole", batch)
    labelled = np.flatnonzero(faces.is_train & (faces.gender >= 0))
    drawn = np.random.default_rng(seed).permutation(labelled)[:CHANGED_FACES]
    rare = np.flatnonzero(faces.is_train & np.isin(faces.expression, [EXPRESSIONS.index(name) for name in RARE]))
    turned = np.flatnonzero(faces.is_train & (np.abs(faces.measurements[:, 0]) >= YAW_TURNED_DEG))
    again = np.concatenate([np.sort(drawn), rare, turned])
    plan += _cut(again, "augmented", batch)
    drawn = np.random.default_rng([seed, 1]).permutation(np.flatnonzero(faces.is_train))[:RETOUCHED_FACES]
    plan += _cut(np.sort(drawn), "retouched", batch)
    count = sum(len(rows) for rows, _ in plan)
    tokens = np.lib.format.open_memmap(work / "tokens.tmp.npy", "w+", np.float16, (count, TOKENS, WIDTH))
    columns: dict[str, list[np.ndarray]] = {}
    at = 0
    for rows, view in plan:
        raw, mesh = torch.from_numpy(faces.pixels[rows]), torch.from_numpy(faces.measurements[rows])
        if view == "augmented":
            pixels, mesh = augment.augment(raw, mesh, rng)
        else:
            pixels = augment.retouch(raw, rng) if view == "retouched" else augment.centre(raw)
        pixels = (pixels * 255).round().clamp(0, 255) / 255  # as a decoded picture has them
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_fast_bfloat16()):
            hidden = model.tower(augment.normalise(pixels)).last_hidden_state[:, 1:]
        found = {
            "pooled": hidden.float().mean(1).numpy(),
            "row": rows,
            "changed": np.full(len(rows), view != "whole"),
            "measurements": mesh.numpy(),
            "stats": pixel_stats(pixels).numpy(),
            "cheeks": cheek_difference(pixels.numpy()),
        }
        for name, value in found.items():
            columns.setdefault(name, []).append(value)
        tokens[at : at + len(rows)] = hidden.float().numpy()
        at += len(rows)
    tokens.flush()
    table = {name: np.concatenate(value) for name, value in columns.items()}
    pooled = torch.from_numpy(table.pop("pooled"))
    if tower:
        _fit_heads(model, pooled, table, faces, work)
    table |= {name: value.numpy() for name, value in model.read(pooled).items() if name != "descriptor"}
    np.savez(work / "views.tmp.npz", **table)
    for name in ("tokens.npy", "views.npz"):
        stem, ending = name.split(".")
        (work / f"{stem}.tmp.{ending}").rename(work / name)
    return count


def _cut(rows: np.ndarray, view: str, batch: int) -> list[tuple[np.ndarray, str]]:
    """(rows of a batch, how they are to be seen) for all rows."""
    return [(part, view) for part in np.array_split(rows, max(1, len(rows) // batch))]


@torch.enable_grad()
def _fit_heads(model: FaceNet, pooled: torch.Tensor, table: dict[str, np.ndarray], faces: data.Faces, work: Path):
    """Fits the heads to the training views and writes `encoder.pt`, as the tuning of the tower does."""
    targets, kept = Targets(faces), faces.is_train[table["row"]]
    model.tower.requires_grad_(False)
    measured = (torch.from_numpy(table[name][kept]) for name in ("measurements", "stats"))
    expression = faces.expression[table["row"][kept]]
    draws = np.ones(len(expression))
    for label, name in enumerate(EXPRESSIONS):  # the rare ones as often as when the tower was tuned
        draws[expression == label] = EXPRESSION_DRAWS[name] / max(1, (expression == label).sum())
    heads.fit(model, pooled[torch.from_numpy(kept)], table["row"][kept], targets, *measured, torch.from_numpy(draws))
    saved = {"model": model.state_dict(), "mesh_mean": targets.mesh_mean, "mesh_std": targets.mesh_std}
    saved["val"] = validate(model, faces, targets)
    with atomic_path(work / "encoder.pt") as partial:
        torch.save(saved, partial)
