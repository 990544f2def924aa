"""The tuned tower's view of every face, computed once: tokens for the decoder's training, heads for the facts.

Reads `encoder.pt`, writes into the work folder `tokens.npy` (float16 (v, 64, 384), patch tokens after the final norm)
and `views.npz` (row of the face, measurements of the view, pixel and skin measurements, head outputs). Every face has
one untouched view; some training faces have augmented ones too, so that the decoder also meets faces that the tower is
less sure of, and the rare expressions more than once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from train.nano import augment, data
from train.nano.encoder import load_encoder
from train.nano.facts import skin_stats
from train.nano.pretrained import PATCH_PX, WIDTH

CHANGED_FACES = 5000  # UTKFace training faces with an augmented view
RARE = ("surprise", "sadness", "anger", "disgust", "fear", "contempt")  # these have an augmented view each
TOKENS = (augment.IMAGE_PX // PATCH_PX) ** 2


@torch.no_grad()
def encode(folder: Path, work: Path, *, batch: int = 64, seed: int = 1) -> int:
    """Computes all views and returns their number. An interrupted run starts again (minutes)."""
    torch.manual_seed(seed)
    faces = data.load(folder, work)
    model = load_encoder(work)
    model.tower.set_attn_implementation("sdpa")
    rng = torch.Generator().manual_seed(seed)
    plan = [(rows, False) for rows in np.array_split(np.arange(len(faces)), len(faces) // batch)]
    labelled = np.flatnonzero(faces.is_train & (faces.gender >= 0))
    drawn = np.random.default_rng(seed).permutation(labelled)[:CHANGED_FACES]
    rare = np.flatnonzero(faces.is_train & np.isin(faces.expression, [data.EXPRESSIONS.index(name) for name in RARE]))
    again = np.concatenate([np.sort(drawn), rare])
    plan += [(rows, True) for rows in np.array_split(again, max(1, len(again) // batch))]
    count = sum(len(rows) for rows, _ in plan)
    tokens = np.lib.format.open_memmap(work / "tokens.tmp.npy", "w+", np.float16, (count, TOKENS, WIDTH))
    columns: dict[str, list[np.ndarray]] = {}
    at = 0
    for rows, changed in plan:
        raw, mesh = torch.from_numpy(faces.pixels[rows]), torch.from_numpy(faces.measurements[rows])
        if changed:
            pixels, mesh = augment.augment(raw, mesh, rng)
        else:
            pixels = augment.centre(raw)
        pixels = (pixels * 255).round().clamp(0, 255) / 255  # as a decoded picture has them
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.tower(augment.normalise(pixels)).last_hidden_state[:, 1:]
        pooled = model.shared(hidden.float().mean(1))
        found = {name: head(pooled).numpy() for name, head in model.heads.items() if name != "descriptor"}
        found |= {
            "row": rows,
            "changed": np.full(len(rows), changed),
            "measurements": mesh.numpy(),
            "stats": augment.pixel_stats(pixels).numpy(),
            "skin": skin_stats(pixels.numpy()),
        }
        for name, value in found.items():
            columns.setdefault(name, []).append(value)
        tokens[at : at + len(rows)] = hidden.float().numpy()
        at += len(rows)
    tokens.flush()
    np.savez(work / "views.tmp.npz", **{name: np.concatenate(value) for name, value in columns.items()})
    for name in ("tokens.npy", "views.npz"):
        stem, ending = name.split(".")
        (work / f"{stem}.tmp.{ending}").rename(work / name)
    return count
