"""What the tower makes of every face, computed once: shuffled patch tokens, as the connector takes them.

A cache is a folder with `tokens.npy` (float16, faces x image tokens x 1536) and `index.json` (the faces' names, the
tower's digest). A stopped run goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers.models.internvl.modeling_internvl import InternVLModel

from facellm.errors import FaceLLMError
from facellm.storage.files import write_text
from train.mini.vision.augment import whole
from train.mini.vision.face_table import Faces
from train.mini.vision.tower import FaceNet
from train.nano.vision.augment import normalise

BATCH = 32


@dataclass(frozen=True)
class Features:
    """tokens: float16 (faces, image tokens, 1536), a memory map.  row_of: file name -> row of it."""

    tokens: np.ndarray
    row_of: dict[str, int]

    def of(self, names: np.ndarray) -> torch.Tensor:
        """float32 (n, image tokens, 1536) of faces by name."""
        rows = [self.row_of[name] for name in names.tolist()]
        return torch.from_numpy(self.tokens[rows].astype(np.float32))


def load(folder: Path) -> Features:
    """A finished cache, whatever tower it is of."""
    index = json.loads((folder / "index.json").read_text())
    if index["done"] < len(index["names"]):
        raise FaceLLMError(f"The features in {folder} are unfinished: run the stage that makes them again.")
    rows = {name: row for row, name in enumerate(index["names"])}
    return Features(np.load(folder / "tokens.npy", mmap_mode="r"), rows)


def of(net: FaceNet, folder: Path) -> Features:
    """A finished cache of this tower.  Raises FaceLLMError where it is another's, or there is none."""
    index = folder / "index.json"
    if not index.is_file() or json.loads(index.read_text())["tower"] != digest(net):
        raise FaceLLMError(f"There are no features of this tower in {folder}: run the stage `connector` first.")
    return load(folder)


def shuffled(tokens: torch.Tensor) -> torch.Tensor:
    """Patch tokens (n, patches, width) -> what InternVL's connector takes, (n, patches / 4, 4 * width)."""
    side = round(tokens.shape[1] ** 0.5)
    grid = tokens.reshape(len(tokens), side, side, -1)
    joined = InternVLModel.pixel_shuffle(None, grid, scale_factor=0.5)  # uses nothing of the model
    return joined.reshape(len(tokens), -1, joined.shape[-1])


def digest(net: FaceNet) -> str:
    """SHA-256 of the tower's weights, so that features of another tower are refused."""
    found = hashlib.sha256()
    for name, weight in net.tower.state_dict().items():
        found.update(name.encode() + weight.contiguous().numpy().tobytes())
    return found.hexdigest()


@torch.inference_mode()
def encode(net: FaceNet, faces: Faces, rows: np.ndarray, side: int, folder: Path) -> Features:
    """Encodes the untouched crops of `rows`; what the folder holds of them already is kept."""
    names, mark = faces.names[rows].tolist(), digest(net)
    folder.mkdir(parents=True, exist_ok=True)
    index_path, array_path = folder / "index.json", folder / "tokens.npy"
    index = json.loads(index_path.read_text()) if index_path.exists() else {}
    begun = index.get("tower") == mark and index.get("names") == names and array_path.exists()
    done = index["done"] if begun else 0
    shape = (len(rows), (side // 28) ** 2, 4 * net.tower.config.hidden_size)
    mode = {"mode": "r+"} if begun else {"mode": "w+", "dtype": np.float16, "shape": shape}
    array = np.lib.format.open_memmap(array_path, **mode)
    net.eval()
    for start in range(done, len(rows), BATCH):
        raw = torch.from_numpy(faces.pixels[rows[start : start + BATCH]])
        joined = shuffled(net.tokens(normalise(whole(raw, side).pixels)))
        array[start : start + len(joined)] = joined.numpy().astype(np.float16)
        if start // BATCH % 20 == 0 or start + BATCH >= len(rows):
            array.flush()
            write_text(index_path, json.dumps({"tower": mark, "names": names, "done": start + len(joined)}))
    return load(folder)
