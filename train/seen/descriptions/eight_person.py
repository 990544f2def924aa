"""Composed answers about the person: demographic attributes, structure, skin, expression.

Each is a paragraph of two to four sentences, or None where nothing is known.
"""

from __future__ import annotations

import random

from train.seen.descriptions import forms
from train.seen.descriptions.paragraphs import paragraph
from train.seen.known import caption
from train.seen.known.truth import Truth
from train.seen.words.lexicon import Voice
from train.seen.words.spin import article, listed, spin

NEUTRAL = ("child", "toddler", "baby", "infant", "teenager")  # nouns that leave the gender open
BROWS = {
    "thin": ("thin", "fine", "slim"),
    "medium": ("medium", "moderately thick"),
    "thick": ("thick", "full", "dense"),
}
NOSES = {
    "narrow": ("narrow", "slim"),
    "medium": ("medium-sized", "of medium width", "neither broad nor narrow"),
    "broad": ("broad", "wide", "broad-based"),
}
LIPS = {"thin": ("thin", "slim"), "medium": ("of medium fullness", "moderately full"), "full": ("full", "generous")}
SHAPES = {
    "oval": ("oval", "an even oval"),
    "round": ("round", "softly round"),
    "square": ("square", "broad and square"),
    "long": ("long", "long and narrow"),
    "heart": ("heart-shaped", "wider above than below"),
}
# Adjectives of a caption that a tag rules out: (fact, value) -> words.
_AGAINST = {
    ("brows", "thin"): "thick|heavy|bushy|dense|full",
    ("brows", "thick"): "thin|fine|sparse|faint|slim",
    ("brows", "medium"): "thick|thin|heavy|bushy|fine|sparse|faint|full",
    ("lips", "thin"): "full|generous|thick|plump",
    ("lips", "full"): "thin|narrow|tight",
    ("lips", "medium"): "thin|full|generous|narrow",
    ("skin", "smooth"): "wrinkled|lined|creased|weathered|furrowed",
    ("skin", "few-lines"): "smooth|wrinkled|furrowed",
    ("skin", "wrinkled"): "smooth|clear|flawless|even",
    ("face_shape", "round"): "hollow|sunken|gaunt|narrow|lean",
    ("face_shape", "long"): "round|chubby|plump",
}


def _feature(truth: Truth, nouns: str, fact: str | None = None) -> str | None:
    """A phrase of the caption about a feature, unless the fact's value rules its adjectives out."""
    found = caption.feature(truth.face.caption, nouns)
    against = _AGAINST.get((fact or "", truth.value(fact) or "")) if fact else None
    return None if found is None or (against and caption.mentions(found, against)) else found


