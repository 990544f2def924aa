"""Questions of the user's own with the answers to choose from, and what was fitted for them on labelled pictures.

A typed question is asked as a field of the profile is: every option is scored by the likelihood of its tokens.
Probabilities are a softmax of log-likelihood / temperature + bias, with a `Fit` for each model that the question was
calibrated for; without one they are the model's own, which nobody has tested.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from facellm.labels import AGE_GROUPS
from facellm.profile import Field, softmax
from facellm.storage.files import write_json

FORM = "facellm-question-1"  # first entry of a question's file
FOLDER = "questions"  # beside a model's weights; its files travel with the model
OPTIONS = (2, max(12, len(AGE_GROUPS)))  # the fewest and the most
LONGEST = 80  # characters of an option


@dataclass(frozen=True)
class Fit:
    """What turns log-likelihoods into calibrated probabilities, and on what it was fitted.

    Attributes:
        temperature: What log-likelihoods are divided by.
        biases: What is added then, one for each option, in nats.
        measured: Figures of the fit: "images", "accuracy", "ece_before", "ece_after" and so on.
    """

    temperature: float = 1.0
    biases: tuple[float, ...] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TypedQuestion:
    """A question and its options.

    Attributes:
        name: Short name for files and columns.
        ask: The question without its options.
        options: The answers to choose from.
        fits: {variant: fit}; a variant that is missing was not calibrated.
        model: Digest of the weights that the fits belong to (`fingerprint.answering_digest`); None without a fit.
    """

    name: str
    ask: str
    options: tuple[str, ...]
    fits: Mapping[str, Fit] = field(default_factory=dict)
    model: str | None = None

    @property
    def question(self) -> str:
        """The question in full, worded as a profile field's."""
        return Field(self.name, self.name, self.ask, self.options).question

    def logits(self, variant: str, scores: Sequence[float], model: str | None = None) -> tuple[list[float], bool]:
        """Applies the fit to the options' log-likelihoods.

        Args:
            variant: "base" or "facellm".
            scores: Log-likelihoods in nats, one for each option.
            model: Digest of the weights that were asked; None takes the fit on trust.

        Returns:
            What a softmax turns into probabilities, and whether there was a fit for these weights.
        """
        fit = self.fits.get(variant)
        if fit is None or (model is not None and self.model is not None and model != self.model):
            return list(scores), False
        biases = fit.biases or (0.0,) * len(scores)
        return [s / fit.temperature + b for s, b in zip(scores, biases, strict=True)], True

    def probabilities(
        self, variant: str, scores: Sequence[float], model: str | None = None
    ) -> tuple[list[float], bool]:
        """Turns the options' log-likelihoods into probabilities; arguments as in `logits`.

        Returns:
            The probabilities, and whether they were calibrated for these weights.
        """
        logits, fitted = self.logits(variant, scores, model)
        return softmax(logits), fitted

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of the question's file."""
        return {"form": FORM, **asdict(self), "options": list(self.options)}

    def write(self, path: Path) -> None:
        """Writes the question's file, whole or not at all.  Raises OSError where that fails."""
        write_json(path, self.to_dict())


