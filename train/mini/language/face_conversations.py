"""All pairs of one face: the eight attributes, what people type, choices, conversations, lines of facts.

The same face and seed give the same conversations.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from facellm.attributes import ATTRIBUTES
from train.mini.language import choices, fact_lines, profile_answers, yes_or_no
from train.mini.language.balance import Balance
from train.seen.claims.disputes import truth_of
from train.seen.descriptions import eight
from train.seen.known.face_record import Face
from train.seen.known.truth import PROPOSITIONS, WITH_ARGUMENT, Truth
from train.seen.typed import two_things, typed_answers, wordings
from train.seen.typed.dialogues import converse, described, small_talk
from train.seen.words.lexicon import Voice

Turns = list[tuple[str, str]]
SHORT_PHOTO = {a.key: a.question for a in ATTRIBUTES}


@dataclass(frozen=True)
class Mix:
    """How many pairs of each kind a face gives at most. eight: of the eight attributes.  typed: short questions, about
    so many.  two: about two things at once.  formats: descriptions, one sentence, three words, alt text, JSON.  limits:
    what a face cannot tell.  talk: the chance of small talk.  profile: questions of the profile's fields, answered with
    a label.  sheets: lines of all facts that are known.  yes_or_no: conversations of bare answers."""

    eight: int = 8
    typed: int = 10
    two: int = 2
    formats: int = 2
    limits: int = 1
    talk: float = 0.15
    choices: int = 4
    conversations: int = 1
    fact_lines: int = 1
    profile: int = 3
    sheets: int = 0
    yes_or_no: int = 0


FULL = Mix()
NOTHING = Mix(eight=0, typed=0, two=0, formats=0, limits=0, talk=0, choices=0, conversations=0, fact_lines=0, profile=0)
SHEET, YES_OR_NO = replace(NOTHING, sheets=1), replace(NOTHING, yes_or_no=1)


def pairs_of(face: Face, balance: Balance, seed: int = 0, mix: Mix = FULL) -> list[Turns]:
    """Every conversation about the face, in a random order."""
    rng = random.Random(f"{seed}:{face.file}")
    truth = truth_of(face)
    voice = Voice(truth, rng)
    found: list[Turns] = []
    written = eight.write(truth, voice, rng) if mix.eight else {}
    keys = list(written)
    for key in sorted(rng.sample(keys, min(mix.eight, len(keys))), key=keys.index):
        found.append([(SHORT_PHOTO[key], written[key])])
    found += typed(truth, voice, balance, rng, mix.typed)
    for _ in range(mix.two):
        turn = two_things.turn(truth, voice, rng)
        found += [[turn]] if turn else []
    found += formats(truth, voice, rng, mix.formats)
    for intent in rng.sample(typed_answers.LIMITS, mix.limits):
        found.append([(wordings.ask(intent, voice, rng), typed_answers.answer(intent, truth, voice, rng) or "")])
    if rng.random() < mix.talk:
        found.append([small_talk(rng)])
    tasks = list(choices.tasks())
    rng.shuffle(tasks)
    tasks.sort(key=lambda task: task not in choices.BENCHMARK or rng.random() < 0.4)
    asked = [choice for task in tasks if (choice := choices.choose(task, truth, rng))][: mix.choices]
    found += [[(choice.question, choice.answer)] for choice in asked]
    for _ in range(mix.conversations):
        turns = described(truth, voice, rng) if rng.random() < 0.25 else converse(truth, voice, rng)
        found += [turns] if turns else []
    for _ in range(mix.fact_lines):
        line = fact_lines.line(truth, balance, rng)
        found += [[line]] if line else []
    for _ in range(mix.sheets):
        told = fact_lines.sheet(truth, rng)
        found += [[told]] if told else []
    for _ in range(mix.yes_or_no):
        turns = yes_or_no.turns(truth, voice, balance, rng)
        found += [turns] if turns else []
    found += profile_answers.pairs(truth, rng, mix.profile)
    rng.shuffle(found)
    return [turns for turns in found if all(question and answer for question, answer in turns)]


def typed(truth: Truth, voice: Voice, balance: Balance, rng: random.Random, count: int) -> list[Turns]:
    """Short questions: those with a rare answer first, yes and no equally often over all faces; 0 asks none."""
    if not count:
        return []
    intents = list(typed_answers.ABOUT_FACE)
    rng.shuffle(intents)
    kept = [intent for intent in intents if balance.keeps(intent, truth, rng)]
    # Every yes-or-no question that was kept is asked, or yes and no would no longer be equal; values fill the rest.
    kept.sort(key=lambda intent: intent not in PROPOSITIONS)
    found: list[Turns] = []
    for intent in kept:
        if len(found) >= count and intent not in PROPOSITIONS:
            break
        argument = typed_answers.argument_of(intent, truth, rng)
        if intent in WITH_ARGUMENT and argument is None:
            continue
        text = typed_answers.answer(intent, truth, voice, rng, argument)
        if text:
            found.append(
                [
                    (
                        wordings.ask(
                            intent, voice, rng, "trained", typed_answers.shown_argument(intent, argument, voice)
                        ),
                        text,
                    )
                ]
            )
    return found


def formats(truth: Truth, voice: Voice, rng: random.Random, count: int) -> list[Turns]:
    """Answers in a form that is asked for."""
    found: list[Turns] = []
    for intent in rng.sample(typed_answers.FORMATS, min(count, len(typed_answers.FORMATS))):
        argument = typed_answers.argument_of(intent, truth, rng)
        text = typed_answers.answer(intent, truth, voice, rng, argument) if intent != "json" or argument else None
        if text:
            found.append([(wordings.ask(intent, voice, rng, argument=argument), text)])
    return found
