"""How what a text says of a fact compares with what is true: accepted values, falsehoods, truths."""

from __future__ import annotations

from collections.abc import Sequence

from train.seen.claims.assertions import Reading
from train.seen.claims.patterns.table import FACTS
from train.seen.claims.polarity import ABOUT
from train.seen.known.truth import Truth

VALUES = {fact: frozenset(values) for fact, values in FACTS.items()}
_EXPRESSIONS = {
    "neutral": {"neutral"},
    "slight-smile": {"smile", "happy", "neutral"},
    "smile": {"smile", "happy", "laugh"},
    "laugh": {"laugh", "smile", "happy"},
    "surprised": {"surprised", "afraid"},
    "sad": {"sad"},
    "crying": {"sad", "afraid", "angry"},
    "angry": {"angry", "contempt", "disgusted"},
    "afraid": {"afraid", "surprised", "sad"},
    "disgusted": {"disgusted", "angry", "contempt"},
    "contempt": {"contempt", "angry", "disgusted", "neutral"},
    "shouting": {"angry", "talking", "surprised", "laugh"},
    "talking": {"talking", "neutral", "surprised", "smile", "happy"},
}
_HAIR_LENGTH = {
    "bald": {"bald", "short"},
    "short": {"short", "bald"},
    "medium": {"medium", "long", "short"},
    "long": {"long", "medium"},
}
_NEIGHBOURS = {
    "face_shape": {
        "oval": {"oval", "round", "long"},
        "round": {"round", "oval"},
        "square": {"square", "oval", "round"},
        "long": {"long", "oval"},
        "heart": {"heart", "oval"},
    },
    "brows": {"thin": {"thin", "medium"}, "medium": {"thin", "medium", "thick"}, "thick": {"thick", "medium"}},
    "lips": {"thin": {"thin", "medium"}, "medium": {"thin", "medium", "full"}, "full": {"full", "medium"}},
    "nose": {"narrow": {"narrow", "medium"}, "medium": {"narrow", "medium", "broad"}, "broad": {"broad", "medium"}},
    "eye_colour": {
        "dark": {"dark", "brown"},
        "brown": {"brown", "dark", "hazel"},
        "hazel": {"hazel", "brown", "green", "light"},
        "blue": {"blue", "grey", "light"},
        "grey": {"grey", "blue", "light", "green"},
        "green": {"green", "hazel", "grey", "light"},
    },
    "hair_texture": {"straight": {"straight"}, "wavy": {"wavy", "curly", "straight"}, "curly": {"curly", "wavy"}},
    "skin": {"smooth": {"smooth"}, "few-lines": {"lines", "smooth", "wrinkled"}, "wrinkled": {"wrinkled", "lines"}},
    "light": {
        "even": {"even", "bright"},
        "side-left": {"side-left", "even", "bright"},
        "side-right": {"side-right", "even", "bright"},
        "harsh": {"harsh", "bright", "side-left", "side-right"},
        "dim": {"dim", "even"},
    },
    "background": {
        "plain-light": {"plain", "light", "blurred", "coloured", "wall"},
        "plain-dark": {"plain", "dark", "blurred", "coloured", "wall"},
        "plain-coloured": {"plain", "coloured", "dark", "light", "blurred", "wall"},
        "blurred": {"blurred", "plain", "light", "dark", "coloured", "indoor", "outdoor", "wall"},
        "indoor": {"indoor", "blurred", "plain", "coloured", "wall", "dark", "light"},
        "outdoor": {"outdoor", "blurred", "coloured", "wall", "dark", "light"},
    },
}


