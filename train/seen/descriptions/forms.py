"""Answers whose form is asked for: one sentence, three words, alt text, JSON; and what is pieced together
from facts.
"""

from __future__ import annotations

import json
import random
import re

from train.seen.known import caption
from train.seen.known.truth import CHILD, GLAD, Truth, passport_faults
from train.seen.words.lexicon import Voice
from train.seen.words.spin import article, listed, raised

FAULTS = {
    "sunglasses": ("{they} wears sunglasses", "dark glasses hide the eyes"),
    "headwear": ("{they} wears {hat}", "the head is covered"),
    "covering": ("part of the face is covered", "{cover} covers part of the face"),
    "eyes_closed": ("the eyes are closed",),
    "turned": ("the head is turned to the side", "it is not a frontal view"),
    "smile": (
        "{they} is smiling, and a passport asks for a neutral face",
        "the expression is not neutral: {they} smiles",
    ),
    "expression": ("the expression is not neutral", "a passport asks for a neutral face"),
    "mouth_open": ("the mouth is open", "the lips are parted"),
    "teeth": ("the teeth show, and a passport asks for a closed mouth", "the mouth is not closed"),
    "grey": ("it is black and white", "the picture has no colour"),
    "blurred": ("the picture is blurred", "it is not sharp enough"),
    "dark": ("it is too dark", "the light is too dim"),
    "uneven": ("the light is uneven", "one side of the face lies in shadow"),
    "background": ("the background is not plain", "the background is busy"),
}
PLAIN_LOOK = {
    "neutral": "calm",
    "pensive": "thoughtful",
    "sad": "sad",
    "angry": "angry",
    "frown": "stern",
    "surprised": "surprised",
    "afraid": "alarmed",
}
JSON_KEYS = (2, 5)  # least and most
ALL_KEYS = (
    "age",
    "gender",
    "glasses",
    "hat",
    "beard",
    "facial_hair",
    "hair_colour",
    "hair_length",
    "make_up",
    "teeth_visible",
    "smiling",
    "expression",
    "eyes_open",
    "head_pose",
    "background",
    "photo_quality",
    "skin",
)


def write(intent: str, truth: Truth, voice: Voice, rng: random.Random, argument: str | None = None) -> str | None:
    """The answer in the form that the intent asks for; None where too little is known."""
    if intent == "json":
        keys = [key.strip() for key in (argument or "").split(",") if key.strip()]
        return as_json(keys, truth) if keys else None
    if intent in ("describe", "describe_blind"):
        from train.seen.descriptions import whole

        return whole.write(truth, voice, rng, blind=intent == "describe_blind")
    if intent == "three_words":
        return three_words(truth, voice, rng)
    return one_sentence(truth, voice, rng, short=intent == "alt_text")


def particulars(truth: Truth, voice: Voice, rng: random.Random) -> list[str]:
    """What follows "with": hair, beard, glasses, make-up, hat; in a random order, the surest only."""
    found = [part for part in (voice.hair, voice.beard, voice.eyewear, voice.hat) if part]
    if truth.value("makeup") == "strong" and voice.paint:
        found.append(voice.paint)
    if truth.value("earrings") == "yes":
        found.append("earrings")
    if truth.value("freckles", sure=True) == "yes":
        found.append("freckles")
    if (eyes := truth.value("eye_colour")) and rng.random() < 0.6:
        found.append(f"{eyes} eyes")
    rng.shuffle(found)
    return found


def action(truth: Truth, voice: Voice, rng: random.Random, finite: bool = True) -> str | None:
    """What the face does: "smiles at the camera" (`finite`), "smiling at the camera"."""
    mood, gaze = voice.mood, voice.gaze_to if truth.sure("gaze") else None
    verbs = {
        "smile": ("smiles", "smiling"),
        "slight-smile": ("smiles faintly", "smiling faintly"),
        "laugh": ("laughs", "laughing"),
        "talking": ("seems to be talking", "talking"),
        "shouting": ("seems to shout", "shouting"),
    }
    if mood in verbs:
        verb = verbs[mood][0 if finite else 1]
        return f"{verb} at the camera" if gaze == "at the camera" and rng.random() < 0.6 else verb
    looks = "looks" if finite else "looking"
    adverb = {
        "neutral": ("calmly", "with a neutral face"),
        "pensive": ("thoughtfully",),
        "sad": ("sadly",),
        "angry": ("angrily",),
        "frown": ("with a frown", "sternly"),
        "surprised": ("in surprise", "with surprise"),
        "afraid": ("in alarm",),
    }.get(mood or "")
    if adverb:
        where = gaze if gaze and gaze != "up" and gaze != "down" else None
        if not where:
            return f"{looks} {PLAIN_LOOK[mood or '']}"
        how = rng.choice(adverb)
        return f"{looks} {where} {how}" if how.startswith(("with ", "in ")) else f"{looks} {how} {where}"
    return f"{looks} {gaze}" if gaze else None


