"""Reads a training set and turns its conversations into token ids with labels on the answers alone.

A set is a folder in the form that LLaMA-Factory reads (`dataset.json`: rows of `conversations` or `messages`, and
`images`) or its JSONL twin (also one `image`, `question`, `answer` a line). Validation rows stand in a second file
(`val.json`, `dataset_val.json`, ...) or carry `"split": "val"`. Image paths are relative to the folder. Every fault is
found before training begins and told with a count, the first place, and what to do. This module needs no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from facellm.messages import build_messages, clean, expand_image, render

IGNORE = -100  # label of a token that is not learnt (Hugging Face's convention)
TRAIN_FILES = ("dataset.json", "dataset.jsonl", "train.json", "train.jsonl")
VAL_FILES = ("dataset_val.json", "dataset_val.jsonl", "val.json", "val.jsonl", "validation.json", "validation.jsonl")
IMAGE_MARK = "<image>"  # stands for the image in ShareGPT text
_USER, _MODEL, _SYSTEM = {"human", "user"}, {"gpt", "assistant"}, {"system"}


@dataclass(frozen=True)
class Example:
    """One conversation about one image. `image` is the path as written; `where` is file and row, for messages."""

    image: str | None
    turns: tuple[tuple[str, str], ...]  # (question, answer), oldest first
    system: str | None = None
    where: str = ""


@dataclass(frozen=True)
class DataSet:
    folder: Path
    train: tuple[Example, ...]
    val: tuple[Example, ...]
    digest: str  # SHA-256 of the data files' bytes, in the order train, val

    def images(self) -> list[str]:
        """Distinct image paths as written, in order of first appearance, training set first."""
        return list(dict.fromkeys(e.image for e in (*self.train, *self.val) if e.image is not None))

    def path(self, image: str) -> Path:
        return self.folder / image  # an absolute path stays absolute

    def absolute(self, example: Example) -> Example:
        """The example with its image's absolute path, for use in another set."""
        path = example.image and str(self.path(example.image).absolute())
        return replace(example, image=path)


def read_dataset(folder: str | Path) -> DataSet:
    """Reads and checks a data folder, or one file of it; images are checked by `check_images`.

    Raises:
        FaceLLMError: For a missing or damaged file, or a row that is no conversation.
    """
    folder = Path(folder)
    if folder.is_file():
        files, folder = [folder], folder.parent
    else:
        files = [folder / name for name in TRAIN_FILES if (folder / name).is_file()][:1]
        if not files:
            raise FaceLLMError(
                f"There is no {' or '.join(TRAIN_FILES)} in {folder}; make one with `python -m train dataset`."
            )
        files += [folder / name for name in VAL_FILES if (folder / name).is_file()][:1]
    digest, train, val = hashlib.sha256(), [], []
    for number, file in enumerate(files):
        raw = file.read_bytes()
        digest.update(raw)
        rows = list(_rows(file, raw))
        _check_image_column(file, rows)
        for place, row in enumerate(rows, 1):
            example = _example(row, f"{file.name} row {place}")
            held_out = number == 1 or str(row.get("split", "train")).startswith("val")
            (val if held_out else train).append(example)
    if not train:
        raise FaceLLMError(f"{files[0]} holds no training row; write some with `python -m train dataset`.")
    return DataSet(folder, tuple(train), tuple(val), digest.hexdigest())


def _rows(file: Path, raw: bytes) -> list[dict]:
    try:
        if file.suffix == ".jsonl":
            rows = [json.loads(line) for line in raw.decode().split("\n") if line.strip()]
        else:
            rows = json.loads(raw)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FaceLLMError(
            f"{file} is not valid JSON ({error}); write it again with `python -m train dataset`."
        ) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FaceLLMError(f"{file} must hold a list of rows (objects with `conversations` and `images`).")
    return rows


def _check_image_column(file: Path, rows: Sequence[dict]) -> None:
    without = [place for place, row in enumerate(rows, 1) if "images" not in row and "image" not in row]
    if without:
        raise FaceLLMError(
            f"{len(without)} of {len(rows)} rows of {file} have no image column (first: row {without[0]}); give every "
            'row `"images": ["path"]`, or `"images": []` where the conversation is not about an image.'
        )


