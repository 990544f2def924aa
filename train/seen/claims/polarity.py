"""Whether an answer's sentence says yes or no, and where it contradicts itself or misses the question."""

from __future__ import annotations

from train.seen.claims.assertions import Reading

# Intent -> the fact whose single words answer it.
ABOUT = {
    "glasses": "glasses",
    "sunglasses": "glasses",
    "headwear": "headwear",
    "headwear_kind": "headwear",
    "makeup": "makeup",
    "makeup_strength": "makeup",
    "earrings": "earrings",
    "covering": "covering",
    "wrinkles": "skin",
    "skin": "skin",
    "freckles": "freckles",
    "brows": "brows",
    "lips": "lips",
    "nose": "nose",
    "face_shape": "face_shape",
    "eye_colour": "eye_colour",
    "hair_colour": "hair_colour",
    "hair_colour_check": "hair_colour",
    "hair_length": "hair_length",
    "long_hair": "hair_length",
    "bald": "hair_length",
    "hair_texture": "hair_texture",
    "facial_hair": "facial_hair",
    "beard": "facial_hair",
    "moustache": "facial_hair",
    "clean_shaven": "facial_hair",
    "facial_hair_kind": "facial_hair",
    "smiling": "expression",
    "happy": "expression",
    "sad": "expression",
    "angry": "expression",
    "surprised": "expression",
    "mood": "expression",
    "mood_why": "expression",
    "teeth": "teeth",
    "mouth_open": "mouth",
    "eyes_open": "eyes",
    "eyes_closed": "eyes",
    "gaze": "gaze",
    "looking_at_camera": "gaze",
    "head_turn": "pose",
    "gender": "gender",
    "gender_check": "gender",
    "child": "stage",
    "child_or_adult": "stage",
    "people": "people",
    "light": "light",
    "dark_picture": "light",
    "light_side": "light",
    "quality": "sharpness",
    "blurry": "sharpness",
    "sharp": "sharpness",
    "black_and_white": "colour",
    "in_colour": "colour",
    "background": "background",
    "outdoors": "background",
    "hair": "hair_colour",
}
# Proposition -> (fact, values that say yes, values that say no).
_POLAR: dict[str, tuple[str, frozenset[str], frozenset[str]]] = {
    name: (fact, frozenset(yes.split()), frozenset(no.split()))
    for name, fact, yes, no in (
        ("glasses", "glasses", "glasses sunglasses", "none"),
        ("sunglasses", "glasses", "sunglasses", "none glasses"),
        ("headwear", "headwear", "yes", "none"),
        ("makeup", "makeup", "yes light strong", "none"),
        ("earrings", "earrings", "yes", "none"),
        ("covering", "covering", "yes", "none"),
        ("wrinkles", "skin", "wrinkled", "smooth"),
        ("freckles", "freckles", "yes", "none"),
        ("facial_hair", "facial_hair", "beard goatee moustache stubble some", "none"),
        ("beard", "facial_hair", "beard goatee", "none"),
        ("moustache", "facial_hair", "moustache", "none"),
        ("clean_shaven", "facial_hair", "none", "beard goatee moustache stubble some"),
        ("bald", "hair_length", "bald", "short medium long"),
        ("long_hair", "hair_length", "long", "short bald"),
        ("smiling", "expression", "smile laugh", "sad angry afraid disgusted neutral"),
        ("happy", "expression", "happy laugh", "sad angry afraid disgusted neutral contempt"),
        ("sad", "expression", "sad", "happy laugh smile neutral surprised contempt angry"),
        ("angry", "expression", "angry", "happy laugh smile neutral surprised sad"),
        ("surprised", "expression", "surprised", "happy laugh smile neutral sad angry"),
        ("teeth", "teeth", "yes", "no"),
        ("mouth_open", "mouth", "open", "closed"),
        ("eyes_open", "eyes", "open", "closed"),
        ("eyes_closed", "eyes", "closed", "open"),
        ("looking_at_camera", "gaze", "camera", "left right up down away"),
        ("child", "stage", "child", "adult"),
        ("outdoors", "background", "outdoor", "plain indoor"),
        ("dark_picture", "light", "dim", "bright even"),
        ("blurry", "sharpness", "blurred", "sharp"),
        ("sharp", "sharpness", "sharp", "blurred"),
        ("black_and_white", "colour", "grey", "colour"),
        ("in_colour", "colour", "colour", "grey"),
    )
}
# Fact -> others that an answer about it may well speak of instead.
_RELATED: dict[str, tuple[str, ...]] = {
    "expression": ("mouth", "teeth", "eyes"),
    "teeth": ("mouth", "expression"),
    "mouth": ("teeth", "expression"),
    "eyes": ("gaze", "glasses"),
    "gaze": ("eyes", "glasses", "pose"),
    "glasses": ("eyes", "gaze"),
    "headwear": ("hair_colour", "hair_length"),
    "hair_length": ("hair_colour", "hair_texture", "headwear"),
    "hair_colour": ("hair_length", "headwear"),
    "facial_hair": ("gender", "stage", "covering"),
    "covering": ("glasses", "facial_hair", "mouth", "headwear"),
    "stage": ("gender",),
    "gender": ("stage",),
    "age": ("stage", "gender", "skin"),
    "background": ("people",),
    "light": ("sharpness", "colour"),
    "sharpness": ("light",),
    "colour": ("light",),
    "earrings": ("hair_length",),
    "skin": ("freckles",),
    "freckles": ("skin",),
    "tired": ("eyes", "expression"),
}