def accepted(intent: str, truth: Truth) -> set[str] | None:
    """The values that count as right; None where nothing firm is known."""
    value = truth.value
    if intent == "headwear_kind":
        found = value("headwear")
        return None if found is None else {"none"} if found == "none" else {"yes"}
    if intent == "makeup_strength":
        return {"none": {"none"}, "light": {"light", "yes"}, "strong": {"strong", "yes"}}.get(value("makeup") or "")
    if intent == "facial_hair_kind":
        return {
            "none": {"none"},
            "stubble": {"stubble", "some"},
            "moustache": {"moustache", "some"},
            "goatee": {"goatee", "beard", "moustache", "some"},
            "beard": {"beard", "goatee", "moustache", "some"},
        }.get(value("facial_hair") or "")
    if intent == "hair_colour":
        if value("hair_seen") == "no":
            return {"unseen"}
        found = value("hair_colour")
        return None if found is None else {"brown": {"brown"}, "dark": {"dark"}}.get(found, {found})
    if intent == "hair_texture" and value("hair_length") == "bald":
        return {"unseen", "straight", "wavy", "curly"}
    if intent == "hair_length":
        return {"unseen"} if value("hair_seen") == "no" else _HAIR_LENGTH.get(value("hair_length") or "")
    if intent in ("mood", "mood_why"):
        found = _EXPRESSIONS.get(value("expression") or "")
        return found | {"neutral"} if found and truth.face.raw.get("expression") == "frown" else found
    if intent == "gender":
        found = value("gender")
        return {found} if found else None
    if intent == "gaze":
        if value("glasses") == "sunglasses":
            return {"unseen"}
        found = value("gaze")
        return (
            None
            if found is None
            else {"closed", "down", "unseen"}
            if found == "closed"
            else {found, "away"}
            if found != "camera"
            else {found}
        )
    if intent == "head_turn":
        found = value("pose")
        return (
            None
            if found is None
            else {found}
            if "slightly" not in found
            else {"frontal", found.removeprefix("slightly-")}
        )
    if intent == "light_side":
        return {"left": {"side-left"}, "right": {"side-right"}, "even": {"even", "bright"}}.get(
            value("light_side") or ""
        )
    if intent == "quality":
        return {"sharp": {"sharp", "middle"}, "blurred": {"blurred", "middle"}}.get(
            value("sharpness") or "", {"sharp", "blurred", "middle"}
        )
    if intent == "eye_colour" and value("eye_colour") is None:
        return {"unseen", "dark", "brown"}
    fact = ABOUT[intent]
    return _NEIGHBOURS.get(fact, {}).get(value(fact) or "")


def fits(intent: str, said: set[str], right: set[str]) -> bool:
    """Whether the values said are right: all of them, or of what is easily said beside it, enough of them."""
    if intent in ("background", "light"):
        against = {
            "plain": {"outdoor"},
            "outdoor": {"plain"},
            "light": {"dark"},
            "dark": {"light"},
            "dim": {"bright"},
            "bright": {"dim"},
        }
        return bool(said & right) and not any((against.get(value, set()) & said) - right for value in right)
    if intent in (
        "mood",
        "mood_why",
        "gaze",
        "quality",
        "light_side",
        "makeup_strength",
        "facial_hair_kind",
        "hair_length",
        "eye_colour",
        "skin",
    ):
        return bool(said & right) and len(said - right) <= (
            1 if intent in ("mood", "mood_why", "light_side", "quality") else 0
        )
    return said <= right


# Facts of a description that can be false: fact -> what the truth allows; each only where the truth is firm.
def _allowed(fact: str, truth: Truth) -> set[str] | None:
    value = truth.value(fact, sure=True)
    if fact == "glasses":
        return None if value is None else {"none"} if value == "none" else {"glasses", "sunglasses"}
    if fact == "facial_hair":
        return {
            "none": {"none"},
            "stubble": {"stubble", "some", "beard", "none"},
            "moustache": {"moustache", "some", "beard", "goatee", "stubble"},
            "goatee": {"goatee", "beard", "moustache", "some", "stubble"},
            "beard": {"beard", "goatee", "moustache", "some", "stubble"},
        }.get(value or "")
    if fact == "headwear":
        return None if value is None else {"none"} if value == "none" else {"yes"}
    if fact == "makeup":
        return {"none": {"none"}, "light": {"light", "yes", "strong", "none"}, "strong": {"strong", "yes"}}.get(
            value or ""
        )
    if fact == "teeth":
        return None if value is None else {value}
    if fact == "hair_colour":
        return {
            "dark": {"dark", "brown", "grey"},
            "brown": {"brown", "dark", "blond", "red"},
            "blond": {"blond", "brown", "grey"},
            "red": {"red", "brown"},
            "grey": {"grey", "blond", "dark"},
            "none": {"none"},
        }.get(value or "")
    if fact == "hair_length":
        return _HAIR_LENGTH.get(value or "")
    if fact == "expression":
        found = _EXPRESSIONS.get(value or "")
        return found and found | {"neutral"} if value in ("sad", "angry", "surprised") else found
    if fact == "pose":
        return None if value is None else {value} if value != "frontal" else {"frontal", "left", "right"}
    if fact in ("eyes", "mouth"):
        return None if value is None else {value}
    if fact == "gender":
        return {value} if value else None
    if fact == "skin":
        return {"wrinkled": {"wrinkled", "lines"}, "smooth": {"smooth", "lines"}}.get(value or "")
    if fact == "colour":
        return None if value is None else {value}
    return None


