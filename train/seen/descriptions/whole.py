"""The whole image in one description: built around the caption, filled up from what is true.

A description has 35 words or more where enough is known, with particulars of hair, of glasses, beard or make-up, of
what shows the expression, of clothes or background.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from train.seen.descriptions import forms
from train.seen.known import ages, caption
from train.seen.known.truth import Truth
from train.seen.words.lexicon import Voice
from train.seen.words.spin import raised, spin

LEAST_WORDS, MOST_WORDS = 38, 80  # enough, and where nothing more is added
# Topic -> what of a caption shows that it is told already.
TOLD = {
    "hair": "hair|haired|bald|balding|blond\\w*|brunette|curls?|bob|fringe|braids?|locks|scalp|shaved head|mop"
    "|grey-haired",
    "eyewear": "glasses|spectacles|sunglasses|shades|frames|lenses|eyeglasses|bespectacled",
    "beard": "beard\\w*|moustache\\w*|stubble\\w*|goatee|clean-shaven|shaven|whiskers|unshaven",
    "paint": "make-up|makeup|lipstick|eyeliner|kohl|eyeshadow|rouge|mascara",
    "mouth": "smil\\w+|grin\\w*|laugh\\w*|mouth|lips?|teeth|beam\\w*|frown\\w*|expression\\w*",
    "light": "light\\w*|lit|bright\\w*|dim\\w*|dark picture|shadow\\w*|exposure|overexposed|gloom|glow\\w*|flash",
    "background": "background|backdrop|behind|wall|against|before|surroundings|backed|greenery|sky|room|curtain",
    "gaze": "look\\w*|gaz\\w+|star\\w+|eyes? (?:fixed|aimed|rolled|closed|shut)|glanc\\w+|camera|facing|faces",
    "clothes": caption.GARMENTS,
    "skin": "skin|complexion|wrinkl\\w*|lines?|creas\\w+|furrow\\w*|cheeks?|freckl\\w*",
    "quality": "blur\\w*|sharp\\w*|soft\\w*|pixelat\\w*|grain\\w*|focus\\w*|resolution|crisp|hazy|faded|smudged",
    "hat": "hat|cap|scarf|headscarf|hood|turban|helmet|headband|headwear|beanie",
    "earrings": "earrings?|studs?|hoops?",
}
PARTICULAR = ("hair_colour", "glasses", "facial_hair", "makeup", "expression", "background")
OPENINGS = (
    "[A close-up of a face|A close portrait|A tightly cropped portrait].",
    "[The face fills the picture|One face, seen close up, fills the frame].",
)


def write(truth: Truth, voice: Voice, rng: random.Random, blind: bool = False) -> str | None:
    """The description; None where next to nothing is known.

    blind: begins with what the picture is, for somebody who cannot see it.
    """
    told = ages.mended(truth.face.caption, truth.years, voice.decade) if truth.face.caption else None
    if told:
        return _filled([caption.with_article(told)], truth, voice, rng, blind)
    first = forms.one_sentence(truth, voice, rng)
    if first is None or sum(truth.value(fact) is not None for fact in PARTICULAR) < 3:
        return None
    return _filled([first], truth, voice, rng, blind)


def _filled(sentences: list[str], truth: Truth, voice: Voice, rng: random.Random, blind: bool) -> str:
    """Adds sentences on what is not told yet until the text is long enough."""
    if blind or (len(sentences[0].split()) < 28 and rng.random() < 0.15):
        opening = (
            rng.choice(OPENINGS)
            if not blind
            else "[This is a close photo of one face|The photo shows a single face[, close up|]|It is a photo of one "
            "person's face]."
        )
        sentences.insert(0, spin(opening, rng, voice.slots()))
    topics = [name for name in WRITERS if not _is_told(name, sentences)]
    # What makes a face particular comes first; light, background and quality close.
    first = [t for t in topics if t not in LAST]
    last = [t for t in topics if t in LAST]
    rng.shuffle(first)
    rng.shuffle(last)
    for topic in first + last:
        words = sum(len(s.split()) for s in sentences)
        if words >= MOST_WORDS or (words >= LEAST_WORDS and rng.random() < 0.6):
            break
        if _is_told(topic, sentences):
            continue
        if added := WRITERS[topic](truth, voice, rng):
            sentences.append(raised(added.rstrip(".")) + ".")
    return " ".join(sentences)


def further(truth: Truth, voice: Voice, rng: random.Random, told: str) -> str | None:
    """Two or three sentences on what `told` leaves out; None where nothing is left."""
    topics = [name for name in WRITERS if not _is_told(name, [told])]
    rng.shuffle(topics)
    found = [raised(text.rstrip(".")) + "." for topic in topics if (text := WRITERS[topic](truth, voice, rng))]
    return " ".join(found[: rng.choice((2, 3))]) or None


def _is_told(topic: str, sentences: list[str]) -> bool:
    return any(caption.mentions(sentence, TOLD[topic]) for sentence in sentences)


def _hair(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    if voice.baldness:
        return voice.baldness
    return voice.hair and spin("[{they} has {hair}|{their} hair is {hair_words}]", rng, voice.slots())


def _eyewear(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    if voice.eyewear:
        return spin("{they} [wears|is wearing] {eyewear}", rng, voice.slots())
    if truth.value("glasses", sure=True) == "none" and rng.random() < 0.35:
        return spin(
            "[{they} wears no glasses|{they} is not wearing glasses|there are no glasses on {their} face]",
            rng,
            voice.slots(),
        )
    return None


def _beard(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    if voice.beard:
        return spin("[{they} has {beard}|there is {beard} on {their} face]", rng, voice.slots())
    if truth.holds("clean_shaven") and rng.random() < 0.7:
        return spin(
            "[{their} face is clean-shaven|{they} is clean-shaven|there is no beard or moustache]", rng, voice.slots()
        )
    return None


def _paint(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    if voice.paint:
        return spin("[{they} wears {paint}|{paint} can be seen]", rng, voice.slots())
    if truth.value("makeup") == "none" and voice.gender == "Female" and (truth.years or 0) > 15 and rng.random() < 0.4:
        return "no make-up is visible"
    return None


def _mouth(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    if not voice.look:
        return None
    return spin(
        "[{they} shows {look}: {evidence}|the expression is {feeling}; {evidence}|{they} looks {feeling}: {evidence}]",
        rng,
        voice.slots(),
    )


def _light(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    if voice.light() is None:
        return None
    return spin(
        "[the light is {light_words}|{light_noun} falls on the face|the picture has {light_noun}]", rng, voice.slots()
    )


def _background(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    return voice.backdrop and spin(
        "[behind {them} is {backdrop}|{backdrop} fills the rest of the picture|{they} is seen against {backdrop}]",
        rng,
        voice.slots(),
    )


def _gaze(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    if truth.value("eyes", sure=True) == "closed":
        return f"{voice.their} eyes are closed"
    where = voice.gaze_to if truth.sure("gaze") else None
    if where == "at the camera" and truth.value("pose") == "frontal":
        return spin(
            "[{they} faces the camera and looks into it|{their} face is frontal, the eyes on the camera]",
            rng,
            voice.slots(),
        )
    if where == "at the camera":
        return spin("[{they} looks into the camera|{their} eyes meet the camera]", rng, voice.slots())
    return where and spin("[{they} looks {gaze_to}|{their} gaze goes {gaze_to}]", rng, voice.slots())


def _clothes(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    return voice.clothing and spin(
        "[{they} wears {clothing}|{clothing} shows at the edge of the picture]", rng, voice.slots()
    )


def _skin(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    words = {"smooth": "smooth", "few-lines": "lined only a little", "wrinkled": "wrinkled"}.get(
        truth.value("skin") or ""
    )
    if not words:
        return None
    freckled = " and freckled" if truth.value("freckles", sure=True) == "yes" else ""
    return f"{voice.their} skin {rng.choice(('is', 'looks'))} {words}{freckled}"


def _quality(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    grey = "a black-and-white " if truth.holds("black_and_white") else "a "
    kind = truth.value("sharpness", sure=True)
    if kind == "sharp":
        return f"it is {grey}sharp picture".replace("a sharp", rng.choice(("a sharp", "a crisp")))
    if kind == "blurred":
        return f"it is {grey}{rng.choice(('somewhat blurred', 'rather soft'))} picture"
    return "the picture is black and white" if grey != "a " else None


def _hat(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    return voice.hat and spin("[{they} wears {hat}|{hat} is on {their} head]", rng, voice.slots())


def _earrings(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    return f"{voice.they} wears earrings" if truth.value("earrings") == "yes" else None


Writer = Callable[[Truth, Voice, random.Random], "str | None"]
WRITERS: dict[str, Writer] = {
    "hair": _hair,
    "eyewear": _eyewear,
    "beard": _beard,
    "paint": _paint,
    "mouth": _mouth,
    "hat": _hat,
    "clothes": _clothes,
    "skin": _skin,
    "earrings": _earrings,
    "gaze": _gaze,
    "light": _light,
    "background": _background,
    "quality": _quality,
}
LAST = ("gaze", "light", "background", "quality")
