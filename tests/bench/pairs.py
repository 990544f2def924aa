"""The question-answer pairs of one image in a benchmarked training step, as token ids and labels.

`attributes`: the eight attribute questions with random answers of GPT-4o's usual lengths, as FairFaceGPT has them.
`taught`: what nano is trained on (train.nano.language.corpus), of a face whose facts are drawn at random.
What this file does not know: models, steps, time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np

from facellm.attributes import ATTRIBUTES
from facellm.labels import AGE_GROUPS, ETHNICITIES, EXPRESSIONS, GENDERS
from facellm.messages import build_messages, expand_image, render
from train.faces.facts import FactReader, Facts
from train.faces.measures import MEASUREMENTS
from train.lora.conversations import IGNORE, Example, tokenize
from train.nano.language import corpus
from train.nano.vision import faces

ANSWER_TOKENS = (60, 120)
# Ranges to draw measurements from, about those of the training faces' middle nine tenths.
MESH = {
    "yaw_deg": (-22, 22),
    "pitch_deg": (-4, 20),
    "roll_deg": (-5, 5),
    "mouth_open": (0.0, 0.3),
    "mouth_width": (0.45, 0.8),
    "smile_lift": (0.0, 0.15),
    "eye_open_left": (0.2, 0.45),
    "eye_open_right": (0.2, 0.45),
    "brow_raise": (0.15, 0.27),
    "face_ratio": (0.75, 0.95),
    "jaw_ratio": (0.77, 0.86),
    "lip_thickness": (0.1, 0.24),
    "nose_width": (0.43, 0.56),
}
STATS = ((0.25, 0.4, -0.05, 0.0, -0.3), (0.75, 1.0, 0.25, 0.5, 0.3))
CHEEKS = (-0.3, 0.3)
Rows = list[tuple[list[int], list[int]]]  # token ids and labels


def attributes(processor: Any, seed: int) -> Rows:
    dice, tokenizer = random.Random(seed), processor.tokenizer
    words = range(len(tokenizer.all_special_ids), 400)
    found = []
    for attribute in ATTRIBUTES:
        text = expand_image(processor, render(processor, build_messages(attribute.question)))
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
        answer = [dice.choice(words) for _ in range(dice.randint(*ANSWER_TOKENS))] + [tokenizer.eos_token_id]
        found.append((prompt + answer, [IGNORE] * len(prompt) + answer))
    return found


def taught(processor: Any, seed: int) -> Rows:
    pairs = corpus.face_pairs(Drawn(seed), 0, random.Random(seed))
    rows = tokenize(processor, [Example("drawn", tuple(turns)) for turns in pairs])
    return [(list(row.ids), list(row.labels)) for row in rows]


@dataclass(frozen=True)
class Drawn:
    """Stands in for `corpus.Views`: one labelled face whose facts hang on the seed alone."""

    seed: int
    utk = (True,)

    @property
    def turned(self) -> tuple[bool]:
        return (self.facts(0).pose in ("left", "right"),)

    @property
    def unusual_light(self) -> tuple[bool]:
        return (self.facts(0).light_label in ("dark", "bright"),)

    def eyes(self, view: int) -> None:
        return None

    def facts(self, view: int) -> Facts:
        rng = np.random.default_rng(self.seed)
        mesh = np.array([rng.uniform(*MESH[name]) for name in MEASUREMENTS])
        stats = rng.uniform(*STATS, (400, len(STATS[0])))
        age = int(rng.integers(len(AGE_GROUPS)))
        sizes = {"gender": len(GENDERS), "race": len(ETHNICITIES), "expression": len(EXPRESSIONS)}
        labels = {name: int(rng.integers(size)) for name, size in sizes.items()}
        return FactReader(stats).read(
            mesh=mesh,
            stats=stats[0],
            cheeks=float(rng.uniform(*CHEEKS)),
            probabilities={name: np.eye(size)[labels[name]] for name, size in sizes.items()},
            years_expected=10.0 * age,
            labels=labels | {"age_group": age, "age_years": 10 * age, "expression": faces.MISSING},
        )
