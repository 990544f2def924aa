"""What a teacher is told: the system prompt and, for each face and attribute, a question with a hint from the labels.

The demands of `OURS` are those of the FaceLLM paper (arXiv 2507.10300), the words are ours; `published` has the
authors' own. The hint keeps the teacher from guessing age, gender and ethnicity; it is never part of the question that
is stored, which is `Attribute.question`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from facellm.attributes import Attribute
from facellm.labels import AGE_GROUPS, FAIRFACE_ETHNICITIES
from train.faces.label_rows import LabelRow

# Part of every request's identity, so answers to another wording are asked anew: raise it by hand (to "2") with every
# change of what is said below. The first version is named as earlier releases named it, so that their answers count.
PROMPT_VERSION = "1-9976aec0"
_NAMES = {"Latino_Hispanic": "Latino or Hispanic"}
_GROUPS = ", ".join(_NAMES.get(group, group) for group in FAIRFACE_ETHNICITIES)

SYSTEM = f"""\
You write reference descriptions of face images for research on face analysis and biometrics. Every image comes from a \
public research data set. You are never asked who somebody is, and you never name anybody.

Write as an experienced examiner would: objective, precise and rich in forensic and biometric detail. Say only what \
can be seen in the picture. Where something is hidden, blurred or cut off, say so instead of filling it in. Make no \
guess about character, health, profession, wealth or beliefs.

Aspects that a question may be about:
- demographic attributes: apparent age group, gender and ethnicity. Ethnicity is one of: {_GROUPS}.
- facial structure: shape of the face and jaw, cheekbones, forehead, nose, lips, chin, eyes, brows, symmetry.
- skin texture: smoothness, lines, pores, marks, facial hair, make-up, evenness of tone.
- expression and emotion: mouth, eyes and brows, and the emotion that they suggest.
- lighting and image quality: direction and hardness of the light, shadows, exposure, contrast, sharpness, noise.
- face pose: where the head is turned, tilted and inclined, and where the eyes look.
- forensic considerations: visibility of the landmarks, occlusion, quality, distinctive features, limits of comparison.
- the whole image: everything above in a balanced description, with hair, clothing and background.

Answer only the aspect that is asked about, and always answer: if a picture is poor, describe what it still shows. \
Write plain English prose in one to three paragraphs of complete sentences, without headings, lists or markup, and \
without speaking of yourself, of these instructions or of the question.

A question may come with a note in square brackets. Keep your answer consistent with it, but write as if the picture \
were all you had: never mention the note, and never say that anything was known, given or told."""

_CHILD = {"0-2": ("baby boy", "baby girl"), "3-9": ("boy", "girl"), "10-19": ("boy", "girl")}
_YEARS = {group: f"{group.replace('-', ' to ')} years old" for group in AGE_GROUPS[:-1]} | {
    AGE_GROUPS[-1]: "more than 70 years old"
}


def hint(row: LabelRow) -> str:
    """Returns the labels in words, such as "a woman, 30 to 39 years old, of East Asian ethnicity".

    Children are boys and girls; the group "Others" is left out.
    """
    man, woman = _CHILD.get(row.age, ("man", "woman"))
    person = f"a {man if row.gender == 'Male' else woman}, {_YEARS[row.age]}"
    return person if row.race == "Others" else f"{person}, of {_NAMES.get(row.race, row.race)} ethnicity"


def question(attribute: Attribute, row: LabelRow) -> str:
    """Returns the attribute's question as it is stored, and the hint as a note in brackets."""
    return f"{attribute.question}\n[Note: the person is {hint(row)}.]"


@dataclass(frozen=True)
class Prompt:
    """One way of asking a teacher.

    Attributes:
        version: Part of every request's identity.
        system: The system prompt.
        question: What is asked about an attribute of a labelled face.
        checked: Whether an answer that fails a check is set aside; otherwise it is kept with a remark.
    """

    version: str
    system: str
    question: Callable[[Attribute, LabelRow], str]
    checked: bool = True


OURS = Prompt(PROMPT_VERSION, SYSTEM, question)


@cache
def published() -> Prompt:
    """Returns the prompt that FairFaceGPT was made with; its words and their licence are in published_prompt.yaml."""
    words = yaml.safe_load(Path(__file__).with_name("published_prompt.yaml").read_text(encoding="utf-8"))

    def ask(attribute: Attribute, row: LabelRow) -> str:
        # Theirs calls a child of 3 to 9 a boy or girl, and everyone else a man or woman, a baby too.
        man, woman = ("boy", "girl") if row.age == "3-9" else ("man", "woman")
        person = man if row.gender == "Male" else woman
        known = words["known"].format(person=person, ethnicity=row.race, age=row.age)
        aspect = attribute.question.removeprefix("Describe the ").removesuffix(_BASED)
        return words["whole" if attribute.key == "detail" else "aspect"].format(known=known, attribute=aspect)

    return Prompt("published-17006ef9", words["system"], ask, checked=False)


_BASED = " of the image based on the visual information."
