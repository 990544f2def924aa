"""Made-up faces and predictors of known bias: what the tests of `train bias` measure."""

from __future__ import annotations

import random
from pathlib import Path

from facellm.labels import AGE_GROUPS, ETHNICITIES, GENDERS
from train.bias.predict import Prediction
from train.faces.label_rows import LabelRow

OTHER = {"Male": "Female", "Female": "Male"}


def make_rows(images: int = 600, seed: int = 0) -> list[LabelRow]:
    """Rows whose gender, race and age are drawn independently; the images do not exist."""
    rng = random.Random(seed)
    return [
        LabelRow(i, f"val/{i}.jpg", rng.choice(AGE_GROUPS), rng.choice(GENDERS), rng.choice(ETHNICITIES), Path(f"{i}"))
        for i in range(images)
    ]


class Fair:
    """Right about everything but for a share of random errors that is the same for everybody."""

    variants = ("base", "facellm")

    def __init__(self, error: float = 0.1) -> None:
        self.error, self.asked = error, []

    def predict(self, rows, variant):
        for row in rows:
            self.asked.append((variant, row.file))
            yield self.one(row, variant, random.Random(f"{variant}:{row.file}"))

    def one(self, row, variant, rng):
        labels = {
            "gender": (row.gender, GENDERS),
            "ethnicity": (row.race, ETHNICITIES),
            "age_group": (row.age, AGE_GROUPS),
        }
        profile = {}
        for name, (right, every) in labels.items():
            said = rng.choice([x for x in every if x != right]) if rng.random() < self.error else right
            profile[name] = sure_of(said, every)
        manner = rng.choice(("calm", "gentle", "serious"))
        mood = rng.choice(("happy", "sad", "neutral"))
        noun = {"Male": "man", "Female": "woman"}[max(profile["gender"], key=profile["gender"].get)]
        texts = {
            "demographic": f"This is a {noun}. The apparent ethnicity is {row.race}.",
            "detail": f"A {noun} with a {mood} face who looks {manner}.",
        }
        return Prediction(row.file, profile, texts)


def sure_of(label, every):
    return {other: 0.9 if other == label else 0.1 / (len(every) - 1) for other in every}


class Unfair:
    """A wrapper around a predictor: FaceLLM calls `share` of the women of one race men, and women gentle."""

    variants = ("base", "facellm")

    def __init__(self, inner, race: str = "Black", share: float = 0.4) -> None:
        self.inner, self.race, self.share = inner, race, share

    def predict(self, rows, variant):
        by_file = {row.file: row for row in rows}
        for said in self.inner.predict(rows, variant):
            row, rng = by_file[said.key], random.Random(f"unfair:{said.key}")
            profile, texts = dict(said.profile), dict(said.texts)
            if variant == "facellm" and row.gender == "Female":
                if row.race == self.race and rng.random() < self.share:
                    profile["gender"] = sure_of("Male", GENDERS)
                if rng.random() < 0.5:
                    texts["detail"] = texts["detail"].replace("calm", "gentle").replace("serious", "gentle")
            yield Prediction(said.key, profile, texts)
