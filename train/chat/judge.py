"""Whether an answer is right, wrong, evasive or off topic: by rules, against what is known of the face.

right: it says what is true of what was asked.  wrong: it says something else, or says two things at once.  evasive: it
says that it cannot or will not tell, where the face shows it.  off_topic: nothing that it says is about the question.
Beside that, each answer is looked at for broken text, for a yes or no that its own sentence contradicts, for a value
that two of its sentences contradict, and for an ethnicity that nobody asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from train.chat.manners import EVASIVE, OFF_TOPIC, RIGHT, WRONG, broken_text, limit, talk
from train.seen.claims import assertions, comparison, polarity
from train.seen.claims.assertions import Reading
from train.seen.claims.patterns.table import GARMENTS
from train.seen.known import caption
from train.seen.known.truth import PROPOSITIONS, WITH_ARGUMENT, Truth
from train.seen.typed.typed_answers import LIMITS, TALK

KINDS = (RIGHT, WRONG, EVASIVE, OFF_TOPIC)
LEAST_FACTS = 2  # that a description must state, all of them true
# Years beyond a named range within which the true age still counts: of children, and of others.
CHILD_YEARS, CHILD_SLACK, SLACK = 13, 3.0, 5.0


@dataclass(frozen=True)
class Verdict:
    """kind: of `KINDS`.  reason: what the rules saw, in few words.  broken, contradicts: why, or "".  ethnicity: named
    unasked."""

    kind: str
    reason: str
    broken: str = ""
    contradicts: str = ""
    ethnicity: bool = False


def judge(intent: str, truth: Truth, text: str, argument: str | None = None) -> Verdict:
    """The verdict on one answer.  argument: what the question asked about, as `answers.argument_of` gave it."""
    broken = broken_text(text, intent)
    fact = polarity.ABOUT.get(intent)
    reading = assertions.read(text, fact)
    contradiction = polarity.contradiction(intent, reading, argument) if intent not in TALK else ""
    ethnicity = (
        intent != "ethnicity"
        and "ethnic" not in (argument or "")
        and bool(assertions.ethnicities(text))
        and len(text.split()) > 1
    )
    if broken and intent != "json":
        return Verdict(
            OFF_TOPIC if not text.strip() else WRONG, f"broken text ({broken})", broken, contradiction, ethnicity
        )
    if contradiction:
        return Verdict(WRONG, f"contradicts itself ({contradiction})", broken, contradiction, ethnicity)
    kind, reason = _kind(intent, truth, text, reading, argument)
    return Verdict(kind, reason, broken, "", ethnicity)


def _kind(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    if intent in LIMITS:
        return limit(intent, text, reading)
    if intent in TALK:
        return talk(intent, text)
    if intent in PROPOSITIONS or intent in WITH_ARGUMENT:
        return _proposition(intent, truth, reading, argument)
    return _JUDGES.get(intent, _value)(intent, truth, text, reading, argument)


def _proposition(intent: str, truth: Truth, reading: Reading, argument: str | None) -> tuple[str, str]:
    holds = truth.holds(intent, argument)
    said = polarity.polarity(intent, reading, argument)
    answer = reading.lead if reading.lead is not None else said
    if holds is None:
        return RIGHT, "nothing firm is known"
    if answer is None:
        return _none_read(reading)
    if said is None and polarity.elsewhere(intent, reading):
        return OFF_TOPIC, "speaks of something else"
    word = "yes" if answer else "no"
    return (RIGHT if answer == holds else WRONG), f"says {word}"


def _none_read(reading: Reading) -> tuple[str, str]:
    return (EVASIVE, "does not answer") if reading.evades else (OFF_TOPIC, "says nothing about it")


def _value(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    fact = polarity.ABOUT[intent]
    accepted = comparison.accepted(intent, truth)
    said = reading.says(fact)
    if not said:
        denied = reading.denies(fact)
        if denied and accepted and not denied & accepted and len(denied | accepted) == len(comparison.VALUES[fact]):
            return RIGHT, f"denies {', '.join(sorted(denied))}"
        if accepted is not None and "unseen" in accepted and reading.evades:
            return RIGHT, "says that it cannot be seen"
        return _none_read(reading)
    if accepted is None:
        return RIGHT, "nothing firm is known"
    told = ", ".join(sorted(said))
    return (RIGHT if comparison.fits(intent, said, accepted) else WRONG), f"says {told}"


def _age(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    if reading.age is None:
        return _none_read(reading)
    low, high = reading.age
    years = truth.years
    told = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    if years is None:
        return RIGHT, f"says {told}; nothing is known"
    slack = CHILD_SLACK if years < CHILD_YEARS else SLACK
    if high - low > 25:
        return EVASIVE, f"says {told}, which is no estimate"
    return (RIGHT if low - slack <= years <= high + slack else WRONG), f"says {told}"


def _stage(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    said, years = reading.says("stage"), truth.years
    if "teenager" in said:
        said = {"teenager"}
    elif "child" in said and "adult" in said:  # "a little girl, not a grown woman"; a bare noun decides nothing
        said = (
            {"adult"}
            if re.search(r"\badult|grown", text, re.I) and not re.search(r"\bchild|baby|toddler|kid\b", text, re.I)
            else {"child"}
        )
    if not said and reading.age:
        middle = sum(reading.age) / 2
        said = {"child" if middle < 13 else "teenager" if middle < 18 else "adult"}
    if not said:
        return _none_read(reading)
    if years is None:
        return RIGHT, "nothing is known"
    fits = (
        {"child"}
        if years <= 11
        else {"child", "teenager"}
        if years < 15
        else {"teenager", "adult"}
        if years < 21
        else {"adult"}
    )
    return (RIGHT if said <= fits else WRONG), f"says {', '.join(sorted(said))}"


def _ethnicity(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    named = assertions.ethnicities(text) - {"named"}
    if not named:
        loose = re.findall(r"\b(white|caucasian|european|black|african|asian|indian)\b", text, re.I)
        names = {"caucasian": "White", "european": "White", "african": "Black"}
        named = {names.get(word.lower(), word.capitalize()) for word in loose}
        if re.search(r"\bsouth asian\b", text, re.I):
            named = {"Indian"}
    own = truth.value("race")
    if not named:
        other = re.search(r"\b(hispanic|latin[oa]|middle[- ]eastern|mixed|pacific|arab\w*|native)\b", text, re.I)
        if other:
            return (RIGHT if own in (None, "Others") else WRONG), f"says {other[0]}"
        if own == "Others" and reading.evades:
            return RIGHT, "leaves it open"
        return _none_read(reading)
    if own in (None, "Others"):
        return RIGHT, "nothing firm is known"
    return (RIGHT if named == {own} else WRONG), f"says {', '.join(sorted(named))}"


def _clothing(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    told = truth.face.caption.lower()
    known = {c for phrase in caption.garments(told) for c in caption.COLOUR.findall(phrase)}
    nouns = {phrase.split()[-1].rstrip("s") for phrase in caption.garments(told)}
    said_nouns = {m.group(0).lower().rstrip("s") for m in re.finditer(rf"\b(?:{GARMENTS})\b", text, re.I)}
    said = set(caption.COLOUR.findall(text.lower()))
    if not said_nouns and not said:
        if reading.evades or re.search(r"\bcrop\w*|hardly|not in the picture", text, re.I):
            return (EVASIVE if known or nouns else RIGHT), "says that it cannot be seen"
        return OFF_TOPIC, "names no clothes"
    if not said_nouns and assertions.ethnicities(text):
        return OFF_TOPIC, "names no clothes"
    if not known and not nouns:
        return RIGHT, "nothing firm is known"
    alike = {comparison.shade(c) for c in known} & {comparison.shade(c) for c in said}
    if alike or (nouns & said_nouns and not (known and said)):
        return RIGHT, "names what the caption names"
    return WRONG, f"names {', '.join(sorted(said | said_nouns))}"


def _tired(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    signs = re.search(
        r"\b(?:eyes?|eyelids?|lids?|tired\w*|sleep\w*|awake|alert|rested|exhaust\w*|weary|energetic|bright-eyed)\b",
        text,
        re.I,
    )
    if (reading.lead is None and not signs) or (not signs and polarity.elsewhere(intent, reading)):
        return _none_read(reading)
    if truth.value("eyes", sure=True) == "closed" and "open" in reading.says("eyes"):
        return WRONG, "calls closed eyes open"
    if truth.value("eyes", sure=True) == "open" and "closed" in reading.says("eyes"):
        return WRONG, "calls open eyes closed"
    if reading.lead is True and truth.value("expression", sure=True) in ("laugh", "smile"):
        return WRONG, "calls a smiling face tired"
    return RIGHT, "answers with what the eyes show" if signs else "answers"


def _mood(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    kind, reason = _value(intent, truth, text, reading, argument)
    if intent == "mood_why" and kind == RIGHT:
        shown = re.search(
            r"\b(?:mouth|lips?|teeth|eyes?|brows?|eyebrows?|eyelids|lids|smil\w+|frown\w*|cheeks?|nose|corners"
            r"|forehead|laugh\w*|gaze|face)\b",
            text,
            re.I,
        )
        if not shown:
            return EVASIVE, f"{reason}, without a sign for it"
    return kind, reason


def _age_why(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    kind, reason = _age(intent, truth, text, reading, argument)
    if kind == RIGHT and not re.search(
        r"\b(?:skin|wrinkl\w*|lines?|lined|hair|features?|cheeks?|face|eyes?|beard|smooth|young\w*|look\w*"
        r"|appear\w*|because|since)\b",
        text,
        re.I,
    ):
        return EVASIVE, f"{reason}, without a sign for it"
    wrong = comparison.falsehoods(truth, reading, skip=("stage",))
    return (WRONG, f"false: {', '.join(wrong)}") if kind == RIGHT and wrong else (kind, reason)


def _open(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    """A description: enough facts, none of them false."""
    if reading.lead is not None:
        return OFF_TOPIC, "answers yes or no"
    wrong = comparison.falsehoods(truth, reading)
    if reading.age and truth.years is not None:
        low, high = reading.age
        if not low - 2 * SLACK <= truth.years <= high + 2 * SLACK:
            wrong.append("age")
    true = comparison.truths(truth, reading)
    if wrong:
        return WRONG, f"false: {', '.join(wrong)}"
    if intent == "one_sentence" and len(assertions.sentences(text)) > 1:
        return WRONG, "more than one sentence"
    if len(true) < (1 if intent in ("alt_text", "what_stands_out") else LEAST_FACTS):
        if intent == "what_stands_out" and reading.facts:
            return RIGHT, "names something"
        return _none_read(reading) if not true else (OFF_TOPIC, f"states {len(true)} fact only")
    return RIGHT, f"true: {', '.join(sorted(true))}"


def _three_words(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    words = [w for w in re.split(r"[,;\s]+|\band\b", text.strip(" .!\"'")) if w and w.lower() != "and"]
    parts = [p for p in re.split(r",|;|\band\b|\n", text.strip(" .!")) if p.strip()]
    if len(words) != 3 and not (len(parts) == 3 and len(words) <= 6):
        return WRONG if len(words) > 6 or len(words) < 3 else OFF_TOPIC, f"{len(words)} words"
    hair = assertions.read(text.replace("-haired", " hair"), None)
    wrong = comparison.falsehoods(truth, hair)
    if truth.years is not None:
        wrong += ["young"] if re.search(r"\byoung\b", text, re.I) and truth.years > 48 else []
        wrong += ["old"] if re.search(r"\b(?:old|elderly|aged)\b", text, re.I) and truth.years < 45 else []
    return (WRONG, f"false: {', '.join(wrong)}") if wrong else (RIGHT, "three words")


def _json(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    keys = [key.strip() for key in (argument or "").split(",") if key.strip()]
    raw = re.sub(r"^```(?:json)?\s*|\s*```$", "", text.strip())
    try:
        found = json.loads(raw)
    except ValueError:
        return WRONG, "no JSON"
    if not isinstance(found, dict) or list(found) != keys:
        return WRONG, "other keys"
    from train.seen.descriptions import forms

    right = json.loads(forms.as_json(keys, truth) or "{}")
    wrong = [key for key in keys if key in right and not comparison.json_fits(key, found[key], right[key], truth)]
    return (WRONG, f"false: {', '.join(wrong)}") if wrong else (RIGHT, "all values fit")


def _light_side(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    said = reading.says("light") & {"side-left", "side-right", "even"}
    right = (comparison.accepted(intent, truth) or set()) - {"bright"}
    if not said:
        return _none_read(reading)
    return (RIGHT if said <= right or not right else WRONG), f"says {', '.join(sorted(said))}"


def _hair(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    """Colour, length or texture: at least one of them right and none false."""
    if truth.value("hair_seen") == "no" and reading.evades:
        return RIGHT, "says that it cannot be seen"
    right, wrong = [], []
    for fact in ("hair_colour", "hair_length", "hair_texture"):
        said, allowed = assertions.read(text, fact).says(fact) - {"none"}, comparison.accepted(fact, truth)
        if said and allowed is not None:
            (right if comparison.fits(fact, said, allowed) else wrong).append(fact)
        elif said:
            right.append(fact)
    if wrong:
        return WRONG, f"false: {', '.join(wrong)}"
    return (RIGHT, f"true: {', '.join(right)}") if right else _none_read(reading)


def _background(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    """By the tag, or by a word that the caption says of what lies behind."""
    told = set(re.findall(r"[a-z-]{4,}", (truth.value("backdrop") or ""))) - {"background", "backdrop"}
    if told & set(re.findall(r"[a-z-]{4,}", text.lower())):
        return RIGHT, "names what the caption names"
    return _value(intent, truth, text, reading, argument)


def _two_things(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    """Each of the two by itself, by the sentence that answers it; a yes or no at the start answers the first alone."""

    def kind_of(asked: str, words: str, first: bool) -> str:
        own = assertions.read(words, polarity.ABOUT.get(asked))
        return _kind(asked, truth, words, own if first else replace(own, lead=None), None)[0]

    kinds = []
    for place, asked in enumerate((argument or "").split("+")):
        said = [kind_of(asked, one, place == number == 0) for number, one in enumerate(assertions.sentences(text))]
        kinds.append(RIGHT if RIGHT in said else kind_of(asked, text, place == 0))
    if WRONG in kinds:
        return WRONG, f"the {'first' if kinds[0] == WRONG else 'second'} is false"
    if set(kinds) == {RIGHT}:
        return RIGHT, "both are true"
    return EVASIVE, "answers one of two" if RIGHT in kinds else "answers neither"


def _people(intent: str, truth: Truth, text: str, reading: Reading, argument: str | None) -> tuple[str, str]:
    said = reading.says("people")
    if "one" in said and "more" not in said:
        return RIGHT, "says one"
    if "more" in said:
        return WRONG, "says more"
    if reading.lead is not None and re.fullmatch(r"\W*(?:yes|no)\W*", text.strip(), re.I):
        return RIGHT, "says it in one word"
    return _none_read(reading)


_JUDGES: dict[str, Callable[..., tuple[str, str]]] = {
    "age": _age,
    "age_why": _age_why,
    "child_or_adult": _stage,
    "ethnicity": _ethnicity,
    "clothing": _clothing,
    "tired": _tired,
    "mood": _mood,
    "mood_why": _mood,
    "describe": _open,
    "describe_blind": _open,
    "one_sentence": _open,
    "alt_text": _open,
    "what_stands_out": _open,
    "three_words": _three_words,
    "json": _json,
    "people": _people,
    "two_things": _two_things,
    "hair": _hair,
    "light_side": _light_side,
    "background": _background,
}