def demographic(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    if truth.years is None and not truth.value("gender"):
        return None
    noun = voice.noun if voice.noun.split()[-1] not in NEUTRAL else voice.sex
    slots = voice.slots() | {"a_noun": article(noun)}
    if voice.in_years and "baby" not in voice.noun and voice.noun not in ("infant", "toddler"):
        first = spin(
            "[the picture shows|this appears to be|this looks like|we see|the face is that of|"
            "the person in the picture is] {a_noun} {in_years}",
            rng,
            slots,
        )
    elif voice.age:
        first = spin("[the picture shows|this appears to be|this looks like] {a_noun}, {age}", rng, slots)
    else:
        first = spin("[the picture shows|this appears to be|this looks like] {a_noun}", rng, slots)
    signs = None
    clues = forms.age_clues(truth, voice, rng)
    if clues:
        signs = spin(
            "[{signs}, which fits that age|{signs}, in keeping with that age|{signs}|clues to the age: {signs}]",
            rng,
            slots | {"signs": clues},
        )
    ethnicity = None
    if voice.race:
        ethnicity = spin(
            "[the apparent ethnicity is {race}|by appearance {they} is {race}|the ethnicity looks {race}|"
            "{their} looks suggest that {they} is {race}|ethnically, {they} appears {race}]",
            rng,
            slots,
        )
    elif truth.value("race"):
        ethnicity = rng.choice(
            (
                "the ethnicity is not clear from the face",
                "no single ethnicity can be named from the looks",
                "the looks do not settle the ethnicity",
            )
        )
    caution = rng.choice(
        (
            None,
            None,
            None,
            "all of this is an impression from the picture",
            "these are estimates, not facts about the person",
        )
    )
    return paragraph(rng, [first, *rng.sample([signs, ethnicity], 2), caution])


def structure(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    slots, pick = voice.slots(), rng.choice
    their = voice.their
    shape, brows, nose, lips = (truth.value(name) for name in ("face_shape", "brows", "nose", "lips"))
    if not any((shape, brows, nose, lips)):
        return None
    face = None
    if shape:
        word = pick(SHAPES[shape])
        noun = word if word.startswith("an ") else article(f"{word} face") if "," not in word else f"{word} face"
        if word == "wider above than below":
            face = "the face is wider above than below, with a narrow chin"
        elif word == "an even oval":
            face = f"{pick((their + ' face', 'the face'))} forms an even oval"
        else:
            face = pick((f"{their} face is {word}", f"the outline of the face is {word}", f"{voice.they} has {noun}"))
        if shape == "square":
            face += pick((" with a strong jaw", " with a broad jaw", ""))
        elif shape == "round":
            face += pick((" with full cheeks", " with soft cheeks", ""))
        elif shape == "long":
            face += pick((" and rather slim", ""))
    eyes = truth.value("eye_colour")
    above = (
        "brows of medium thickness" if brows == "medium" else f"{pick(BROWS[brows])} brows" if brows else "the brows"
    )
    if (told := _feature(truth, "brows|eyebrows", "brows")) and rng.random() < 0.7:
        above = told
    looked = _feature(truth, "eyes")
    if truth.value("glasses") == "sunglasses":
        upper = f"{above} show above dark glasses, which hide the eyes"
    elif truth.value("glasses") == "glasses":
        upper = f"{above} rise above {f'{eyes} ' if eyes else ''}eyes behind glasses"
    elif truth.value("eyes") == "closed":
        upper = pick((f"{above} lie above closed eyes", f"the eyes are closed under {above}"))
    else:
        kind = looked or (
            f"{eyes} eyes"
            if eyes
            else "the open eyes"
            if truth.value("eyes", sure=True) == "open" and rng.random() < 0.5
            else "the eyes"
        )
        upper = pick((f"{above} lie above {kind}", f"{above} frame {kind}", f"{kind} sit under {above}"))
        if not brows and above == "the brows":
            upper = f"{voice.they} has {looked}" if looked else None
    parts = []
    if nose:
        parts.append(pick((f"the nose is {pick(NOSES[nose])}", f"{their} nose looks {pick(NOSES[nose])}")))
    if lips:
        shown = "" if truth.value("mouth", sure=True) != "open" else pick((" and parted", ", slightly apart", ""))
        if truth.value("facial_hair") in ("moustache", "beard", "goatee"):
            shown = ""
        parts.append(f"the lips are {pick(LIPS[lips])}{shown}")
    middle = listed(parts) if parts else None
    if cheeks := _feature(truth, "cheeks|cheekbones|jaw|chin", "face_shape"):
        plural = cheeks.endswith("s")
        middle = (
            f"{middle or 'there is'}{pick((', above', ', with')) if middle else ''} "
            f"{cheeks if plural else article(cheeks)}"
        )
    hides = None
    if voice.beard and truth.value("facial_hair") in ("beard", "goatee"):
        hides = spin(
            "[{beard} hides the line of the chin|chin and jaw lie under {beard}|{beard} covers the chin]", rng, slots
        )
    elif voice.beard and truth.value("facial_hair") == "moustache":
        hides = spin("[the upper lip carries {beard}|{beard} covers the upper lip]", rng, slots)
    elif voice.beard:
        hides = spin("[{beard} shades the jaw|the jaw is shaded by {beard}]", rng, slots)
    elif truth.value("covering") in ("hand", "object") and voice.cover:
        hides = f"part of the outline is hidden by {voice.cover}"
    clauses = [face, upper, middle] if rng.random() < 0.6 else [upper, middle, face]
    return paragraph(rng, [*clauses, hides])


def skin(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    kind, pick, their = truth.value("skin"), rng.choice, voice.their
    if kind is None:
        return None
    raw = truth.face.raw.get("skin", "")
    if kind == "smooth":
        first = pick(
            (
                f"{their} skin looks smooth",
                "the skin appears smooth and without visible lines",
                f"{their} complexion is smooth",
                f"{voice.they} has smooth skin, with no wrinkles in sight",
                "no lines or wrinkles stand out; the skin is smooth",
            )
        )
    elif kind == "few-lines":
        first = pick(
            (
                f"{their} skin shows a few fine lines",
                "a few lines can be seen, though no deep wrinkles",
                "the skin is mostly smooth, with some fine lines",
                "some lines have formed, none of them deep",
            )
        )
    elif "deeply" in raw:
        first = pick((f"{their} skin is deeply wrinkled", "deep wrinkles cross the face", "the skin is heavily lined"))
    else:
        first = pick(
            (
                f"{their} skin is wrinkled",
                "wrinkles show on the face",
                f"lines and wrinkles mark {their} face",
                "the skin is clearly lined",
            )
        )
    if tone := _feature(truth, "skin|complexion", "skin"):
        noun = article(tone) if tone.endswith("complexion") else tone
        first = pick((f"{voice.they} has {noun}", f"{noun} covers the face")) + (
            ""
            if caption.mentions(tone, "smooth|lined|wrinkled|creased")
            else {
                "smooth": pick((", smooth to the eye", ", without visible lines")),
                "few-lines": ", with a few fine lines",
                "wrinkled": pick((", clearly wrinkled", ", marked by wrinkles")),
            }[kind]
        )
    marks = [
        word
        for fact, word in (("freckles", "freckles"), ("moles", "a mole"), ("blemishes", "some blemishes"))
        if truth.value(fact, sure=True) == "yes"
    ]
    second = pick((f"{listed(marks)} can be seen", f"the skin shows {listed(marks)}")) if marks else None
    if second is None and truth.value("shiny_skin", sure=True) == "yes":
        second = pick(("it has a slight shine", "light gleams on it", "the surface shines a little"))
    if second is None and kind == "smooth" and rng.random() < 0.3:
        second = pick(("no freckles or marks stand out", "no blemish is apparent", "no marks are noticeable"))
    third = None
    if voice.paint:
        third = spin("[{they} wears {paint}|{paint} lies over it|there is {paint}]", rng, voice.slots())
    elif voice.beard:
        third = spin("[{beard} covers part of it|{they} has {beard}]", rng, voice.slots())
    elif truth.holds("clean_shaven") and rng.random() < 0.5:
        third = pick((f"{voice.they} is clean-shaven", "chin and cheeks are shaved"))
    elif truth.value("makeup") == "none" and voice.gender == "Female" and not truth.is_child and rng.random() < 0.4:
        third = pick(("no make-up is visible", f"{voice.they} seems to wear no make-up"))
    limit = _limit(truth, rng)
    if not (second or third or limit):
        limit = rng.choice(
            (
                "finer texture is hard to judge at this resolution",
                "nothing else about it stands out",
                "pores and small marks are beyond what the picture shows",
            )
        )
    return paragraph(rng, [first, second, third, limit])


def _limit(truth: Truth, rng: random.Random) -> str | None:
    """What the picture lets one see of the skin."""
    if truth.value("sharpness", sure=True) == "blurred":
        return rng.choice(
            (
                "the soft picture hides finer texture",
                "blur keeps pores and fine lines from view",
                "the picture is too soft to show fine texture",
            )
        )
    if truth.value("sharpness", sure=True) == "sharp" and rng.random() < 0.6:
        return rng.choice(("the picture is sharp enough to show fine texture", "fine texture can be seen"))
    if truth.holds("black_and_white"):
        return rng.choice(
            ("in black and white, its colour cannot be judged", "the picture has no colour to show its tone")
        )
    return None


def expression(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    if not voice.mood:
        return None
    slots, pick, mood = voice.slots(), rng.choice, voice.mood
    firm = truth.sure("expression")
    first = spin(
        "[{evidence}|{they} shows {look}|{their} face shows {look}|we see {look}]"
        if firm
        else "[{they} seems to show {look}|there may be {look}]",
        rng,
        slots,
    )
    gives = "[{they} looks {feeling}|the face looks {feeling}|{they} seems {feeling}|{they} comes across as {feeling}]"
    second = spin(gives, rng, slots)
    mouth, more = truth.value("mouth", sure=True), []
    if truth.value("teeth", sure=True) == "yes":
        more.append(pick(("the teeth are visible", f"{voice.their} teeth show", "the lips part over the teeth")))
    elif mouth == "closed":
        more.append(pick(("the mouth is closed", "the lips are closed", "the lips rest on each other")))
    elif mouth == "open":
        more.append(pick(("the mouth is open", "the lips are parted")))
    moves = truth.face.moves
    if moves.get("brow_up", 0) > 0.6 and truth.value("expression") != "angry":
        more.append(pick(("the brows are raised", "the inner brows are lifted")))
    elif moves.get("brow_down", 0) > 0.5 and mood in ("frown", "angry", "neutral", "sad"):
        more.append(pick(("the brows are lowered", "the brows are drawn down")))
    if truth.value("eyes", sure=True) == "closed":
        more.append("the eyes are closed")
    elif moves.get("squint", 0) > 0.65 and mood in ("smile", "laugh"):
        more.append(pick(("the eyes narrow with the smile", "the eyes are narrowed")))
    elif truth.value("gaze", sure=True) == "camera":
        more.append(pick(("the eyes look into the camera", f"{voice.their} eyes meet the camera")))
    more = [m for m in more if "teeth" not in m or "teeth" not in first]
    detail = listed(more[:3]) if more else None
    caution = pick((None, None, None, "a photo shows one moment only", "the real feeling may differ"))
    clauses = [first, detail, second] if rng.random() < 0.5 else [detail, first, second]
    return paragraph(rng, [*clauses, caution])
