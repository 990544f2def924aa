"""What may be said of a face, and how surely: facts with one value each, and propositions that hold or do not.

Every writer of answers and every rule that scores one asks here, so that the answers about a face cannot contradict
each other and nothing is scored that nobody knows. Where two witnesses speak of one fact (the teacher's word and a
measured movement), it is firm where they agree, soft where they are not far apart, and left out where they disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

from train.seen.known import caption
from train.seen.known.face_record import Face
from train.seen.known.tags import WEAK

# Of a tower's probability: a word it gives less than the first is left out, less than the second is hedged; a word that
# only the tower knows needs the third to be said and the fourth to be said firmly.
UNHEARD, UNSURE, ALONE, ALONE_SURE = 0.05, 0.30, 0.70, 0.90
SMILE_NO, SMILE_SLIGHT, SMILE_YES = 0.25, 0.08, 0.20  # blendshape of a smile, 0 to 1
BLINK_OPEN, BLINK_CLOSED, LIDS_CLOSED = 0.25, 0.22, 0.20  # blendshape; lid gap over eye width
MOUTH_CLOSED, MOUTH_OPEN = 0.03, 0.12  # inner lip gap over mouth width
YAW_FRONTAL, YAW_TURNED = 8.0, 14.0  # degrees; a true profile reads about 35
PITCH_LEVEL, PITCH_BENT, PITCH_OFFSET = 5.0, 10.0, 7.8  # degrees from the set's median, which is the offset
DARK, DIM, BALANCED, BRIGHT = 0.30, 0.44, (0.42, 0.60), 0.66  # mean grey, 0 to 1; `DIM`: where the teacher says so
DETAIL_BLURRED, DETAIL_SHARP = 0.022, 0.040  # mean absolute Laplacian at 112 px
GREY, COLOURED = 0.03, 0.08  # `Pixels.colour`
CHEEKS_EVEN, CHEEKS_APART = 0.08, 0.22  # `Pixels.side`
SMILES, GLAD = ("slight-smile", "smile", "laugh"), ("smile", "laugh")
CHILD, ADULT, OLD = 12, 18, 60  # years
LABELLED_EXPRESSION = {
    "neutral": "neutral",
    "happiness": "smile",
    "surprise": "surprised",
    "sadness": "sad",
    "anger": "angry",
    "disgust": "disgusted",
    "fear": "afraid",
    "contempt": "contempt",
}


@dataclass(frozen=True)
class Stated:
    """One fact's value and whether it is said without a hedge."""

    value: str
    sure: bool = True


