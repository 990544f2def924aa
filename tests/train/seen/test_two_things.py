"""Two questions in one: both answers, in their order, judged each by itself, in wordings of one cut."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.train.seen.made_faces import face, varied
from train.chat import selection
from train.chat.judge import judge
from train.seen.claims.disputes import truth_of
from train.seen.typed import two_things, wordings
from train.seen.words.lexicon import Voice

TRUTH = truth_of(face(glasses="none", hair_colour="brown", expression="laugh"))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("He has brown hair. He wears no glasses.", "right"),
        ("His hair is brown, and there are no glasses on his face.", "right"),
        ("His hair is blond. He wears no glasses.", "wrong"),
        ("His hair is brown. He wears glasses.", "wrong"),
        ("His hair is brown.", "evasive"),
        ("I can't say.", "evasive"),
    ],
)
def test_each_of_the_two_is_judged(text, kind):
    assert judge("two_things", TRUTH, text, "hair_colour+glasses").kind == kind


def test_a_yes_or_no_at_the_start_answers_the_first_alone():
    assert judge("two_things", TRUTH, "No. His hair is brown.", "glasses+hair_colour").kind != "wrong"
    assert judge("two_things", TRUTH, "Yes, he is laughing. No glasses can be seen.", "smiling+glasses").kind == "right"


def test_our_own_answers_say_both_and_the_second_begins_with_no_yes_or_no():
    asked = 0
    for made in varied():
        truth, rng = truth_of(made), random.Random(made.file)
        voice = Voice(truth, rng)
        known = [intent for intent in two_things.PAIRED if selection.askable(intent, truth)]
        pairs = [pair for pair in itertools.permutations(known, 2) if two_things.fits(*pair)]
        for first, second in rng.sample(pairs, min(12, len(pairs))):
            text = two_things.answer(first, second, truth, voice, rng)
            if text is not None:
                verdict = judge("two_things", truth, text, f"{first}+{second}")
                assert verdict.kind in ("right", "evasive") and not verdict.contradicts, (text, verdict)
                asked += verdict.kind == "right"
    assert asked > 100


@pytest.mark.parametrize("cut", wordings.CUTS)
def test_what_joins_the_questions_is_of_the_same_cut(cut):
    voice, rng = Voice(TRUTH, random.Random(0)), random.Random(1)
    frames = wordings.wordings()["two_things"]
    joints = {c: {f.replace("{first}", "").replace("{second}", "").strip("? ") for f in frames[c]} for c in frames}
    assert not joints["trained"] & joints["kept_out"]
    for _ in range(40):
        text = two_things.ask("hair_colour", "glasses", voice, rng, cut)
        assert text[0].isupper() and text.endswith("?") and "{" not in text


def test_they_are_chosen_for_the_measurement():
    chosen = selection.choose({f.file: truth_of(f) for f in varied()}, 30, intents=("two_things",))
    assert len(chosen) > 20
    for question in chosen:
        assert len(question.argument.split("+")) == 2 and question.judged == "two_things"
