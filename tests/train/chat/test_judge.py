"""Verdicts on answers about synthetic faces, and that the rules find every answer of our own writer right."""

from __future__ import annotations

import random

import pytest

from tests.train.seen.made_faces import face, varied
from train.chat.judge import judge
from train.seen.claims.disputes import truth_of
from train.seen.typed import typed_answers
from train.seen.words.lexicon import Voice

MAN = truth_of(face())
WOMAN = truth_of(
    face(
        gender="Female",
        years=24.0,
        glasses="glasses",
        expression="smile",
        teeth="yes",
        hair_length="long",
        hair_colour="blond",
        makeup="light",
        earrings="yes",
    )
)


@pytest.mark.parametrize(
    ("truth", "intent", "text", "kind"),
    [
        (WOMAN, "glasses", "Yes.", "right"),
        (WOMAN, "glasses", "no", "wrong"),
        (MAN, "glasses", "None that I can see.", "right"),
        (MAN, "glasses", "I can't tell.", "evasive"),
        (MAN, "glasses", "The light is even.", "off_topic"),
        (MAN, "glasses", "Yes, the face is frontal.", "off_topic"),
        (WOMAN, "hair_colour", "Fair.", "right"),
        (WOMAN, "hair_colour", "Her hair is black.", "wrong"),
        (MAN, "hair_colour", "Dark brown.", "right"),
        (MAN, "age", "About 38.", "right"),
        (MAN, "age", "In his early fifties.", "wrong"),
        (MAN, "age", "Old enough.", "off_topic"),
        (MAN, "age", "Between 10 and 80.", "evasive"),
        (MAN, "child_or_adult", "It is a grown-up, not a child.", "right"),
        (MAN, "gender", "A woman.", "wrong"),
        (WOMAN, "gender", "She looks like a young woman.", "right"),
        (WOMAN, "mood", "She seems cheerful.", "right"),
        (WOMAN, "mood", "She looks sad.", "wrong"),
        (WOMAN, "mood_why", "Happy, because she is smiling.", "right"),
        (WOMAN, "mood_why", "Happy.", "evasive"),
        (MAN, "ethnicity", "He looks White.", "right"),
        (MAN, "ethnicity", "Asian", "wrong"),
        (MAN, "name", "I don't know who this is.", "right"),
        (MAN, "name", "His name is Tom.", "wrong"),
        (MAN, "job", "He is a doctor.", "wrong"),
        (MAN, "honesty", "Yes, he is honest.", "wrong"),
        (MAN, "hello", "Hello! What would you like to know?", "right"),
        (MAN, "thanks", "The hair is dark.", "off_topic"),
        (MAN, "people", "Just one person.", "right"),
        (MAN, "people", "Two people.", "wrong"),
        (MAN, "three_words", "Calm, dark-haired, adult.", "right"),
        (MAN, "three_words", "He is a very calm man with dark hair.", "wrong"),
        (MAN, "describe", "A man with short dark hair looks at the camera. His face is neutral.", "right"),
        (MAN, "describe", "A woman with glasses smiles.", "wrong"),
        (MAN, "tired", "No, his eyes are open and look awake.", "right"),
        (MAN, "one_sentence", "A man looks at the camera. He has dark hair.", "wrong"),
        (WOMAN, "passport", "No, she is smiling.", "right"),
        (MAN, "light", "It is dim.", "wrong"),
    ],
)
def test_verdicts(truth, intent, text, kind):
    assert judge(intent, truth, text).kind == kind


def test_json_is_read_and_its_values_are_compared():
    assert judge("json", WOMAN, '{"age": 27, "glasses": true}', "age, glasses").kind == "right"
    assert judge("json", WOMAN, '{"age": 27, "glasses": "no"}', "age, glasses").kind == "wrong"
    assert judge("json", WOMAN, '{"glasses": true, "age": 27}', "age, glasses").kind == "wrong"
    assert judge("json", WOMAN, "age: 27", "age").kind == "wrong"


@pytest.mark.parametrize(
    ("intent", "text", "said"),
    [
        ("glasses", "No, she is wearing glasses.", "begins with no and says yes"),
        ("teeth", "Yes, the teeth are not visible.", "begins with yes and says no"),
        ("smiling", "No, she is smiling.", "begins with no and says yes"),
        ("long_hair", "Yes, her hair is short.", "begins with yes and says no"),
        ("mouth_open", "Yes, the mouth is closed.", "begins with yes and says no"),
        ("describe", "She wears no glasses. Her glasses are round.", "glasses: glasses, none"),
    ],
)
def test_a_first_word_that_its_own_sentence_denies(intent, text, said):
    verdict = judge(intent, WOMAN, text)
    assert (verdict.kind, verdict.contradicts) == ("wrong", said)


@pytest.mark.parametrize(
    "text", ["", ".", '{"age": 3}', ", Co is smiling.", "is it, only)", "He is is calm.", "the the man", "<|im_end|>"]
)
def test_broken_text(text):
    verdict = judge("mood", MAN, text)
    assert verdict.broken and verdict.kind != "right"


@pytest.mark.parametrize("text", ["No, no, she is not smiling.", "Very, very calm.", 'She looks "neutral".', "no"])
def test_whole_text(text):
    assert not judge("mood", MAN, text).broken


def test_ethnicity_counts_only_where_nobody_asked():
    assert judge("describe", MAN, "A White man with short dark hair looks calm.").ethnicity
    assert not judge("ethnicity", MAN, "He looks White.").ethnicity
    assert not judge("hair_colour", WOMAN, "White.").ethnicity
    assert not judge("describe", MAN, "A man in a white shirt with black hair looks calm.").ethnicity


def test_our_own_answers_are_right_and_never_contradict_themselves():
    wrong = []
    for made in varied()[::2]:
        truth, rng = truth_of(made), random.Random(made.file)
        voice = Voice(truth, rng)
        for intent in (*typed_answers.ABOUT_FACE, *typed_answers.FORMATS, *typed_answers.LIMITS, *typed_answers.TALK):
            argument = typed_answers.argument_of(intent, truth, rng)
            if argument is None and intent in (*typed_answers.WITH_ARGUMENT, "json"):
                continue
            text = typed_answers.answer(intent, truth, voice, rng, argument)
            if text is None:
                continue
            verdict = judge(intent, truth, text, argument)
            if verdict.kind != "right" or verdict.broken or verdict.contradicts or verdict.ethnicity:
                wrong.append((intent, text, verdict))
    assert not wrong
