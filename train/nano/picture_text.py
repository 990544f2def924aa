"""The measured teacher about the picture: light and quality, what it is worth as evidence, the whole in short.

Every function takes `Facts` and a random generator and returns one plain paragraph; what is not known is left out or
said to be unclear. Wording is the project's own.
"""

from __future__ import annotations

import random

from train.nano.facts import Facts
from train.nano.phrases import EXPRESSION_PHRASES, LIGHT_WORDS, age_phrase, join, listed, pick, subject


def lighting(facts: Facts, rng: random.Random) -> str:
    uneven = facts.light_side in ("left", "right") or facts.contrast == "high"
    light = pick(rng, *LIGHT_WORDS[facts.light]) if facts.light and not (facts.light == "balanced" and uneven) else None
    first = (
        pick(
            rng,
            f"the lighting is {light}",
            f"the face is lit in a {light} way"
            if light in ("balanced", "well balanced")
            else f"the light on the face is {light}",
        )
        if light
        else "the lighting is moderate"
    )
    side = {
        "left": ("more light falls on the side at the viewer's left", "the light comes mainly from the viewer's left"),
        "right": (
            "more light falls on the side at the viewer's right",
            "the light comes mainly from the viewer's right",
        ),
        "even": ("both sides of the face are lit evenly", "the light is spread evenly from side to side"),
    }
    contrast = {
        "high": ("contrast is high", "the contrast is strong"),
        "low": ("contrast is low, which makes the picture look flat", "the contrast is weak"),
    }
    sharp = {
        "sharp": ("the image is sharp", "the focus is good and details are crisp"),
        "blurred": ("the image is blurred", "the image is soft and lacks fine detail"),
        None: ("the sharpness is moderate", "the image is neither crisp nor clearly blurred"),
    }
    colour = {
        "greyscale": ("it is a black-and-white image", "the picture has no colour"),
        "muted": ("colours are muted",),
    }
    parts = [
        pick(rng, *side[facts.light_side]) if facts.light_side else None,
        pick(rng, *contrast[facts.contrast]) if facts.contrast else None,
        pick(rng, *sharp[facts.sharpness]),
        pick(rng, *colour[facts.colour]) if facts.colour else None,
    ]
    return join(rng, [first, *parts])


def forensic(facts: Facts, rng: random.Random) -> str:
    good, bad = [], []
    if facts.pose == "frontal":
        good.append("a frontal pose")
    elif facts.pose:
        bad.append("the turned head")
    if facts.sharpness:
        (good if facts.sharpness == "sharp" else bad).append(
            "good sharpness" if facts.sharpness == "sharp" else "the lack of sharpness"
        )
    uneven = facts.light_side in ("left", "right")
    if facts.light == "dark" or (facts.light == "balanced" and not uneven):
        (good if facts.light == "balanced" else bad).append(
            "balanced light" if facts.light == "balanced" else "the dark exposure"
        )
    if uneven:
        bad.append("uneven light from one side")
    if facts.expression in ("happiness", "surprise", "anger") and facts.mouth == "open":
        bad.append("the moving expression, which changes the shape of the mouth")
    if facts.colour == "greyscale":
        bad.append("the missing colour")
    helps = (
        pick(
            rng, f"for a comparison of faces, {listed(good)} would help", f"{listed(good)} would support an examination"
        )
        if good
        else None
    )
    hurts = (
        pick(rng, f"{listed(bad)} would limit an examination", f"{listed(bad)} should be taken into account")
        if bad
        else pick(rng, "few limitations are visible", "apart from its size, the picture is not limited by much")
    )
    last = pick(
        rng,
        "nothing in the picture alone proves or rules out editing",
        "whether the image was edited cannot be told by eye",
        "identity cannot be established from this image alone",
        "the picture alone does not establish who this is",
    )
    resolution = pick(
        rng,
        "the crop is small, so fine marks may be lost",
        "moles, scars and other small marks cannot be judged reliably at this resolution",
        "",
    )
    return join(rng, [helps, hurts, resolution, last])


def detail(facts: Facts, rng: random.Random) -> str:
    who = subject(facts, rng)
    look = EXPRESSION_PHRASES[facts.expression][0] if facts.expression else "a smile" if facts.smile else None
    first = pick(
        rng,
        f"a close-up of {who}" + (f" with {look}" if look else ""),
        f"the image shows the face of {who}" + (f" with {look}" if look else ""),
    )
    age = pick(
        rng,
        f"the person seems to be {age_phrase(facts, rng)}",
        f"the apparent age is {age_phrase(facts, rng).removesuffix(' old')}",
    )
    direction = {
        "frontal": "the face is turned towards the camera",
        "left": "the head is turned to the viewer's left",
        "right": "the head is turned to the viewer's right",
    }.get(facts.pose)
    light = f"the light is {pick(rng, *LIGHT_WORDS[facts.light])}" if facts.light else None
    sharp = {"sharp": "the picture is sharp", "blurred": "the picture is soft"}.get(facts.sharpness)
    colour = "the picture is black and white" if facts.colour == "greyscale" else None
    mouth = {"open": "the mouth is open", "closed": "the mouth is closed"}.get(facts.mouth)
    quality = ", ".join(part for part in (light, sharp, colour) if part)
    rest = [part for part in (direction, mouth) if part]
    rng.shuffle(rest)
    return join(rng, [first, age, ", and ".join(rest) if rest else None, quality or None])
