"""Short questions that people type, and the measured teacher's answers: labels, yes or no, follow-ups, JSON, limits.

Input: `Facts` and a random generator. Output: conversations, each a list of (question, answer) turns. Multiple choice
comes from `train.tasks`, the form from `train.prompts`; labels of the profile from `facellm.profile`.
"""

from __future__ import annotations

import json
import random

from facellm.attributes import ATTRIBUTES
from facellm.profile import FIELDS, POSES
from train.nano.facts import Facts
from train.nano.wording import EXPRESSION_PHRASES, RACE_PHRASES, WRITERS, age_phrase, pick, sentence, subject
from train.prompts import ANSWER_WITH_LETTER, LETTERS, choice_prompt
from train.tasks import TASKS, pose_label

Turns = list[tuple[str, str]]

PARAPHRASES = {
    "demographic": (
        "Who is in the picture, roughly?",
        "What are the age, gender and ethnicity of this person?",
        "Describe the person's demographics.",
        "What can you tell about the person's age and background?",
    ),
    "structure": (
        "Describe the shape of the face.",
        "What does the facial structure look like?",
        "Tell me about the jaw, nose and lips.",
        "What are the main facial features?",
    ),
    "skin": ("What is the skin like?", "Describe the skin.", "Are there wrinkles or other skin details?"),
    "expression": (
        "What emotion does the face show?",
        "How does the person feel?",
        "Describe the expression.",
        "What mood is this person in?",
    ),
    "lighting": (
        "How good is the photo?",
        "Describe the light.",
        "What is the image quality like?",
        "Is the photo well lit?",
    ),
    "pose": ("Which way is the person looking?", "Describe the pose of the head.", "How is the head turned?"),
    "forensic": (
        "Is this photo useful for an examination?",
        "What would limit a forensic comparison?",
        "Are there signs of editing?",
    ),
    "detail": (
        "What do you see?",
        "Describe the photo.",
        "Give me a full description.",
        "Describe this face in detail.",
    ),
}


def attribute_answer(key: str, facts: Facts, rng: random.Random) -> Turns:
    """The paper's question (three times in four) or a paraphrase of it, answered at length."""
    question = next(item.question for item in ATTRIBUTES if item.key == key)
    if rng.random() < 0.25:
        question = pick(rng, *PARAPHRASES[key])
    return [(question, WRITERS[key](facts, rng))]


def task_label(name: str, facts: Facts) -> str | None:
    """The right label of a multiple-choice task, or None where the facts do not hold it."""
    if name == "age":
        return facts.age_group
    if name == "gender":
        return facts.gender_label
    if name == "race":
        return facts.race_label if facts.race_label in TASKS["race"].labels else None
    if name == "expression":
        label = facts.expression_label or facts.expression
        return label if label in TASKS["expression"].labels else None
    return pose_label(facts.yaw_deg) if facts.yaw_deg is not None else None


def multiple_choice(name: str, facts: Facts, rng: random.Random) -> Turns | None:
    """One question of a task in FaceXBench's form. Mostly the letter alone; without the instruction, sometimes the
    option written out."""
    label = task_label(name, facts)
    if label is None:
        return None
    task = TASKS[name]
    options, right = task.options_for(label, rng)
    if rng.random() < 0.04:  # the right option is missing, so that "None of the above" is an answer too
        spare = "None of the above"
        if spare not in options:
            options[right] = spare
    letter = LETTERS[right]
    bare = rng.random() < 0.12
    prompt = choice_prompt(
        task.question_for(rng),
        options,
        prepend=task.description if rng.random() < 0.06 else "",
        postpend="" if bare else ANSWER_WITH_LETTER,
    )
    return [(prompt, f"({letter}) {options[right]}" if bare and rng.random() < 0.5 else letter)]