def _example(row: dict, where: str) -> Example:
    images = row["images"] if "images" in row else row["image"]
    images = [images] if isinstance(images, str) else list(images or [])
    if len(images) > 1 or not all(isinstance(image, str) for image in images):
        raise FaceLLMError(f"{where} has {len(images)} images or a path that is no text; FaceLLM sees one image a row.")
    messages = row.get("conversations") or row.get("messages")
    if messages is None and "question" in row:
        messages = [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": row.get("answer")}]
    system, said = row.get("system"), []
    for message in messages or []:
        role, text = message.get("from") or message.get("role"), message.get("value", message.get("content"))
        if not isinstance(text, str):
            raise FaceLLMError(f"{where} has a turn of {role!r} without text.")
        if role in _SYSTEM and not said:
            system = text
        elif role in (_USER, _MODEL)[len(said) % 2]:
            said.append(text)
        else:
            raise FaceLLMError(f"{where} must alternate human and gpt turns; found {role!r} as turn {len(said) + 1}.")
    if not said or len(said) % 2:
        raise FaceLLMError(f"{where} must end with an answer; it has {len(said)} turns.")
    marks = sum(text.count(IMAGE_MARK) for text in said[::2])
    if marks > len(images):
        raise FaceLLMError(f"{where} mentions {IMAGE_MARK} {marks} times but lists {len(images)} images.")
    questions = [clean(text.replace(IMAGE_MARK, "")) for text in said[::2]]
    answers = [clean(text) for text in said[1::2]]
    if not all(questions) or not all(answers):
        raise FaceLLMError(f"{where} has an empty question or answer; take it out or fill it in.")
    return Example(images[0] if images else None, tuple(zip(questions, answers, strict=True)), system, where)


def check_images(data: DataSet, known: Iterable[str] = ()) -> None:
    """Raises FaceLLMError if image files are missing; `known` are images whose features are cached already."""
    known = set(known)
    missing = [image for image in data.images() if image not in known and not data.path(image).is_file()]
    if missing:
        raise FaceLLMError(
            f"{len(missing)} of {len(data.images())} images are missing, the first is {data.path(missing[0])}; paths "
            f"are relative to {data.folder}: put the images there or write the set again."
        )


@dataclass
class Tokens:
    """One encoded conversation: token ids and labels of the same length (IGNORE where nothing is learnt)."""

    example: Example
    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)


def tokenize(processor: Any, examples: Sequence[Example], batch: int = 20_000) -> list[Tokens]:
    """Encodes conversations by the model's template; the answers and the EOS token after each are learnt.

    Prompts and answers are tokenised apart, as they are at inference: no token reaches over the seam.

    Args:
        processor: The model's processor.
        examples: The conversations.
        batch: Texts given to the tokenizer at once.

    Returns:
        Token ids and labels of each conversation.

    Raises:
        FaceLLMError: Where the chat template rewrites earlier turns.
    """
    prompts: dict[tuple, str] = {}

    def prompt(example: Example, turn: int) -> str:
        history, question = example.turns[:turn], example.turns[turn][0]
        key = (question, history, example.system, example.image is None)
        if key not in prompts:
            messages = build_messages(question, history, example.system, image=example.image is not None)
            text = render(processor, messages)
            prompts[key] = expand_image(processor, text) if example.image is not None else text
        return prompts[key]

    messages = build_messages("Question", image=False)
    closing = render(processor, messages, answer="Answer").removeprefix(render(processor, messages) + "Answer")
    pieces: list[list[tuple[str, bool]]] = []  # of every conversation: (text, learnt)
    for example in examples:
        mine, said = [], ""
        for turn, (_, answer) in enumerate(example.turns):
            asked, answer = prompt(example, turn), clean(answer)
            if not asked.startswith(said):
                raise FaceLLMError(
                    f"{example.where}: the model's chat template rewrites earlier turns; split the turns."
                )
            mine += [(asked[len(said) :], False), (answer + closing, True)]
            said = asked + answer + closing
        pieces.append(mine)
    texts = list(dict.fromkeys(text for mine in pieces for text, _ in mine))
    tokenizer, ids = getattr(processor, "tokenizer", processor), {}
    for start in range(0, len(texts), batch):
        part = texts[start : start + batch]
        ids.update(zip(part, tokenizer(part, add_special_tokens=False)["input_ids"], strict=True))
    encoded = []
    for example, mine in zip(examples, pieces, strict=True):
        row = Tokens(example)
        for text, learnt in mine:
            row.ids += ids[text]
            row.labels += ids[text] if learnt else [IGNORE] * len(ids[text])
        encoded.append(row)
    return encoded


def check_lengths(rows: Sequence[Tokens], cutoff: int, skip: bool = False) -> list[Tokens]:
    """Returns the rows that fit `cutoff` tokens. No answer is ever cut: a longer row is an error, unless `skip`."""
    long = [row for row in rows if len(row.ids) > cutoff]
    if long and not skip:
        worst = max(long, key=lambda row: len(row.ids))
        raise FaceLLMError(
            f"{len(long)} of {len(rows)} conversations are longer than the cutoff of {cutoff} tokens and would be cut: "
            f"the first is {long[0].example.where} ({long[0].example.image}, {len(long[0].ids)} tokens); raise "
            f"--cutoff to {len(worst.ids)}, or leave them out with --skip-long."
        )
    kept = [row for row in rows if len(row.ids) <= cutoff]
    if rows and not kept:
        raise FaceLLMError(f"Every conversation is longer than the cutoff of {cutoff} tokens; raise --cutoff.")
    return kept
