"""What a model says about each face whose group is known: calibrated profile labels and free-text answers.

One JSONL line for each image and model, appended as they come, so that a run that was killed goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from facellm.attributes import attribute
from facellm.errors import FaceLLMError
from facellm.profile import FIELDS, read_calibration, softmax
from facellm.vision.images import load_image
from train import journal
from train.bias.other_questions import WORDED, other_question
from train.faces.label_rows import LabelRow

PROFILE = ("age_group", "gender", "ethnicity", "expression")  # fields whose labels are compared over groups
ATTRIBUTES = ("demographic", "expression", "detail")  # answers whose words are compared over groups
NEW_TOKENS = 160
EVERY = 10.0  # seconds between two lines on how far it is
CHUNK = 48  # images asked about between two writes: what a kill can lose

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Prediction:
    """What one model says about one image. key: the file as the label file names it.

    profile: {field: {label: probability}}, calibrated where the model has temperatures.  texts: {attribute: answer}.
    worded: {wording from "2" on: profile} of the fields that were asked in other words, too.
    """

    key: str
    profile: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    worded: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)

    def best(self, name: str) -> str | None:
        """The likeliest label of a field; None where it was not asked."""
        labels = self.profile.get(name)
        return max(labels, key=labels.__getitem__) if labels else None


class Predictor(Protocol):
    """Whatever describes faces: the model, or a stand-in."""

    variants: tuple[str, ...]

    def predict(self, rows: Sequence[LabelRow], variant: str) -> Iterator[Prediction]:
        """One Prediction for each row, in any order."""
        ...


class ModelPredictor:
    """Predicts with an opened model.

    Attributes:
        variants: That it answers as.
        questions: How many are asked about an image.
    """

    def __init__(
        self, loaded: Any, attributes: Sequence[str] = ATTRIBUTES, *, new_tokens: int = NEW_TOKENS,
        rows: int | None = None, wordings: int = 1, tell: Tell | None = None,
    ) -> None:  # fmt: skip
        """Asks nothing yet.

        Args:
            loaded: The opened model.
            attributes: Keys of the questions that are answered in words; may be empty.
            new_tokens: The longest of these answers.
            rows: Questions in one forward pass; None takes the engine's.
            wordings: In how many wordings gender, ethnicity and age are asked for.
            tell: Told (variant's questions, done, of) after each answer: a chunk of images takes minutes.
        """
        from facellm.engine.offline import ROWS, OfflineEngine

        self.variants: tuple[str, ...] = loaded.variants
        self.fields = [f.for_label_set(loaded.label_set) for f in FIELDS if f.key in PROFILE]
        self.attributes = [attribute(key) for key in attributes]
        self.temperatures = read_calibration(loaded.folder) if loaded.folder else {}
        self.new_tokens, self.tell = new_tokens, tell
        # (wording, field, question), the profile's own wording first
        self.asked = [("1", f, f.question) for f in self.fields]
        self.asked += [
            (str(number), f, other_question(f, number))
            for number in range(2, wordings + 1) for f in self.fields if f.key in WORDED
        ]  # fmt: skip
        self.questions = len(self.asked) + len(self.attributes)
        self.batched = OfflineEngine(loaded, load_image, rows or ROWS)

    def predict(self, rows: Sequence[LabelRow], variant: str) -> Iterator[Prediction]:
        for start in range(0, len(rows), CHUNK):
            done = partial(self._done, variant, start * self.questions, len(rows) * self.questions)
            yield from self._chunk(rows[start : start + CHUNK], variant, done)

    def _done(self, variant: str, before: int, total: int, number: int) -> None:
        if self.tell is not None:
            self.tell(f"questions of {variant}", before + number, total)

    def _chunk(self, rows: Sequence[LabelRow], variant: str, done: Callable[[int], None]) -> Iterator[Prediction]:
        from facellm.engine.offline import Ask

        own = self.temperatures.get(variant) or {}
        profiles: list[dict[str, dict[str, dict[str, float]]]] = [{} for _ in rows]
        answered = 0
        texts: list[dict[str, str]] = [{} for _ in rows]
        asks = [Ask(question, (row.path,), f.labels) for row in rows for _, f, question in self.asked]
        for index, scores, _ in self.batched.score(asks, variant):
            place, (number, f, _) = index // len(self.asked), self.asked[index % len(self.asked)]
            probabilities = softmax(scores, own.get(f.key, 1.0))
            profiles[place].setdefault(number, {})[f.key] = {
                label: round(p, 6) for label, p in zip(f.labels, probabilities, strict=True)
            }  # fmt: skip
            answered += 1
            done(answered)
        asks = [Ask(a.question, (row.path,)) for row in rows for a in self.attributes]
        for index, answer in self.batched.generate(asks, variant, self.new_tokens):
            place, a = index // len(self.attributes), self.attributes[index % len(self.attributes)]
            texts[place][a.key] = answer.text
            answered += 1
            done(answered)
        for row, by_wording, said in zip(rows, profiles, texts, strict=True):
            profile = by_wording.pop("1")
            yield Prediction(row.file, profile, {a.key: said[a.key] for a in self.attributes}, by_wording)


def paced(say: Callable[[str], None], seconds: float = EVERY) -> Tell:
    """Returns a function of (what, done, of) that says how far it is, at most every so many seconds, and at the end."""
    last = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= seconds:
            last = time.monotonic()
            say(f"{done:,} of {total:,} {what}")

    return tell


def read_predictions(path: Path) -> dict[str, Prediction]:
    """The predictions of a model's file by key.  Raises FaceLLMError for a line that is none."""
    try:
        return {key: Prediction(**row) for key, row in journal.read(path, "a prediction").items()}
    except TypeError as error:
        raise FaceLLMError(f"{path} holds a line that is no prediction ({error}); remove it and run again.") from None


def run(
    rows: Sequence[LabelRow], predictor: Predictor, variant: str, path: Path,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Prediction]:  # fmt: skip
    """Asks about what `path` does not hold yet, appends each prediction, and returns those of `rows` by key."""
    found = read_predictions(path)
    missing = [row for row in rows if row.file not in found]
    told = None if progress is None else partial(progress, variant)
    journal.complete(path, found, missing, lambda asked: predictor.predict(asked, variant), told)
    return {row.file: found[row.file] for row in rows if row.file in found}
