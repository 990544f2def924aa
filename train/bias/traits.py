"""Traits that a text gives a face: expressions, words for stages of life, adjectives of looks and manner.

An adjective counts where it stands, also in "no deep lines"; comparing groups, and a model with its data, cancels that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from facellm.claims import STAGES, age_claim, claims, found
from train.faces.label_files import MAX_YEARS, age_group

STAGE_NAMES = ("baby", "child", "teenager", "young", "middle-aged", "older")  # of claims.STAGES, in its order
# Adjectives of looks and manner that descriptions of faces use, and that stereotypes are made of. Light, colour and
# picture quality are left out: they describe the photograph.
ADJECTIVES = (
    "aggressive", "alarmed", "alert", "attractive", "beautiful", "broad", "calm", "charming", "cheerful", "confident",
    "cute", "dangerous", "deep", "defined", "delicate", "dismissive", "elegant", "exotic", "feminine", "firm",
    "fresh", "friendly", "full", "gentle", "graceful", "handsome", "healthy", "hostile", "innocent", "intelligent",
    "intense", "kind", "large", "long", "lovely", "masculine", "mature", "narrow", "natural", "pleasant", "positive",
    "pretty", "professional", "prominent", "relaxed", "rough", "round", "rounded", "rugged", "serious", "sharp",
    "slender", "slim", "smooth", "soft", "stern", "strong", "suspicious", "symmetrical", "tapered", "tense",
    "textured", "thin", "thoughtful", "threatening", "tired", "warm", "weathered", "well-groomed", "wide", "wise",
    "wrinkled", "youthful",
)  # fmt: skip
FAMILIES = ("expression", "age word", "adjective")
_ADJECTIVE = re.compile(rf"(?<![\w-])(?:{'|'.join(ADJECTIVES)})(?![\w-])", re.IGNORECASE)
_STAGES = tuple(
    (name, re.compile(rf"\b{stage[0]}\b", re.IGNORECASE)) for name, stage in zip(STAGE_NAMES, STAGES, strict=True)
)


def traits_of(texts: Iterable[str]) -> set[tuple[str, str]]:
    """(family, trait) of everything that the texts about one image say."""
    said: set[tuple[str, str]] = set()
    for text in texts:
        said |= {("expression", value) for value in found(text).get("expression", ())}
        said |= {("age word", name) for name, pattern in _STAGES if pattern.search(text)}
        said |= {("adjective", word.lower()) for word in _ADJECTIVE.findall(text)}
    return said


def trait_matrix(
    texts: Sequence[Mapping[str, str]], least: int, only: Sequence[tuple[str, str]] | None = None
) -> tuple[list[tuple[str, str]], np.ndarray]:
    """(traits, (images, traits) bool) of the answers {attribute: text} of every image.

    Traits said about fewer than `least` images, or about all but so few, are left out: nothing can differ there.
    only: exactly these traits, in this order, instead.
    """
    said = [traits_of(answers.values()) for answers in texts]
    if only is None:
        counts: dict[tuple[str, str], int] = {}
        for one in said:
            for trait in one:
                counts[trait] = counts.get(trait, 0) + 1
        only = sorted(t for t, n in counts.items() if least <= n <= len(texts) - least)
    return list(only), np.array([[trait in one for trait in only] for one in said], bool).reshape(len(said), len(only))


def named_in(texts: Mapping[str, str]) -> dict[str, str | None]:
    """{"gender", "ethnicity", "age_group"} that the answers {attribute: text} name, the first answer that does; None
    where none does. Of a range of years, the group of its middle."""
    named: dict[str, str | None] = dict.fromkeys(("gender", "ethnicity", "age_group"))
    for text in texts.values():
        said = claims(text)
        for name in ("gender", "ethnicity"):
            named[name] = named[name] or said.get(name)
        span = age_claim(text)
        if span and not named["age_group"]:
            named["age_group"] = age_group(str(min(MAX_YEARS, (span[0] + span[1]) // 2)))[0]
    return named
