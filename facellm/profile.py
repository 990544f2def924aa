"""Structured facts about a face, as probabilities: which fields there are, what is asked, which labels are allowed.

FIELDS is used by inference (every label is scored by the likelihood of its tokens after the field's question) and by
the training corpus (which teaches exactly these questions and answers), so that both speak the same words.
What this file does not know: how likelihoods are computed (engine), how temperatures are fitted (train).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One field of the profile: key, title, question (lists its labels) and the allowed labels, in reading order.

    sensitive: infers ethnicity or emotion; left out where the operator switched those off.
    hub_labels: labels used for every model but nano, where they differ (nano's training data has five ethnicities).
    """

    key: str
    title: str
    ask: str
    labels: tuple[str, ...]
    sensitive: bool = False
    hub_labels: tuple[str, ...] | None = None

    @property
    def question(self) -> str:
        """The question in full, with the labels to choose from."""
        return question_for(self.ask, self.labels)

    def for_model(self, nano: bool) -> Field:
        """This field with the labels that the model is to choose from: its own for nano, FairFace's for the others."""
        if nano or self.hub_labels is None:
            return self
        return Field(self.key, self.title, self.ask, self.hub_labels, self.sensitive)


def question_for(ask: str, labels: tuple[str, ...]) -> str:
    """ "Which ...? Answer with one of: a, b, c." """
    return f"{ask} Answer with one of: {', '.join(labels)}."


# Age groups and the seven ethnicities are FairFace's; expressions are the eight of AffectNet and FER+.
AGE_GROUPS = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
GENDERS = ("Male", "Female")
ETHNICITIES = ("White", "Black", "Asian", "Indian", "Others")
FAIRFACE_ETHNICITIES = (
    "White",
    "Black",
    "Latino_Hispanic",
    "East Asian",
    "Southeast Asian",
    "Indian",
    "Middle Eastern",
)
EXPRESSIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
# Sides are the viewer's, as in the pictures' descriptions everywhere in this project.
POSES = ("frontal", "turned to the viewer's left", "turned to the viewer's right")

FIELDS: tuple[Field, ...] = (
    Field("age_group", "Age group", "What is the age group of the person?", AGE_GROUPS),
    Field("gender", "Gender", "What is the gender of the person?", GENDERS),
    Field(
        "ethnicity",
        "Ethnicity",
        "What is the ethnicity of the person?",
        ETHNICITIES,
        sensitive=True,
        hub_labels=FAIRFACE_ETHNICITIES,
    ),
    Field("expression", "Expression", "What is the facial expression of the person?", EXPRESSIONS, sensitive=True),
    Field("pose", "Head pose", "Which way is the head turned?", POSES),
    Field("mouth", "Mouth", "Is the mouth open or closed?", ("open", "closed")),
    Field("eyes", "Eyes", "Are the eyes open or closed?", ("open", "closed")),
    Field("lighting", "Lighting", "How is the face lit?", ("dark", "balanced", "bright")),
    Field("sharpness", "Sharpness", "Is the image sharp or blurred?", ("sharp", "blurred")),
)
