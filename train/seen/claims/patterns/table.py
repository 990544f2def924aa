"""The words by which a sentence claims something about a face: fact -> value -> patterns.

Strict patterns say themselves what they are about ("dark hair"); loose ones ("dark") count only in an answer to a
question about that fact. Negation is the reader's business.
"""

from __future__ import annotations

import re

from train.seen.claims.patterns.building import Value
from train.seen.claims.patterns.face_words import FACE
from train.seen.claims.patterns.head_words import HEAD
from train.seen.claims.patterns.picture_words import PICTURE

FACTS: dict[str, dict[str, Value]] = {**HEAD, **FACE, **PICTURE}
_HAIRY = r"hair|curl|locks|bob|fringe|ponytail|wave|strand"
# Fact -> letters without which none of its strict patterns can match: most clauses need not be searched for most facts.
GATES = {
    fact: re.compile(letters, re.IGNORECASE)
    for fact, letters in {
        "hair_colour": _HAIRY,
        "hair_length": _HAIRY + "|bald|shav|head|scalp|reced|thinn|crop|cut|wear|medium|shoulder|braid|plait|long",
        "hair_texture": _HAIRY + "|wavy|straight|afro|ringlet",
        "skin": "skin|complexion|face|surface|line|wrinkl|creas|furrow|weather",
        "brows": "brow",
        "lips": "lip",
        "nose": "nose",
        "face_shape": "face|shape|outline",
        "eye_colour": "eye",
        "earrings": "ear|stud|hoop",
        "teeth": "teeth|tooth|mouth|lip",
        "mouth": "mouth|lip|they",
    }.items()
}
# Nouns of which one word alone ("dark") may be said; in a clause that names another one it is not about the question.
NOUNS = {
    "hair": r"hair\w*|curls|fringe|head|scalp",
    "brows": r"(?:eye)?brows?",
    "lips": r"lips?|mouth",
    "nose": r"nose",
    "face": r"face|shape|outline|jaw|chin|forehead",
    "eyes": r"eyes?|eyelids?|lids|gaze",
    "skin": r"skin|complexion|surface",
    "picture": r"picture|photo\w*|image|focus|details?|quality|resolution|sharpness|contrast|colou?rs?|exposure|crop",
    "light": r"(?:the |this )?light (?:is|comes|falls|looks|from)|lighting|lit|shadows?",
    "background": r"background|backdrop|wall|behind",
    "make-up": r"make-?up|lipstick",
    "expression": r"expression|mood|emotion",
    "beard": r"beard|moustache|stubble|facial hair",
}
# Fact -> the nouns that may stand beside its single words.
OWN_NOUNS = {
    "hair_colour": ("hair",),
    "hair_length": ("hair",),
    "hair_texture": ("hair",),
    "brows": ("brows",),
    "lips": ("lips",),
    "nose": ("nose",),
    "face_shape": ("face",),
    "skin": ("skin", "face"),
    "eye_colour": ("eyes",),
    "eyes": ("eyes",),
    "gaze": ("eyes", "face", "hair"),
    "mouth": ("lips",),
    "teeth": ("lips",),
    "pose": ("face", "hair", "eyes"),
    "light": ("light", "picture"),
    "background": ("background",),
    "sharpness": ("picture",),
    "colour": ("picture",),
    "makeup": ("make-up",),
    "facial_hair": ("beard", "face", "lips"),
    "people": ("picture", "face"),
}
GARMENTS = (
    r"suit|jacket|shirts?|t-?shirts?|blouse|collars?|tie|sweater|jumper|pullover|cardigan|coat|dress|gown|top"
    r"|vest|scarf|shawl|hoodie|"
    r"uniform|robe|turtleneck|polo|sari|bib|tunic|blazer|sweatshirt|waistcoat|lapels?|clothing|clothes|garment"
    r"|neckline|straps?|outfit|cloth|wrap|blazer"
)
ETHNIC_MORE = re.compile(
    r"\b(?:caucasian|latin[oa]|hispanic|middle[- ]eastern|african[- ]american|east asian|south asian|southeast "
    r"asian|european descent"
    r"|african descent|asian descent)\b",
    re.IGNORECASE,
)
