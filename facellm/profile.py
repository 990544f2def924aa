"""Structured facts about a face, as probabilities: which fields there are, what is asked, which labels are allowed.

Inference scores every label of a field by the likelihood of its tokens after the field's question, and the training
corpus teaches exactly these questions and answers. Probabilities are a softmax over a field's labels of
log-likelihood / temperature, with one temperature per field and model, fitted on held-out faces and stored in
calibration.json beside the weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facellm.attributes import sensitive_allowed
from facellm.errors import FaceLLMError
from facellm.labels import AGE_GROUPS, ETHNICITIES, EXPRESSIONS, FAIRFACE_ETHNICITIES, GENDERS, POSES, group_span


@dataclass(frozen=True)
class Field:
    """One field of the profile.

    Attributes:
        key: Short name for files and links.
        title: Heading for people.
        ask: The question without its labels.
        labels: The allowed labels, in reading order.
        sensitive: Whether it infers ethnicity or emotion; it is left out where the operator switched those off.
        fairface_labels: The labels of the label set "fairface" where they are not those of "utkface"
            (`facellm.labels.LABEL_SETS`).
    """

    key: str
    title: str
    ask: str
    labels: tuple[str, ...]
    sensitive: bool = False
    fairface_labels: tuple[str, ...] | None = None

    @property
    def question(self) -> str:
        """The question in full, with the labels to choose from."""
        return f"{self.ask} Answer with one of: {', '.join(self.labels)}."

    def for_label_set(self, label_set: str) -> Field:
        """Returns this field with the labels of one of labels.LABEL_SETS."""
        if label_set == "fairface" and self.fairface_labels:
            return replace(self, labels=self.fairface_labels)
        return self


FIELDS: tuple[Field, ...] = (
    Field("age_group", "Age group", "What is the age group of the person?", AGE_GROUPS),
    Field("gender", "Gender", "What is the gender of the person?", GENDERS),
    Field(
        "ethnicity",
        "Ethnicity",
        "What is the ethnicity of the person?",
        ETHNICITIES,
        sensitive=True,
        fairface_labels=FAIRFACE_ETHNICITIES,
    ),
    Field("expression", "Expression", "What is the facial expression of the person?", EXPRESSIONS, sensitive=True),
    Field("pose", "Head pose", "Which way is the head turned?", POSES),
    Field("mouth", "Mouth", "Is the mouth open or closed?", ("open", "closed")),
    Field("eyes", "Eyes", "Are the eyes open or closed?", ("open", "closed")),
    Field("lighting", "Lighting", "How is the face lit?", ("dark", "balanced", "bright")),
    Field("sharpness", "Sharpness", "Is the image sharp or blurred?", ("sharp", "blurred")),
)

# Further fields, asked only of models that declare them (`facellm.weights.registry.Declared`).
TRAITS: tuple[Field, ...] = (
    Field("glasses", "Glasses", "What glasses does the person wear?", ("none", "glasses", "sunglasses")),
    Field(
        "facial_hair",
        "Facial hair",
        "What facial hair does the person have?",
        ("none", "stubble", "moustache", "goatee", "beard"),
    ),
    Field("hair_colour", "Hair colour", "What colour is the hair?", ("dark", "brown", "blond", "red", "grey", "none")),
    Field("hair_length", "Hair length", "How long is the hair?", ("bald", "short", "medium", "long")),
    Field(
        "headwear",
        "Headwear",
        "What does the person wear on the head?",
        ("none", "hat", "cap", "headscarf", "headband", "hood"),
    ),
    Field("makeup", "Make-up", "How much make-up does the person wear?", ("none", "light", "strong")),
    Field("teeth", "Teeth", "Are the teeth visible?", ("yes", "no")),
)
KNOWN_FIELDS = FIELDS + TRAITS

CALIBRATION = "calibration.json"


@dataclass(frozen=True)
class Profile:
    """Probabilities of every allowed label of every field, for one model and one image.

    Attributes:
        variant: The model that was asked.
        fields: {field key: {label: probability}}; each field's sum to 1, with labels in their field's order.
        calibrated: Whether temperatures were fitted for this model.
        face, notice: As in `Report`.
    """

    variant: str
    fields: dict[str, dict[str, float]]
    calibrated: bool
    face: dict[str, Any] | None = None
    notice: str | None = None

    def best(self, key: str) -> str:
        """Returns the likeliest label of a field.  Raises KeyError for a field that was left out."""
        labels = self.fields[key]
        return max(labels, key=labels.__getitem__)

    def to_dict(self) -> dict[str, Any]:
        """Returns the profile for JSON; "fields" holds {key: {"label", "probability", "probabilities"}}."""
        return {
            "variant": self.variant,
            "calibrated": self.calibrated,
            "face": self.face,
            "notice": self.notice,
            "fields": {
                key: {
                    "label": self.best(key),
                    "probability": round(labels[self.best(key)], 6),
                    "probabilities": {label: round(p, 6) for label, p in labels.items()},
                }
                for key, labels in self.fields.items()
            },
        }


def trained_fields(label_set: str, keys: Sequence[str] | None = None) -> tuple[Field, ...]:
    """Returns the fields for a model of one of labels.LABEL_SETS, whatever the operator switched off.

    Args:
        label_set: The model's.
        keys: Of the fields that it was trained on; None stands for `FIELDS`.
    """
    known = FIELDS if keys is None else [f for f in KNOWN_FIELDS if f.key in keys]
    return tuple(f.for_label_set(label_set) for f in known)


def fields_for(label_set: str, keys: Sequence[str] | None = None) -> tuple[Field, ...]:
    """Returns `trained_fields` without those that the operator switched off."""
    allowed = sensitive_allowed()
    return tuple(f for f in trained_fields(label_set, keys) if allowed or not f.sensitive)


def softmax(values: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Returns exp(v / temperature) of each value, divided by their sum."""
    top = max(values)
    exps = [math.exp((v - top) / temperature) for v in values]
    total = sum(exps)
    return [e / total for e in exps]


