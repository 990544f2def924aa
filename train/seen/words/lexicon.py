"""The words for one face: nouns, pronouns, age, hair, expression, light; chosen once, so that all answers agree.

A `Voice`'s methods return phrases, and its `slots` fill the forms of answers.
"""

from __future__ import annotations

import random
import re
from functools import cached_property

from train.seen.known.truth import CHILD, OLD, Truth
from train.seen.words.spin import article, listed, raised
from train.seen.words.vocabulary import (
    BACKGROUNDS,
    BEARDS,
    COVERS,
    DECADES,
    EYEWEAR,
    FEELINGS,
    HATS,
    LIGHT,
    NUMBERS,
    PAINT,
    RACES,
)


class Voice:
    """Phrases for one face. The same seed gives the same phrases; where the truth is unknown a phrase is None."""

    def __init__(self, truth: Truth, rng: random.Random) -> None:
        self.truth, self._rng = truth, rng
        self.gender = truth.value("gender") or (_other(truth.face.gender) if "gender" in truth.face.doubts else None)
        self.noun = self._noun()
        self.looks_age, self.number = self._age()
        self.age = self.looks_age and self.looks_age.removeprefix("to be ")
        self.in_years = self._in_years()

    def pick(self, options: tuple[str, ...]) -> str:
        return self._rng.choice(options)

    @property
    def they(self) -> str:
        return {"Male": "he", "Female": "she"}.get(self.gender or "", "the person")

    @property
    def their(self) -> str:
        return {"Male": "his", "Female": "her"}.get(self.gender or "", "the person's")

    @property
    def them(self) -> str:
        return {"Male": "him", "Female": "her"}.get(self.gender or "", "the person")

    @property
    def sex(self) -> str:
        """man, woman, boy, girl; "person" where the gender is not known."""
        young = self.truth.years is not None and self.truth.years < 18
        return {"Male": "boy" if young else "man", "Female": "girl" if young else "woman"}.get(
            self.gender or "", "person"
        )

    def _noun(self) -> str:
        years, rng = self.truth.years, self._rng
        adult = {"Male": "man", "Female": "woman"}.get(self.gender or "", "person")
        young = {"Male": "boy", "Female": "girl"}.get(self.gender or "", "child")
        if years is None:
            return adult
        if years < 2:
            return rng.choice(("baby", f"baby {young}" if young != "child" else "infant"))
        if years <= CHILD:
            return rng.choice((f"little {young}" if years < 8 else young, young, "toddler" if years < 4 else "child"))
        if years < 18:
            return rng.choice((f"teenage {young}", f"teenage {young}", "teenager")) if young != "child" else "teenager"
        if years < 32:
            return rng.choice((f"young {adult}", f"young {adult}", adult))
        if years >= OLD:
            return rng.choice((f"older {adult}", f"older {adult}", f"elderly {adult}" if years >= 70 else adult))
        if 40 <= years < 56:
            return rng.choice((adult, adult, f"middle-aged {adult}"))
        return adult

    def _age(self) -> tuple[str | None, str | None]:
        """ "about 35 years old", "35"; both from the label, so that they agree."""
        years, rng = self.truth.years, self._rng
        if years is None:
            return None, None
        if years < 1.5:
            return rng.choice(("about one year old", "about a year old", "no older than one year")), "one"
        number = str(round(years)) if years < 20 or rng.random() < 0.5 else str(5 * round(years / 5))
        if years < 20:
            word = NUMBERS[round(years)] if years <= 12 else number
            return rng.choice(
                (f"about {word} years old", f"around {word} years old", f"roughly {word} years old")
            ), word
        decade = self.decade
        forms = [f"about {number} years old", f"around {number}", f"roughly {number} years old"]
        if decade:
            forms += [f"to be in {self.their} {decade}"] * 2
        return rng.choice(forms), number

    @property
    def decade(self) -> str | None:
        """ "mid-thirties"; None below twenty, from ninety on and where nothing is known."""
        years = self.truth.years
        if years is None or not 20 <= years < 90:
            return None
        ten, one = divmod(int(years), 10)
        part = "early " if one <= 2 else "mid-" if one <= 6 else "late "
        return part + DECADES[ten * 10]

    def _in_years(self) -> str | None:
        """The age behind a noun: "in her mid-thirties", "of about eight"; None where nothing is known."""
        years = self.truth.years
        if years is None:
            return None
        if years < 1.5:
            return "of about a year"
        if self.decade and self._rng.random() < 0.7:
            return f"in {self.their} {self.decade}"
        return self._rng.choice((f"of about {self.number}", f"of around {self.number}"))

    @cached_property
    def hair_colour(self) -> str | None:
        """One word or two: "dark", "nearly black", "grey"."""
        colour = self.truth.value("hair_colour")
        if colour == "grey":
            return self.truth.face.raw.get("hair_colour", "grey")
        if colour == "dark":
            return "black" if self.truth.face.raw.get("hair_colour") == "black" and self._rng.random() < 0.4 else "dark"
        return None if colour in (None, "none") else colour

    @cached_property
    def hair_words(self) -> str | None:
        """Length, texture, colour: "short, straight and dark"."""
        parts = self._hair_parts()
        return listed(parts) if parts else None

    @cached_property
    def hair(self) -> str | None:
        """ "short dark hair", "long, wavy brown hair that is tied back"; None for a bald or hidden head."""
        parts = self._hair_parts()
        if not parts:
            return None
        tied = " tied back" if self.tied and self._rng.random() < 0.7 else ""
        return f"{' '.join(parts)} hair{tied}"

    @cached_property
    def tied(self) -> bool:
        return self.truth.value("hair_tied", sure=True) == "yes"

    def _hair_parts(self) -> list[str]:
        length, texture = self.truth.value("hair_length"), self.truth.value("hair_texture")
        if length == "bald" or self.truth.value("hair_colour") == "none" or self.truth.value("hair_seen") == "no":
            return []
        parts = [] if length is None else ["medium-length" if length == "medium" else length]
        if texture in ("wavy", "curly") or (texture == "straight" and self._rng.random() < 0.35):
            parts.append(texture)
        return [*parts, self.hair_colour] if self.hair_colour else parts

    @cached_property
    def baldness(self) -> str | None:
        """A clause for the bald, balding and shaved; None for others."""
        if self.truth.value("hair_length") != "bald":
            return None
        raw, they, their = self.truth.face.raw.get("hair_length"), self.they, self.their
        if raw == "balding":
            return self.pick((f"{they} is going bald", f"{their} hair is thinning and receding", f"{they} is balding"))
        if raw == "shaved":
            return self.pick((f"{their} hair is shaved very short", f"{their} head is shaved or closely cropped"))
        return self.pick((f"{they} is bald", f"{their} head is bald"))

    @cached_property
    def beard(self) -> str | None:
        kind = self.truth.value("facial_hair")
        return None if kind in (None, "none") else self.pick(BEARDS[kind])

    @cached_property
    def eyewear(self) -> str | None:
        kind = self.truth.value("glasses")
        return None if kind in (None, "none") else self.pick(EYEWEAR[kind])

    @cached_property
    def hat(self) -> str | None:
        kind = self.truth.value("headwear")
        raw = self.truth.face.raw.get("headwear")
        return None if kind in (None, "none") else self.pick(HATS.get(raw or kind, HATS[kind]))

    @cached_property
    def cover(self) -> str | None:
        kind = self.truth.value("covering")
        raw = self.truth.face.raw.get("covering")
        return None if kind in (None, "none", "hair") else self.pick(COVERS.get(raw or kind, COVERS[kind]))

    @cached_property
    def paint(self) -> str | None:
        kind = self.truth.value("makeup")
        return None if kind in (None, "none") else self.pick(PAINT[kind])

    @property
    def mood(self) -> str | None:
        """A key of `FEELINGS`: the merged expression, with pensive and frowning faces kept apart."""
        kind = self.truth.value("expression")
        raw = self.truth.face.raw.get("expression")
        return raw if raw in ("pensive", "frown") and kind in ("neutral", "angry") else kind

    @cached_property
    def feeling(self) -> str | None:
        return self.pick(FEELINGS[self.mood][0]) if self.mood else None

    @cached_property
    def look(self) -> str | None:
        return self.pick(FEELINGS[self.mood][1]) if self.mood else None

    @cached_property
    def evidence(self) -> str | None:
        """What shows the expression; also what a measured movement adds."""
        if not self.mood:
            return None
        told = self.pick(FEELINGS[self.mood][2]).replace("{they}", self.they)
        if (
            self.mood in ("smile", "laugh")
            and self.truth.value("teeth", sure=True) == "yes"
            and self._rng.random() < 0.7
        ):
            return f"{told}, and the teeth show"
        if self.mood == "smile" and self.truth.face.moves.get("squint", 0) > 0.6 and self._rng.random() < 0.5:
            return f"{told}, and the eyes narrow with it"
        return told

    @cached_property
    def backdrop(self) -> str | None:
        """What lies behind, from the caption where it tells, else from the tag."""
        told, kind = self.truth.value("backdrop"), self.truth.value("background")
        if told:
            plural = told.endswith(("s", "water", "greenery", "foliage", "grass", "darkness", "blackness", "sky"))
            return told if plural or told.split()[-1] in ("greenery", "foliage", "grass") else article(told)
        return self.pick(BACKGROUNDS[kind]) if kind else None

    @cached_property
    def clothing(self) -> str | None:
        told = self.truth.value("clothing")
        if told is None:
            return None
        mass = told.split()[-1] in ("clothing", "clothes", "cloth", "overalls", "lapels", "straps", "denim")
        return told if mass else article(told)

    @property
    def race(self) -> str | None:
        found = self.truth.value("race")
        return self.pick(RACES[found]) if found in RACES else None

    def light(self) -> tuple[str, str] | None:
        """(words behind "the light is", a noun phrase) in agreement with each other."""
        kind = self.truth.value("light")
        if kind is None:
            return None
        if kind == "even" and self.truth.value("brightness") == "bright":
            kind = "bright"
        words, nouns = LIGHT[kind]
        return self.pick(words), self.pick(nouns)

    @property
    def gaze_to(self) -> str | None:
        """ "to the viewer's left", "at the camera"."""
        return {
            "left": "to the viewer's left",
            "right": "to the viewer's right",
            "up": "up",
            "down": "down",
            "camera": "at the camera",
        }.get(self.truth.value("gaze") or "")

    def slots(self) -> dict[str, str]:
        """Every slot of the forms that can be filled for this face; a new dictionary each time."""
        return dict(self._slots)

    @cached_property
    def _slots(self) -> dict[str, str]:
        light = self.light()
        found = {
            "they": self.they,
            "their": self.their,
            "them": self.them,
            "noun": self.noun,
            "a_noun": article(self.noun),
            "a_sex": article(self.sex),
            "age": self.age,
            "looks_age": self.looks_age,
            "number": self.number,
            "in_years": self.in_years,
            "hair": self.hair,
            "hair_words": self.hair_words,
            "hair_colour": self.hair_colour,
            "baldness": self.baldness,
            "beard": self.beard,
            "eyewear": self.eyewear,
            "worn": self.beard if self.truth.value("facial_hair") != "stubble" else None,
            "hat": self.hat,
            "cover": self.cover,
            "paint": self.paint,
            "feeling": self.feeling,
            "look": self.look,
            "evidence": self.evidence,
            "backdrop": self.backdrop,
            "clothing": self.clothing,
            "race": self.race,
            "gaze_to": self.gaze_to,
            "eyes": self.truth.value("eye_colour"),
            "grey": self.truth.face.raw.get("hair_colour", "grey"),
            "light_words": light and light[0],
            "light_noun": light and light[1],
            "light": light and raised(light[1]),
        }
        found["backdrop_words"] = found["backdrop"] and _bare(found["backdrop"])
        return {name: value for name, value in found.items() if value}


def _bare(backdrop: str) -> str:
    """What stands behind "the background is": "blurred", not "a blurred background"."""
    match = re.fullmatch(r"an? (?:(.+) (?:background|backdrop)|background that is (.+))", backdrop)
    return backdrop if match is None else match[1] or match[2]


def _other(gender: str | None) -> str | None:
    """The gender that the teacher saw where it doubts the label."""
    return {"Male": "Female", "Female": "Male"}.get(gender or "")
