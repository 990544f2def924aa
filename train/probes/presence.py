"""Does a model see what is not there? Yes-or-no questions about absent things, and things that descriptions make up.

The questions follow POPE (Li et al. 2023, arXiv 2305.10355): of each face as many present things as absent ones, which
are drawn at random, or are those most frequent in the data (popular), or those that most often go together with what is
present (adversarial). Descriptions are counted as CHAIR does (Rohrbach et al. 2018, arXiv 1809.02156). What is there is
known from tags of `seen.csv`; a thing whose tag is unclear is neither asked about nor counted.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from train.reports import stats
from train.seen.claims import assertions
from train.seen.known.tags import Seen

STRATEGIES = ("random", "popular", "adversarial")
MOST = 3  # present things of a face that are asked about, as in POPE
ANSWER = "Please answer yes or no."
DESCRIBE = ("Describe this image.", "Describe the person in the image: the face, the hair and what is worn.")


@dataclass(frozen=True)
class Thing:
    """Something that a face may have.

    Attributes:
        question: Whether it is there.
        fact: The field of the tags, and of what texts claim.
        there: Merged tags that say it is there.
        gone: Those that say it is not; any other tag leaves it open.
        said: Values by which a text claims it.
    """

    question: str
    fact: str
    there: frozenset[str]
    gone: frozenset[str]
    said: frozenset[str]

    def known(self, seen: Seen) -> bool | None:
        """Whether a face has it; None where the tags leave it open."""
        tag = seen[self.fact]
        return True if tag in self.there else False if tag in self.gone else None


def _thing(question: str, fact: str, there: str, gone: str, said: str = "") -> Thing:
    sets = (frozenset(words.split()) for words in (there, gone, said or there))
    return Thing(question, fact, *sets)


THINGS: Mapping[str, Thing] = {
    "glasses": _thing("Is the person wearing glasses?", "glasses", "glasses sunglasses", "none"),
    "sunglasses": _thing("Is the person wearing sunglasses?", "glasses", "sunglasses", "none glasses"),
    "beard": _thing("Does the person have a beard?", "facial_hair", "beard goatee", "none"),
    "moustache": _thing("Does the person have a moustache?", "facial_hair", "moustache", "none"),
    "hat": _thing(
        "Is the person wearing a hat or another head covering?", "headwear",
        "hat cap headscarf headband hood other", "none", "yes hat cap headscarf headband hood other",
    ),
    "earrings": _thing("Are earrings visible in the image?", "earrings", "yes", "none"),
    "make-up": _thing("Is the person wearing visible make-up?", "makeup", "light strong", "none", "yes light strong"),
}  # fmt: skip


@dataclass(frozen=True)
class Probe:
    """One question. key: file#thing.  right: whether the thing is there."""

    key: str
    file: str
    thing: str
    right: bool


def choose(faces: Sequence[Seen], seed: int = 0) -> dict[str, list[Probe]]:
    """Returns strategy -> its questions; the present things are the same in all.

    Args:
        faces: Tagged faces; those with nothing present, or nothing absent, are left out.
        seed: Of what is drawn at random.
    """
    known = [{name: thing.known(face) for name, thing in THINGS.items()} for face in faces]
    frequent = Counter(name for own in known for name, there in own.items() if there)
    together = Counter(
        (one, other) for own in known for one in own for other in own if one != other and own[one] and own[other]
    )
    found: dict[str, list[Probe]] = {strategy: [] for strategy in STRATEGIES}
    for face, own in zip(faces, known, strict=True):
        rng = random.Random(f"{seed}:{face.file}")
        there = [name for name, value in own.items() if value]
        gone = [name for name, value in own.items() if value is False]
        rng.shuffle(there)
        rng.shuffle(gone)  # ties below fall at random
        there = there[: min(MOST, len(gone))]
        orders = {
            "random": gone,
            "popular": sorted(gone, key=lambda name: -frequent[name]),
            "adversarial": sorted(gone, key=lambda name: -sum(together[one, name] for one in there)),
        }
        for strategy, absent in orders.items():
            asked = [(name, True) for name in there] + [(name, False) for name in absent[: len(there)]]
            found[strategy] += [Probe(f"{face.file}#{name}", face.file, name, right) for name, right in asked]
    return found


