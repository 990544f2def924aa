"""People's answers beside the synthetic ones to the same questions about the same images, and two data sets of them.

Human answers come from a CSV (columns image, answer, and question or attribute; optionally annotator) or from the
SQLite file of `train audit`, whose page collects them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from facellm.messages import clean
from train.faces.label_files import read_table
from train.lora.rows.example import IMAGE_MARK
from train.people.audit.items import Item, read_items
from train.people.audit.judgements import AuditStore

HUMAN, SYNTHETIC = "human", "synthetic"
_QUESTIONS = {attribute.key: attribute.question for attribute in ATTRIBUTES}


@dataclass(frozen=True)
class Answer:
    """What somebody wrote. where: file and line, for messages."""

    image: str
    question: str
    text: str
    annotator: str
    where: str


@dataclass(frozen=True)
class Pair:
    """item: the synthetic answer with its image.  human: the answer to the same question.  annotator: whose."""

    item: Item
    human: str
    annotator: str


@dataclass(frozen=True)
class Pairs:
    """left_out: sentences about human answers that have no synthetic partner."""

    pairs: tuple[Pair, ...]
    left_out: tuple[str, ...]


def read_pairs(synthetic: Path, human: Path) -> Pairs:
    """Every human answer with its synthetic partner.  Raises FaceLLMError where there is none."""
    answers = read_human(human)
    items = read_items(synthetic).items
    partner = {(item.image, item.question): item for item in items}
    # A CSV may name images without the folder that the set keeps them in.
    for item in items:
        partner.setdefault((item.image.partition("/")[2], item.question), item)
    found, alone = [], []
    for answer in answers:
        item = partner.get((answer.image, answer.question))
        if item is None:
            alone.append(answer)
        else:
            found.append(Pair(item, answer.text, answer.annotator))
    if not found:
        raise FaceLLMError(
            f"None of the {len(answers)} answers in {human} is about an image and question of {synthetic} (the first "
            f"is about {answers[0].image!r}); give the data set that they were written to."
        )
    told = []
    if alone:
        told.append(
            f"{len(alone)} of {len(answers)} human answers have no synthetic partner and were left out (first: "
            f"{alone[0].where}, image {alone[0].image!r})."
        )
    return Pairs(tuple(found), tuple(told))


def read_human(file: Path) -> list[Answer]:
    """All answers of a CSV or an audit file.  Raises FaceLLMError where there is none, or a row is at fault."""
    if not file.is_file():
        raise FaceLLMError(f"There is no file {file}; give a CSV or the audit's SQLite file with --human.")
    with file.open("rb") as handle:
        is_database = handle.read(16).startswith(b"SQLite format 3")
    answers = _of_audit(file) if is_database else _of_csv(file)
    if not answers:
        raise FaceLLMError(
            f"{file} holds no answer that a person wrote; write some on the audit page, under 'Write your own answers'."
        )
    return answers


def _of_audit(file: Path) -> list[Answer]:
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone():
            raise FaceLLMError(f"{file} is a database, but not one of `train audit`.")
    store = AuditStore(file)
    items = {item.key: item for item in store.items()}
    return [
        Answer(items[w.item].image, items[w.item].question, clean(w.answer), w.annotator, f"{file.name} {w.item}")
        for w in store.written()
    ]


def _of_csv(file: Path) -> list[Answer]:
    table = read_table(file, "--human", ("image", "answer"), labels=False, multiline=True)
    if not {"question", "attribute"} & set(table.columns):
        raise FaceLLMError(
            f"{file} has the columns {', '.join(table.columns)}; it needs image, answer, and question or attribute."
        )
    if table.faults:
        raise FaceLLMError(f"{file.name} line {table.faults[0].line}: {table.faults[0].text}; correct that line.")
    return [_row(row, f"{file.name} line {line}") for line, row in table.rows]


def _row(row: dict[str, str], where: str) -> Answer:
    image, text = (row.get("image") or "").strip(), clean(row.get("answer") or "")
    attribute = (row.get("attribute") or "").strip()
    question = clean(row.get("question") or "") or _QUESTIONS.get(attribute)
    if not image or not text:
        raise FaceLLMError(f"{where} has no image or an empty answer; fill it in or take the line out.")
    if question is None:
        raise FaceLLMError(
            f"{where} has no question, and {attribute!r} is none of the attributes {', '.join(_QUESTIONS)}."
        )
    return Answer(image, question, text, (row.get("annotator") or "").strip() or "unnamed", where)


def write_data(folder: Path, pairs: Sequence[Pair], variant: str) -> Path:
    """A folder for `train lora` with the human or the synthetic answers: same images, same questions, same order.

    Images are named by their absolute paths and not copied.
    """
    rows = [
        {
            "conversations": [
                {"from": "human", "value": f"{IMAGE_MARK}\n{pair.item.question}"},
                {"from": "gpt", "value": pair.human if variant == HUMAN else pair.item.answer},
            ],
            "images": [str(pair.item.path.resolve())],
        }
        for pair in pairs
    ]
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "dataset.json.part"
    part.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    part.replace(folder / "dataset.json")
    return folder
