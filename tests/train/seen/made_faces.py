"""Synthetic faces with everything that the sources know, for the tests of pairs and of their rules."""

from __future__ import annotations

from tests.train.seen.seen_data import PLAIN
from train.faces.measures import Pixels
from train.seen.known.face_record import Face
from train.seen.known.tags import FIELDS, merge

MESH = {
    "yaw_deg": 1.0,
    "pitch_deg": 8.0,
    "roll_deg": 0.0,
    "mouth_open": 0.0,
    "smile_lift": 0.0,
    "eye_open_left": 0.33,
    "eye_open_right": 0.33,
}
MOVES = {
    "smile": 0.0,
    "blink": 0.05,
    "brow_down": 0.0,
    "brow_up": 0.0,
    "squint": 0.1,
    "wide": 0.0,
    "jaw_open": 0.0,
    "pucker": 0.0,
    "press": 0.0,
}
PIXELS = Pixels(light=0.5, detail=0.05, colour=0.4, side=0.0)


def face(
    file: str = "utkface/train/1.jpg", years: float | None = 35.0, gender: str | None = "Male", **raw: str
) -> Face:
    """A frontal, neutral man of 35 in even light, but for the teacher's words given in `raw`.

    Of these, `caption` is the caption, and `smile`, `mouth_open` and `yaw_deg` replace measurements.
    """
    words = PLAIN | {key: value for key, value in raw.items() if key in PLAIN}
    smiles = words["expression"] in ("smile", "laugh")
    moves = MOVES | {
        "smile": float(raw.get("smile", 0.9 if smiles else 0.2 if "smile" in words["expression"] else 0.0))
    }
    open_mouth = 0.25 if words["teeth"] == "yes" or words["expression"] in ("laugh", "talking", "shouting") else 0.0
    mesh = MESH | {"mouth_open": float(raw.get("mouth_open", open_mouth)), "yaw_deg": float(raw.get("yaw_deg", 1.0))}
    if words["gaze"] == "closed":
        mesh |= {"eye_open_left": 0.1, "eye_open_right": 0.1}
        moves["blink"] = 0.6
    tags: dict[str, str | None] = {}
    skin = words["skin"].split("+")
    marks = {"freckles": "freckles", "moles": "moles", "blemishes": "blemished", "shiny_skin": "shiny"}
    for name in FIELDS:
        if name in marks:
            tags[name] = "yes" if marks[name] in skin else "no"
        elif name == "skin":
            tags[name] = next((m for word in skin if (m := merge(name, word))), None)
        else:
            column = "hair_length" if name in ("hair_tied", "hair_seen") else name
            tags[name] = merge(name, words[column])
    return Face(
        file=file,
        tags=tags,
        raw={k: v for k, v in words.items() if k not in ("caption", "doubtful")},
        caption=raw.get("caption", ""),
        years=years,
        gender=gender,
        race=raw.get("race", "White"),
        mesh=mesh,
        moves=moves,
        pixels=PIXELS,
    )


def varied() -> list[Face]:
    """Two dozen faces that differ in every field."""
    rows = [
        {},
        {"glasses": "glasses", "expression": "smile", "teeth": "yes", "facial_hair": "beard"},
        {
            "gender": "Female",
            "hair_length": "long",
            "hair_colour": "blond",
            "makeup": "strong",
            "earrings": "yes",
            "years": 24.0,
        },
        {"glasses": "sunglasses", "headwear": "cap", "facial_hair": "stubble", "years": 41.0},
        {
            "hair_colour": "grey",
            "hair_length": "balding",
            "skin": "wrinkled",
            "years": 71.0,
            "facial_hair": "moustache",
        },
        {
            "gender": "Female",
            "hair_length": "tied",
            "expression": "laugh",
            "teeth": "yes",
            "years": 9.0,
            "skin": "smooth+freckles",
        },
        {"expression": "sad", "gaze": "down", "background": "outdoor", "light": "dim"},
        {"expression": "angry", "yaw_deg": "20", "gaze": "left", "background": "blurred"},
        {"gender": "Female", "headwear": "headscarf", "hair_colour": "unseen", "hair_length": "unseen", "years": 52.0},
        {"expression": "surprised", "covering": "hand", "hair_texture": "curly", "years": 30.0},
        {"gaze": "closed", "expression": "pensive", "hair_colour": "red", "gender": "Female", "years": 19.0},
        {"expression": "talking", "hair_length": "medium", "background": "indoor", "yaw_deg": "-20", "gaze": "right"},
        {"years": 1.0, "hair_length": "short", "gender": "Female", "expression": "slight-smile", "face_shape": "round"},
    ]
    found = []
    for number, row in enumerate(rows * 2):
        own = {k: v for k, v in row.items() if k not in ("years", "gender")}
        if number >= len(rows):
            own["caption"] = (
                "Seen close up, the face keeps still against a pale grey wall. A dark blue collar shows below."
            )
        found.append(face(f"utkface/train/{number}.jpg", row.get("years", 35.0), row.get("gender", "Male"), **own))
    return found
