"""Multiple choice that has to be read: options in many words and any order, with some that are never right.

Tasks and words are those of `train.faces.rewording`. In FaceXBench's five tasks a share of the questions has
FaceXBench's own form (`train.evaluate.prompts`), so that what is learnt from paraphrases does not move the published
wording away.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from facellm.labels import AGE_GROUPS, POSES
from train.evaluate.prompts import ANSWER_WITH_LETTER, LETTERS, choice_prompt
from train.faces.rewording import table
from train.faces.tasks import TASKS
from train.seen.known.truth import Truth

BENCHMARK = {"gender": "gender", "age": "age", "race": "race", "expression": "expression", "headpose": "headpose"}
AS_PUBLISHED = 0.4  # of the benchmark's tasks in FaceXBench's own form
MARKS = ("({}) ", "{}) ", "{}. ", "{}: ")  # before an option
INSTRUCTIONS = {  # how the answer is wanted -> wordings
    "letter": (
        ANSWER_WITH_LETTER,
        "Answer with the letter only.",
        "Give only the letter.",
        "Reply with one letter.",
        "Which letter?",
    ),
    "text": ("Answer with the option's text.", "Write out the right option.", "Answer in words, not with the letter."),
    "both": ("Give the letter and the option.", "Answer with the letter and its text."),
    "free": ("", "", "Choose one.", "Pick the right answer."),
}
HEARD = {
    "smile": "happiness",
    "laugh": "happiness",
    "neutral": "neutral",
    "surprised": "surprise",
    "sad": "sadness",
    "crying": "sadness",
    "angry": "anger",
    "disgusted": "disgust",
}
# Distractors that could be meant as right where a label says that there is none of something.
DOUBTFUL = ("Not visible", "None of the above", "Not applicable", "Other", "Neither of these", "Something else")
WITH_NONE = ("glasses", "facial_hair", "headwear", "makeup", "teeth", "hair_length", "hair_colour")
PAIRS = ("teeth",)  # tasks whose few labels may be asked without a distractor


@dataclass(frozen=True)
class Choice:
    """question: with its options.  answer: as asked for.  letter, options, right: for scoring."""

    task: str
    question: str
    answer: str
    letter: str
    options: tuple[str, ...]
    right: str


def tasks() -> tuple[str, ...]:
    return tuple(table()["tasks"])


def label_of(task: str, truth: Truth) -> str | None:
    """The right label of a task, None where it is not firmly known."""
    if task == "age":
        years = truth.years
        if years is None:
            return None
        return next((g for g in AGE_GROUPS[:-1] if years <= int(g.split("-")[1])), AGE_GROUPS[-1])
    if task == "gender":
        return truth.value("gender", sure=True)
    if task == "race":
        found = truth.value("race", sure=True)
        return found if found != "Others" else None
    if task == "expression":
        if truth.face.raw.get("expression") in ("frown", "pensive"):
            return None
        return HEARD.get(truth.value("expression", sure=True) or "")
    if task == "headpose":
        found = truth.value("pose", sure=True)
        return found if found in ("frontal", "left", "right") else None
    found = truth.value(task, sure=True)
    if task == "facial_hair" and found == "goatee":
        return "beard"
    return found if found in table()["tasks"][task]["labels"] else None


def choose(
    task: str, truth: Truth, rng: random.Random, cut: str = "trained", published: float | None = None
) -> Choice | None:
    """One question of the task, None where its answer is not firmly known.

    cut: "trained" or "kept_out": which wordings, labels and distractors.  published: share in FaceXBench's own form.
    """
    label = label_of(task, truth)
    if label is None:
        return None
    if task in BENCHMARK and rng.random() < (AS_PUBLISHED if published is None else published):
        return _published(task, label, rng)
    own = table()["tasks"][task]
    others = _neighbours(label) if task == "age" else [one for one in own["labels"] if one != label]
    decoys = rng.randint(0 if task in PAIRS or len(others) > 2 else 1, 2)
    others = rng.sample(others, min(len(others), 4 - decoys - 1))
    style = rng.randrange(len(own["labels"][label][cut]))
    words = {one: _word(own["labels"][one][cut], style, rng) for one in (label, *others)}
    spare = [d for d in table()["distractors"][cut] if not (task in WITH_NONE and d in DOUBTFUL)]
    small = words[label][:1].islower() and rng.random() < 0.6  # so that a capital does not give them away
    options = [*words.values(), *(d.lower() if small else d for d in rng.sample(spare, decoys))]
    rng.shuffle(options)
    place = options.index(words[label])
    return _asked(task, rng.choice(own["questions"][cut]), options, place, rng)


def _word(words: list[str], style: int, rng: random.Random) -> str:
    """Mostly the words of one style for all options; where a label has fewer, any of its own."""
    return words[style] if style < len(words) and rng.random() < 0.8 else rng.choice(words)


def _neighbours(label: str) -> list[str]:
    place = AGE_GROUPS.index(label)
    return [group for group in AGE_GROUPS[max(0, place - 3) : place + 4] if group != label]


def _published(task: str, label: str, rng: random.Random) -> Choice | None:
    known = TASKS[BENCHMARK[task]]
    if task == "headpose":
        label = dict(zip(("frontal", "left", "right"), POSES, strict=True))[label]
    if label not in known.labels:
        return None
    options, place = known.options_for(label, rng)
    question = choice_prompt(known.question_for(rng), options, postpend=ANSWER_WITH_LETTER)
    return Choice(task, question, LETTERS[place], LETTERS[place], tuple(options), options[place])


def _asked(task: str, question: str, options: list[str], place: int, rng: random.Random) -> Choice:
    """The question in one of the usual forms, and the answer in the form that it asks for."""
    small = rng.random() < 0.15
    letters = LETTERS.lower() if small else LETTERS
    mark = rng.choice(MARKS)
    lines = [f"{mark.format(letters[i])}{option}" for i, option in enumerate(options)]
    body = "\n".join(lines) if rng.random() < 0.8 else "  ".join(lines)
    want = rng.choices(tuple(INSTRUCTIONS), (0.55, 0.15, 0.1, 0.2))[0]
    told = rng.choice(INSTRUCTIONS[want])
    parts = [question, told, body] if rng.random() < 0.5 else [question, body, told]
    letter, right = letters[place], options[place]
    forms = {
        "letter": (letter,),
        "text": (right,),
        "both": (f"({letter}) {right}", f"{letter}. {right}"),
        "free": (letter, f"({letter}) {right}", f"{letter}. {right}"),
    }[want]
    return Choice(
        task, "\n".join(part for part in parts if part), rng.choice(forms), LETTERS[place], tuple(options), right
    )
