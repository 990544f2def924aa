"""Stage 2 of nano: question-answer pairs by the measured teacher, for every view of every training face.

Reads the encoder's views (`train.nano.vision.views`), writes `corpus/{base,facellm,val,val_base}.jsonl` in the work
folder, one line a view: `{"view": int, "conversations": [[[question, answer], ...], ...]}`, and trains the tokenizer on
them.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from facellm.labels import EXPRESSIONS
from facellm.storage.files import atomic_open
from train.faces.facts import FactReader, Facts
from train.faces.measures import EYES_CLOSED, EYES_OPEN, MEASUREMENTS, PIXEL_STATS, YAW_TURNED_DEG
from train.nano.language import general
from train.nano.language.choices import multiple_choice, profile_answer
from train.nano.language.questions import attribute_answer, conversation, facts_as_json, short
from train.nano.language.refusals import limits, small_talk
from train.nano.language.single import single
from train.nano.tokenizer import train_tokenizer
from train.nano.vision import faces
from train.nano.vision.targets import Targets
from train.reports.stats import softmax
from train.teachers.measured.phrases import Turns
from train.teachers.measured.wording import WRITERS

VAL_VIEWS = 400  # validation faces whose pairs give the validation loss of the decoder
# How many lines a set's expression views get, so that the rare expressions are met as often as the frequent ones.
EXPRESSION_LINES = {
    "neutral": 4500,
    "happiness": 4000,
    "surprise": 1800,
    "sadness": 1600,
    "anger": 1600,
    "disgust": 1200,
    "fear": 100,
    "contempt": 60,
}
DETAIL_MORE = 0.35  # of the views bring the whole description anyhow, which has the most claims to get right
UNUSUAL_LIGHT = (0.35, 0.63)  # mean grey as the tower sees it: below and above, a picture is dark or bright


class Views:
    """Facts of every view, read on demand."""

    def __init__(self, folder: Path, work: Path) -> None:
        self.faces = faces.load(folder, work)
        self.table = dict(np.load(work / "views.npz"))
        self.probabilities = {name: softmax(self.table[name]) for name in ("gender", "race", "expression", "age_years")}
        self.years = self.probabilities["age_years"] @ np.arange(101)
        self.train = self.faces.is_train[self.table["row"]]
        self.utk = self.faces.gender[self.table["row"]] >= 0
        yaw = self.table["measurements"][:, MEASUREMENTS.index("yaw_deg")]
        targets = Targets(self.faces)
        self.mesh = self.table["mesh"] * targets.mesh_std.numpy() + targets.mesh_mean.numpy()
        grey = self.table["pixels"][:, PIXEL_STATS.index("brightness")]
        self.unusual_light = (grey < UNUSUAL_LIGHT[0]) | (grey > UNUSUAL_LIGHT[1])
        self.turned = np.abs(yaw) >= YAW_TURNED_DEG
        known = self.train & ~self.table["changed"]
        self.reader = FactReader(self.table["stats"][known])

    def __len__(self) -> int:
        return len(self.train)

    def facts(self, view: int) -> Facts:
        row = int(self.table["row"][view])
        labels = ("gender", "race", "age_group", "age_years", "expression")
        return self.reader.read(
            mesh=self.table["measurements"][view],
            stats=self.table["stats"][view],
            cheeks=float(self.table["cheeks"][view]),
            probabilities={name: value[view] for name, value in self.probabilities.items()},
            years_expected=float(self.years[view]),
            labels={name: float(getattr(self.faces, name)[row]) for name in labels},
            seen=self.table["pixels"][view],
            seen_mesh=self.mesh[view],
        )

    def eyes(self, view: int) -> str | None:
        left = MEASUREMENTS.index("eye_open_left")
        gap = self.table["measurements"][view][left : left + 2].mean()
        return "closed" if gap < EYES_CLOSED else "open" if gap > EYES_OPEN else None


def some(rng: random.Random, *shares: tuple[str, float]) -> list[str]:
    """Each name with its own chance."""
    return [name for name, share in shares if rng.random() < share]


def face_pairs(views: Views, view: int, rng: random.Random) -> list[Turns]:
    """What FaceLLM-nano learns from one view: its labels as multiple choice and as the profile asks for them, what else
    is known as JSON, single facts, and some attributes at length. What is rare in the set (turned faces, groups other
    than White, dark and bright pictures) is asked more often, or the decoder settles on the frequent answer before it
    has learnt to look. Gender is asked of men four times and of women three times: asked alike, the decoder took 10 %
    of the held-out men for women and 6 % of the women for men; asked twice as often, 4 and 14 %. Most letters are asked
    for two or three times, with the options in another order: what a linear reader of the projected tokens tells at
    once (gender 93 %, pose 97 %) takes a small decoder long to say."""
    facts, labelled = views.facts(view), bool(views.utk[view])
    attributes = rng.sample(list(WRITERS), 3)
    turned, unusual_light = views.turned[view], views.unusual_light[view]
    if rng.random() < DETAIL_MORE:
        attributes[2] = "detail"
    if unusual_light:
        attributes[1] = rng.choice(("lighting", "forensic", "detail"))
    if labelled:
        frequent = facts.race_label == "White"
        tasks = ["age", *["gender"] * (4 if facts.gender_label == "Male" else 3)]
        tasks += some(rng, ("age", 0.5), ("race", 0.8 if frequent else 1.0), ("race", 0.0 if frequent else 0.6))
        fields = some(rng, ("age_group", 0.5), ("gender", 0.7), ("ethnicity", 0.5 if frequent else 0.7))
    else:
        tasks, fields = ["expression", "expression", "expression"], some(rng, ("expression", 0.7))
        if rng.random() < 0.4:
            attributes[0] = "expression"
    tasks += ["headpose", "headpose", "headpose"] if turned else some(rng, ("headpose", 0.8), ("headpose", 0.6))
    fields += some(rng, ("pose", 1.0 if turned else 0.4))
    fields += some(rng, ("mouth", 0.6), ("eyes", 0.2), ("lighting", 1.0 if unusual_light else 0.6), ("sharpness", 0.6))
    pairs: list[Turns | None] = [attribute_answer(key, facts, rng) for key in attributes]
    pairs += single(facts, rng)
    pairs += [multiple_choice(task, facts, rng) for task in tasks]
    for form, share in (("name", 0.12), ("check", 0.02)):
        pairs += [multiple_choice(task, facts, rng, form) for task in tasks if rng.random() < share]
    pairs += [profile_answer(key, facts, rng, views.eyes(view)) for key in fields]
    for share, make in (
        (0.3, lambda: facts_as_json(facts, rng)),
        (0.6, lambda: short(facts, rng)),
        (0.2, lambda: conversation(facts, rng)),
        (0.03, lambda: limits(rng)),
        (0.02, lambda: small_talk(rng)),
    ):
        if rng.random() < share:
            pairs.append(make())
    return [pair for pair in pairs if pair] or [attribute_answer("detail", facts, rng)]


def base_pairs(views: Views, view: int, rng: random.Random) -> list[Turns]:
    """What the base learns from one view: mostly multiple choice, whose mechanics take long to form in a small decoder,
    and form by looking (docs/research/nano.md)."""
    facts = views.facts(view)
    pairs: list[Turns | None] = list(general.coarse_choices(facts, rng))
    pairs += [general.text_choice(rng), general.coarse_question(facts, rng)]
    for share, make in (
        (0.6, lambda: general.shallow_attribute(rng.choice(list(WRITERS)), facts, rng)),
        (0.4, lambda: general.text_field(rng)),
        (0.4, lambda: general.base_field(facts, rng)),
        (0.1, lambda: general.base_conversation(facts, rng)),
        (0.06, lambda: small_talk(rng)),
        (0.06, lambda: limits(rng)),
    ):
        if rng.random() < share:
            pairs.append(make())
    return [pair for pair in pairs if pair]


def view_order(views: Views, rng: np.random.Generator) -> np.ndarray:
    """Training views in the order of use, all lines of the FaceLLM set: UTKFace's views once, untouched and changed,
    dark and bright ones twice, expressions drawn by `EXPRESSION_LINES` and their turned heads once more: four of five
    errors about a pose were of these small grey crops."""
    drawn = [np.flatnonzero(views.train & views.utk), np.flatnonzero(views.train & views.utk & views.unusual_light)]
    drawn.append(np.flatnonzero(views.train & ~views.utk & views.turned))
    expression = views.faces.expression[views.table["row"]]
    for name, count in EXPRESSION_LINES.items():
        own = np.flatnonzero(views.train & (expression == EXPRESSIONS.index(name)))
        drawn.append(rng.choice(own, count, replace=count > len(own)))
    return rng.permutation(np.concatenate(drawn))


def write(target: Path, lines: Iterator[dict]) -> int:
    """Writes JSON lines and returns their number."""
    count = 0
    with atomic_open(target) as handle:
        for count, line in enumerate(lines, 1):  # noqa: B007
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")
    return count


def build(
    folder: Path, work: Path, *, seed: int = 2, base_lines: int = 16000, tokenizer: Path | None = None
) -> dict[str, int]:
    """Writes the sets and the tokenizer (a copy of `tokenizer`, where one is given, so that weights trained with it can
    be gone on from); returns the number of lines of each set."""
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
        "val": write(out / "val.jsonl", lines(held_out, face_pairs)),
        "val_base": write(out / "val_base.jsonl", lines(held_out, base_pairs)),
    }
    if tokenizer:
        shutil.copy(tokenizer, out / "tokenizer.json")
    else:
        train_tokenizer(out)
    return counts
