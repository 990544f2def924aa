"""The measured teacher about the person: demographics, structure, skin, expression, pose.

Every function takes `Facts` and a random generator and returns one plain paragraph; what is not known is left out or
said to be unclear. Wording is the project's own.
"""

from __future__ import annotations

import random

from train.nano.facts import Facts
from train.nano.phrases import EXPRESSION_PHRASES, RACE_PHRASES, age_phrase, join, listed, pick, subject

YOUNG = 3  # years; of younger faces nose and lips are not described


def demographic(facts: Facts, rng: random.Random) -> str:
    who = subject(facts, rng)
    first = pick(
        rng,
        f"the image shows {who}, {age_phrase(facts, rng)}",
        f"this appears to be {who}, {age_phrase(facts, rng)}",
    )
    # A stated gender is in the noun already; said twice, a small decoder says it in two ways.
    gender = None if facts.gender else "the gender cannot be told with confidence"
    if facts.race:
        name = pick(rng, *RACE_PHRASES[facts.race])
        race = pick(
            rng,
            f"the apparent ethnicity is {name}",
            f"in terms of ethnicity, the person appears to be {name}"
            if facts.race != "Others"
            else f"in terms of ethnicity, the closest description is {name}",
        )
    else:
        race = "the ethnicity cannot be told with confidence"
    caution = pick(rng, "these are estimates from appearance only", "")
    return join(rng, [first, gender, race, caution])


def structure(facts: Facts, rng: random.Random) -> str:
    face = {
        "long": ("the face is rather long and narrow", "the face is longer than it is wide"),
        "round": ("the face is rather round and wide", "the face is rather wide for its height"),
        None: ("the face has medium proportions", "the face is neither long nor wide"),
    }
    jaw = {
        "broad": ("the jaw is broad", "the lower face ends in a broad jaw"),
        "tapered": ("the jaw tapers towards the chin", "the lower face narrows to a slim chin"),
    }
    nose = {
        "broad": ("the nose is broad at the base", "the nose is relatively wide"),
        "narrow": ("the nose is narrow", "the nose is slim at the base"),
    }
    lips = {
        "full": ("the lips are full", "the lips are rather full"),
        "thin": ("the lips are thin",),
    }
    brows = {
        "raised": ("the eyebrows sit high above the eyes", "there is much space between brows and eyes"),
        "low": ("the eyebrows sit close to the eyes", "the brows are low over the eyes"),
    }
    eyes = {"wide": ("the eyes look large and wide open",), "narrowed": ("the eyes appear narrow",)}
    mouth = {"wide": ("the mouth is wide",), "small": ("the mouth is small",)}
    parts = []
    for table, key in (
        (jaw, facts.jaw),
        (nose, facts.nose if facts.years > YOUNG else None),
        (lips, facts.lips if facts.years > YOUNG else None),
        (brows, facts.brows),
        (eyes, facts.eyes),
        (mouth, facts.mouth_width),
    ):
        if key:
            parts.append(pick(rng, *table[key]))
    if facts.sharpness == "blurred":
        parts = [*parts[:2], pick(rng, "finer details cannot be judged", "the picture is too soft for finer details")]
    elif not parts:
        parts = [pick(rng, "nothing about the jaw, the nose or the lips stands out", "no single feature stands out")]
    if facts.pose in ("left", "right"):
        parts.append(
            pick(
                rng,
                "because the head is turned, the proportions are foreshortened",
                "the turned head hides part of the far side of the face",
            )
        )
    return join(rng, [pick(rng, *face[facts.face_shape]), *parts[:4]])


def skin(facts: Facts, rng: random.Random) -> str:
    tone = {
        "light": ("the skin tone appears light in this light", "the skin looks light"),
        "medium": ("the skin tone appears medium in this light", "the skin looks neither very light nor very dark"),
        "deep": ("the skin tone appears deep in this light", "the skin looks dark in this picture"),
    }.get(facts.tone)
    texture = {
        "smooth": ("the cheeks look smooth", "hardly any fine texture can be seen on the cheeks"),
        "textured": ("fine texture is visible on the cheeks", "the cheeks show visible texture"),
    }.get(facts.texture)
    age = None
    years = facts.years or 30
    if years >= 62:
        age = pick(
            rng, "lines around the eyes and mouth fit an older face", "folds and wrinkles go with the apparent age"
        )
    elif years >= 42:
        age = pick(rng, "the skin is that of an adult in middle life", "it is no longer the skin of a young person")
    elif years < 13:
        age = pick(rng, "it has the soft look of a child's skin", "as expected of a child, no lines are visible")
    else:
        age = pick(rng, "no deep lines stand out", "there are no marked wrinkles", "it looks youthful")
    limit = {
        "blurred": (
            "the image is soft, so pores and fine lines cannot be judged",
            "blur hides the finest details, so smoothness may be overstated",
        ),
        "sharp": ("the image is sharp enough to show fine detail", "the sharpness allows small details to be seen"),
    }.get(facts.sharpness, ("very fine detail is limited by the resolution",))
    grey = (
        pick(
            rng,
            "colour cannot be judged in a black-and-white picture",
            "the picture has no colour, so the tone is only a shade of grey",
        )
        if facts.colour == "greyscale"
        else None
    )
    return join(
        rng,
        [
            pick(rng, *tone) if tone else grey,
            pick(rng, *texture) if texture else None,
            age.replace("it ", "the skin ", 1) if age.startswith("it ") else age,
            pick(rng, *limit),
        ],
    )