def elsewhere(intent: str, reading: Reading) -> bool:
    """Whether an answer speaks of other facts and of none that the question could mean."""
    fact = {"older_than": "age", "tired": "tired", "passport": None}.get(intent, ABOUT.get(intent))
    spoken = reading.facts | set(reading.denied) | set(reading.weighed)
    if fact is None or not spoken or (fact == "age" and reading.age):
        return False
    return not {fact, *_RELATED.get(fact, ())} & spoken


# Values of one fact that one answer cannot both assert.
_APART: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "mouth": (frozenset({"open"}), frozenset({"closed"})),
    "eyes": (frozenset({"open"}), frozenset({"closed"})),
    "hair_length": (frozenset({"long"}), frozenset({"short", "bald"})),
    "gender": (frozenset({"Male"}), frozenset({"Female"})),
    "expression": (frozenset({"happy", "laugh"}), frozenset({"sad", "angry", "afraid"})),
    "sharpness": (frozenset({"sharp"}), frozenset({"blurred"})),
    "colour": (frozenset({"grey"}), frozenset({"colour"})),
    "pose": (frozenset({"left"}), frozenset({"right"})),
    "teeth": (frozenset({"yes"}), frozenset({"no"})),
}


def polarity(intent: str, reading: Reading, argument: str | None = None) -> bool | None:
    """Yes or no as the answer's sentence says it, whatever its first word; None where it says neither."""
    if intent == "hair_colour_check":
        said = reading.says("hair_colour") - {"none"}
        if argument in said:
            return True
        return False if said or argument in reading.denies("hair_colour") else None
    if intent == "gender_check":
        said = reading.says("gender")
        if argument in said:
            return True if len(said) == 1 else None
        return False if said or argument in reading.denies("gender") else None
    if intent == "older_than":
        if reading.age is None or argument is None:
            return None
        low, high = reading.age
        return True if low >= float(argument) else False if high <= float(argument) else None
    if intent == "passport" or intent not in _POLAR:
        return None
    fact, yes, no = _POLAR[intent]
    said, denied = reading.says(fact), reading.denies(fact)
    if said & yes:
        return None if said & no and not _explained(intent, said) else True
    if said & no:
        return False
    if intent == "smiling" and denied & {"smile"}:
        return False
    if denied & yes and not (
        intent in ("facial_hair", "makeup") and not denied >= {"beard"} and "some" not in denied and "yes" not in denied
    ):
        return False
    return None


def _explained(intent: str, said: set[str]) -> bool:
    """Pairs of values that one answer may well assert: a smile on a calm face, a beard with a moustache."""
    if intent == "smiling":
        return True
    if intent == "beard":
        return "none" not in said
    return intent in ("happy", "wrinkles", "dark_picture", "outdoors", "looking_at_camera")


def contradiction(intent: str, reading: Reading, argument: str | None = None) -> str:
    """Where a first yes or no is denied by its own sentence, or one sentence by another; "" where nothing is."""
    said = polarity(intent, reading, argument)
    if reading.lead is not None and said is not None and reading.lead != said:
        return f"begins with {'yes' if reading.lead else 'no'} and says {'yes' if said else 'no'}"
    for fact, (one, other) in _APART.items():
        found = reading.says(fact)
        if found & one and found & other and fact == ABOUT.get(intent):
            return f"{fact}: {', '.join(sorted(found & (one | other)))}"
    for fact in ("glasses", "headwear", "makeup", "earrings", "facial_hair"):
        found = reading.says(fact)
        if "none" in found and found - {"none", "sunglasses", "moustache", "stubble", "light", "strong"}:
            return f"{fact}: {', '.join(sorted(found))}"
    return ""
