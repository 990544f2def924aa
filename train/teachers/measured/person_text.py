"""The measured teacher about the person: demographics, structure, skin, expression, pose.

Every function takes `Facts` and a random generator and returns one plain paragraph. Shapes and chin are said where they
stand out, a mouth where it is clearly open: a word for the middle ("of medium width", "slightly open") was said of
everybody, and wrong of those at the ends; "closed" was said of open mouths, "open" hardly ever of closed ones. Frames
vary, values do not: of two wordings each is less likely than leaving the value out, and greedy decoding takes the
likeliest. Wording is the project's own.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from train.faces.facts import Facts
from train.teachers.measured.phrases import RACE_WORDS, age_phrase, join, listed, look, pick, subject, with_article

YOUNG = 3  # years; of younger faces nose and lips are not described

FACE = {"long": "long and narrow", "round": "round and wide"}
NOSE = {"broad": "broad at the base", "narrow": "narrow"}
BROWS = {"raised": "high above the eyes", "low": "close to the eyes"}
NO_SHAPE = "no proportion of the face stands out clearly"
DETAIL: Mapping[str | None, str] = {
    "sharp": "sharp enough to show fine detail",
    "blurred": "too soft to judge pores and fine lines",
    None: "neither clearly sharp nor clearly blurred, so very fine detail is limited",
}
EYES = {"wide": "wide open", "narrowed": "narrowed"}  # else unsaid: "normally open" was said of closed ones, too
# (years below which it is said, whose skin it looks like)
SKIN_OF = ((13, "a child"), (34, "a young adult"), (46, "an adult"), (62, "an adult in middle life"))
FEELING: Mapping[str | None, str] = {
    "happiness": "a positive mood",
    "neutral": "little emotion",
    "surprise": "a reaction to something unexpected",
    "sadness": "a low mood",
    "anger": "tension or annoyance",
    "disgust": "dislike of something",
    "fear": "alarm",
    "contempt": "a dismissive attitude",
    None: "no clear emotion",
}
PITCH = {"down": "lowered", "up": "raised"}


def race_sentence(facts: Facts, rng: random.Random) -> str:
    if not facts.race:
        return "the apparent ethnicity is not clear from this picture"
    return pick(rng, "the apparent ethnicity is ", "in terms of ethnicity, the person looks ") + RACE_WORDS[facts.race]


def face_sentence(facts: Facts, rng: random.Random) -> str | None:
    return f"the face is {FACE[facts.face_shape]}" if facts.face_shape else None


def features_sentence(facts: Facts, rng: random.Random) -> str | None:
    parts = [f"the jaw is {facts.jaw}"] if facts.jaw else []
    if (facts.years or 0) > YOUNG:
        parts += [f"the nose is {NOSE[facts.nose]}"] if facts.nose else []
        parts += [f"the lips are {facts.lips}"] if facts.lips else []
    return listed(parts) if parts else None


def brows_sentence(facts: Facts, rng: random.Random) -> str | None:
    return f"the eyebrows sit {BROWS[facts.brows]}" if facts.brows else None


def shape_sentences(facts: Facts, rng: random.Random) -> list[str]:
    """At least one; of a face that was measured."""
    found = [write(facts, rng) for write in (face_sentence, features_sentence, brows_sentence)]
    return [text for text in found if text] or [NO_SHAPE]


def detail_sentence(facts: Facts, rng: random.Random) -> str:
    return f"the image is {DETAIL[facts.sharpness]}"


def expression_sentence(facts: Facts, rng: random.Random) -> str:
    return pick(rng, "the person shows ", "the face has ") + shown(facts)


def shown(facts: Facts) -> str:
    """The expression with its article. No word is sure of most faces: with an open mouth the expression is not mild."""
    if not look(facts) and facts.mouth == "open":
        return "an expression that is hard to name"
    return f"{with_article(look(facts) or 'mild')} expression"


def mouth_and_eyes_sentence(facts: Facts, rng: random.Random) -> str | None:
    parts = ["the mouth is open"] if facts.mouth == "open" else []
    parts += [f"the eyes are {EYES[facts.eyes]}"] if facts.eyes else []
    return listed(parts) if parts else None


def direction_sentence(facts: Facts, rng: random.Random) -> str | None:
    if facts.yaw_deg is None:
        return None
    noun, side = pick(rng, "head", "face"), "left" if facts.yaw_deg > 0 else "right"
    if facts.pose == "frontal":
        return f"the {noun} is frontal, turned towards the camera"
    if facts.pose:
        return f"the {noun} is {'clearly ' if abs(facts.yaw_deg) > 22 else ''}turned to the viewer's {side}"
    return f"the {noun} is nearly frontal, turned slightly to the viewer's {side}"


def chin_sentence(facts: Facts, rng: random.Random) -> str | None:
    return f"the chin is {PITCH[facts.pitch]}" if facts.pitch in PITCH else None


def demographic(facts: Facts, rng: random.Random) -> str:
    frame = pick(rng, "the image shows", "this appears to be")
    first = f"{frame} {subject(facts)}, {age_phrase(facts, rng)}"
    # A stated gender is in the noun already; said twice, a small decoder says it in two ways.
    gender = None if facts.gender else "the gender cannot be told with confidence"
    caution = pick(rng, "these are estimates from appearance only", "")
    return join([first, gender, race_sentence(facts, rng), caution])


def structure(facts: Facts, rng: random.Random) -> str:
    if facts.yaw_deg is None:
        return "The structure of the face cannot be measured in this picture."
    limit = "because the head is turned, the proportions are foreshortened" if facts.pose in ("left", "right") else None
    return join([*shape_sentences(facts, rng), limit])


def skin(facts: Facts, rng: random.Random) -> str:
    """Nothing of the cheeks' texture: what pixels tell of it are the blocks of a compressed picture as well."""
    grey = "colour cannot be judged in a black-and-white picture" if facts.colour == "greyscale" else None
    years = facts.years or 30
    of = next((of for limit, of in SKIN_OF if years < limit), "an older person")
    return join([f"the skin looks like that of {of}", grey, detail_sentence(facts, rng)])


def expression(facts: Facts, rng: random.Random) -> str:
    feeling = (
        pick(rng, "this suggests ", "the impression is of ")
        + FEELING[facts.expression or ("happiness" if facts.smile else None)]
    )
    caution = pick(rng, "an expression need not match the real feeling", "", "")
    return join([expression_sentence(facts, rng), mouth_and_eyes_sentence(facts, rng), feeling, caution])


def pose(facts: Facts, rng: random.Random) -> str:
    if facts.yaw_deg is None:
        return "The head pose cannot be determined with confidence."
    use = {None: None, "frontal": "both sides of the face can be seen"}.get(
        facts.pose, "the far side of the face is partly hidden"
    )
    return join([direction_sentence(facts, rng), chin_sentence(facts, rng), use])
