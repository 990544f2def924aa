"""What the tuned tower believes of every face, as probabilities: so that pairs hedge where it cannot tell.

Faces of `train` were tuned on, so the readings of them are surer than those of a new face.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facellm.labels import AGE_GROUPS, ETHNICITIES, EXPRESSIONS, GENDERS
from facellm.storage.files import atomic_path
from train.mini.vision.face_table import Faces
from train.mini.vision.targets import LABELS, TAG, VALUES
from train.mini.vision.tower import FaceNet, predict
from train.seen.known import tags

# Heads of labels -> their words, in the heads' order.  The set's expression is not the teacher's tag of that name.
LABEL_WORDS = {
    "gender": GENDERS,
    "race": ETHNICITIES,
    "age_group": AGE_GROUPS,
    "expression": EXPRESSIONS,
}
EXPRESSION_LABEL = "expression_label"


def write(net: FaceNet, faces: Faces, rows: np.ndarray, side: int, path: Path) -> int:
    """Writes the readings of faces `rows` to `path` (npz) and returns how many they are."""
    out = predict(net, faces, rows, side)
    arrays = {name: value.numpy().astype(np.float16) for name, value in out.items() if name in VALUES}
    for name, value in out.items():
        if name not in VALUES:
            arrays[name] = value.softmax(1).numpy().astype(np.float16)
    with atomic_path(path) as partial:
        np.savez(partial, name=faces.names[rows], **arrays)
    return len(rows)


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
