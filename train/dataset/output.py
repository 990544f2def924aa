"""From stored answers to a data set that trainers read as it is: LLaMA-Factory, Hugging Face `datasets`, `train lora`.

One folder:

    dataset.json, dataset_val.json   ShareGPT conversations with a column `images`
    dataset_info.json                LLaMA-Factory's description of both
    jsonl/train.jsonl, jsonl/validation.jsonl   one question and answer a line, with where it comes from
    images/                          the images (hard links where the file system allows them, else copies)
    manifest.json, README.md, distributions.png   digests and counts, the data-set card, its plot

Every file appears whole, in the labels' order. An image's answers are all in one split, chosen by the image's own
digest: it stays there when the set grows.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from facellm.labels import AGE_GROUPS, GENDERS
from facellm.storage.files import atomic_open, atomic_path, file_digest, write_json, write_text
from train.dataset.data_card import card, plot
from train.faces.label_files import RACES
from train.faces.label_rows import LabelRow
from train.lora.rows.example import IMAGE_MARK
from train.teachers.plan import Plan
from train.teachers.store import AnswerStore

NAME = "fairfacegpt"
SHAREGPT = {"train": "dataset.json", "val": "dataset_val.json"}
JSONL = {"train": "jsonl/train.jsonl", "val": "jsonl/validation.jsonl"}


def split_of(digest: str, val: float) -> str:
    """ "val" for a fraction `val` of all digests."""
    return "val" if int(digest[:8], 16) < val * 2**32 else "train"


def write(out: Path, plan: Plan, store: AnswerStore, source: str, val: float) -> dict[str, Any]:
    """Writes every file and returns the manifest.  Raises FaceLLMError where there is nothing to train on.

    source: the label file's name.  val: fraction of the images that are held out.
    """
    counts, people, lengths = Counter(), {"train": Counter(), "val": Counter()}, Counter()
    images, served = Counter(), Counter()
    _check_some_training_row(plan, store, val)
    with ExitStack() as files:
        share = {split: files.enter_context(_JsonList(out / name)) for split, name in SHAREGPT.items()}
        lines = {split: files.enter_context(atomic_open(out / name)) for split, name in JSONL.items()}
        for row in plan.rows:
            split, name, any_kept = split_of(row.digest, val), f"images/{row.file}", False
            for attribute in plan.attributes:
                if (record := store.kept(plan.request(row, attribute))) is None:
                    continue
                any_kept = True
                share[split].add(_conversation(record, name))
                lines[split].write(json.dumps(_line(record, row, name), ensure_ascii=False) + "\n")
                counts[split, record["attribute"]] += 1
                lengths[len(record["answer"].split()) // 20 * 20] += 1
                served[record["served_model"] or record["model"]] += 1
            if any_kept:
                _link(row.path, out / name)
                images[split] += 1
                people[split].update([("age", row.age), ("gender", row.gender), ("race", row.race)])
    if not images["val"]:  # an empty file would be an error to those who read it
        for name in (SHAREGPT["val"], JSONL["val"]):
            (out / name).unlink()
    splits = [split for split in SHAREGPT if images[split]]
    write_json(
        out / "dataset_info.json",
        {NAME if split == "train" else f"{NAME}_{split}": _entry(SHAREGPT[split]) for split in splits},
    )
    files_written = [*(SHAREGPT[s] for s in splits), *(JSONL[s] for s in splits), "dataset_info.json"]
    wanted = len(plan.rows) * len(plan.attributes)
    made = sum(counts.values())
    aside = sum(
        not store.has(request) and not store.is_open(request, plan.tries)
        for row in plan.rows
        for request in (plan.request(row, attribute) for attribute in plan.attributes)
    )
    manifest = {
        "name": NAME,
        "complete": made + aside == wanted,
        "teacher": plan.settings.teacher,
        "served_models": dict(served),
        "settings": plan.settings.identity(),
        "prompt_version": plan.prompt_version,
        "labels": source,
        "val_fraction": val,
        "images": {split: images[split] for split in splits},
        "answers": {
            split: {attribute.key: counts[split, attribute.key] for attribute in plan.attributes} for split in splits
        },
        "wanted": wanted,
        "written": made,
        "set_aside": aside,
        "failed_checks": dict(store.reasons),
        "faults": dict(store.faults),
        "cost_usd": round(store.spent, 4) if plan.price else None,
        "people": {split: _table(people[split]) for split in splits},
        "words": {str(low): lengths[low] for low in sorted(lengths)},
        "sha256": {name: file_digest(out / name) for name in files_written},
    }
    write_json(out / "manifest.json", manifest)
    write_text(out / "README.md", card(manifest, JSONL))
    plot(manifest, out / "distributions.png")
    return manifest


def _check_some_training_row(plan: Plan, store: AnswerStore, val: float) -> None:
    splits = {
        split_of(row.digest, val) for row in plan.rows if any(store.has(plan.request(row, a)) for a in plan.attributes)
    }
    if not splits:
        raise FaceLLMError("No answer is kept yet, so there is no data set to write; see the faults and checks above.")
    if "train" not in splits:
        raise FaceLLMError(f"Every image fell into the validation split of {val:g}; lower --val or add images.")


def _conversation(record: Mapping[str, Any], image: str) -> dict[str, Any]:
    turns = [("human", f"{IMAGE_MARK}\n{record['question']}"), ("gpt", record["answer"])]
    return {"conversations": [{"from": who, "value": text} for who, text in turns], "images": [image]}


def _line(record: Mapping[str, Any], row: LabelRow, image: str) -> dict[str, Any]:
    """A row for `datasets`; the labels stand beside the text for those who measure bias, not in it."""
    return {
        "image": image,
        "attribute": record["attribute"],
        "question": record["question"],
        "answer": record["answer"],
        "age": row.age,
        "gender": row.gender,
        "race": row.race,
        "teacher": record["teacher"],
        "model": record["served_model"] or record["model"],
        "prompt_version": record["prompt_version"],
    }


def _entry(file: str) -> dict[str, Any]:
    """LLaMA-Factory reads the column `images`; under any other name it trains without a word and without an image."""
    return {
        "file_name": file,
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "images": "images"},
        "tags": {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"},
    }


def _table(people: Counter) -> dict[str, dict[str, int]]:
    known = {"age": AGE_GROUPS, "gender": GENDERS, "race": RACES}
    return {kind: {label: people[kind, label] for label in labels} for kind, labels in known.items()}


def _link(source: Path, target: Path) -> None:
    if target.exists() and target.stat().st_size == source.stat().st_size:
        return
    with atomic_path(target) as partial:
        partial.unlink(missing_ok=True)
        try:
            partial.hardlink_to(source.resolve())
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, partial)


class _JsonList:
    """A JSON list that is written element by element, so that the set need not fit into memory."""

    def __init__(self, path: Path) -> None:
        self._context, self._first = atomic_open(path), True

    def __enter__(self) -> _JsonList:
        self._file = self._context.__enter__()
        self._file.write("[")
        return self

    def add(self, row: Mapping[str, Any]) -> None:
        self._file.write(("\n" if self._first else ",\n") + json.dumps(row, ensure_ascii=False))
        self._first = False

    def __exit__(self, *error: Any) -> None:
        self._file.write("\n]\n")
        self._context.__exit__(*error)
