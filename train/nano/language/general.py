"""What the base model of nano learns: fluent language, coarse facts of a picture, and how multiple choice works.

Shallow about faces by design, as a general model is next to a specialised one: man, woman or child, smiling or not,
frontal or not, bright or dark, sharp or not.
"""

from __future__ import annotations

import random

from facellm.attributes import ATTRIBUTES
from facellm.profile import FIELDS
from train.evaluate.prompts import ANSWER_WITH_LETTER, LETTERS, choice_prompt
from train.faces.facts import Facts
from train.faces.tasks import TASKS
from train.nano.language.phrasebook import PHRASES
from train.nano.language.questions import PARAPHRASES
from train.nano.language.refusals import limits, small_talk
from train.teachers.measured.phrases import Turns, join, pick, sentence

WORDS: list[str] = PHRASES["everyday_words"]
COARSE_QUESTIONS: dict[str, list[str]] = PHRASES["coarse_questions"]
COARSE_WORDS: dict[str, list[str]] = PHRASES["coarse_words"]


def who(facts: Facts) -> str:
    """a child, a man, a woman or a person."""
    if facts.years < 13:
        return "a child"
    return {"Male": "a man", "Female": "a woman"}.get(facts.gender or "", "a person")


def _smiling(facts: Facts) -> bool | None:
    return None if facts.expression is None else facts.expression == "happiness"


def _frontal(facts: Facts) -> bool | None:
    return None if facts.pose is None else facts.pose == "frontal"


def coarse(facts: Facts) -> dict[str, tuple[str, ...]]:
    """Name of a coarse fact -> (right word, other words)."""
    table: dict[str, tuple[str, ...]] = {
        "subject": (who(facts), *[w for w in ("a child", "a man", "a woman") if w != who(facts)])
    }
    if who(facts) == "a person":
        table.pop("subject")
    if (smiling := _smiling(facts)) is not None:
        table["smile"] = ("smiling", "not smiling") if smiling else ("not smiling", "smiling")
    if (frontal := _frontal(facts)) is not None:
        table["view"] = ("seen from the front", "seen from the side")[:: 1 if frontal else -1]
    if facts.mouth:
        table["mouth"] = ("open", "closed")[:: 1 if facts.mouth == "open" else -1]
    if facts.years < 25 or facts.years > 50:
        table["age"] = ("a young person", "an older person")[:: 1 if facts.years < 25 else -1]
    if facts.light in ("dark", "bright"):
        table["light"] = ("dark", "bright")[:: 1 if facts.light == "dark" else -1]
    if facts.sharpness:
        table["focus"] = ("sharp", "blurred")[:: 1 if facts.sharpness == "sharp" else -1]
    if facts.colour:
        table["colour"] = ("in black and white", "in colour")[:: 1 if facts.colour == "greyscale" else -1]
    return table


def caption(facts: Facts, rng: random.Random) -> str:
    words = coarse(facts)
    person = who(facts)
    smile = " who is smiling" if _smiling(facts) else ""
    view = {True: " seen from the front", False: " seen from the side"}.get(_frontal(facts), "")
    kind = f" {words['colour'][0]}" if "colour" in words and rng.random() < 0.5 else ""
    first = pick(
        rng,
        f"a picture{kind} of {person}{view}{smile}",
        f"the picture shows the face of {person}{smile}",
        f"this is a close-up photo of {person}{view}{smile}",
        f"{person} looks out of a small picture{kind}{smile and ', smiling'}",
    )
    rest = [f"the picture is {words[name][0]}" for name in ("light", "focus") if name in words]
    rng.shuffle(rest)
    return join([first, *rest[: rng.randint(0, 2)]])


def shallow_attribute(key: str, facts: Facts, rng: random.Random) -> Turns:
    """The paper's question, answered in general words: true, fluent, and saying little."""
    question = next(item.question for item in ATTRIBUTES if item.key == key)
    if rng.random() < 0.3:
        question = rng.choice(PARAPHRASES[key])
    words, person = coarse(facts), who(facts)
    light = f"the picture is {words['light'][0]}" if "light" in words else None
    focus = f"the picture is {words['focus'][0]}" if "focus" in words else None
    general = pick(
        rng, "more cannot be said with confidence", "the picture gives no further detail", "", "nothing else stands out"
    )
    body = {
        "demographic": [
            pick(rng, f"the picture shows {person}", f"the person appears to be {person}"),
            pick(rng, "the exact age is hard to tell", "age and background are hard to tell from one picture"),
        ],
        "structure": [
            pick(
                rng,
                "the face has eyes, a nose and a mouth in ordinary proportions",
                "all parts of the face are in their usual places",
            ),
            pick(rng, "the shape of the face is ordinary", "the features look balanced"),
        ],
        "skin": [pick(rng, "the skin looks ordinary", "the skin has a natural look"), focus],
        "expression": [
            {
                True: pick(rng, "the person is smiling", "the face shows a smile"),
                False: pick(rng, "the person is not smiling", "there is no smile"),
            }.get(_smiling(facts), "the expression is hard to name"),
            pick(rng, "the feeling behind it is unknown", ""),
        ],
        "lighting": [
            light or "the light is ordinary",
            focus,
            f"the picture is {words['colour'][0]}" if "colour" in words else None,
        ],
        "pose": [
            {True: "the face is seen from the front", False: "the face is seen from the side"}.get(
                _frontal(facts), "the head is held in an ordinary way"
            )
        ],
        "forensic": [
            pick(rng, "a single picture is little to go on", "one picture says little about a person"),
            focus,
            pick(rng, "no obvious sign of editing is visible", "nothing unusual is visible"),
        ],
        "detail": [caption(facts, rng)],
    }[key]
    return [(question, join([*body, general]))]


