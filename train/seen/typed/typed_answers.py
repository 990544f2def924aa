"""Answers to the questions that people type, from what is true of a face.

The forms of the answers are in `answers/*.yaml`. There is none where nothing is known that would answer.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from train.seen.descriptions import forms
from train.seen.known.truth import ADULT, CHILD, PROPOSITIONS, SMILES, WITH_ARGUMENT, Truth
from train.seen.words.lexicon import Voice
from train.seen.words.spin import needs, raised, read_tables, spin
from train.seen.words.vocabulary import HAIR

FOLDER = Path(__file__).parent / "answers"
BARE = 0.12  # of answers to yes-or-no questions are the one word
UNSURE = {  # of a proposition that no source decides firmly
    "yes": (
        "Probably, but it is hard to tell here.",
        "I think so, though I am not certain.",
        "It looks like it, but I can't be sure.",
    ),
    "no": (
        "Probably not, but it is hard to tell here.",
        "I don't think so, though I am not certain.",
        "It doesn't look like it, but I can't be sure.",
    ),
}
HEDGES = (", I think.", ", as far as I can tell.", ", though I am not certain.", ", if I see it rightly.")
# Intents that name the value of one fact; balanced by it, and hedged where it is not firm.
VALUED = {
    "hair_colour": "hair_colour",
    "hair_length": "hair_length",
    "hair_texture": "hair_texture",
    "hair": "hair_length",
    "headwear_kind": "headwear",
    "makeup_strength": "makeup",
    "facial_hair_kind": "facial_hair",
    "skin": "skin",
    "gaze": "gaze",
    "head_turn": "pose",
    "mood": "expression",
    "mood_why": "expression",
    "light": "light",
    "light_side": "light_side",
    "background": "background",
    "brows": "brows",
    "lips": "lips",
    "nose": "nose",
    "face_shape": "face_shape",
    "eye_colour": "eye_colour",
    "quality": "sharpness",
}
LIMITS = (
    "name",
    "job",
    "character",
    "health",
    "honesty",
    "ai_generated",
    "place",
    "private_life",
    "attractive",
    "thoughts",
)
TALK = ("hello", "who_are_you", "what_can_you_do", "thanks", "bye", "how_do_you_know")
FORMATS = ("describe", "describe_blind", "one_sentence", "three_words", "alt_text", "json")
# The forms of an answer that yes and no alone would not find: (intent, polarity) -> key, from the truth.
_SOFT = {
    "beard": ("stubble", lambda t: t.value("facial_hair") == "stubble"),
    "wrinkles": ("few", lambda t: t.value("skin") == "few-lines"),
    "happy": ("slight", lambda t: t.value("expression") == "slight-smile"),
    "angry": ("frown", lambda t: t.face.raw.get("expression") == "frown"),
    "covering": ("hair", lambda t: t.value("covering") == "hair"),
    "earrings": ("hidden", lambda t: t.value("earrings") == "none"),
    "outdoors": ("unknown", lambda t: t.value("background") == "blurred"),
    "passport": ("perhaps", lambda t: t.value("expression") is not None and t.value("pose") is not None),
}


@cache
def answer_forms() -> dict[str, dict[str, tuple[str, ...]]]:
    """intent -> key -> forms."""
    return read_tables(FOLDER)


def answer(
    intent: str, truth: Truth, voice: Voice, rng: random.Random, argument: str | None = None, bare: bool = True
) -> str | None:
    """An answer to the intent's question, None where nothing is known that would answer it.

    argument: what the question asks about (a hair colour, years, a gender, JSON keys).  bare: one word may do.
    """
    if intent in FORMATS:
        return forms.write(intent, truth, voice, rng, argument)
    key = key_of(intent, truth, argument)
    if key is None:
        lean = truth.leans(intent) if intent in PROPOSITIONS and intent != "passport" else None
        return None if lean is None else rng.choice(UNSURE["yes" if lean else "no"])
    slots = _slots(intent, key, truth, voice, rng, argument)
    options = [form for form in answer_forms()[intent][key] if needs(form) <= slots.keys()]
    word = key.split("_")[0]
    polar = bare and (intent in PROPOSITIONS or intent in WITH_ARGUMENT) and word in ("yes", "no")
    if polar and (rng.random() < BARE or not options):
        return f"{raised(word)}."
    if not options:
        return None
    text = raised(spin(rng.choice(options), rng, slots).replace("..", ".").replace(" .", "."))
    fact = VALUED.get(intent)
    if fact and truth.value(fact) and not truth.sure(fact) and "; " not in text and "slight" not in text:
        return f"{text.rstrip('.')}{rng.choice(HEDGES)}"
    return text


def key_of(intent: str, truth: Truth, argument: str | None = None) -> str | None:
    """Which list of forms answers: "yes", "no_closed", a value, "any"; None where nothing is known."""
    if intent in LIMITS or intent in TALK:
        return "any"
    if intent in PROPOSITIONS or intent in WITH_ARGUMENT:
        holds = truth.holds(intent, argument)
        if holds is None:
            key, applies = _SOFT.get(intent, ("", lambda _: False))
            return key if applies(truth) else None
        return _variant(intent, truth, "yes" if holds else "no")
    return _VALUES[intent](truth)


def _variant(intent: str, truth: Truth, polarity: str) -> str:
    """A more telling list than plain yes or no, where the truth has one."""
    value = truth.value
    if intent == "sunglasses" and polarity == "no" and value("glasses") == "glasses":
        return "no_glasses"
    if intent == "smiling" and polarity == "yes":
        return {"slight-smile": "yes_slight", "laugh": "yes_laugh"}.get(value("expression") or "", "yes")
    if intent == "teeth" and polarity == "no" and value("mouth", sure=True) == "closed":
        return "no_closed"
    if intent == "long_hair" and polarity == "no" and value("hair_length") == "bald":
        return "no_bald"
    if intent == "beard" and polarity == "no" and value("facial_hair") == "moustache":
        return "no_moustache"
    if intent == "looking_at_camera" and polarity == "no" and value("gaze") == "closed":
        return "no_closed"
    if intent == "facial_hair" and polarity == "no" and truth.holds("clean_shaven"):
        return "no_man"
    if intent == "outdoors" and polarity == "no":
        return "no_indoor" if value("background") == "indoor" else "no_plain"
    return polarity


def _hair_colour(truth: Truth) -> str | None:
    if truth.value("hair_seen") == "no":
        return "unseen"
    return truth.value("hair_colour")


def _hair_length(truth: Truth) -> str | None:
    if truth.value("hair_seen") == "no":
        return "unseen"
    found = truth.value("hair_length")
    return "tied" if found == "long" and truth.value("hair_tied", sure=True) == "yes" else found


def _hair(truth: Truth) -> str | None:
    if truth.value("hair_seen") == "no":
        return "unseen"
    found = truth.value("hair_length")
    return None if found is None else "bald" if found == "bald" else "hair"


def _texture(truth: Truth) -> str | None:
    return "none" if truth.value("hair_length") == "bald" else truth.value("hair_texture")


def _kind(fact: str):
    def key(truth: Truth) -> str | None:
        found = truth.value(fact)
        return None if found is None else "none" if found == "none" else "kind"

    return key


def _eye_colour(truth: Truth) -> str | None:
    if truth.value("glasses") == "sunglasses" or truth.value("eyes") == "closed":
        return "hidden"
    if truth.value("eye_colour"):
        return "known"
    dark = truth.value("hair_colour") == "dark" and truth.value("race") in ("Asian", "Black", "Indian")
    return "unknown" if dark and truth.face.caption else None


def _gaze(truth: Truth) -> str | None:
    if truth.value("glasses") == "sunglasses":
        return "hidden"
    return truth.value("gaze", sure=True) or ("closed" if truth.value("eyes") == "closed" else None)


def _clothing(truth: Truth) -> str | None:
    if truth.value("clothing"):
        return "known"
    return "unknown" if truth.face.caption and not forms.has_clothes(truth) else None


def _stage(truth: Truth) -> str | None:
    years = truth.years
    return None if years is None else "child" if years <= CHILD else "teenager" if years < ADULT else "adult"


def _tired(truth: Truth) -> str | None:
    if truth.value("expression") in (*SMILES, "surprised", "talking") and truth.value("eyes") == "open":
        return "no"
    droops = truth.value("eyes") == "closed" or truth.face.moves.get("blink", 0) > 0.3
    if droops and truth.value("expression") in ("neutral", "sad"):
        return "maybe"
    return "no" if truth.value("eyes", sure=True) == "open" and truth.value("expression") == "neutral" else None


def _race(truth: Truth) -> str | None:
    found = truth.value("race")
    return None if found is None else "unknown" if found == "Others" else "known"


def _quality(truth: Truth) -> str | None:
    if truth.face.pixels is None:
        return None
    return truth.value("sharpness", sure=True) or ("middle" if truth.value("sharpness") is None else None)


def _any(*facts: str):
    return lambda truth: "any" if all(truth.value(fact) for fact in facts) else None


_VALUES = {
    "headwear_kind": _kind("headwear"),
    "makeup_strength": lambda t: t.value("makeup"),
    "skin": lambda t: t.value("skin"),
    "brows": lambda t: t.value("brows"),
    "lips": lambda t: t.value("lips"),
    "nose": lambda t: t.value("nose"),
    "face_shape": lambda t: t.value("face_shape"),
    "eye_colour": _eye_colour,
    "clothing": _clothing,
    "hair_colour": _hair_colour,
    "hair_length": _hair_length,
    "hair_texture": _texture,
    "hair": _hair,
    "facial_hair_kind": _kind("facial_hair"),
    "gaze": _gaze,
    "head_turn": lambda t: t.value("pose"),
    "mood": _any("expression"),
    "mood_why": _any("expression"),
    "tired": _tired,
    "age": lambda t: None if t.years is None else "any",
    "age_why": lambda t: None if t.years is None else "any",
    "child_or_adult": _stage,
    "gender": _any("gender"),
    "ethnicity": _race,
    "people": lambda t: "one",
    "what_stands_out": lambda t: "any" if t.value("expression") else None,
    "background": _any("background"),
    "light": _any("light"),
    "light_side": lambda t: t.value("light_side", sure=True),
    "quality": _quality,
}
# Intents about a face that are asked one by one; the rest are follow-ups.
ABOUT_FACE = (*(p for p in PROPOSITIONS if p != "passport"), *WITH_ARGUMENT, *_VALUES, "passport")


def argument_of(intent: str, truth: Truth, rng: random.Random, wanted: bool | None = None) -> str | None:
    """What a question with a placeholder asks about; so chosen that yes and no are equally likely.

    wanted: the answer that the question shall have. Returns None where the intent takes none or nothing is known.
    """
    if intent == "json":
        return ", ".join(forms.json_keys(truth, rng))
    if intent not in WITH_ARGUMENT:
        return None
    yes = rng.random() < 0.5 if wanted is None else wanted
    if intent == "hair_colour_check":
        own = truth.value("hair_colour", sure=True)
        if own not in HAIR:
            return None
        return own if yes else rng.choice([word for word in HAIR if word != own])
    if intent == "gender_check":
        own = truth.value("gender", sure=True)
        return own if own is None or yes else {"Male": "Female", "Female": "Male"}[own]
    years = truth.years
    if years is None:
        return None
    limits = [n for n in range(10, 81, 5) if truth.holds("older_than", str(n)) is yes]
    return str(rng.choice(limits)) if limits else None


def shown_argument(intent: str, argument: str | None, voice: Voice) -> str | None:
    """The argument as the question words it: a gender's noun, a hair colour's adjective."""
    if intent == "gender_check" and argument:
        young = voice.truth.years is not None and voice.truth.years < ADULT
        return {"Male": "boy" if young else "man", "Female": "girl" if young else "woman"}[argument]
    return argument


def _slots(
    intent: str, key: str, truth: Truth, voice: Voice, rng: random.Random, argument: str | None
) -> dict[str, str]:
    slots = voice.slots()
    if rng.random() < 0.25 and voice.they != "the person":
        slots["They"] = rng.choice((f"The {voice.sex}", f"This {voice.sex}", "The person"))
    if intent in ("gender", "gender_check", "child_or_adult", "child", "age", "age_why", "older_than"):
        slots["They"] = rng.choice(("This person", "The person", raised(voice.they)))
    slots["asked"] = shown_argument(intent, argument, voice) or ""
    slots["marks"] = _marks(truth, rng)
    shows = key == "yes" and truth.value("teeth", sure=True) == "yes"
    slots["teeth_too"] = rng.choice(("", " with visible teeth", ", showing the teeth")) if shows else ""
    slots["signs"] = f"{rng.choice((': ', '; '))}{voice.evidence}" if voice.evidence and rng.random() < 0.5 else ""
    slots["tied"] = rng.choice((" and tied back", "")) if voice.tied else ""
    slots["lids"] = _lids(key, truth, voice, rng)
    if voice.noun == "person":
        del slots["a_noun"]
    if intent == "age_why":
        slots["age_signs"] = forms.age_signs(truth, voice, rng)
    if intent == "what_stands_out":
        slots["striking"] = forms.striking(truth, voice, rng)
    if intent == "passport":
        slots |= forms.passport(truth, voice, rng)
    if intent == "quality":
        light = truth.value("light")
        told = {"dim": "the light is dim", "even": "the light is even", "harsh": "the light is harsh"}.get(light or "")
        slots["and_light"] = f", and {told}" if told and rng.random() < 0.5 else ""
    return slots


def _marks(truth: Truth, rng: random.Random) -> str:
    words = {"freckles": "freckles", "moles": "a mole or two", "blemishes": "some blemishes"}
    found = [word for fact, word in words.items() if truth.value(fact) == "yes"]
    if found:
        return f", with {found[0]}"
    return (
        rng.choice(("", " and slightly shiny", ", with a slight shine")) if truth.value("shiny_skin") == "yes" else ""
    )


def _lids(key: str, truth: Truth, voice: Voice, rng: random.Random) -> str:
    if key == "maybe":
        closed = truth.value("eyes") == "closed"
        return (
            "the eyes are closed" if closed else rng.choice(("the eyelids droop a little", "the eyes are half closed"))
        )
    return rng.choice(("the eyes are open", f"{voice.their} eyes are open and look awake", "the lids do not droop"))
