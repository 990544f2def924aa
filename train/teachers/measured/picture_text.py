"""The measured teacher about the picture: light and quality, what it is worth as evidence, the whole in short.

Every function takes `Facts` and a random generator and returns one plain paragraph; every fact has one place. Light and
sharpness that are not stated are said to be in between, other facts are left out (`person_text` says why).
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from train.faces.facts import Facts
from train.teachers.measured.person_text import direction_sentence, shown
from train.teachers.measured.phrases import age_phrase, join, look, pick, subject

LIGHT: Mapping[str | None, str] = {"dark": "dark", "balanced": "balanced", "bright": "bright", None: "moderate"}
SIDE: Mapping[str | None, str] = {
    "left": "comes mainly from the viewer's left",
    "right": "comes mainly from the viewer's right",
    "even": "is spread evenly over both sides of the face",
    "nearly even": "is spread almost evenly over both sides of the face",
}
SHARP: Mapping[str | None, str] = {
    "sharp": "sharp",
    "blurred": "blurred",
    None: "neither clearly sharp nor clearly blurred",
}
COLOUR: Mapping[str | None, str] = {
    "greyscale": "the picture is black and white",
    None: "the colours look natural",
}
POSE_HELPS: Mapping[str | None, str] = {
    "frontal": "a frontal pose, which helps a comparison of faces",
    "left": "a turned head, which limits a comparison of faces",
    "right": "a turned head, which limits a comparison of faces",
    None: "a nearly frontal pose",
}
SHARP_HELPS: Mapping[str | None, str] = {
    "sharp": "sharp, which keeps small marks visible",
    "blurred": "blurred, which hides small marks",
    None: "neither clearly sharp nor clearly blurred, so small marks may be lost",
}
LIGHT_HELPS: Mapping[str | None, str] = {
    "dark": "dark, which hides detail",
    "balanced": "balanced, which helps",
    "bright": "bright, which may wash out detail",
    None: "moderate",
}


def light_of(facts: Facts) -> str | None:
    """The brightness to be said: light from one side is not called balanced."""
    return None if facts.light == "balanced" and facts.light_side in ("left", "right") else facts.light


def light_sentence(facts: Facts, rng: random.Random) -> str:
    """In the words of the two other answers that name it: what one of them has learnt, all have."""
    return f"the light is {LIGHT[light_of(facts)]}"


def side_sentence(facts: Facts, rng: random.Random) -> str | None:
    """None where no side is to be said: the head is turned, nothing was measured, or cheeks and tower disagree."""
    return f"the light {SIDE[facts.light_side]}" if facts.light_side else None


def sharpness_sentence(facts: Facts, rng: random.Random) -> str:
    return pick(rng, "the image is ", "the picture is ") + SHARP[facts.sharpness]


def marks_sentence(facts: Facts, rng: random.Random) -> str:
    return f"it is {SHARP_HELPS[facts.sharpness]}"


def colour_sentence(facts: Facts, rng: random.Random) -> str:
    return COLOUR[facts.colour]


def lighting(facts: Facts, rng: random.Random) -> str:
    return join(
        [
            sharpness_sentence(facts, rng),
            light_sentence(facts, rng),
            # What is most pictures' was said of all: light without a side and natural colours are left out, so that
            # they are claimed of none. Contrast the decoder cannot tell, so it is not taught (docs/research/nano.md).
            side_sentence(facts, rng) if facts.light_side in ("left", "right") else None,
            colour_sentence(facts, rng) if facts.colour else None,
        ],
    )


def forensic(facts: Facts, rng: random.Random) -> str:
    """Without variety in the end: several endings would each be less likely than a reason that does not hold."""
    known_pose = facts.yaw_deg is not None
    expression = (
        "the open mouth changes the shape of the lower face"
        if facts.expression in ("happiness", "surprise", "anger") and facts.mouth == "open"
        else None
    )
    return join(
        [
            f"the image shows {POSE_HELPS[facts.pose]}" if known_pose else None,
            marks_sentence(facts, rng) if known_pose else f"the image is {SHARP_HELPS[facts.sharpness]}",
            f"the light is {LIGHT_HELPS[light_of(facts)]}",
            expression,
            "the missing colour is a further limit" if facts.colour == "greyscale" else None,
            "the picture alone does not establish who this is",
        ],
    )


def detail(facts: Facts, rng: random.Random) -> str:
    """Expression and head in the words of the answers about them: what one of them has learnt, all have."""
    frame = pick(rng, "a close-up of", "the image shows the face of")
    known = look(facts) or facts.yaw_deg is not None  # unmeasured, it is not even mild
    seen = f" with {shown(facts)}" if known else ""
    first = f"{frame} {subject(facts)}{seen}"
    age = pick(rng, "the person seems to be ", "the apparent age is ") + age_phrase(facts, rng)
    head = direction_sentence(facts, rng)
    quality = f"the light is {LIGHT[light_of(facts)]} and the picture is {SHARP[facts.sharpness]}"
    colour = "it is black and white" if facts.colour == "greyscale" else None
    return join([first, age, head, quality, colour])
