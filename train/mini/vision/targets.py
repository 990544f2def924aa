"""What the tower is tuned on, as tensors, the joint loss over all of it, and the rows of an epoch.

A thing that is not known of a face (-1, NaN) takes no part in the loss.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from facellm.labels import EXPRESSIONS
from train.faces.facts import MISSING
from train.faces.measures import MEASUREMENTS, PIXEL_STATS
from train.mini.vision.augment import View
from train.mini.vision.face_table import BLENDSHAPES, DESCRIPTOR, Faces
from train.nano.vision.targets import AGE_SIGMA, EXPRESSION_DRAWS, YEARS
from train.seen.known import split, tags

LABELS = {"gender": 2, "race": 5, "age_group": 9, "expression": 8}
FACE = "face"  # 1: a face, 0: a picture without one
VALUES = {
    "mesh": len(MEASUREMENTS),
    "pixels": len(PIXEL_STATS),
    "descriptor": DESCRIPTOR,
    "blendshapes": BLENDSHAPES,
}
TAG = "tag_"
# Every head of the tower and how many outputs it has.
HEADS = LABELS | {"age_years": YEARS, FACE: 2} | VALUES | {TAG + name: len(tags.WORDS[name]) for name in tags.FIELDS}
# Of the loss terms; a tag is taught as hard as two passes of the teacher agree on it and people ask for it.
WEIGHTS = {
    "gender": 1.2,
    "race": 1.2,
    "age_group": 1.0,
    "age_years": 1.0,
    "expression": 1.2,
    "mesh": 0.8,
    "pixels": 0.3,
    "descriptor": 1.0,
    "blendshapes": 0.8,
    FACE: 0.5,
}
TAG_WEIGHT, WEAK_TAG_WEIGHT = 0.4, 0.1
_STRONG = ("hair_colour", "hair_length", "facial_hair", "glasses", "headwear", "makeup", "teeth", "expression")
SMOOTHING = 0.05
RARE_COLUMN_STD = 0.02  # movements that hardly ever happen are not blown up to unit variance


def weight_of(name: str) -> float:
    """The weight of the loss term of head `name`."""
    if not name.startswith(TAG):
        return WEIGHTS[name]
    return TAG_WEIGHT if name.removeprefix(TAG) in _STRONG else WEAK_TAG_WEIGHT


def loss_of(out: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The terms of the joint loss, each already weighted."""
    terms: dict[str, torch.Tensor] = {}
    for name, size in HEADS.items():
        if name in VALUES or name == "age_years":
            continue
        if (target[name] >= 0).any():
            smoothing = SMOOTHING if size > 2 else SMOOTHING / 2
            terms[name] = F.cross_entropy(out[name], target[name], ignore_index=MISSING, label_smoothing=smoothing)
    aged = target["age_years"] >= 0
    if aged.any():
        years, truth = torch.arange(YEARS).float(), target["age_years"][aged].clamp(max=YEARS - 1)
        soft = torch.softmax(-0.5 * ((years - truth[:, None]) / AGE_SIGMA) ** 2, dim=1)
        log_p = out["age_years"][aged].log_softmax(1)
        expected = (log_p.exp() * years).sum(1)
        terms["age_years"] = 0.4 * -(soft * log_p).sum(1).mean() + 0.05 * F.l1_loss(expected, truth)
    for name in VALUES:
        known = ~target[name].isnan().any(1)
        if not known.any():
            continue
        if name == "descriptor":
            terms[name] = (1 - F.cosine_similarity(out[name][known], target[name][known])).mean()
        else:
            terms[name] = F.smooth_l1_loss(out[name][known], target[name][known], beta=0.5)
    return {name: weight_of(name) * term for name, term in terms.items()}