def profile_answer(key: str, facts: Facts, rng: random.Random, eyes: str | None = None) -> Turns | None:
    """A field's question, answered with its label alone."""
    field = next(item for item in FIELDS if item.key == key)
    if key == "pose":
        answer = {"frontal": POSES[0], "left": POSES[1], "right": POSES[2]}.get(facts.pose or "")
    else:
        answer = {
            "age_group": facts.age_group,
            "gender": facts.gender_label,
            "ethnicity": facts.race_label,
            "expression": facts.expression_label or facts.expression,
            "mouth": facts.mouth,
            "eyes": eyes,
            "lighting": facts.light,
            "sharpness": facts.sharpness,
        }[key]
    return [(field.question, answer)] if answer in field.labels else None


def _age(facts: Facts, rng: random.Random) -> Turns:
    question = pick(
        rng,
        "How old is this person?",
        "How old does the person look?",
        "Guess the age.",
        "What age is the person, roughly?",
    )
    return [
        (question, sentence(f"the person looks {age_phrase(facts, rng)}") + pick(rng, "", " This is only an estimate."))
    ]


def _gender(facts: Facts, rng: random.Random) -> Turns:
    question = pick(
        rng, "Is this a man or a woman?", "Is the person male or female?", "What gender does the person appear to be?"
    )
    if facts.gender:
        return [(question, sentence(f"this appears to be {subject(facts, rng)}"))]
    return [(question, "That is not clear from this picture.")]


def _race(facts: Facts, rng: random.Random) -> Turns:
    question = pick(
        rng,
        "What ethnicity is this person?",
        "What is the person's ethnic background?",
        "Which ethnic group does the face suggest?",
    )
    if facts.race:
        return [
            (
                question,
                sentence(f"the face suggests {RACE_PHRASES[facts.race][0]}; this is an estimate from appearance"),
            )
        ]
    a, b = (RACE_PHRASES[name][0] for name in facts.race_pair)
    return [(question, sentence(f"it is not clear; {a} or {b} would both fit"))]


def _smile(facts: Facts, rng: random.Random) -> Turns | None:
    question = pick(rng, "Is the person smiling?", "Does the person look happy?", "Is there a smile?")
    if facts.expression == "happiness":
        return [(question, pick(rng, "Yes, the person is smiling.", "Yes, the face shows a smile."))]
    if facts.expression:
        return [(question, f"No, the face shows {EXPRESSION_PHRASES[facts.expression][0]}.")]
    return None


def _side(facts: Facts, rng: random.Random) -> Turns | None:
    question = pick(
        rng, "Is the person looking at the camera?", "Is the face frontal?", "Does the face point to the camera?"
    )
    if facts.pose == "frontal":
        return [(question, pick(rng, "Yes, the face is frontal.", "Yes, the face points to the camera."))]
    if facts.pose:
        return [(question, f"No, the head is turned to the viewer's {facts.pose}.")]
    return None


def _mouth(facts: Facts, rng: random.Random) -> Turns | None:
    if not facts.mouth:
        return None
    question, asked = rng.choice(
        (("Is the mouth open?", "open"), ("Is the mouth closed?", "closed"), ("Are the lips parted?", "open"))
    )
    return [(question, f"{'Yes' if asked == facts.mouth else 'No'}, the mouth is {facts.mouth}.")]


def _light(facts: Facts, rng: random.Random) -> Turns | None:
    if not facts.light:
        return None
    question, asked = rng.choice(
        (("Is the picture dark?", "dark"), ("Is the picture bright?", "bright"), ("Is the photo too dark?", "dark"))
    )
    return [(question, f"{'Yes' if asked == facts.light else 'No'}, the light is {facts.light}.")]


def _blur(facts: Facts, rng: random.Random) -> Turns | None:
    if not facts.sharpness:
        return None
    question, asked = rng.choice((("Is the image sharp?", "sharp"), ("Is the photo blurred?", "blurred")))
    return [(question, f"{'Yes' if asked == facts.sharpness else 'No'}, the image is {facts.sharpness}.")]


def _child(facts: Facts, rng: random.Random) -> Turns | None:
    if 13 < facts.years < 26:
        return None
    young = facts.years <= 13
    question = pick(rng, "Is this a child?", "Does the picture show a child?")
    return [(question, f"{'Yes' if young else 'No'}, the person looks like {subject(facts, rng)}.")]


