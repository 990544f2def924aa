"""The multiple-choice tasks that labelled faces allow: labels, wordings, options. One list for corpus and benchmark.

The rules follow FaceXBench: four options; age groups from the neighbourhood of the right one; for gender, the two
labels, "Both" and "None of the above".
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from facellm.errors import FaceLLMError
from facellm.labels import AGE_GROUPS, ETHNICITIES, EXPRESSIONS, GENDERS, POSES

OPTIONS = 4
NONE_OF_THE_ABOVE = "None of the above"
# The six expressions that `expressions/labels.csv` holds in numbers; fear and contempt have one val image each.
COMMON_EXPRESSIONS = EXPRESSIONS[:6]
NAMED_ETHNICITIES = ETHNICITIES[:4]  # "Others" names nobody


@dataclass(frozen=True)
class Task:
    """One kind of question.

    Attributes:
        name: Key.
        category: FaceXBench's name.
        sub_category: FaceXBench's name.
        description: FaceXBench's `prepend_text`, in other words where the task differs.
        questions: Equivalent wordings.
        labels: What may be right, as the data names it.
        words: Label -> text of the option.
        decoys: Options that are never right and always shown.
        neighbours: Whether wrong options come from the labels next to the right one (labels are in order).
    """

    name: str
    category: str
    sub_category: str
    description: str
    questions: tuple[str, ...]
    labels: tuple[str, ...]
    words: Mapping[str, str]
    decoys: tuple[str, ...] = ()
    neighbours: bool = False

    def options_for(self, label: str, rng: random.Random) -> tuple[list[str], int]:
        """Draws the options of one question.

        With `neighbours`, they are a run of four adjacent labels that contains the right one, every such run equally
        likely.

        Returns:
            Four options in random order, and the index of the right one (0 to 3).

        Raises:
            FaceLLMError: For a label that this task does not ask about.
        """
        if label not in self.labels:
            raise FaceLLMError(f"The task {self.name!r} has no label {label!r}; it knows {', '.join(self.labels)}.")
        wanted = OPTIONS - len(self.decoys)
        if self.neighbours:
            place = self.labels.index(label)
            first = rng.randint(max(0, place - wanted + 1), min(place, len(self.labels) - wanted))
            chosen = list(self.labels[first : first + wanted])
        else:
            chosen = [label, *rng.sample([other for other in self.labels if other != label], wanted - 1)]
        options = [self.words[one] for one in chosen] + list(self.decoys)
        rng.shuffle(options)
        return options, options.index(self.words[label])

    def question_for(self, rng: random.Random) -> str:
        """Returns one of the wordings."""
        return rng.choice(self.questions)


def _same(labels: tuple[str, ...]) -> Mapping[str, str]:
    return MappingProxyType({label: label for label in labels})


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        task.name: task
        for task in (
            Task(
                "age",
                "bias_fairness",
                "age",
                "Age estimation means telling the age group of a person from the face in an image. The age groups are "
                "0-2, 3-9, 10-19, 20-29, 30-39, 40-49, 50-59, 60-69 and more than 70 years.",
                (
                    "Estimate the age group of the person in this image.",
                    "Select the age group that best describes the person in this image.",
                    "What is the most appropriate age group for the person in this image?",
                    "Approximately how old is the person in this image?",
                ),
                AGE_GROUPS,
                _same(AGE_GROUPS),
                neighbours=True,
            ),
            Task(
                "gender",
                "bias_fairness",
                "gender",
                "Gender prediction means telling the gender of a person from the face in an image.",
                (
                    "What is the gender of the person in this image?",
                    "Identify the gender of the person in this image.",
                    "Which gender category best describes the person in this image?",
                    "Select the most appropriate gender for the person in this image.",
                    "Determine the gender of the person shown in this image.",
                ),
                GENDERS,
                _same(GENDERS),
                decoys=("Both", NONE_OF_THE_ABOVE),
            ),
            Task(
                "race",
                "bias_fairness",
                "race",
                "Race prediction means telling the race or ethnicity of a person from the face in an image. The groups "
                "are White, Black, Asian and Indian.",
                (
                    "What is the race of the person in this image?",
                    "Identify the race of the person in this image.",
                    "Which race category best describes the person in this image?",
                    "Select the most appropriate race for the person in this image.",
                    "Determine the race of the person shown in this image.",
                ),
                NAMED_ETHNICITIES,
                _same(NAMED_ETHNICITIES),
            ),
            Task(
                "expression",
                "attributes_expression",
                "expression",
                "Facial expression recognition means telling the emotional state of a person from the expression of "
                "the face in an image.",
                (
                    "Identify the primary expression shown by the person in the image.",
                    "Which expression is the person showing in the image?",
                    "What is the main expression of the person in the image?",
                ),
                COMMON_EXPRESSIONS,
                # FaceXBench's words for AffectNet's classes.
                MappingProxyType({**_same(COMMON_EXPRESSIONS), "happiness": "happy", "sadness": "sad"}),
            ),
            Task(
                "headpose",
                "face_localization",
                "headpose",
                "Head pose estimation means telling which way a head is turned in an image. The groups are frontal, "
                "turned to the viewer's left and turned to the viewer's right.",
                (
                    "Which way is the head of the person in this image turned, as the viewer sees it?",
                    "What is the head pose of the person in this image, as the viewer sees it?",
                    "Select the option that best describes the head pose of the person in this image, as the viewer "
                    "sees it.",
                    "In which direction does the person in this image face, as the viewer sees it?",
                ),
                POSES,
                MappingProxyType(dict(zip(POSES, ("frontal", "left", "right"), strict=True))),
                decoys=(NONE_OF_THE_ABOVE,),
            ),
        )
    }
)
