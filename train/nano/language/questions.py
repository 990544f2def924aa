"""Questions in the visitor's own words, and the measured teacher's answers: attributes, short ones, follow-ups, JSON.

Every function returns a conversation: a list of (question, answer) turns.
"""

from __future__ import annotations

import json
import random

from facellm.attributes import ATTRIBUTES
from train.faces.facts import Facts
from train.nano.language.phrasebook import PHRASES
from train.nano.language.refusals import limits, small_talk
from train.teachers.measured.person_text import race_sentence
from train.teachers.measured.phrases import EXPRESSION_WORDS, Turns, age_phrase, pick, sentence, subject, with_article
from train.teachers.measured.wording import WRITERS

JSON_KEYS = (5, 9)  # least and most; every value is a fact, where a sentence of an answer holds one in ten words
PARAPHRASES: dict[str, list[str]] = PHRASES["paraphrases"]
_QUESTIONS: dict[str, list[str]] = PHRASES["short_questions"]


def attribute_answer(key: str, facts: Facts, rng: random.Random) -> Turns:
    """The paper's question (three times in four) or a paraphrase of it, answered at length."""
    question = next(item.question for item in ATTRIBUTES if item.key == key)
    if rng.random() < 0.25:
        question = rng.choice(PARAPHRASES[key])
    return [(question, WRITERS[key](facts, rng))]


def _age(facts: Facts, rng: random.Random) -> Turns:
    question = rng.choice(_QUESTIONS["age"])
    return [
        (question, sentence(f"the person looks {age_phrase(facts, rng)}") + pick(rng, "", " This is only an estimate."))
    ]


def _gender(facts: Facts, rng: random.Random) -> Turns:
    question = rng.choice(_QUESTIONS["gender"])
    if facts.gender:
        return [(question, sentence(f"this appears to be {subject(facts)}"))]
    return [(question, "That is not clear from this picture.")]


def _race(facts: Facts, rng: random.Random) -> Turns:
    question = rng.choice(_QUESTIONS["ethnicity"])
    return [(question, sentence(race_sentence(facts, rng)))]


def _smile(facts: Facts, rng: random.Random) -> Turns | None:
    question = rng.choice(_QUESTIONS["smile"])
    if facts.expression == "happiness" or (facts.smile and not facts.expression):
        return [(question, pick(rng, "Yes, the person is smiling.", "Yes, the face shows a smile."))]
    if facts.expression:
        return [(question, f"No, the face shows {with_article(EXPRESSION_WORDS[facts.expression])} expression.")]
    return None


def _side(facts: Facts, rng: random.Random) -> Turns | None:
    question = rng.choice(_QUESTIONS["side"])
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


def _degrees(facts: Facts, rng: random.Random) -> Turns | None:
    """The yaw in steps of five degrees."""
    if facts.yaw_deg is None:
        return None
    question = rng.choice(_QUESTIONS["degrees"])
    turn = 5 * round(abs(facts.yaw_deg) / 5)
    side = "left" if facts.yaw_deg > 0 else "right"
    return [(question, f"About {turn} degrees to the viewer's {side}." if turn else "About 0 degrees.")]


def _child(facts: Facts, rng: random.Random) -> Turns | None:
    if 13 < facts.years < 26:
        return None
    young = facts.years <= 13
    question = rng.choice(_QUESTIONS["child"])
    return [(question, f"{'Yes' if young else 'No'}, the person looks like {subject(facts)}.")]


def facts_as_json(facts: Facts, rng: random.Random) -> Turns | None:
    """What is known of the face and of its picture: strict JSON with the keys that were asked for, in that order."""
    known = {
        "age_group": facts.age_group,
        "gender": facts.gender_label,
        "ethnicity": facts.race_label,
        "expression": facts.expression_label or facts.expression,
        "pose": facts.pose,
        "lighting": facts.light,
        "light_from": facts.light_side,
        "sharpness": facts.sharpness,
        "colour": facts.colour,
        "mouth": facts.mouth,
        "brows": facts.brows,
        "jaw": facts.jaw,
        "nose": facts.nose,
        "lips": facts.lips,
        "face": facts.face_shape,
        "chin": facts.pitch,
    }
    keys = [key for key, value in known.items() if value]
    keys = rng.sample(keys, min(len(keys), rng.randint(*JSON_KEYS)))
    if not keys:
        return None
    question = rng.choice(_QUESTIONS["json"]).format(", ".join(keys))
    return [(question, json.dumps({key: known[key] for key in keys}))]


SHORT = (_age, _gender, _race, _smile, _side, _degrees, _mouth, _light, _blur, _child)


def short(facts: Facts, rng: random.Random) -> Turns | None:
    return rng.choice(SHORT)(facts, rng)


def conversation(facts: Facts, rng: random.Random) -> Turns:
    """One to three attributes at length in one conversation, small talk and short questions before and between them."""
    turns: Turns = small_talk(rng) if rng.random() < 0.2 else []
    for key in rng.sample(list(WRITERS), rng.randint(1, 3)):
        turns = turns + attribute_answer(key, facts, rng)
        while len(turns) < 2 or rng.random() < 0.35:
            nxt = limits(rng) if rng.random() < 0.15 else short(facts, rng)
            if nxt and nxt[0][0] not in [question for question, _ in turns]:
                turns = turns + nxt
    return turns
