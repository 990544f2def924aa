"""What the seeing teacher's tags mean: fields, their words, and which neighbouring words are one.

This is the only place that merges words: the tower's heads, the pairs and the scores all read the tags here. Two passes
of the teacher over the same faces tell some words apart no better than a coin (dark brown and black hair), so
neighbours are merged before anything is taught or scored. A word that names no fact ("unclear", "unseen", "other")
becomes None: unknown, and never taught.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from facellm.errors import FaceLLMError
from train.faces.label_files import read_table

# Field -> merged word -> the teacher's words that it stands for.  A teacher's word that is listed nowhere is unknown.
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "hair_colour": {
        "dark": ("black", "dark-brown"),
        "brown": ("brown", "light-brown"),
        "blond": ("blond",),
        "red": ("red",),
        "grey": ("grey", "white"),
        "none": ("none",),
    },
    "hair_length": {
        "bald": ("bald", "balding", "shaved"),
        "short": ("short",),
        "medium": ("medium",),
        "long": ("long", "tied"),
    },
    "hair_texture": {"straight": ("straight",), "wavy": ("wavy",), "curly": ("curly", "coily")},
    "facial_hair": {
        "none": ("none",),
        "stubble": ("stubble",),
        "moustache": ("moustache",),
        "goatee": ("goatee",),
        "beard": ("beard",),
    },
    "glasses": {"none": ("none",), "glasses": ("glasses",), "sunglasses": ("sunglasses",)},
    "headwear": {
        "none": ("none",),
        "hat": ("hat", "helmet"),
        "cap": ("cap",),
        "headscarf": ("headscarf", "turban"),
        "headband": ("headband",),
        "hood": ("hood",),
        "other": ("other",),
    },
    "makeup": {"none": ("none",), "light": ("light",), "strong": ("strong",)},
    "earrings": {"none": ("no", "unclear"), "yes": ("yes",)},  # "none to be seen": ears are hidden in most crops
    "covering": {"none": ("none",), "hand": ("hand",), "hair": ("hair",), "object": ("object", "mask", "microphone")},
    "teeth": {"no": ("no",), "yes": ("yes",)},
    "gaze": {word: (word,) for word in ("camera", "left", "right", "up", "down", "closed")},
    "expression": {
        "neutral": ("neutral", "pensive"),
        "slight-smile": ("slight-smile",),
        "smile": ("smile",),
        "laugh": ("laugh",),
        "surprised": ("surprised",),
        "sad": ("sad",),
        "crying": ("crying",),
        "angry": ("angry", "frown"),
        "afraid": ("afraid",),
        "disgusted": ("disgusted",),
        "contempt": ("contempt",),
        "shouting": ("shouting",),
        "talking": ("talking",),
    },
    "face_shape": {word: (word,) for word in ("oval", "round", "square", "long", "heart")},
    "brows": {word: (word,) for word in ("thin", "medium", "thick")},
    "nose": {word: (word,) for word in ("narrow", "medium", "broad")},
    "lips": {word: (word,) for word in ("thin", "medium", "full")},
    "skin": {
        "smooth": ("smooth",),
        "few-lines": ("few-lines",),
        "wrinkled": ("wrinkled", "deeply-wrinkled"),
    },
    "light": {
        "even": ("even", "bright"),
        "side-left": ("side-left",),
        "side-right": ("side-right",),
        "harsh": ("harsh",),
        "dim": ("dim", "backlit"),
    },
    "background": {
        word: (word,) for word in ("plain-light", "plain-dark", "plain-coloured", "blurred", "indoor", "outdoor")
    },
    # Facts that the teacher's tags hold without a column of their own.
    "hair_tied": {"no": ("bald", "balding", "shaved", "short", "medium", "long"), "yes": ("tied",)},
    "hair_seen": {
        "no": ("unseen",),
        "yes": ("bald", "balding", "shaved", "short", "medium", "long", "tied"),
    },
    "freckles": {"no": ("no",), "yes": ("yes",)},
    "moles": {"no": ("no",), "yes": ("yes",)},
    "blemishes": {"no": ("no",), "yes": ("yes",)},
    "shiny_skin": {"no": ("no",), "yes": ("yes",)},
}
FIELDS = tuple(GROUPS)
WORDS: dict[str, tuple[str, ...]] = {name: tuple(groups) for name, groups in GROUPS.items()}
UNKNOWN = -1
# Where the fields without a column come from: the column, and for skin marks the word looked for in it.
_DERIVED = {"hair_tied": "hair_length", "hair_seen": "hair_length"}
_MARKS = {"freckles": "freckles", "moles": "moles", "blemishes": "blemished", "shiny_skin": "shiny"}
# The viewer's left becomes the right when a picture is mirrored.
MIRRORED = {"gaze": {"left": "right", "right": "left"}, "light": {"side-left": "side-right", "side-right": "side-left"}}
# Fields that two passes of the teacher agree on too weakly to state without a hedge.
WEAK = ("face_shape", "brows", "nose", "lips", "gaze", "light", "background")
# Words of a field that mean "there is none of it": everything else answers a yes-or-no question with yes.
ABSENT = {name: {"none", "no"} & set(words) for name, words in WORDS.items()}
_MERGED = {
    name: {word: merged for merged, words in groups.items() for word in words} for name, groups in GROUPS.items()
}


@dataclass(frozen=True)
class Seen:
    """What the teacher saw on one face.

    file: "utkface/train/7.jpg".  tags: field -> merged word, or None where unknown.  raw: column -> the teacher's own
    words.  doubtful: the teacher took this for no usable face; all its tags are None then.
    """

    file: str
    tags: dict[str, str | None]
    caption: str
    doubtful: bool = False
    raw: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str | None:
        return self.tags[name]


def merge(name: str, word: str) -> str | None:
    """The merged word of `word`, one of the teacher's words for field `name`; None where it names no fact."""
    return _MERGED[name].get(word)


