"""Composed answers about the picture: lighting and quality, pose, forensic considerations.

Each is a paragraph of two to four sentences, or None where nothing is known.
"""

from __future__ import annotations

import random

from train.seen.descriptions.paragraphs import paragraph
from train.seen.known.truth import Truth
from train.seen.words.lexicon import Voice
from train.seen.words.spin import listed, spin


def lighting(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    pick, slots = rng.choice, voice.slots()
    light = None
    if "light_words" in slots:
        light = spin(
            "[the light is {light_words}|{light_noun} falls on the face|the face is lit by {light_noun}|"
            "the picture has {light_noun}]",
            rng,
            slots,
        )
    elif brightness := truth.value("brightness"):
        words = {"dark": "dark", "bright": "bright", "balanced": "of balanced brightness"}[brightness]
        light = f"the picture is {words}"
    if light is None and truth.face.pixels is None:
        return None
    side = None
    kind = truth.value("light") or ""
    from_side = truth.value("light_side", sure=True)
    if from_side == "even" and not kind.startswith(("side", "harsh", "dim")):
        side = pick(("both sides of the face are lit alike", "neither side lies in shadow", None))
    elif from_side in ("left", "right") and kind.startswith("side"):
        other = {"left": "right", "right": "left"}[from_side]
        side = pick((f"the {other} side of the face lies in shade", f"the other side, at the {other}, is darker"))
    exposure = None
    if truth.value("brightness", sure=True) == "dark" and kind != "dim":
        exposure = pick(("the exposure is dark", "the picture is underexposed"))
    elif truth.value("brightness", sure=True) == "dark":
        exposure = pick(("details sink into the dark parts", "the exposure is low", None))
    elif truth.value("brightness", sure=True) == "balanced" and kind == "even":
        exposure = pick(("the exposure is balanced", "the exposure looks right", None))
    return paragraph(rng, [*rng.sample([light, side or exposure], 2), _quality(truth, rng), _behind(voice, rng)])


def _quality(truth: Truth, rng: random.Random) -> str | None:
    kind, grey = truth.value("sharpness"), truth.holds("black_and_white")
    if truth.face.pixels is None:
        return None
    if kind == "sharp":
        words = ("the picture is sharp", "focus and detail are good", "the image is sharp and detailed")
    elif kind == "blurred":
        words = (
            "the picture is soft and lacks fine detail",
            "the image is blurred",
            "focus is soft, so fine detail is lost",
        )
    else:
        words = ("sharpness is moderate", "the picture is neither very sharp nor badly blurred", "detail is moderate")
    text = rng.choice(words)
    if grey:
        text = rng.choice(
            (
                f"{text}, and it is black and white"
                if "picture" in text or "image" in text
                else f"{text}, in black and white",
                f"{text}; there is no colour",
            )
        )
    return text


def _behind(voice: Voice, rng: random.Random) -> str | None:
    if voice.backdrop is None or rng.random() < 0.3:
        return None
    return spin(
        "[behind {them} is {backdrop}|{backdrop} lies behind|{they} is seen against {backdrop}]", rng, voice.slots()
    )


def pose(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    kind, pick, their, they = truth.value("pose"), rng.choice, voice.their, voice.they
    if kind is None:
        if truth.value("gaze", sure=True) == "camera":
            return pick(
                (
                    f"{their} face points to the camera, and the eyes look into it.",
                    f"{they} faces the camera and looks into the lens.".capitalize(),
                )
            )
        return None
    noun = pick(("head", "face"))
    if kind == "frontal":
        first = pick(
            (
                f"{their} {noun} is frontal, turned towards the camera",
                f"{they} faces the camera straight on",
                f"the {noun} points directly to the camera",
                f"this is a frontal view of {their} face",
                f"{their} {noun} is not turned to either side",
            )
        )
    elif kind in ("left", "right"):
        first = pick(
            (
                f"{their} {noun} is turned to the viewer's {kind}",
                f"the {noun} points to the viewer's {kind}",
                f"{they} has turned to the viewer's {kind}",
            )
        )
    else:
        side = kind.removeprefix("slightly-")
        first = pick(
            (
                f"the {noun} is nearly frontal, turned slightly to the viewer's {side}",
                f"{their} {noun} turns a little to the viewer's {side}",
            )
        )
    chin = {
        "lowered": ("the chin is lowered", "the head is bent down a little"),
        "raised": ("the chin is raised", "the head is tipped back a little"),
        "level": ("the chin is level", "the chin is held level", None),
    }.get(truth.value("pitch") or "")
    gaze = None
    if truth.value("eyes", sure=True) == "closed":
        gaze = f"{their} eyes are closed"
    elif truth.value("glasses") == "sunglasses":
        gaze = "dark glasses hide where the eyes look"
    elif voice.gaze_to:
        seems = "look" if truth.sure("gaze") else "seem to look"
        where = pick(("into the camera", "at the camera")) if voice.gaze_to == "at the camera" else voice.gaze_to
        gaze = pick((f"the eyes {seems} {where}", f"{their} eyes {seems} {where}"))
    use = None
    if kind in ("left", "right"):
        use = pick(("the far side of the face is partly hidden", "one cheek is foreshortened", None))
    elif kind == "frontal" and rng.random() < 0.3:
        use = "both sides of the face can be seen"
    return paragraph(rng, [first, pick(chin) if chin else None, gaze, use])


def forensic(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    pick = rng.choice
    hidden = []
    if truth.value("glasses") == "sunglasses":
        hidden.append(pick(("sunglasses hide the eyes", "the eyes are lost behind dark glasses")))
    elif truth.value("glasses") == "glasses":
        hidden.append(pick(("glasses cover the eye region in part", "the glasses overlap the brows and eyes a little")))
    if voice.hat:
        hidden.append(pick((f"{voice.hat} covers part of the head", f"{voice.hat} hides the hairline")))
    if voice.cover:
        hidden.append(f"{voice.cover} covers part of the face")
    if truth.value("facial_hair") in ("beard", "goatee"):
        hidden.append(pick(("a beard conceals the chin line", "the chin line lies under a beard")))
    if truth.value("eyes", sure=True) == "closed":
        hidden.append("closed lids hide the eyes")
    if not hidden and not truth.stated:
        return None
    open_face = pick(
        (
            "brows, eyes, nose and mouth are uncovered",
            "nothing hides the face",
            "all main features are visible",
            "eyes, nose and mouth can be examined without obstruction",
        )
    )
    seen = truth.value("glasses") is not None and truth.value("covering") is not None
    first = listed(hidden[:2]) if hidden else open_face if seen else None
    limits, helps = [], []
    if truth.value("sharpness", sure=True) == "blurred":
        limits.append(pick(("blur", "the soft focus", "the lack of sharpness")))
    elif truth.value("sharpness", sure=True) == "sharp":
        helps.append(pick(("good sharpness", "sharp detail")))
    if truth.value("brightness", sure=True) == "dark":
        limits.append(pick(("the dim light", "the dark exposure")))
    elif truth.value("light") == "even":
        helps.append("even light")
    if truth.value("pose") in ("left", "right"):
        limits.append(pick(("the turned head", "the side view")))
    elif truth.value("pose") == "frontal":
        helps.append("the frontal view")
    if truth.value("expression") in ("laugh", "smile"):
        limits.append(pick(("the smile", "the smiling mouth")) if truth.value("expression") == "smile" else "the laugh")
    elif truth.value("expression") in ("surprised", "angry", "crying", "shouting"):
        limits.append("the strong expression")
    rng.shuffle(helps)
    second = None
    if limits:
        verb = "limit" if len(limits[:2]) > 1 else "limits"
        what = pick(("what can be compared", "a comparison", "a careful examination"))
        second = f"{listed(limits[:2])} {verb} {what}"
    third = None
    if helps:
        verb = "help" if len(helps[:2]) > 1 else "helps"
        third = f"{listed(helps[:2])} {verb}{pick((' a comparison', ' an examination', ''))}"
    marks = [
        word
        for fact, word in (("moles", "a mole"), ("freckles", "freckles"), ("blemishes", "blemishes"))
        if truth.value(fact, sure=True) == "yes"
    ]
    if truth.value("earrings") == "yes":
        marks.append("an earring")
    if truth.value("facial_hair") == "moustache":
        marks.append("the moustache")
    fourth = (
        f"{listed(marks[:2])} may serve as {'a mark' if len(marks) == 1 else 'marks'} of recognition" if marks else None
    )
    if fourth is None and (not (second or third) or rng.random() < 0.35):
        fourth = pick(
            (
                "no scar or other distinctive mark stands out",
                "whether the picture was edited cannot be told from it",
                "no obvious trace of editing can be seen, which proves nothing",
            )
        )
    text = paragraph(rng, [*rng.sample([first, second], 2), third, fourth])
    return text or None
