"""What the tuned tower believes of the faces that the teacher saw, as probabilities, by which pairs hedge.

Faces of `train` were tuned on, so the readings of them are surer than those of a new face.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from facellm.labels import AGE_GROUPS, ETHNICITIES, EXPRESSIONS, GENDERS
from facellm.storage.files import atomic_path
from train.mini.vision.targets import LABELS, TAG, VALUES
from train.mini.vision.token_cache import Features
from train.mini.vision.tower import FaceNet
from train.nano.vision.pretrained import WIDTH
from train.seen.known import tags

# Heads of labels -> their words, in the heads' order.  The set's expression is not the teacher's tag of that name.
LABEL_WORDS = {
    "gender": GENDERS,
    "race": ETHNICITIES,
    "age_group": AGE_GROUPS,
    "expression": EXPRESSIONS,
}
BATCH = 512
EXPRESSION_LABEL = "expression_label"


@torch.inference_mode()
def write(net: FaceNet, features: Features, path: Path) -> int:
    """Writes the readings of all faces whose features are cached to `path` (npz) and returns how many they are.

    The readers see the mean patch token, and pixel shuffle only puts four patches beside each other: the tower itself
    need not run again.
    """
    names = sorted(features.row_of, key=features.row_of.__getitem__)
    parts: list[dict[str, torch.Tensor]] = []
    for start in range(0, len(names), BATCH):
        tokens = torch.from_numpy(features.tokens[start : start + BATCH].astype(np.float32))
        parts.append(net.read(tokens.mean(1).reshape(len(tokens), -1, WIDTH).mean(1)))
    arrays = {}
    for name in parts[0]:
        value = torch.cat([part[name] for part in parts])
        arrays[name] = (value if name in VALUES else value.softmax(1)).numpy().astype(np.float16)
    with atomic_path(path) as partial:
        np.savez(partial, name=np.asarray(names), **arrays)
    return len(names)


def read(path: Path) -> dict[str, dict[str, dict[str, float]]]:
    """file -> field -> word -> probability: the fields of the tags, and gender, race, age_group, expression_label."""
    with np.load(path) as stored:
        words = {name: tags.WORDS[name] for name in tags.FIELDS}
        columns = {name: stored[TAG + name] for name in words}
        for name in LABELS:
            field = EXPRESSION_LABEL if name == "expression" else name
            words[field], columns[field] = LABEL_WORDS[name], stored[name]
        return {
            str(file): {
                name: dict(zip(words[name], column[row].astype(float).tolist(), strict=True))
                for name, column in columns.items()
            }
            for row, file in enumerate(stored["name"])
        }