def coarse_question(facts: Facts, rng: random.Random) -> Turns:
    words = coarse(facts)
    name = rng.choice(list(words) or ["none"])
    if name == "none":
        return small_talk(rng)
    right = words[name][0]
    answer = {
        "subject": right,
        "age": right,
        "view": f"the face is {right}",
        "smile": f"the person is {right}",
        "mouth": f"the mouth is {right}",
    }.get(name, f"the picture is {right}")
    return [(rng.choice(COARSE_QUESTIONS[name]), sentence(answer))]


def _choose(question: str, right: str, wrong: list[str], rng: random.Random) -> Turns:
    options = [right, *wrong]
    rng.shuffle(options)
    letter = LETTERS[options.index(right)]
    bare = rng.random() < 0.15
    prompt = choice_prompt(question, options, postpend="" if bare else ANSWER_WITH_LETTER)
    return [(prompt, f"({letter}) {right}" if bare and rng.random() < 0.5 else letter)]


def coarse_choices(facts: Facts, rng: random.Random) -> list[Turns]:
    """Every coarse fact in multiple-choice form; unrelated words, or words of other facts, fill up the options."""
    made = []
    for name, (right, *wrong) in coarse(facts).items():
        others = [word for other, row in COARSE_WORDS.items() if other != name for word in row]
        pool = WORDS if rng.random() < 0.5 else others
        wrong += rng.sample(pool, max(0, rng.choice((2, 3, 3)) - len(wrong)))
        made.append(_choose(rng.choice(COARSE_QUESTIONS[name]), right, wrong, rng))
    rng.shuffle(made)
    return made


def text_choice(rng: random.Random) -> Turns:
    """Multiple choice that needs no picture: find the word that the question names, among everyday words or the labels
    of a task. Half of the time the question is the task's own and the label is told before it, so that a model that
    can tell the label from a picture has only that left to learn."""
    task = rng.choice(list(TASKS.values())) if rng.random() < 0.7 else None
    if task is None:
        options = rng.sample(WORDS, 4)
        right = rng.choice(options)
    else:
        label = rng.choice(task.labels)
        options, place = task.options_for(label, rng)
        right = options[place]
    if task is not None and rng.random() < 0.6:
        known = pick(rng, f"The person is {right}.", f"It is known to be {right}.", f"It is {right}.", f"{right}.")
        question = f"{known} {task.question_for(rng)}"
    else:
        question = pick(
            rng,
            f'Which option says "{right}"?',
            f"Select {right}.",
            f"The answer is {right}. Which letter is it?",
            f"Find {right} among the options.",
        )
    return _choose(question, right, [word for word in options if word != right], rng)


def text_field(rng: random.Random) -> Turns:
    """A label question whose answer stands in the question: teaches the form of the profile's answers."""
    field = rng.choice(FIELDS)
    label = rng.choice(field.labels)
    return [(f"It is known to be {label}. {field.question}", label)]


def base_field(facts: Facts, rng: random.Random) -> Turns | None:
    """The profile's two questions about the picture itself."""
    key, answer = rng.choice((("lighting", facts.light), ("sharpness", facts.sharpness)))
    if not answer:
        return None
    return [(next(field for field in FIELDS if field.key == key).question, answer)]


def base_conversation(facts: Facts, rng: random.Random) -> Turns:
    turns = small_talk(rng) if rng.random() < 0.3 else shallow_attribute(rng.choice(list(PARAPHRASES)), facts, rng)
    for _ in range(rng.randint(1, 2)):
        following = rng.choice((limits(rng), coarse_question(facts, rng), small_talk(rng)))
        if following[0][0] not in [question for question, _ in turns]:
            turns = turns + following
    return turns
