"""Structured facts about a face, as probabilities: which fields there are, what is asked, which labels are allowed.

FIELDS is used by inference (every label is scored by the likelihood of its tokens after the field's question) and by
the training corpus (which teaches exactly these questions and answers), so that both speak the same words.
Probabilities are a softmax over a field's labels of log-likelihood / temperature; one temperature per field and
model, fitted on held-out faces and stored in calibration.json beside the weights.
What this file does not know: how likelihoods are computed (engine), how temperatures are fitted (train).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facellm.attributes import sensitive_allowed
from facellm.errors import FaceLLMError
from facellm.labels import AGE_GROUPS, ETHNICITIES, EXPRESSIONS, FAIRFACE_ETHNICITIES, GENDERS, POSES


@dataclass(frozen=True)
class Field:
    """One field of the profile: key, title, question (lists its labels) and the allowed labels, in reading order.

    sensitive: infers ethnicity or emotion; left out where the operator switched those off.
    fairface_labels: labels of the label set "fairface" where it has others than "utkface" (labels.LABEL_SETS).
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
        return question_for(self.ask, self.labels)

    def for_label_set(self, label_set: str) -> Field:
        """Returns this field with the labels of one of labels.LABEL_SETS."""
        if label_set == "fairface" and self.fairface_labels:
            return Field(self.key, self.title, self.ask, self.fairface_labels, self.sensitive)
        return self


def question_for(ask: str, labels: tuple[str, ...]) -> str:
    """ "Which ...? Answer with one of: a, b, c." """
    return f"{ask} Answer with one of: {', '.join(labels)}."


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


CALIBRATION = "calibration.json"


@dataclass(frozen=True)
class Profile:
    """Probabilities of every allowed label of every field, for one model and one image.

    fields: {field key: {label: probability}}, each field's summing to 1, labels in FIELDS' order.
    calibrated: whether temperatures were fitted for this model.  face, notice: as in Report (the face's box with the
    image_size that it is measured in).
    """

    variant: str
    fields: dict[str, dict[str, float]]
    calibrated: bool
    face: dict[str, Any] | None = None
    notice: str | None = None

    def best(self, key: str) -> str:
        """The likeliest label of a field.  Raises KeyError for a field that was left out."""
        labels = self.fields[key]
        return max(labels, key=labels.__getitem__)

    def to_dict(self) -> dict[str, Any]:
        """{"which", "calibrated", "face", "notice", "fields": {key: {"label", "probability", "probabilities"}}}"""
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


def fields_for(label_set: str) -> tuple[Field, ...]:
    """The fields to score with a model of one of labels.LABEL_SETS, without those that the operator switched off."""
    allowed = sensitive_allowed()
    return tuple(f.for_label_set(label_set) for f in FIELDS if allowed or not f.sensitive)


def softmax(values: Sequence[float], temperature: float = 1.0) -> list[float]:
    """exp(v / temperature), normalised."""
    top = max(values)
    exps = [math.exp((v - top) / temperature) for v in values]
    total = sum(exps)
    return [e / total for e in exps]


def read_calibration(folder: str | Path) -> dict[str, dict[str, float]]:
    """{which: {field: temperature}} of the file beside the weights; empty where there is none.

    The file may hold more (the expected calibration errors under "ece").
    Raises FaceLLMError for a file that is not of this form.
    """
    path = Path(folder) / CALIBRATION
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
