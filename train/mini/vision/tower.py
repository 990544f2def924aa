"""The vision tower with one linear reader for each thing that is known of a face.

The readers see only the mean of the patch tokens after the last layer norm, which is what the decoder will be given
too: what they can read there linearly, a connector can begin from. `train.mini.vision.tuning` tunes it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import InternVLVisionModel

from train.mini.vision.augment import whole
from train.mini.vision.face_table import Faces
from train.mini.vision.targets import HEADS
from train.nano.vision.augment import normalise
from train.nano.vision.pretrained import PATCH_PX, WIDTH, resize_positions, vision_config

FROZEN_LAYERS = 4  # of 12: the lowest see edges and textures, and a step without their gradients is a fifth cheaper


class FaceNet(nn.Module):
    """The tower and its readers: pixels (n, 3, side, side), normalised -> dict of (n, size) logits or values."""

    def __init__(self, tower: InternVLVisionModel) -> None:
        super().__init__()
        self.tower = tower
        self.norm = nn.LayerNorm(WIDTH)
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, size) for name, size in HEADS.items()})
        for part in (tower.embeddings, *tower.encoder.layer[:FROZEN_LAYERS]):
            part.requires_grad_(False)

    def forward(self, pixels: torch.Tensor, keep: int | None = None) -> dict[str, torch.Tensor]:
        """With `keep`, only that many patches of each image, drawn at random, pass through the tower (patch dropout,
        Liu et al. 2022: cheaper steps, and a regulariser)."""
        return self.read(self.tokens(pixels, keep).mean(1))

    def tokens(self, pixels: torch.Tensor, keep: int | None = None) -> torch.Tensor:
        """(n, patches, 384) patch tokens after the layer norm."""
        layers = self.tower.encoder.layer
        with torch.no_grad():
            hidden = self.tower.embeddings(pixels)
            if keep and keep < hidden.shape[1] - 1:
                drawn = torch.rand(hidden.shape[0], hidden.shape[1] - 1).argsort(1)[:, :keep] + 1
                drawn = torch.cat([torch.zeros(len(drawn), 1, dtype=torch.long), drawn], 1)
                hidden = hidden.gather(1, drawn[:, :, None].expand(-1, -1, hidden.shape[2]))
            for layer in layers[:FROZEN_LAYERS]:
                hidden = layer(hidden)
        for layer in layers[FROZEN_LAYERS:]:
            hidden = layer(hidden)
        return self.tower.layernorm(hidden)[:, 1:]

    def read(self, pooled: torch.Tensor) -> dict[str, torch.Tensor]:
        """What the readers say of mean patch tokens (n, 384)."""
        normed = self.norm(pooled)
        return {name: head(normed) for name, head in self.heads.items()}


def side_of(state: dict[str, torch.Tensor]) -> int:
    """The input side in pixels that a tower's saved positions are for."""
    patches = state["tower.embeddings.position_embeddings"].shape[1] - 1
    return round(patches**0.5) * PATCH_PX


def at_side(state: dict[str, torch.Tensor], side: int) -> dict[str, torch.Tensor]:
    """A saved net for another input side: its patch positions interpolated, all else as it was."""
    name = "tower.embeddings.position_embeddings"
    if side == side_of(state):
        return state
    positions = torch.cat([state[name][:, :1], resize_positions(state[name][:, 1:], side // PATCH_PX)], 1)
    return state | {name: positions}


def build(state: dict[str, torch.Tensor], side: int) -> FaceNet:
    """The net of a saved state at input side `side`."""
    net = FaceNet(InternVLVisionModel(vision_config(side)))
    net.load_state_dict(at_side(state, side))
    return net


def load(path: Path, side: int | None = None) -> FaceNet:
    """The net that `train.mini.vision.tuning` saved, at its own input side or another one."""
    state = torch.load(path, weights_only=True)["model"]
    return build(state, side or side_of(state)).eval()


@torch.inference_mode()
def predict(net: FaceNet, faces: Faces, rows: np.ndarray, side: int, batch: int = 64) -> dict[str, torch.Tensor]:
    """Readings of the untouched crops of `rows` (in rising order)."""
    was_training = net.training
    net.eval()
    outputs = []
    for start in range(0, len(rows), batch):
        raw = torch.from_numpy(faces.pixels[rows[start : start + batch]])
        outputs.append(net(normalise(whole(raw, side).pixels)))
    net.train(was_training)
    return {name: torch.cat([out[name] for out in outputs]) for name in HEADS}
