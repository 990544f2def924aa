"""Chooses which questions are put about which faces: every intent, yes and no, and every face about as often.

Wordings are those that training never sees, unless the others are asked for. Only what is firmly known is asked.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from train.seen.claims import comparison
from train.seen.claims.polarity import ABOUT
from train.seen.known.truth import PROPOSITIONS, WITH_ARGUMENT, Truth
from train.seen.typed import two_things, typed_answers, wordings
from train.seen.words.lexicon import Voice

# Asked again and again about one face they would be the same question; a smaller share each.
FEWER = {**dict.fromkeys(typed_answers.LIMITS, 0.5), **dict.fromkeys(typed_answers.TALK, 0.35), "people": 0.5}
LEAST = 4  # questions of each answer that are asked where one of them is rare
# A follow-up -> (the turn before, the intent by which its answer is judged).
FOLLOW_UPS = {
    "and_hair": (("age", "mood", "glasses"), "hair"),
    "and_age": (("hair_colour", "gender", "mood"), "age"),
    "and_mood": (("age", "glasses", "hair_colour"), "mood"),
    "and_glasses": (("facial_hair", "hair_colour", "makeup"), "glasses"),
    "and_background": (("light", "hair_colour"), "background"),
    "and_beard": (("glasses", "hair_colour"), "facial_hair"),
    "why": (("mood",), "mood_why"),
    "are_you_sure": (("glasses", "smiling", "headwear", "teeth"), "same"),
}

# Intent -> the fact that must be there, of kinds that are asked about only where there is one, and of others.
KINDS = {"headwear_kind": "headwear", "makeup_strength": "makeup", "facial_hair_kind": "facial_hair"}
NEEDS = {
    **dict.fromkeys(("describe", "describe_blind", "one_sentence", "three_words", "alt_text"), "expression"),
    **dict.fromkeys(("what_stands_out", "json", "tired"), "expression"),
    "clothing": "clothing",
    "gaze": "gaze",
    "head_turn": "pose",
    "quality": "sharpness",
    "light_side": "light_side",
    "eye_colour": "eye_colour",
}
FIRM = ("gaze", "head_turn", "quality", "light_side", "eye_colour")
SOFT = ("brows", "lips", "nose", "face_shape", "background", "light")  # asked although two passes agree weakly


@dataclass(frozen=True)
class Question:
    """One question about one picture. key: its identity in a run.  intent: what is asked (of `wordings/`).  judged: the
    intent by which the answer is scored, with its argument.  history: the turn before, as (question, answer)."""

    key: str
    file: str
    intent: str
    judged: str
    text: str
    argument: str | None = None
    history: tuple[tuple[str, str], ...] = ()


def choose(
    truths: Mapping[str, Truth], count: int, seed: int = 0, cut: str = "kept_out", intents: tuple[str, ...] = ()
) -> list[Question]:
    """About `count` questions, in the order of the files. intents: only these; all by default."""
    wanted = intents or tuple(name for name in wordings.intents() if name not in ("shorter", "more"))
    weights = {name: FEWER.get(name, 1.0) for name in wanted}
    each = count / sum(weights.values())
    used: Counter[str] = Counter()
    found: list[Question] = []
    voices = {file: Voice(truth, random.Random(f"{seed}:{file}")) for file, truth in truths.items()}
    # Rare answers first, so that their few faces are still free.
    order = sorted(wanted, key=lambda name: (_rarest(name, truths), name))
    for intent in order:
        found += _of_intent(intent, truths, voices, round(each * weights[intent]), used, seed, cut)
    place = {file: index for index, file in enumerate(truths)}
    return sorted(found, key=lambda question: (place[question.file], question.key))


def _rarest(intent: str, truths: Mapping[str, Truth]) -> int:
    if intent not in PROPOSITIONS:
        return len(truths)
    held = [truth.holds(intent) for truth in truths.values()]
    return min(held.count(True), held.count(False))


def _of_intent(
    intent: str,
    truths: Mapping[str, Truth],
    voices: Mapping[str, Voice],
    count: int,
    used: Counter[str],
    seed: int,
    cut: str,
) -> list[Question]:
    found: list[Question] = []
    half = max(1, round(count / 2))
    if intent in PROPOSITIONS:  # no answer more than twice as often as the other, however rare it is
        half = min(half, max(LEAST, 2 * _rarest(intent, truths)))
    for polarity in (True, False) if _polar(intent) else (None,):
        left = half if polarity is not None else max(1, count)
        files = sorted(
            truths, key=lambda file: (used[file], random.Random(f"{seed}:{intent}:{polarity}:{file}").random())
        )
        for file in files:
            if left == 0:
                break
            question = _ask(intent, file, truths[file], voices[file], polarity, seed, cut)
            if question is not None:
                found.append(question)
                used[file] += 1
                left -= 1
    return found


def _polar(intent: str) -> bool:
    return intent in PROPOSITIONS or intent in WITH_ARGUMENT or intent in ("and_glasses", "and_beard", "are_you_sure")


def _ask(
    intent: str, file: str, truth: Truth, voice: Voice, polarity: bool | None, seed: int, cut: str
) -> Question | None:
    """The question, None where its answer is not firmly known or is not of the polarity."""
    rng = random.Random(f"{seed}:{file}:{intent}")
    if intent in FOLLOW_UPS:
        return _follow(intent, file, truth, voice, polarity, rng, cut)
    if intent == two_things.INTENT:
        return _two(file, truth, voice, rng, cut)
    argument = typed_answers.argument_of(intent, truth, rng, polarity)
    if (intent in WITH_ARGUMENT or intent == "json") and not argument:
        return None
    if not askable(intent, truth, argument, polarity):
        return None
    text = wordings.ask(intent, voice, rng, cut, typed_answers.shown_argument(intent, argument, voice))
    return Question(
        f"{file}#{intent}{'' if polarity is None else '+' if polarity else '-'}", file, intent, intent, text, argument
    )


def _follow(
    intent: str, file: str, truth: Truth, voice: Voice, polarity: bool | None, rng: random.Random, cut: str
) -> Question | None:
    before, judged = FOLLOW_UPS[intent]
    first = next(
        (
            name
            for name in rng.sample(before, len(before))
            if _fits(name, truth, polarity if judged == "same" else None)
        ),
        None,
    )
    if first is None:
        return None
    judged = first if judged == "same" else judged
    if not _fits(judged, truth, polarity if judged in PROPOSITIONS else None):
        return None
    told = typed_answers.answer(first, truth, voice, rng, bare=False)
    if told is None:
        return None
    asked = wordings.ask(first, voice, rng, "kept_out")
    text = wordings.ask(intent, voice, rng, cut)
    sign = "" if polarity is None else "+" if polarity else "-"
    return Question(f"{file}#{intent}{sign}", file, intent, judged, text, None, ((asked, told),))


def _two(file: str, truth: Truth, voice: Voice, rng: random.Random, cut: str) -> Question | None:
    """Two intents at once, both firmly known; its argument names them, joined by a plus sign."""
    known = [name for name in two_things.PAIRED if askable(name, truth)]
    rng.shuffle(known)
    pair = next(((a, b) for a in known for b in known if two_things.fits(a, b)), None)
    if pair is None:
        return None
    text = two_things.ask(*pair, voice, rng, cut)
    return Question(f"{file}#{two_things.INTENT}", file, two_things.INTENT, two_things.INTENT, text, "+".join(pair))


def _fits(intent: str, truth: Truth, polarity: bool | None) -> bool:
    return askable(intent, truth, None, polarity)


def askable(intent: str, truth: Truth, argument: str | None = None, polarity: bool | None = None) -> bool:
    """Whether the answer is firmly known, and is yes (`polarity`) or no where one of them is wanted."""
    if intent in typed_answers.LIMITS or intent in typed_answers.TALK or intent == "people":
        return True
    if intent in PROPOSITIONS or intent in WITH_ARGUMENT:
        holds = truth.holds(intent, argument)
        return holds is not None and (polarity is None or holds is polarity)
    if intent in ("age", "age_why", "child_or_adult"):
        return truth.years is not None
    if intent == "ethnicity":
        return truth.value("race") not in (None, "Others")
    if intent == "hair":
        return comparison.accepted("hair_colour", truth) is not None and truth.value("hair_seen") != "no"
    if intent in KINDS:
        return truth.value(KINDS[intent], sure=True) not in (None, "none")
    if intent in NEEDS:
        return truth.value(NEEDS[intent], sure=intent in FIRM) is not None
    fact = ABOUT[intent]
    return truth.value(fact, sure=fact not in SOFT) is not None and comparison.accepted(intent, truth) is not None