def subject(voice: Voice, rng: random.Random) -> str:
    """ "a young woman in her mid-twenties": the noun, often with the age."""
    noun = article(voice.noun)
    return f"{noun} {voice.in_years}" if voice.in_years and rng.random() < 0.5 and "baby" not in noun else noun


def one_sentence(truth: Truth, voice: Voice, rng: random.Random, short: bool = False) -> str | None:
    """One sentence that holds the person, particulars, what the face does and, unless `short`, what lies behind."""
    parts = particulars(truth, voice, rng)[: 2 if short else 3]
    does = action(truth, voice, rng, finite=not short)
    if voice.baldness and not voice.hair and rng.random() < 0.7:
        raw = truth.face.raw.get("hair_length")
        head = {"balding": "thinning hair", "shaved": "closely cropped hair"}.get(raw or "", "a bald head")
        parts.insert(0, head)
    if not parts and not does:
        return None
    who = subject(voice, rng)
    attributes = f" with {listed(parts)}" if parts else ""
    behind = voice.backdrop if not short and rng.random() < 0.6 else None
    if short:
        return f"{raised(who)}{attributes}{', ' + does if does else ''}."
    if does is None:
        return f"{rng.choice(('The picture shows', 'This is'))} {who}{attributes}."
    place = f", {rng.choice(('against', 'before', 'in front of'))} {behind}" if behind else ""
    plan = rng.randrange(3)
    if plan == 0:
        return f"{raised(who)}{attributes} {does}{place}."
    if plan == 1 and attributes:
        return f"{rng.choice(('The picture shows', 'This is', 'Here is'))} {who}{attributes} who {does}{place}."
    also = f"; {voice.they} has {listed(parts)}" if parts else ""
    return f"{raised(who)} {does}{place}{also}."


