"""A face of the measured teacher: what its tests change one fact of at a time."""

import numpy as np

from facellm.labels import EXPRESSIONS
from train.faces import facts
from train.faces.measures import MEASUREMENTS

STATS = np.array([0.45, 0.7, 0.5, 0.5, 0.0])


def reader():
    rng = np.random.default_rng(0)
    return facts.FactReader(STATS + rng.normal(0, 0.1, (500, 5)))


def read(
    *,
    gender=0.99,
    race=0.99,
    expression="happiness",
    believed=0.86,
    smile=0.0,
    yaw=0.0,
    pitch=7.8,
    years=30,
    labelled=True,
    mouth=0.3,
    side=0.0,
    grey=0.45,
    stats=None,
    seen=None,
    seen_mouth=None,
    seen_yaw=None,
    seen_pitch=None,
    shapes=None,
    seen_shapes=None,
):
    mesh = dict.fromkeys(MEASUREMENTS, 0.0) | {
        "yaw_deg": yaw,
        "pitch_deg": pitch,
        "mouth_open": mouth,
        "smile_lift": smile,
        "eye_open_left": 0.3,
        "eye_open_right": 0.3,
        "brow_raise": 0.2,
        "face_ratio": 0.85,
        "jaw_ratio": 0.81,
        "lip_thickness": 0.16,
        "nose_width": 0.49,
        "mouth_width": 0.6,
    }
    mesh |= shapes or {}
    estimates = {"mouth_open": seen_mouth, "yaw_deg": seen_yaw, "pitch_deg": seen_pitch}
    estimates = {name: value for name, value in estimates.items() if value is not None}
    estimates |= seen_shapes or {}
    seen_mesh = np.array(list((mesh | estimates).values())) if estimates else None
    face = np.full(8, (1 - believed) / 7)
    face[EXPRESSIONS.index(expression)] = believed
    return reader().read(
        mesh=np.array(list(mesh.values())),
        stats=np.array([grey, *STATS[1:]]) if stats is None else stats,
        seen=seen,
        seen_mesh=seen_mesh,
        cheeks=side,
        probabilities={
            "gender": np.array([1 - gender, gender]),
            "race": np.array([(1 - race) / 2, race, (1 - race) / 2, 0, 0]),
            "expression": face,
        },
        years_expected=float(years),
        labels={
            "gender": 1 if labelled else -1,
            "race": 1 if labelled else -1,
            "age_group": 4 if labelled else -1,
            "age_years": years if labelled else -1,
            "expression": -1,
        },
    )