def yes_or_no(text: str, thing: str) -> bool | None:
    """Reads an answer: its first word, else what it claims of the thing; None where it says neither."""
    own = THINGS[thing]
    reading = assertions.read(text, own.fact)
    if reading.lead is not None:
        return reading.lead
    if reading.says(own.fact) & own.said:
        return True
    if "none" in reading.says(own.fact) or reading.denies(own.fact) & own.said:
        return False
    return None


def scores(probes: Sequence[Probe], said: Mapping[str, str]) -> dict[str, Any]:
    """POPE's figures of one strategy and model; an answer that says neither yes nor no is wrong and no yes.

    Returns:
        accuracy and yes as rates with Wilson intervals, precision, recall, F1 (None where undefined), unread, and
        `things`: how often each absent thing was seen.
    """
    read = {probe.key: yes_or_no(said[probe.key], probe.thing) for probe in probes}
    hits = sum(read[probe.key] is True for probe in probes if probe.right)
    false = sum(read[probe.key] is True for probe in probes if not probe.right)
    present = sum(probe.right for probe in probes)
    precision = hits / (hits + false) if hits + false else None
    recall = hits / present if present else None
    absent: dict[str, list[bool]] = {}
    for probe in probes:
        if not probe.right:
            absent.setdefault(probe.thing, []).append(read[probe.key] is True)
    return {
        "accuracy": stats.rate(sum(read[p.key] is p.right for p in probes), len(probes)).to_dict(),
        "yes": stats.rate(hits + false, len(probes)).to_dict(),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if precision and recall else None,
        "unread": sum(value is None for value in read.values()),
        "things": {name: stats.rate(sum(own), len(own)).to_dict() for name, own in sorted(absent.items())},
    }


def right(probes: Sequence[Probe], said: Mapping[str, str]) -> list[bool]:
    """Whether each question was answered right."""
    return [yes_or_no(said[probe.key], probe.thing) is probe.right for probe in probes]


def mentions(text: str, face: Seen) -> dict[str, bool]:
    """Returns thing -> whether it is there, of the things that a text claims and the tags know."""
    reading = assertions.read(text)
    return {
        name: known
        for name, thing in THINGS.items()
        if reading.says(thing.fact) & thing.said and (known := thing.known(face)) is not None
    }


def descriptions(faces: Sequence[Seen], said: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """CHAIR of one model's descriptions.

    Args:
        faces: The faces.
        said: file -> its descriptions.

    Returns:
        Rates: mentions (made up, of all mentions of things whose tag is known: CHAIR_i), texts (with one made up, of
        all texts: CHAIR_s), and told (present things that some description of the face mentions: silence makes up
        nothing). `things`: mentions made up, by thing.
    """
    made_up = mentioned = bad = texts = told = there = 0
    things: dict[str, list[bool]] = {}
    for face in faces:
        named: set[str] = set()
        for text in said[face.file]:
            found = mentions(text, face)
            wrong = [name for name, known in found.items() if not known]
            mentioned, made_up = mentioned + len(found), made_up + len(wrong)
            texts, bad = texts + 1, bad + bool(wrong)
            named |= set(found)
            for name, known in found.items():
                things.setdefault(name, []).append(not known)
        present = {name for name, thing in THINGS.items() if thing.known(face)}
        told, there = told + len(present & named), there + len(present)
    return {
        "mentions": stats.rate(made_up, mentioned).to_dict(),
        "texts": stats.rate(bad, texts).to_dict(),
        "told": stats.rate(told, there).to_dict(),
        "things": {name: stats.rate(sum(own), len(own)).to_dict() for name, own in sorted(things.items())},
    }