def three_words(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    """Three words, joined by commas."""
    words: list[str] = []
    years = truth.years
    if years is not None:
        words.append("young" if years < 30 else "elderly" if years >= 70 else "mature" if years >= 45 else "adult")
    feeling = {
        "smile": "smiling",
        "laugh": "laughing",
        "slight-smile": "friendly",
        "neutral": "calm",
        "pensive": "thoughtful",
        "sad": "sad",
        "angry": "angry",
        "frown": "stern",
        "surprised": "surprised",
        "afraid": "alarmed",
        "crying": "tearful",
        "talking": "talking",
        "shouting": "loud",
        "disgusted": "disgusted",
        "contempt": "scornful",
    }.get(voice.mood or "")
    words += [feeling] if feeling else []
    hair = {
        "dark": "dark-haired",
        "brown": "brown-haired",
        "blond": "blond",
        "red": "red-haired",
        "grey": "grey-haired",
    }
    colour = truth.value("hair_colour", sure=True)
    more = [hair[colour]] if colour in hair else []
    more += ["bearded"] if truth.holds("beard") else []
    more += ["bald"] if truth.face.raw.get("hair_length") == "bald" else []
    more += ["bespectacled"] if truth.value("glasses") == "glasses" else []
    more += ["wrinkled"] if truth.value("skin") == "wrinkled" else []
    more += [{"Male": "male", "Female": "female"}[truth.value("gender")]] if truth.value("gender") else []
    rng.shuffle(more)
    words = (words + more)[:3]
    if len(words) < 3:
        return None
    rng.shuffle(words)
    return f"{raised(', '.join(words))}."


def json_keys(truth: Truth, rng: random.Random) -> list[str]:
    """Keys whose values are known."""
    known = [key for key in ALL_KEYS if json_value(key, truth) is not None]
    return rng.sample(known, min(len(known), rng.randint(*JSON_KEYS)))


def as_json(keys: list[str], truth: Truth) -> str | None:
    """Strict JSON with the keys in the order in which they were named; None where a value is not known."""
    values = {key: json_value(key, truth) for key in keys}
    return None if any(value is None for value in values.values()) else json.dumps(values)


def json_value(key: str, truth: Truth) -> object:
    """The value of one of `ALL_KEYS`: true or false, a number, a word; None where it is not known."""
    yes_no = {
        "hat": "headwear",
        "beard": "beard",
        "teeth_visible": "teeth",
        "smiling": "smiling",
        "eyes_open": "eyes_open",
        "facial_hair": "facial_hair",
        "make_up": "makeup",
        "glasses": "glasses",
    }
    if key in yes_no:
        return truth.holds(yes_no[key])
    if key == "age":
        return None if truth.years is None else round(truth.years)
    if key == "gender":
        return {"Male": "male", "Female": "female"}.get(truth.value("gender", sure=True) or "")
    if key == "hair_colour":
        found = truth.value("hair_colour", sure=True)
        return None if found == "none" else found
    fact = {
        "hair_length": "hair_length",
        "expression": "expression",
        "head_pose": "pose",
        "background": "background",
        "photo_quality": "sharpness",
        "skin": "skin",
    }[key]
    found = truth.value(fact)
    return (
        None
        if found is None
        else found.replace("slightly-left", "frontal").replace("slightly-right", "frontal").replace("-", " ")
    )


def age_signs(truth: Truth, voice: Voice, rng: random.Random) -> str:
    """What speaks for the age, as a clause or two; something general where nothing particular is known."""
    clues = age_clues(truth, voice, rng)
    return clues or rng.choice(("the whole look of the face suggests it", "skin and features look like that age"))


def age_clues(truth: Truth, voice: Voice, rng: random.Random) -> str | None:
    """What speaks for the age, as a clause or two; None where nothing particular is known."""
    years, signs = truth.years or 0, []
    if years <= 2:
        signs.append(rng.choice(("the face has a baby's round cheeks", "the cheeks and eyes are those of a baby")))
    elif years <= CHILD:
        signs.append(rng.choice(("the features are a child's", "the soft, small features are those of a child")))
    elif years < 18:
        signs.append(
            rng.choice(("the face is young but no longer a child's", "the features are between child and adult"))
        )
    skin = truth.value("skin")
    if skin == "wrinkled" and years > 35:
        signs.append(rng.choice(("the skin is wrinkled", "there are clear wrinkles", "lines cut the face")))
    elif skin == "few-lines" and years > 22:
        signs.append(rng.choice(("a few lines show", "there are some fine lines")))
    elif skin == "smooth" and years < 45:
        signs.append(rng.choice(("the skin is smooth", "there are no wrinkles")))
    if truth.value("hair_colour") == "grey" and years > 35:
        signs.append(
            rng.choice(("the hair is {grey}", "the hair has turned {grey}")).replace(
                "{grey}", voice.hair_colour or "grey"
            )
        )
    elif truth.face.raw.get("hair_length") == "balding" and years > 25:
        signs.append("the hair is thinning")
    elif truth.value("hair_colour") in ("dark", "brown") and years > 40 and skin != "wrinkled":
        signs.append("the hair has kept its colour")
    return listed(signs[:3]) if signs else None


def striking(truth: Truth, voice: Voice, rng: random.Random) -> str:
    """The most particular thing about the face, as a noun phrase."""
    their = voice.their
    found = []
    if truth.value("glasses") == "sunglasses":
        found.append("the sunglasses")
    if truth.holds("headwear") and voice.hat:
        found.append(f"{voice.hat} on {their} head")
    if voice.cover:
        found.append(f"{voice.cover} in front of the face")
    if truth.value("facial_hair") in ("beard", "moustache", "goatee") and voice.beard:
        found.append(f"{their} {voice.beard.split(' ', 1)[1]}")
    if truth.value("glasses") == "glasses":
        found.append(f"{their} glasses")
    if truth.value("hair_colour") in ("red", "grey", "blond") and voice.hair_colour and voice.hair:
        found.append(f"{their} {voice.hair_colour} hair")
    if truth.value("hair_texture") == "curly" and voice.hair:
        found.append(f"{their} curly hair")
    if truth.face.raw.get("hair_length") == "bald":
        found.append(f"{their} bald head")
    if truth.value("freckles", sure=True) == "yes":
        found.append(f"{their} freckles")
    if truth.value("makeup") == "strong":
        found.append(f"{their} strong make-up")
    if truth.value("skin") == "wrinkled":
        found.append(f"the wrinkles in {their} face")
    if truth.value("expression") in GLAD:
        wide = " with the teeth showing" if truth.value("teeth") == "yes" else ""
        found.append(f"{their} {'laugh' if truth.value('expression') == 'laugh' else 'smile'}{wide}")
    elif truth.value("expression") in ("surprised", "sad", "angry", "afraid") and voice.look:
        found.append(voice.look)
    if not found:
        calm = truth.value("expression") == "neutral"
        found.append(f"{their} calm look" if calm or not voice.hair else f"{their} {voice.hair}")
    return rng.choice(found[:2])


def passport(truth: Truth, voice: Voice, rng: random.Random) -> dict[str, str]:
    """Slots of an answer about passports: `fault`, `merits`, `doubt`."""
    faults = passport_faults(truth)
    slots = voice.slots()

    def said(key: str) -> str:
        options = [o for o in FAULTS[key] if all(name in slots for name in re.findall(r"\{(\w+)\}", o))]
        return rng.choice(options or ["something speaks against it"]).format(**slots)

    found: dict[str, str] = {}
    if faults:
        found["fault"] = listed([said(key) for key in faults[: rng.choice((1, 2))]])
        found["doubt"] = said(faults[0])
    else:
        found["doubt"] = rng.choice(
            (
                "the rules on size and background cannot be checked on this crop",
                "the crop is tight, and I can't check its format",
            )
        )
    merits = ["the face is frontal"] if truth.value("pose") == "frontal" else []
    merits += ["the expression is neutral"] if truth.value("expression") == "neutral" else []
    merits += ["the eyes are open"] if truth.value("eyes") == "open" else []
    merits += ["nothing covers the face"] if truth.value("covering") == "none" else []
    found["merits"] = listed(merits[:3]) if merits else "the face is well visible"
    return found


def has_clothes(truth: Truth) -> bool:
    """Whether the caption speaks of clothes at all, also where no phrase could be taken from it."""
    return bool(caption.garments(truth.face.caption.lower()))
