"""The facts that the connector is taught first: short, checkable, the same for every face, in plain words.

Each is a column of word places over all faces, and the words by which it is written in a list of facts or stands in an
image token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facellm.labels import EXPRESSIONS
from train.faces.facts import MISSING
from train.faces.measures import MEASUREMENTS, YAW_FRONTAL_DEG, YAW_TURNED_DEG
from train.mini.vision.face_table import Faces
from train.seen.known import tags

CHILD_YEARS = 13  # a boy or a girl below, a man or a woman from here on
UNKNOWN = tags.UNKNOWN


@dataclass(frozen=True)
class Fact:
    """One thing to be known of a face.

    keys: names for it in a list of facts.  words: word -> (what the list says, what an image token begins as).
    """

    keys: tuple[str, ...]
    words: dict[str, tuple[str, str]]


def _same(*words: str) -> dict[str, tuple[str, str]]:
    return {word: (word, word) for word in words}


_YES_NO = "yes", "no"
FACTS: dict[str, Fact] = {
    "person": Fact(("person", "who is seen"), _same("man", "woman", "boy", "girl")),
    "age": Fact(
        ("age group", "age"),
        {
            "baby": ("baby", "baby"),
            "child": ("child", "child"),
            "teenager": ("teens", "teenager"),
            "twenties": ("twenties", "twenties"),
            "thirties": ("thirties", "thirties"),
            "forties": ("forties", "forties"),
            "fifties": ("fifties", "fifties"),
            "sixties": ("sixties", "sixties"),
            "seventies": ("over seventy", "seventies, old"),
        },
    ),
    "ethnicity": Fact(
        ("ethnicity", "apparent ethnicity"),
        {
            "White": ("White", "white"),
            "Black": ("Black", "black African"),
            "Asian": ("Asian", "Asian"),
            "Indian": ("Indian", "Indian"),
            "Others": ("other", "Latino or Arab"),
        },
    ),
    "hair_colour": Fact(
        ("hair colour", "colour of the hair"),
        {
            "dark": ("dark", "dark hair"),
            "brown": ("brown", "brown hair"),
            "blond": ("blond", "blond hair"),
            "red": ("red", "red hair"),
            "grey": ("grey", "grey hair"),
            "none": ("none", "bald"),
        },
    ),
    "hair_length": Fact(
        ("hair length", "length of the hair"),
        {
            "bald": ("bald", "bald head"),
            "short": ("short", "short hair"),
            "medium": ("medium", "medium hair"),
            "long": ("long", "long hair"),
        },
    ),
    "hair_texture": Fact(
        ("hair texture",),
        {
            "straight": ("straight", "straight hair"),
            "wavy": ("wavy", "wavy hair"),
            "curly": ("curly", "curly hair"),
        },
    ),
    "facial_hair": Fact(
        ("facial hair", "beard"),
        {
            "none": ("none", "no beard"),
            "stubble": ("stubble", "stubble"),
            "moustache": ("moustache", "moustache"),
            "goatee": ("goatee", "goatee"),
            "beard": ("full beard", "beard"),
        },
    ),
    "glasses": Fact(
        ("glasses", "eyewear"),
        {"none": ("no", "no glasses"), "glasses": ("yes", "glasses"), "sunglasses": ("sunglasses", "sunglasses")},
    ),
    "headwear": Fact(
        ("headwear", "on the head"),
        {
            "none": ("none", "bare head"),
            "hat": ("hat", "hat"),
            "cap": ("cap", "cap"),
            "headscarf": ("scarf", "headscarf"),
            "headband": ("headband", "headband"),
            "hood": ("hood", "hood"),
            "other": ("something", "headwear"),
        },
    ),
    "makeup": Fact(
        ("make-up", "makeup"),
        {"none": ("none", "no makeup"), "light": ("light", "light makeup"), "strong": ("strong", "strong makeup")},
    ),
    "earrings": Fact(("earrings",), {"none": ("no", "no earrings"), "yes": ("yes", "earrings")}),
    "teeth": Fact(
        ("teeth", "teeth visible"), {"no": ("no", "mouth closed, no teeth"), "yes": ("yes", "teeth showing")}
    ),
    "expression": Fact(
        ("expression", "mood"),
        {
            "neutral": ("neutral", "neutral face"),
            "slight-smile": ("slight smile", "slight smile"),
            "smile": ("smile", "smile"),
            "laugh": ("laughing", "laughing"),
            "surprised": ("surprised", "surprised"),
            "sad": ("sad", "sad"),
            "crying": ("crying", "crying"),
            "angry": ("angry", "angry"),
            "afraid": ("afraid", "afraid"),
            "disgusted": ("disgusted", "disgusted"),
            "contempt": ("contempt", "contempt"),
            "shouting": ("shouting", "shouting"),
            "talking": ("talking", "talking"),
        },
    ),
    "pose": Fact(
        ("head", "head direction"),
        {
            "frontal": ("facing forward", "facing forward"),
            "left": ("left", "turned left"),
            "right": ("right", "turned right"),
        },
    ),
    "skin": Fact(
        ("skin",),
        {
            "smooth": ("smooth", "smooth skin"),
            "few-lines": ("a few lines", "few lines"),
            "wrinkled": ("wrinkled", "wrinkled skin"),
        },
    ),
    "covering": Fact(
        ("covering the face", "in front of the face"),
        {
            "none": ("nothing", "nothing before the face"),
            "hand": ("hand", "hand"),
            "hair": ("hair", "hair over the face"),
            "object": ("object", "object"),
        },
    ),
    "light": Fact(
        ("light", "lighting"),
        {
            "even": ("even", "even light"),
            "side-left": ("left", "light from left"),
            "side-right": ("right", "light from right"),
            "harsh": ("harsh", "harsh light"),
            "dim": ("dim", "dim light"),
        },
    ),
    "background": Fact(
        ("background",),
        {
            "plain-light": ("light", "light background"),
            "plain-dark": ("dark", "dark background"),
            "plain-coloured": ("coloured", "coloured background"),
            "blurred": ("blurred", "blurred background"),
            "indoor": ("indoors", "indoor room"),
            "outdoor": ("outdoors", "outdoor"),
        },
    ),
}
# The expressions set's own labels, in the words of the tags.
_EXPRESSION_WORDS = {
    "neutral": "neutral",
    "happiness": "smile",
    "surprise": "surprised",
    "sadness": "sad",
    "anger": "angry",
    "disgust": "disgusted",
    "fear": "afraid",
    "contempt": "contempt",
}


def columns(faces: Faces) -> dict[str, np.ndarray]:
    """Fact -> int64 (n,) places in its words, -1 where it is not known."""
    found = {name: faces.tags[name] for name in FACTS if name in faces.tags}
    child = faces.age_years < CHILD_YEARS
    known = (faces.gender != MISSING) & (faces.age_years >= 0)
    found["person"] = np.where(known, faces.gender + 2 * child, UNKNOWN)
    found["age"], found["ethnicity"] = faces.age_group, faces.race
    words = tags.WORDS["expression"]
    labels = np.array([*(words.index(_EXPRESSION_WORDS[name]) for name in EXPRESSIONS), UNKNOWN])
    found["expression"] = np.where(faces.expression != MISSING, labels[faces.expression], found["expression"])
    yaw = faces.measurements[:, MEASUREMENTS.index("yaw_deg")]
    with np.errstate(invalid="ignore"):
        turned = [np.abs(yaw) <= YAW_FRONTAL_DEG, yaw >= YAW_TURNED_DEG, yaw <= -YAW_TURNED_DEG]
    found["pose"] = np.select(turned, [0, 1, 2], UNKNOWN)
    return {name: found[name] for name in FACTS}


def words_of(name: str) -> list[str]:
    """What a list of facts may say of fact `name`, by place."""
    return [said for said, _ in FACTS[name].words.values()]


def weights(column: np.ndarray, rows: np.ndarray, power: float = 0.75) -> np.ndarray:
    """How often (by place, relatively) a word is to be stated where it holds: 1 for a rare word, less for a common one.
    With `power` 1 all words of a fact would be stated equally often over `rows`; words rarer than 2 % count as 2 %."""
    known = column[rows][column[rows] >= 0]
    counts = np.bincount(known, minlength=int(column.max(initial=0)) + 1)
    floor = max(1.0, 0.02 * len(known))
    return np.minimum(1.0, floor / np.maximum(counts, 1)) ** power
