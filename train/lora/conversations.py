"""A training set, read from any common form, and its conversations as token ids with labels on the answers alone.

Rows come from `train.lora.rows`. Validation rows stand in a second file (`val.json`, `dataset_val.json`, ...), in a
split of that name, or carry `"split": "val"`; rows of a test split are never learnt. Image paths are relative to the
set's folder. Every fault is found before training begins and told with its file and row. This module needs no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from facellm.errors import FaceLLMError
from facellm.messages import build_messages, clean, expand_image, render
from facellm.storage.files import text_digest
from train.lora.rows.decoding import image_faults
from train.lora.rows.example import Example, Fault, RowError, refuse
from train.lora.rows.forms import example_of, split_pairs
from train.lora.rows.reading import PARTS, RawRow, find_sources, part_of, read_rows, source_bytes

# LLaMA-Factory's default of its template intern_vl (src/llamafactory/data/template.py), with which the paper's models
# were trained if nothing else was set. Hugging Face's own template, and so inference here, has none.
SYSTEM_PROMPTS = {
    "intern_vl": "你是书生·万象，英文名是InternVL，"
    "是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
}
IGNORE = -100  # label of a token that is not learnt (Hugging Face's convention)


@dataclass(frozen=True)
class DataSet:
    """A set's conversations.

    Attributes:
        folder: Where its image paths begin.
        train: What is learnt.
        val: What validates.
        digest: SHA-256 of the files' bytes, in the order they were read; of a set with rows left out or mixed in, also
            of what that was.
        held: Bytes of images that rows themselves hold, by the name under which examples refer to them.
        test: Rows of a test split, which are left out.
    """

    folder: Path
    train: tuple[Example, ...]
    val: tuple[Example, ...]
    digest: str
    held: Mapping[str, bytes] = field(default_factory=dict)
    test: int = 0

    def images(self) -> list[str]:
        """Distinct image paths as written, in order of first appearance, training set first."""
        return list(dict.fromkeys(e.image for e in (*self.train, *self.val) if e.image is not None))

    def path(self, image: str) -> Path:
        return self.folder / image  # an absolute path stays absolute

    def source(self, image: str) -> Path | bytes:
        """The file of an image, or its bytes where the set holds them."""
        return self.held.get(image) or self.path(image)

    def absolute(self, example: Example) -> Example:
        """The example with its image's absolute path, for use in another set."""
        if example.image is None or example.image in self.held:
            return example
        return replace(example, image=str(self.path(example.image).absolute()))

    def without(self, faults: Sequence[Fault]) -> DataSet:
        """The set without the rows of these faults; its digest then says which they were."""
        if not faults:
            return self
        gone = {fault.where for fault in faults}
        train, val = (tuple(e for e in rows if e.where not in gone) for rows in (self.train, self.val))
        return replace(self, train=train, val=val, digest=text_digest(self.digest, *sorted(gone)))

    def with_system(self, prompt: str) -> DataSet:
        """The set with a system prompt (a text, or a name in `SYSTEM_PROMPTS`) for every row that has none."""
        if not prompt:
            return self
        text = SYSTEM_PROMPTS.get(prompt, prompt)
        train, val = (tuple(replace(e, system=e.system or text) for e in rows) for rows in (self.train, self.val))
        return replace(self, train=train, val=val)

    def validated_by(self, other: DataSet) -> DataSet:
        """The set with another's rows for validation."""
        val = tuple(map(other.absolute, other.train + other.val))
        return replace(self, val=val, held={**self.held, **other.held})


def read_dataset(folder: str | Path, faults: list[Fault] | None = None, image_column: bool = True) -> DataSet:
    """Reads and checks a data folder, or one file of it; images are checked by `check_images`.

    Args:
        folder: The folder, or a file of any name.
        faults: Takes the rows that cannot be used, which are then left out; None refuses them.
        image_column: Whether rows without an image column are refused (see `example_of`).

    Returns:
        The set.

    Raises:
        FaceLLMError: For a missing or damaged file, a split of no known name, or rows that cannot be used.
    """
    folder = Path(folder)
    sources = find_sources(folder)
    found = [] if faults is None else faults
    digest, held, rows = hashlib.sha256(), dict[str, bytes](), 0
    parts: dict[str, list[Example]] = {"train": [], "val": [], "test": []}
    for source, part in sources:
        for block in source_bytes(source):
            digest.update(block)
        for raw in read_rows(source):
            rows += 1
            try:
                read = [example_of(one, raw.where, image_column) for one in split_pairs(_values(raw))]
            except RowError as error:
                found.append(Fault(raw.where, str(error)))
                continue
            held.update({example.image: content for example, content in read if example.image and content})
            parts[_part(raw, part)] += [example for example, _ in read]
    if faults is None:
        refuse(found, rows)
    if not parts["train"] and not found:
        left = f" ({len(parts['test'])} of the test split are left out)" if parts["test"] else ""
        raise FaceLLMError(f"{sources[0][0]} holds no training row{left}; write some with `python -m train dataset`.")
    place = folder.parent if folder.is_file() else folder
    whole = DataSet(place, tuple(parts["train"]), tuple(parts["val"]), digest.hexdigest(), held, len(parts["test"]))
    return whole.without(found)


def _values(raw: RawRow) -> Mapping[str, Any]:
    if raw.values is None:
        raise RowError(raw.fault)
    return raw.values


def _part(raw: RawRow, of_source: str) -> str:
    """The split of a row: as it says itself, unless its file is already that of another split than train."""
    said = (raw.values or {}).get("split")
    if said is None:
        return of_source
    part = part_of(said)
    if part is None:
        raise FaceLLMError(
            f"{raw.where} is of the split {said!r}; name splits {', '.join(PARTS)}, or leave the column out."
        )
    return of_source if part == "train" else part


def check_images(data: DataSet, known: Iterable[str] = ()) -> list[Fault]:
    """Decodes every image once.

    Args:
        data: The set.
        known: Images whose features are cached under their paths.

    Returns:
        The rows whose image is missing or cannot be read.
    """
    wrong = image_faults({image: data.source(image) for image in data.images()}, known)
    return [Fault(e.where, wrong[e.image]) for e in (*data.train, *data.val) if e.image in wrong]


def mixed(data: DataSet, general: DataSet, ratio: float, seed: int) -> DataSet:
    """Adds rows of a general set, so that what a model could before is not forgotten.

    Args:
        data: The set about faces.
        general: Rows of any kind, with images or without; only its training rows are drawn.
        ratio: The general rows' share of all training rows, above 0 and below 1.
        seed: Of the draw, which is without repetition.

    Returns:
        The mixture; its validation rows are those of `data`. Where `general` holds too few rows all of them are taken.
    """
    wanted = round(len(data.train) * ratio / (1 - ratio))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(general.train))[:wanted])
    more = tuple(general.absolute(general.train[place]) for place in chosen)
    digest = text_digest(data.digest, general.digest, str(ratio), str(seed))
    return replace(data, train=data.train + more, digest=digest, held={**data.held, **general.held})


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
