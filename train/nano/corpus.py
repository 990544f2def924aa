"""Stage 2 of nano: question-answer pairs by the measured teacher, for every view of every training face.

Reads the encoder's views (`train.nano.features`), writes `corpus/{base,facellm,labels,val}.jsonl` in the work folder,
one line a view: `{"view": int, "conversations": [[[question, answer], ...], ...]}`, and trains the tokenizer on them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from train.nano import data, general
from train.nano.facts import FactReader, Facts
from train.nano.questions import (
    Turns,
    attribute_answer,
    conversation,
    limits,
    multiple_choice,
    profile_answer,
    short,
    small_talk,
)
from train.nano.wording import WRITERS

VOCABULARY = 4096
VAL_VIEWS = 400  # validation faces whose pairs give the validation loss of the decoder
# How many lines a set's expression views get, so that the rare expressions are met as often as the frequent ones.
EXPRESSION_LINES = {
    "neutral": 1500,
    "happiness": 1500,
    "surprise": 1300,
    "sadness": 1300,
    "anger": 1300,
    "disgust": 1000,
    "fear": 100,
    "contempt": 60,
}
EYES_CLOSED, EYES_OPEN = 0.15, 0.26  # lid gap over eye width, mean of both eyes


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


class Views:
    """Facts of every view, read on demand."""

    def __init__(self, folder: Path, work: Path) -> None:
        self.faces = data.load(folder, work)
        self.table = dict(np.load(work / "views.npz"))
        self.probabilities = {name: softmax(self.table[name]) for name in ("gender", "race", "expression", "age_years")}
        self.years = self.probabilities["age_years"] @ np.arange(101)
        self.train = self.faces.is_train[self.table["row"]]
        self.utk = self.faces.gender[self.table["row"]] >= 0
        known = self.train & ~self.table["changed"]
        self.reader = FactReader(self.table["stats"][known], self.table["skin"][known])

    def __len__(self) -> int:
        return len(self.train)

    def facts(self, view: int) -> Facts:
        row = int(self.table["row"][view])
        labels = ("gender", "race", "age_group", "age_years", "expression")
        return self.reader.read(
            mesh=self.table["measurements"][view],
            stats=self.table["stats"][view],
            skin=self.table["skin"][view],
            probabilities={name: value[view] for name, value in self.probabilities.items()},
            years_expected=float(self.years[view]),
            labels={name: float(getattr(self.faces, name)[row]) for name in labels},
        )

    def eyes(self, view: int) -> str | None:
        left = data.MEASUREMENTS.index("eye_open_left")
        gap = self.table["measurements"][view][left : left + 2].mean()
        return "closed" if gap < EYES_CLOSED else "open" if gap > EYES_OPEN else None


def face_pairs(views: Views, view: int, rng: random.Random) -> list[Turns]:
    """What FaceLLM-nano learns from one view: an attribute at length now and then, labels in several forms always.

    Long answers hold most of the answer tokens, hence of the loss, so they are the minority of the pairs."""
    facts, labelled = views.facts(view), bool(views.utk[view])

    def some(*shares: tuple[str, float]) -> list[str]:
        return [name for name, share in shares if rng.random() < share]

    attributes = rng.sample(list(WRITERS), 1 + (rng.random() < 0.1)) if rng.random() < 0.7 else []
    if labelled:
        tasks = some(("age", 0.8), ("race", 0.55), ("gender", 0.4), ("headpose", 0.25), ("expression", 0.1))
        fields = some(("age_group", 0.6), ("gender", 0.2), ("ethnicity", 0.3))
        fields += rng.sample(("pose", "mouth", "eyes", "lighting", "sharpness"), rng.randint(0, 1))
    else:
        if attributes and rng.random() < 0.5:
            attributes = ["expression"]
        tasks = ["expression", *some(("expression", 0.3), ("headpose", 0.25))]
        fields = ["expression", *some(("pose", 0.1), ("mouth", 0.15), ("eyes", 0.15))]
    pairs: list[Turns | None] = [attribute_answer(key, facts, rng) for key in attributes]
    pairs += [multiple_choice(task, facts, rng) for task in tasks]
    pairs += [profile_answer(key, facts, rng, views.eyes(view)) for key in fields]
    for share, make in (
        (0.4, lambda: short(facts, rng)),
        (0.08, lambda: conversation(facts, rng)),
        (0.05, lambda: limits(rng)),
        (0.03, lambda: small_talk(rng)),
    ):
        if rng.random() < share:
            pairs.append(make())
    return [pair for pair in pairs if pair] or [attribute_answer("detail", facts, rng)]


def label_pairs(views: Views, view: int, rng: random.Random) -> list[Turns]:
    """The adapter's second run: every label of the view as the profile and as multiple choice ask for it, and now and
    then an attribute at length, so that the language stays."""
    facts, labelled = views.facts(view), bool(views.utk[view])
    if labelled:
        fields = ["age_group", "gender", "ethnicity"]
        tasks = [
            task for task, share in (("age", 1.0), ("age", 0.3), ("race", 0.8), ("gender", 0.7)) if rng.random() < share
        ]
    else:
        fields, tasks = ["expression"], ["expression", "expression"]
    if rng.random() < 0.3:
        tasks.append("headpose")
    fields += rng.sample(("pose", "mouth", "eyes", "lighting", "sharpness"), 1)
    pairs: list[Turns | None] = [profile_answer(key, facts, rng, views.eyes(view)) for key in fields]
    pairs += [multiple_choice(task, facts, rng) for task in tasks]
    if rng.random() < 0.5:
        pairs.append(attribute_answer(rng.choice(list(WRITERS)), facts, rng))
    if rng.random() < 0.3:
        pairs.append(rng.choice((short, conversation))(facts, rng))
    if rng.random() < 0.05:
        pairs.append(rng.choice((limits, small_talk))(rng))
    return [pair for pair in pairs if pair]


def base_pairs(views: Views, view: int, rng: random.Random) -> list[Turns]:
    """What the base learns from one view."""
    facts = views.facts(view)
    pairs: list[Turns | None] = [general.shallow_attribute(key, facts, rng) for key in rng.sample(list(WRITERS), 2)]
    pairs += [general.coarse_choice(facts, rng), general.text_choice(rng)]
    for share, make in (
        (0.4, lambda: general.coarse_choice(facts, rng)),
        (0.5, lambda: general.coarse_question(facts, rng)),
        (0.6, lambda: general.text_choice(rng)),
        (0.4, lambda: general.text_field(rng)),
        (0.4, lambda: general.base_field(facts, rng)),
        (0.15, lambda: general.base_conversation(facts, rng)),
        (0.1, lambda: small_talk(rng)),
        (0.1, lambda: limits(rng)),
    ):
        if rng.random() < share:
            pairs.append(make())
    return [pair for pair in pairs if pair]


def view_order(views: Views, rng: np.random.Generator) -> np.ndarray:
    """Training views in the order of use, all lines of the FaceLLM set: UTKFace's views once, untouched and changed,
    expressions drawn by `EXPRESSION_LINES`."""
    drawn = [np.flatnonzero(views.train & views.utk)]
    expression = views.faces.expression[views.table["row"]]
    for name, count in EXPRESSION_LINES.items():
        own = np.flatnonzero(views.train & (expression == data.EXPRESSIONS.index(name)))
        drawn.append(rng.choice(own, count, replace=count > len(own)))
    return rng.permutation(np.concatenate(drawn))


def write(target: Path, lines: Iterator[dict]) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with target.with_suffix(".tmp").open("w") as handle:
        for line in lines:
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
    target.with_suffix(".tmp").rename(target)
    return count


def build(folder: Path, work: Path, *, seed: int = 2, base_lines: int = 16000) -> dict[str, int]:
    """Writes the three sets and the tokenizer; returns the number of lines of each set."""
    views, rng = Views(folder, work), np.random.default_rng(seed)

    def lines(order: np.ndarray, make: Callable[[Views, int, random.Random], list[Turns]]) -> Iterator[dict]:
        for number, view in enumerate(order.tolist()):
            own = random.Random(f"{seed}-{make.__name__}-{number}-{view}")
            yield {"view": view, "conversations": make(views, view, own)}

    plain = np.flatnonzero(views.train & ~views.table["changed"])
    held_out = rng.permutation(np.flatnonzero(~views.train))[:VAL_VIEWS]
    out = work / "corpus"
    counts = {
        "base": write(out / "base.jsonl", lines(rng.permutation(plain)[:base_lines], base_pairs)),
        "facellm": write(out / "facellm.jsonl", lines(view_order(views, rng), face_pairs)),
        "labels": write(out / "labels.jsonl", lines(view_order(views, rng), label_pairs)),
        "val": write(out / "val.jsonl", lines(held_out, face_pairs)),
        "val_base": write(out / "val_base.jsonl", lines(held_out, base_pairs)),
    }
    train_tokenizer(out)
    return counts


def texts(path: Path) -> Iterator[str]:
    with path.open() as handle:
        for line in handle:
            for turns in json.loads(line)["conversations"]:
                for question, answer in turns:
                    yield question
                    yield answer


def train_tokenizer(out: Path) -> None:
    """A byte-level BPE of `VOCABULARY` tokens with Qwen2's and InternVL's special tokens, as `tokenizer.json`.

    Digits stay single, as in Qwen2, so that numbers are read digit by digit.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    from train.nano.assemble import SPECIAL_TOKENS

    tokenizer = Tokenizer(models.BPE())
    # Qwen2's own splitting rule.
    rule = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(rule), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=3,
        show_progress=False,
    )
    sources = (text for name in ("base", "facellm") for text in texts(out / f"{name}.jsonl"))
    tokenizer.train_from_iterator(sources, trainer)
    tokenizer.save(str(out / "tokenizer.json"))