def present(name: str, word: str | None) -> bool | None:
    """Whether a merged word says that there is some of the field at all (facial hair, glasses); None for unknown."""
    return None if word is None else word not in ABSENT[name]


def index(name: str, word: str | None) -> int:
    """The place of a merged word among `WORDS[name]`; `UNKNOWN` for None."""
    return UNKNOWN if word is None else WORDS[name].index(word)


def mirrored(name: str, word: str | None) -> str | None:
    """The merged word that holds once the picture is mirrored."""
    return MIRRORED.get(name, {}).get(word, word) if word else None


def _tags(row: dict[str, str]) -> dict[str, str | None]:
    skin = row["skin"].split("+")
    tags: dict[str, str | None] = {}
    for name in FIELDS:
        if name in _MARKS:
            tags[name] = None if "unclear" in skin else ("yes" if _MARKS[name] in skin else "no")
        elif name == "skin":
            tags[name] = next((merged for word in skin if (merged := merge(name, word))), None)
        else:
            tags[name] = merge(name, row[_DERIVED.get(name, name)])
    return tags


def read_seen(folder: Path) -> dict[str, Seen]:
    """All rows of `folder/seen.csv` by file, in the file's order."""
    seen: dict[str, Seen] = {}
    table = read_table(folder / "seen.csv", "the folder of tags", ("file", "caption"), labels=False)
    if table.faults:
        raise FaceLLMError(f"{folder / 'seen.csv'}, {table.faults[0]}; correct that line.")
    for _, row in table.rows:
        doubtful = row.get("doubtful") == "1"
        tags = dict.fromkeys(FIELDS) if doubtful else _tags(row)
        raw = {name: word for name, word in row.items() if name not in ("file", "caption", "doubtful")}
        seen[row["file"]] = Seen(row["file"], tags, row["caption"], doubtful, raw)
    return seen


def read_doubts(folder: Path) -> dict[str, set[str]]:
    """File -> label fields (gender, race, age) whose label and look disagree: to be left out of training and scores."""
    doubts: dict[str, set[str]] = {}
    with (folder / "label_doubts.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            doubts.setdefault(row["file"], set()).add(row["field"])
    return doubts


def counts(rows: Iterable[Seen], name: str) -> dict[str | None, int]:
    """How often each merged word of field `name`, and None for unknown, occurs in `rows`."""
    found: dict[str | None, int] = dict.fromkeys((*WORDS[name], None), 0)
    for row in rows:
        found[row[name]] += 1
    return found