@dataclass(frozen=True)
class Choice:
    """One model's answer to a typed question.

    Attributes:
        variant: The model that was asked.
        name, ask: Of the question.
        probabilities: {option: probability}, in the question's order.
        calibrated: Whether they were fitted on labelled pictures for this very model. Where not, the answer is
            untested: nobody has measured how often it is right.
        without_picture: The same for a blank picture in place of the photo: what the model would say anyway.
    """

    variant: str
    name: str
    ask: str
    probabilities: dict[str, float]
    calibrated: bool
    without_picture: dict[str, float] | None = None

    @property
    def best(self) -> str:
        """The likeliest option."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    def to_dict(self) -> dict[str, Any]:
        """Returns the answer for JSON, with probabilities to six digits."""
        rounded = {option: round(p, 6) for option, p in self.probabilities.items()}
        blind = self.without_picture and {option: round(p, 6) for option, p in self.without_picture.items()}
        return {
            "variant": self.variant,
            "name": self.name,
            "ask": self.ask,
            "option": self.best,
            "probability": rounded[self.best],
            "probabilities": rounded,
            "without_picture": blind,
            "calibrated": self.calibrated,
        }


def parse(text: str, name: str | None = None) -> TypedQuestion:
    """Reads a question as it is typed: "Wears a tie?=yes,no", or "tie: Wears a tie?=yes,no" with a name.

    Args:
        text: What was typed. The last "=" stands before the options.
        name: The question's name; by default the one before the colon, or one made of the question's words.

    Raises:
        FaceLLMError: Where the question or its options cannot be used.
    """
    ask, sign, listed = text.rpartition("=")
    if not sign or not ask.strip():
        raise FaceLLMError(f"{text!r} is not a question with options; write it as 'Wears a tie?=yes,no'.")
    if found := re.match(r"\s*([A-Za-z][\w-]{0,39})\s*:\s*(?=\S)", ask):
        name, ask = name or found[1], ask[found.end() :]
    return make(ask, listed.split(","), name)


def make(ask: str, options: Iterable[str], name: str | None = None) -> TypedQuestion:
    """Returns a question without a fit.

    Raises:
        FaceLLMError: For a blank question, too few or too many options, two that are equal, and one that is too long.
    """
    from facellm.messages import clean

    ask, chosen = clean(ask), tuple(clean(option) for option in options)
    if not ask:
        raise FaceLLMError("The question is empty; write what you want to know about the face.")
    if not OPTIONS[0] <= len(chosen) <= OPTIONS[1] or not all(chosen):
        raise FaceLLMError(
            f"The question {ask!r} has {len([c for c in chosen if c])} options; give {OPTIONS[0]} to {OPTIONS[1]}, "
            f"with commas between them."
        )
    if len({option.casefold() for option in chosen}) < len(chosen):
        raise FaceLLMError(f"The question {ask!r} has the same option twice; name each once.")
    if long := next((option for option in chosen if len(option) > LONGEST), None):
        raise FaceLLMError(f"The option {long[:20]!r}... is longer than {LONGEST} characters; shorten it.")
    return TypedQuestion(name or _name(ask), ask, chosen)


def read(path: str | Path) -> TypedQuestion:
    """Reads a question's file.  Raises FaceLLMError where it cannot be used."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.get("form") != FORM:
            raise ValueError(f"its form is {data.get('form')!r}, not {FORM!r}")
        fits = {v: Fit(float(f["temperature"]), tuple(map(float, f["biases"])), f["measured"]) for v, f in
                data["fits"].items()}  # fmt: skip
        found = make(data["ask"], data["options"], str(data["name"]))
        for variant, fit in fits.items():
            good = math.isfinite(fit.temperature) and fit.temperature > 0 and all(map(math.isfinite, fit.biases))
            if not good or len(fit.biases) not in (0, len(found.options)):
                raise ValueError(f"its fit for {variant} does not belong to {len(found.options)} options")
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise FaceLLMError(f"{path} cannot be read as a question ({' '.join(str(error).split())[:160]}).") from None
    return TypedQuestion(found.name, found.ask, found.options, fits, data.get("model"))


def read_folder(folder: str | Path) -> tuple[TypedQuestion, ...]:
    """Reads the questions that travel with a model, in the order of their names; none where there is no such folder.

    Args:
        folder: The model's folder, with a folder `questions` in it.

    Raises:
        FaceLLMError: As `read` does.
    """
    return tuple(read(path) for path in sorted((Path(folder) / FOLDER).glob("*.json")))


def _name(ask: str) -> str:
    words = re.findall(r"[a-z0-9]+", ask.lower())
    kept = [w for w in words if w not in {"is", "are", "the", "a", "an", "does", "do", "this", "person", "he", "she"}]
    return "-".join((kept or words)[:4]) or "question"