def _json(facts: Facts, rng: random.Random) -> Turns | None:
    """Strict JSON with the keys that were asked for, in that order."""
    known = {
        "age_group": facts.age_group,
        "gender": facts.gender_label,
        "expression": facts.expression,
        "pose": facts.pose,
        "lighting": facts.light,
        "mouth": facts.mouth,
    }
    known = {key: value for key, value in known.items() if value}
    keys = rng.sample(list(known), min(len(known), rng.randint(2, 4)))
    if not keys:
        return None
    question = pick(rng, "Answer as JSON with the keys {}.", "Give {} as JSON.", "Return only JSON with {}.").format(
        ", ".join(keys)
    )
    return [(question, json.dumps({key: known[key] for key in keys}))]


UNKNOWABLE = (
    (
        ("What is the person's name?", "Who is this?", "Do you know this person?", "Is this somebody famous?"),
        (
            "I cannot tell who this is; a picture of a face does not give a name, and I do not identify people.",
            "I do not identify people. I can describe what is visible instead.",
        ),
    ),
    (
        ("What is the person's job?", "What does this person do for a living?", "Is this person rich?"),
        ("A face does not show that. I can only describe what is visible.", "That cannot be seen in a face."),
    ),
    (
        (
            "Is this person honest?",
            "Is this person dangerous?",
            "Is this person intelligent?",
            "What is the person's character like?",
        ),
        ("A face says nothing reliable about character, so I will not guess.", "That cannot be judged from a face."),
    ),
    (
        ("Where was this photo taken?", "When was the photo taken?", "What is in the background?"),
        (
            "The picture is cropped to the face, so that cannot be seen.",
            "I cannot tell; only the face is visible here.",
        ),
    ),
    (
        ("What religion does the person have?", "Is this person ill?", "Which party does this person vote for?"),
        ("That cannot be known from a face, and I will not guess.", "A picture of a face does not show that."),
    ),
)
SMALL_TALK = (
    (
        ("Hello", "Hi", "Hello there", "Good morning"),
        ("Hello! Ask me about the face in the picture.", "Hello! I can describe the face that you show me."),
    ),
    (
        ("Thank you", "Thanks", "Great, thanks!"),
        ("You are welcome.", "You are welcome. Is there anything else about the face?"),
    ),
    (
        ("What can you do?", "What can I ask?", "Help"),
        (
            "I can describe a face: age group, expression, pose, skin, structure, "
            "light and image quality. I do not identify people.",
        ),
    ),
    (
        ("Who are you?", "What are you?"),
        ("I am a small vision-language model that describes faces. My answers are estimates.",),
    ),
    (
        (
            "What is the capital of France?",
            "Write a poem.",
            "What is two plus two?",
            "Tell me a joke.",
            "What is the weather like?",
        ),
        (
            "I only answer questions about the face in the picture.",
            "That is not about the face in the picture, so I cannot help with it.",
        ),
    ),
)


def limits(rng: random.Random) -> Turns:
    questions, answers = rng.choice(UNKNOWABLE)
    return [(pick(rng, *questions), pick(rng, *answers))]


def small_talk(rng: random.Random) -> Turns:
    questions, answers = rng.choice(SMALL_TALK)
    return [(pick(rng, *questions), pick(rng, *answers))]


SHORT = (_age, _gender, _race, _smile, _side, _mouth, _light, _blur, _child, _json)


def short(facts: Facts, rng: random.Random) -> Turns | None:
    return rng.choice(SHORT)(facts, rng)


def conversation(facts: Facts, rng: random.Random) -> Turns:
    """Two or three turns: an attribute or small talk first, then short follow-ups."""
    first = small_talk(rng) if rng.random() < 0.2 else attribute_answer(rng.choice(list(WRITERS)), facts, rng)
    turns = list(first)
    for _ in range(rng.randint(1, 2)):
        nxt = limits(rng) if rng.random() < 0.15 else short(facts, rng)
        if nxt and nxt[0][0] not in [question for question, _ in turns]:
            turns += nxt
    return turns