class Targets:
    """Everything known of all faces as tensors; measurements and movements standardised over the training faces."""

    def __init__(self, faces: Faces) -> None:
        train = faces.rows(split.TRAIN)
        self.mesh = torch.from_numpy(faces.measurements)
        self.shapes = torch.from_numpy(faces.blendshapes.astype(np.float32))
        self.mesh_mean, self.mesh_std = _moments(self.mesh[train])
        self.shape_mean, self.shape_std = _moments(self.shapes[train])
        self.columns = {name: torch.from_numpy(getattr(faces, name).copy()) for name in (*LABELS, "age_years")}
        self.columns |= {TAG + name: torch.from_numpy(column.copy()) for name, column in faces.tags.items()}
        self.descriptor = torch.from_numpy(faces.descriptors.astype(np.float32))
        names = faces.blendshape_names
        self.shape_mirror = torch.tensor([names.index(_other_side(name)) for name in names], dtype=torch.long)
        self.tag_mirror = {
            TAG + name: torch.tensor([tags.index(name, tags.mirrored(name, word)) for word in tags.WORDS[name]])
            for name in tags.MIRRORED
        }

    def of(self, rows: torch.Tensor, view: View) -> dict[str, torch.Tensor]:
        """Targets of faces `rows` as `view` shows them."""
        target = {name: column[rows] for name, column in self.columns.items()}
        for name, places in self.tag_mirror.items():
            turned = view.flip & (target[name] >= 0)
            target[name] = torch.where(turned, places[target[name].clamp(min=0)], target[name])
        target["mesh"] = (self._mesh(rows, view) - self.mesh_mean) / self.mesh_std
        shapes = self.shapes[rows]
        if len(self.shape_mirror):
            shapes = torch.where(view.flip[:, None], shapes[:, self.shape_mirror], shapes)
        target["blendshapes"] = (shapes - self.shape_mean) / self.shape_std
        target["pixels"] = view.stats()
        target["descriptor"] = self.descriptor[rows]
        target[FACE] = torch.ones(len(rows), dtype=torch.long)
        return target

    def _mesh(self, rows: torch.Tensor, view: View) -> torch.Tensor:
        mesh, flip = self.mesh[rows].clone(), view.flip
        yaw, roll, left, right = (
            MEASUREMENTS.index(name) for name in ("yaw_deg", "roll_deg", "eye_open_left", "eye_open_right")
        )
        mesh[flip, yaw] *= -1
        mesh[flip, roll] *= -1
        mesh[flip, left], mesh[flip, right] = mesh[flip, right].clone(), mesh[flip, left].clone()
        mesh[:, roll] -= view.angle
        return mesh


def no_face(view: View) -> dict[str, torch.Tensor]:
    """Targets of pictures without a face: of them only the pixels are known, and that there is no face."""
    count = len(view.pixels)
    target = {name: torch.full((count,), MISSING) for name in HEADS if name not in VALUES}
    target |= {name: torch.full((count, size), torch.nan) for name, size in VALUES.items()}
    target["age_years"] = target["age_years"].float()
    target["pixels"] = view.stats()
    target[FACE] = torch.zeros(count, dtype=torch.long)
    return target


def _moments(columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    known = columns[~columns.isnan().any(1)]
    return known.mean(0), known.std(0).clamp_min(RARE_COLUMN_STD)


def _other_side(name: str) -> str:
    if "Left" in name:
        return name.replace("Left", "Right")
    return name.replace("Right", "Left")


def epoch_rows(faces: Faces, rng: np.random.Generator) -> np.ndarray:
    """Rows of one epoch, shuffled: every UTKFace training image once, those with a rare trait twice, and expressions
    as often as nano drew them (rare ones more often, the two frequent ones less)."""
    train = faces.split == split.TRAIN
    drawn = [np.flatnonzero(train & (faces.expression < 0)), np.flatnonzero(train & _rare(faces))]
    for name, count in EXPRESSION_DRAWS.items():
        rows = np.flatnonzero(train & (faces.expression == EXPRESSIONS.index(name)))
        if len(rows):
            drawn.append(rng.choice(rows, count, replace=count > len(rows)))
    return rng.permutation(np.concatenate(drawn))


def _rare(faces: Faces) -> np.ndarray:
    """Faces with something on the head or before the face, dark glasses, or a look that is seldom seen."""
    common = {
        "headwear": ("none",),
        "covering": ("none",),
        "glasses": ("none", "glasses"),
        "expression": ("neutral", "slight-smile", "smile", "laugh", "talking", "angry"),
    }
    rare = np.zeros(len(faces), bool)
    for name, words in common.items():
        places = [tags.index(name, word) for word in words]
        rare |= (faces.tags[name] >= 0) & ~np.isin(faces.tags[name], places)
    return rare