class Truth:
    """Facts and propositions of one face."""

    def __init__(self, face: Face, disputed: Collection[str] = ()) -> None:
        """disputed: facts that another source of the same face contradicts; they are hedged and never scored."""
        self.face = face
        self._firm = True  # only firm facts decide propositions
        self.years = None if "age" in face.doubts else face.years
        stated = {name: self._tag(name) for name in face.tags}
        stated |= self._person() | self._mouth_and_eyes(stated) | self._picture(stated)
        self.stated: dict[str, Stated] = {
            name: Stated(value.value, value.sure and name not in disputed)
            for name, value in stated.items()
            if value is not None
        }

    def value(self, fact: str, sure: bool = False) -> str | None:
        """The fact's value, None where nothing is known (`sure`: where it would be hedged)."""
        found = self.stated.get(fact)
        return None if found is None or (sure and not found.sure) else found.value

    def sure(self, fact: str) -> bool:
        """Whether the fact is said without a hedge."""
        return fact in self.stated and self.stated[fact].sure

    def holds(self, proposition: str, argument: str | None = None) -> bool | None:
        """Whether a proposition of `PROPOSITIONS` is true; None where that is not firmly known.

        argument: of the three that take one: a hair colour's word, an age in years, a gender.
        """
        if proposition == "hair_colour_check":
            found = self.value("hair_colour", sure=True)
            return None if found in (None, "none") else found == argument
        if proposition == "older_than":
            limit = float(argument or 0)
            far = max(5.0, 0.2 * limit)
            return None if self.years is None or abs(self.years - limit) < far else self.years > limit
        if proposition == "gender_check":
            found = self.value("gender", sure=True)
            return None if found is None else found == argument
        return PROPOSITIONS[proposition](self)

    def leans(self, proposition: str) -> bool | None:
        """As `holds` for a proposition without argument, but of facts that are hedged as well."""
        self._firm = False
        try:
            return PROPOSITIONS[proposition](self)
        finally:
            self._firm = True

    def one_of(self, fact: str, yes: tuple[str, ...], no: tuple[str, ...]) -> bool | None:
        """True or False where the fact is firm and has one of these values, else None."""
        found = self.value(fact, sure=self._firm)
        return True if found in yes else False if found in no else None

    @cached_property
    def is_child(self) -> bool:
        return self.years is not None and self.years <= CHILD

    def _tag(self, name: str) -> Stated | None:
        """The teacher's word beside the tower's, where there is a tower."""
        word, heard = self.face.tags[name], self.face.probabilities.get(name)
        if word is None and heard:
            word, best = max(heard.items(), key=lambda item: item[1])
            return Stated(word, best >= ALONE_SURE and name not in WEAK) if best >= ALONE else None
        if word is None:
            return None
        sure = True
        if heard:
            if heard.get(word, 0.0) < UNHEARD:
                return None
            sure = heard.get(word, 0.0) >= UNSURE
        return Stated(word, sure)

    def _person(self) -> dict[str, Stated | None]:
        face = self.face
        found: dict[str, Stated | None] = {}
        if face.gender and "gender" not in face.doubts:
            found["gender"] = Stated(face.gender)
        elif not face.gender and (told := caption.gender(face.caption)):
            found["gender"] = Stated(told)
        if face.race and "race" not in face.doubts:
            found["race"] = Stated(face.race)
        if (colour := caption.eye_colour(face.caption)) and face.tags.get("glasses") != "sunglasses":
            found["eye_colour"] = Stated(colour)
        if clothing := caption.clothing(face.caption):
            found["clothing"] = Stated(clothing)
        if backdrop := caption.backdrop(face.caption):
            found["backdrop"] = Stated(backdrop)
        return found

    def _mouth_and_eyes(self, stated: dict[str, Stated | None]) -> dict[str, Stated | None]:
        face, found = self.face, {}
        expression = stated.get("expression")
        if expression is None and face.expression in LABELLED_EXPRESSION:
            expression = Stated(LABELLED_EXPRESSION[face.expression])
        smile = face.moves.get("smile")
        if (
            expression
            and smile is not None
            and (
                (expression.value in GLAD and smile < SMILE_SLIGHT)
                or (expression.value == "slight-smile" and smile < SMILE_SLIGHT / 2)
                or (expression.value in ("neutral", "sad") and smile > SMILE_NO + 0.2)
            )
        ):
            expression = Stated(expression.value, False)
        found["expression"] = expression
        gap, teeth = face.mesh.get("mouth_open"), stated.get("teeth")
        speaks = expression is not None and expression.value in ("talking", "laugh", "shouting")
        if gap is not None:
            if gap > MOUTH_OPEN:
                found["mouth"] = Stated("open", gap > MOUTH_OPEN + 0.04 or bool(teeth and teeth.value == "yes"))
            elif gap < MOUTH_CLOSED and not (teeth and teeth.value == "yes") and not speaks:
                found["mouth"] = Stated("closed")
        elif expression and expression.value in ("laugh", "shouting"):
            found["mouth"] = Stated("open")
        found |= self._eyes(stated)
        return found

    def _eyes(self, stated: dict[str, Stated | None]) -> dict[str, Stated | None]:
        face, gaze, found = self.face, stated.get("gaze"), {}
        blink = face.moves.get("blink")
        lids = [face.mesh[key] for key in ("eye_open_left", "eye_open_right") if key in face.mesh]
        gap = sum(lids) / len(lids) if lids else None
        hidden = face.tags.get("glasses") == "sunglasses"
        if gaze and gaze.value == "closed":
            shut = (blink is not None and blink > BLINK_CLOSED) or (gap is not None and gap < LIDS_CLOSED)
            found["eyes"] = Stated("closed", shut or (blink is None and gap is None)) if not hidden else None
        elif gaze and not hidden and (blink is None or blink < BLINK_OPEN):
            found["eyes"] = Stated("open")
        yaw = face.mesh.get("yaw_deg")
        if yaw is not None:
            side = "left" if yaw > 0 else "right"
            if abs(yaw) < YAW_FRONTAL:
                found["pose"] = Stated("frontal")
            elif abs(yaw) > YAW_TURNED:
                found["pose"] = Stated(side)
            else:
                found["pose"] = Stated(f"slightly-{side}", False)
        if "pitch_deg" in face.mesh:
            pitch = face.mesh["pitch_deg"] - PITCH_OFFSET
            if abs(pitch) > PITCH_BENT:
                found["pitch"] = Stated("lowered" if pitch > 0 else "raised")
            elif abs(pitch) < PITCH_LEVEL:
                found["pitch"] = Stated("level")
        if gaze and gaze.value in ("left", "right"):
            turned = found.get("pose") and found["pose"].value.endswith(gaze.value)
            found["gaze"] = Stated(gaze.value, bool(turned) and gaze.sure)
        elif gaze and gaze.value == "camera":
            away = found.get("pose") and found["pose"].value in ("left", "right")
            found["gaze"] = Stated("camera", gaze.sure and not away)
        if hidden:
            found["gaze"] = None
        return found

    def _picture(self, stated: dict[str, Stated | None]) -> dict[str, Stated | None]:
        found: dict[str, Stated | None] = {}
        light, background, pixels = stated.get("light"), stated.get("background"), self.face.pixels
        if background:
            found["outdoors"] = None
            if background.value != "blurred":
                found["outdoors"] = Stated("yes" if background.value == "outdoor" else "no", background.sure)
        told = self.face.caption
        if pixels is None:
            return found
        dim = light is not None and light.value == "dim"
        if (dim and pixels.light < DIM) or pixels.light < DARK:
            found["brightness"] = Stated("dark", dim or light is None)
        elif pixels.light > BRIGHT:
            found["brightness"] = Stated("bright") if not dim else None
        elif BALANCED[0] < pixels.light < BALANCED[1] and not dim:
            found["brightness"] = Stated("balanced")
        soft = caption.mentions(told, "blurred|blurry|blur|pixelat\\w+|smudged|soft picture|softly|out of focus|fuzzy")
        crisp = caption.mentions(told, "sharp|crisp|sharply")
        if pixels.detail < DETAIL_BLURRED:
            found["sharpness"] = Stated("blurred", not crisp)
        elif pixels.detail > DETAIL_SHARP:
            found["sharpness"] = Stated("sharp", not soft)
        if pixels.colour < GREY:
            found["colour"] = Stated("grey")
        elif pixels.colour > COLOURED:
            found["colour"] = Stated("colour")
        side = "left" if pixels.side > 0 else "right"
        frontal = abs(self.face.mesh.get("yaw_deg", 0.0)) < YAW_FRONTAL
        if light and light.value.startswith("side-"):
            agrees = light.value == f"side-{side}" and abs(pixels.side) > CHEEKS_EVEN
            found["light_side"] = Stated(light.value[5:], agrees and light.sure)
            if abs(pixels.side) > CHEEKS_APART and light.value != f"side-{side}":
                found["light_side"] = None
        elif light and frontal and abs(pixels.side) < CHEEKS_EVEN:
            found["light_side"] = Stated("even")
        return found