CHECKED = (
    "glasses",
    "facial_hair",
    "headwear",
    "makeup",
    "teeth",
    "hair_colour",
    "hair_length",
    "expression",
    "pose",
    "eyes",
    "mouth",
    "gender",
    "skin",
    "colour",
)


def falsehoods(truth: Truth, reading: Reading, skip: Sequence[str] = ()) -> list[str]:
    """The facts of which the answer asserts only what is false, or denies what is true."""
    found = []
    for fact in CHECKED:
        if fact in skip:
            continue
        allowed, said = _allowed(fact, truth), reading.says(fact)
        if allowed is None:
            continue
        if fact == "gender" and len(said) > 1:
            continue
        if said and not said & allowed:
            found.append(fact)
    return found


def truths(truth: Truth, reading: Reading) -> set[str]:
    """The facts of which the answer asserts something that is true, or that nobody can check but that is about the
    face."""
    found = set()
    for fact in (*CHECKED, "background", "light", "hair_texture", "gaze", "stage", "mouth", "sharpness"):
        allowed, said = _allowed(fact, truth), reading.says(fact)
        if said and (allowed is None or said & allowed):
            found.add(fact)
    return found | ({"age"} if reading.age else set())


_SHADES = {
    "black": "dark",
    "dark": "dark",
    "navy": "dark",
    "charcoal": "dark",
    "white": "light",
    "cream": "light",
    "pale": "light",
    "light": "light",
    "ivory": "light",
    "beige": "light",
    "tan": "brown",
    "khaki": "brown",
    "maroon": "red",
    "burgundy": "red",
    "crimson": "red",
    "scarlet": "red",
    "coral": "red",
    "teal": "blue",
    "turquoise": "blue",
    "violet": "purple",
    "mauve": "purple",
    "lilac": "purple",
    "lavender": "purple",
    "gold": "yellow",
    "golden": "yellow",
    "gray": "grey",
    "silver": "grey",
    "olive": "green",
    "peach": "pink",
}


def shade(colour: str) -> str:
    """Colours that two people would give the same cloth."""
    return _SHADES.get(colour, colour)


def json_fits(key: str, said: object, right: object, truth: Truth) -> bool:
    """Whether a JSON value is right: yes and no in any form, ages within the slack of an answer, neighbours
    accepted."""
    if isinstance(right, bool):
        word = str(said).strip().lower()
        return (
            (word in ("true", "yes", "1")) == right
            if word in ("true", "false", "yes", "no", "1", "0", "none")
            else (word not in ("", "null")) == right
        )
    if key == "age":
        try:
            return abs(float(str(said)) - float(str(right))) <= 10
        except ValueError:
            from train.seen.claims.assertions import age_of

            span = age_of(str(said))
            return span is not None and span[0] - 5 <= float(str(right)) <= span[1] + 5
    word, own = str(said).strip().lower(), str(right).lower()
    if word == own:
        return True
    fact = {"hair_length": "hair_length", "hair_colour": "hair_colour", "expression": "expression", "skin": "skin"}.get(
        key
    )
    if fact:
        from train.seen.claims.assertions import read

        allowed = _allowed(fact, truth)
        values = read(word, fact).says(fact)
        return bool(values & allowed) if allowed and values else False
    return own in word
