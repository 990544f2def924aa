"""The question-answer pairs of a data set that can be judged: with their image, attribute, labels and sentences.

Labels come from `jsonl/*.jsonl` beside the set (`train dataset` writes them) or from a CSV with the columns file, age,
gender, race.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from train.faces.label_files import read_file_labels
from train.lora.conversations import read_dataset
from train.people.audit.sentences import sentences

LABELS = ("age", "gender", "race")
OTHER = "other"  # a question that is none of the eight
UNKNOWN = "unknown"  # a label that the data set does not give
_BY_QUESTION = {attribute.question: attribute.key for attribute in ATTRIBUTES}


@dataclass(frozen=True)
class Item:
    """One pair to judge.  image: as the data set writes it.  path: the file.  labels: of LABELS, those that are known.

    key: digest of image, question and answer: the same pair has the same key in every sample.
    """

    key: str
    image: str
    path: Path
    attribute: str
    question: str
    answer: str
    sentences: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def stratum(self) -> tuple[str, str, str]:
        """(attribute, gender, ethnic group)"""
        return self.attribute, self.labels.get("gender") or UNKNOWN, self.labels.get("race") or UNKNOWN


@dataclass(frozen=True)
class Items:
    """digest: of the data files.  left_out: sentences for the reader about what is missing."""

    items: tuple[Item, ...]
    digest: str
    left_out: tuple[str, ...] = ()


def key_of(image: str, question: str, answer: str) -> str:
    """16 hexadecimal digits."""
    return hashlib.sha256("\x1f".join((image, question, answer)).encode()).hexdigest()[:16]


def read_items(dataset: Path, labels: Path | None = None) -> Items:
    """Every pair of training and validation rows whose image is a file.

    dataset: the folder, or its dataset.json.  labels: a CSV, where the set has no `jsonl/` of its own.
    Raises FaceLLMError where there is nothing to judge.
    """
    if not dataset.exists():
        raise FaceLLMError(f"There is no data set {dataset}; give the folder that `python -m train dataset` wrote.")
    data = read_dataset(dataset)
    known, attributes = _own_lines(data.folder)
    unknown = None
    if labels is not None:
        read = read_file_labels(labels)
        known, unknown = read.labels, read.about_unknown(labels)
    there = {image: data.path(image).is_file() for image in data.images()}
    if not any(there.values()):
        first = next(iter(there), None)
        raise FaceLLMError(
            f"None of the {len(there)} images of {data.folder} is a file (the first is {first}); an audit needs the "
            "pictures themselves, not features: write the set with `python -m train dataset`."
            if first
            else f"No row of {data.folder} is about an image; there is nothing that a picture could support."
        )
    found: dict[str, Item] = {}
    blind, missing, empty = 0, 0, 0
    for example in (*data.train, *data.val):
        for question, answer in example.turns:
            if example.image is None:
                blind += 1
            elif not there[example.image]:
                missing += 1
            elif not (parts := tuple(sentences(answer))):
                empty += 1
            else:
                key = key_of(example.image, question, answer)
                attribute = attributes.get((example.image, question)) or _BY_QUESTION.get(question, OTHER)
                found[key] = Item(
                    key, example.image, data.path(example.image), attribute, question, answer, parts,
                    _labels_of(example.image, known),
                )  # fmt: skip
    if not found:
        raise FaceLLMError(f"No pair of {data.folder} has a sentence to judge.")
    left_out = _left_out(blind, missing, empty, found)
    return Items(tuple(found.values()), data.digest, tuple([*left_out, unknown] if unknown else left_out))


def _left_out(blind: int, missing: int, empty: int, found: Mapping[str, Item]) -> list[str]:
    lines = []
    if blind:
        lines.append(f"{blind} pairs are about no image and were left out.")
    if missing:
        lines.append(f"{missing} pairs were left out because their image is not a file.")
    if empty:
        lines.append(f"{empty} pairs were left out because their answer has no word.")
    bare = sum(not item.labels for item in found.values())
    if bare:
        lines.append(
            f"{bare} of {len(found)} pairs have no labels, so they are not divided by gender and ethnic group; "
            "labels come from jsonl/ beside the set, or from --labels."
        )
    return lines


def _labels_of(image: str, known: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """Labels under the name as written, or without its first folder (`images/val/1.jpg`: `val/1.jpg`)."""
    parts = PurePosixPath(image).parts
    return known.get(image) or (known.get("/".join(parts[1:])) if len(parts) > 1 else None) or {}


def _own_lines(folder: Path) -> tuple[dict[str, dict[str, str]], dict[tuple[str, str], str]]:
    """(image -> labels, (image, question) -> attribute) of jsonl/*.jsonl; both empty where there is none."""
    labels, attributes = {}, {}
    for file in sorted((folder / "jsonl").glob("*.jsonl")):
        # Not splitlines(), which also splits at characters that an answer may hold, such as U+2028.
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                image, question = row["image"], row["question"]
            except (ValueError, KeyError, TypeError):
                raise FaceLLMError(
                    f"{file} line {number} is no row with image and question; write the set again."
                ) from None
            labels[image] = {name: row[name] for name in LABELS if row.get(name)}
            if row.get("attribute"):
                attributes[image, question] = row["attribute"]
    return labels, attributes