def _facial_hair(truth: Truth) -> bool | None:
    return truth.one_of("facial_hair", ("stubble", "moustache", "goatee", "beard"), ("none",))


def _clean_shaven(truth: Truth) -> bool | None:
    if truth.value("gender") != "Male" or truth.years is None or truth.years < ADULT:
        return None
    return truth.one_of("facial_hair", ("none",), ("moustache", "goatee", "beard"))


def _angry(truth: Truth) -> bool | None:
    if truth.value("expression") == "angry" and truth.face.raw.get("expression") == "frown":
        return None  # a frown may be thought, pain or sun
    return truth.one_of("expression", ("angry",), ("smile", "laugh", "slight-smile", "neutral", "surprised", "sad"))


def _sad(truth: Truth) -> bool | None:
    if truth.face.raw.get("expression") in ("pensive", "frown"):
        return None
    return truth.one_of("expression", ("sad", "crying"), ("smile", "laugh", "slight-smile", "neutral", "surprised"))


def _earrings(truth: Truth) -> bool | None:
    if truth.face.raw.get("earrings") == "unclear":
        return None  # the ears are hidden
    return truth.one_of("earrings", ("yes",), ("none",))


def _child(truth: Truth) -> bool | None:
    return None if truth.years is None or CHILD < truth.years < ADULT else truth.years <= CHILD


def _looking_at_camera(truth: Truth) -> bool | None:
    return truth.one_of("gaze", ("camera",), ("left", "right", "up", "down", "closed"))