def expression(facts: Facts, rng: random.Random) -> str:
    if facts.expression:
        phrase = pick(rng, *EXPRESSION_PHRASES[facts.expression])
        first = pick(
            rng, f"the person shows {phrase}", f"the face shows {phrase}", f"the overall impression is {phrase}"
        )
    elif facts.smile:
        first = pick(rng, "the person smiles", "the mouth is drawn into a smile", "the face shows a smile")
    else:
        first = pick(
            rng,
            "the expression is not clear-cut",
            "the expression is mild and hard to name",
            "no single emotion can be named with confidence",
        )
    mouth = {
        "open": ("the mouth is open", "the lips are parted"),
        "closed": ("the mouth is closed", "the lips are closed"),
    }
    eyes = {"wide": ("the eyes are wide open",), "narrowed": ("the eyes are narrowed",)}
    brows = {"raised": ("the eyebrows are raised",)}
    # High brows are a trait of many faces; raised ones belong to surprise.
    raised = facts.brows if facts.brows == "raised" and facts.expression == "surprise" else None
    said = ((mouth, facts.mouth), (eyes, facts.eyes), (brows, raised))
    parts = [pick(rng, *table[key]) for table, key in said if key]
    details = listed(parts) if parts else None
    feeling = {
        "happiness": ("this suggests a positive mood", "the impression is friendly and relaxed"),
        "neutral": ("little emotion can be read from the face", "no strong emotion is visible"),
        "surprise": ("the person seems to react to something unexpected",),
        "sadness": ("the mood seems low",),
        "anger": ("the person seems tense or annoyed",),
        "disgust": ("the person seems to dislike something",),
        "fear": ("the person seems alarmed",),
        "contempt": ("the attitude seems dismissive",),
    }.get(facts.expression, ("what the person really feels cannot be known from a picture",))
    caution = pick(rng, "an expression need not match the real feeling", "", "")
    return join(rng, [first, details, pick(rng, *feeling), caution])


def pose(facts: Facts, rng: random.Random) -> str:
    yaw = facts.yaw_deg
    if yaw is None:
        return pick(rng, "The head pose cannot be determined with confidence.", "The pose of the head is unclear.")
    side = "left" if yaw > 0 else "right"
    if facts.pose == "frontal":
        first = pick(
            rng,
            "the face is frontal, turned towards the camera",
            "the face is seen from the front",
        )
    elif facts.pose:
        how = "clearly " if abs(yaw) > 22 else ""
        first = pick(
            rng,
            f"the head is {how}turned to the viewer's {side}",
            f"the face is {how}turned to the viewer's {side}",
        )
    else:
        first = pick(
            rng,
            f"the head is nearly frontal, turned slightly to the viewer's {side}",
            f"the face is almost frontal, with a slight turn to the viewer's {side}",
        )
    pitch = {
        "down": ("the chin is lowered", "the head is bent slightly down"),
        "up": ("the chin is raised", "the head is tipped slightly back"),
        "level": ("the chin is level", "the head is held level"),
    }.get(facts.pitch)
    tilt = {
        True: ("the head is tilted to one side",),
        False: ("there is no sideways tilt", "the eyes are on one level"),
    }.get(facts.tilt)
    use = (
        pick(rng, "both sides of the face can be seen", "both eyes are visible")
        if facts.pose == "frontal"
        else (
            pick(rng, "the far side of the face is partly hidden", "less of the far cheek is visible")
            if facts.pose
            else None
        )
    )
    return join(rng, [first, pick(rng, *pitch) if pitch else None, pick(rng, *tilt) if tilt else None, use])