OLDEST = 90  # years at which the open last age group is taken to end when ages are reckoned


def age_estimate(groups: Mapping[str, float], level: float = 0.9) -> tuple[float, float, float]:
    """Reckons an age from the probabilities of age groups, as if each group's were spread evenly over its years.

    Args:
        groups: {age group: probability}, summing to 1; the last, open group is taken to end at `OLDEST`.
        level: The probability that lies within the interval.

    Returns:
        The median, and the ends of the interval that leaves (1 - level) / 2 on either side, in years.
    """
    spans = [(p, low, min(high + 1, OLDEST)) for group, p in groups.items() for low, high in [group_span(group)]]

    def quantile(share: float) -> float:
        below = 0.0
        for p, start, end in spans:
            if p > 0 and below + p >= share:
                return start + (end - start) * min(1.0, max(0.0, (share - below) / p))
            below += p
        return float(OLDEST)  # rounding left the sum below the share

    tail = (1 - level) / 2
    return quantile(0.5), quantile(tail), quantile(1 - tail)


def read_calibration(folder: str | Path) -> dict[str, dict[str, float]]:
    """Reads the temperatures beside the weights; the file may hold more (calibration errors under "ece").

    Args:
        folder: The model's, or the file itself.

    Returns:
        {variant: {field key: temperature}}, empty where there is no file.

    Raises:
        FaceLLMError: For a file that is not of this form.
    """
    path = Path(folder) if Path(folder).is_file() else Path(folder) / CALIBRATION
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = {w: {k: float(t) for k, t in data.get(w, {}).items()} for w in ("base", "facellm")}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise FaceLLMError(f"{path} cannot be read as a calibration ({error}).") from None
    for temperatures in found.values():
        for key, value in temperatures.items():
            if not (math.isfinite(value) and value > 0):
                raise FaceLLMError(f"{path} gives the field {key!r} the temperature {value}; it must be above 0.")
    return found