# Proposition -> whether it holds. Each is also the key of an intent: a question that is answered with yes or no.
PROPOSITIONS: dict[str, Callable[[Truth], bool | None]] = {
    "glasses": lambda t: t.one_of("glasses", ("glasses", "sunglasses"), ("none",)),
    "sunglasses": lambda t: t.one_of("glasses", ("sunglasses",), ("none", "glasses")),
    "headwear": lambda t: t.one_of("headwear", ("hat", "cap", "headscarf", "hood"), ("none",)),
    "makeup": lambda t: t.one_of("makeup", ("light", "strong"), ("none",)),
    "earrings": _earrings,
    "covering": lambda t: t.one_of("covering", ("hand", "object"), ("none",)),
    "wrinkles": lambda t: t.one_of("skin", ("wrinkled",), ("smooth",)),
    "freckles": lambda t: t.one_of("freckles", ("yes",), ("no",)),
    "facial_hair": _facial_hair,
    "beard": lambda t: t.one_of("facial_hair", ("beard", "goatee"), ("none", "moustache")),
    "moustache": lambda t: t.one_of("facial_hair", ("moustache",), ("none",)),
    "clean_shaven": _clean_shaven,
    "bald": lambda t: t.one_of("hair_length", ("bald",), ("short", "medium", "long")),
    "long_hair": lambda t: t.one_of("hair_length", ("long",), ("bald", "short")),
    "smiling": lambda t: t.one_of(
        "expression", SMILES, ("neutral", "sad", "crying", "angry", "afraid", "disgusted", "surprised")
    ),
    "teeth": lambda t: t.one_of("teeth", ("yes",), ("no",)),
    "mouth_open": lambda t: t.one_of("mouth", ("open",), ("closed",)),
    "eyes_open": lambda t: t.one_of("eyes", ("open",), ("closed",)),
    "eyes_closed": lambda t: t.one_of("eyes", ("closed",), ("open",)),
    "looking_at_camera": _looking_at_camera,
    "happy": lambda t: t.one_of("expression", GLAD, ("neutral", "sad", "crying", "angry", "afraid", "disgusted")),
    "sad": _sad,
    "angry": _angry,
    "surprised": lambda t: t.one_of("expression", ("surprised",), ("smile", "neutral", "slight-smile", "sad", "angry")),
    "child": _child,
    "outdoors": lambda t: t.one_of("outdoors", ("yes",), ("no",)),
    "dark_picture": lambda t: t.one_of("brightness", ("dark",), ("balanced", "bright")),
    "blurry": lambda t: t.one_of("sharpness", ("blurred",), ("sharp",)),
    "sharp": lambda t: t.one_of("sharpness", ("sharp",), ("blurred",)),
    "black_and_white": lambda t: t.one_of("colour", ("grey",), ("colour",)),
    "in_colour": lambda t: t.one_of("colour", ("colour",), ("grey",)),
    "passport": lambda t: _passport(t),
}
WITH_ARGUMENT = ("hair_colour_check", "older_than", "gender_check")


def passport_faults(truth: Truth) -> list[str]:
    """What speaks against the picture as a passport photo, as keys, the gravest first."""
    faults = []
    if truth.value("glasses") == "sunglasses":
        faults.append("sunglasses")
    if truth.holds("headwear"):
        faults.append("headwear")
    if truth.holds("covering"):
        faults.append("covering")
    if truth.holds("eyes_closed"):
        faults.append("eyes_closed")
    if truth.value("pose", sure=True) in ("left", "right"):
        faults.append("turned")
    expression = truth.value("expression", sure=True)
    if expression in GLAD:
        faults.append("smile")
    elif expression not in (None, "neutral", "slight-smile"):
        faults.append("expression")
    elif truth.value("teeth", sure=True) == "yes":
        faults.append("teeth")
    elif truth.value("mouth", sure=True) == "open":
        faults.append("mouth_open")
    if truth.holds("black_and_white"):
        faults.append("grey")
    if truth.value("sharpness", sure=True) == "blurred":
        faults.append("blurred")
    if truth.value("brightness", sure=True) == "dark":
        faults.append("dark")
    if truth.value("light_side", sure=True) in ("left", "right"):
        faults.append("uneven")
    if truth.value("background", sure=True) in ("outdoor", "indoor"):
        faults.append("background")
    return faults


def _passport(truth: Truth) -> bool | None:
    """Firm only at the ends: a grave fault, or a face that meets every visible rule."""
    grave = {"sunglasses", "headwear", "covering", "eyes_closed", "turned", "smile", "expression", "teeth", "grey"}
    faults = passport_faults(truth)
    if grave & set(faults):
        return False
    fits = (
        not faults
        and truth.value("expression", sure=True) == "neutral"
        and truth.value("pose") == "frontal"
        and truth.value("gaze") == "camera"
        and truth.value("glasses") == "none"
        and (truth.value("background") or "").startswith("plain")
        and truth.value("sharpness") == "sharp"
        and truth.value("mouth") == "closed"
    )
    return True if fits else None
