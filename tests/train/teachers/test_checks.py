"""Prompts and hints, and the checks that an answer must pass."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from facellm.attributes import ATTRIBUTES, attribute
from facellm.labels import AGE_GROUPS, GENDERS
from tests.train.teachers.teacher_server import ANSWERS
from train.faces.label_files import RACES
from train.faces.label_rows import LabelRow
from train.teachers.checks import REASONS, check
from train.teachers.prompt import SYSTEM, hint, question

WOMAN = LabelRow(2, "a.jpg", "30-39", "Female", "East Asian", Path("a.jpg"))
BOY = replace(WOMAN, age="3-9", gender="Male", race="Black")
OLD = replace(WOMAN, age="more than 70", gender="Male", race="White")
TAIL = " The face is evenly lit and seen from the front, with the eyes open and the mouth closed."


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (WOMAN, "a woman, 30 to 39 years old, of East Asian ethnicity"),
        (BOY, "a boy, 3 to 9 years old, of Black ethnicity"),
        (replace(BOY, age="0-2", gender="Female"), "a baby girl, 0 to 2 years old, of Black ethnicity"),
        (replace(WOMAN, age="10-19"), "a girl, 10 to 19 years old, of East Asian ethnicity"),
        (replace(OLD, race="Latino_Hispanic"), "a man, more than 70 years old, of Latino or Hispanic ethnicity"),
        (replace(OLD, race="Others"), "a man, more than 70 years old"),
    ],
)
def test_hint(row, text):
    assert hint(row) == text


def test_no_child_is_called_man_or_woman():
    for age, gender, race in product(AGE_GROUPS, GENDERS, RACES):
        words = hint(replace(WOMAN, age=age, gender=gender, race=race)).split()
        assert (set(words) & {"man", "woman", "man,", "woman,"} == set()) == (age in ("0-2", "3-9", "10-19"))


def test_prompt_carries_question_and_hint():
    for one in ATTRIBUTES:
        text = question(one, WOMAN)
        assert text.startswith(one.question + "\n") and hint(WOMAN) in text
        assert hint(WOMAN) not in one.question
    for group in ("East Asian", "Latino or Hispanic", "Middle Eastern", "Southeast Asian"):
        assert group in SYSTEM


@pytest.mark.parametrize("key", ANSWERS)
def test_good_answers_pass(key):
    for row in (WOMAN, BOY, OLD):
        others = [text for other, text in ANSWERS.items() if other != key]
        assert check(ANSWERS[key], row, key, others=others) == []


@pytest.mark.parametrize(
    ("text", "row", "key"),
    [
        ("She appears to be in her early thirties, a woman of East Asian descent." + TAIL, WOMAN, "demographic"),
        ("The woman seems to be in her forties or late 20s." + TAIL, WOMAN, "demographic"),
        ("The boy wears a black and white shirt, held by his mother." + TAIL, BOY, "detail"),
        ("An elderly man, probably in his eighties, Caucasian." + TAIL, OLD, "demographic"),
        ("Based on the provided image, the light comes from the left." + TAIL, OLD, "lighting"),
        ("A woman holds the child on her arm before a wall with the label of a shop." + TAIL, WOMAN, "detail"),
        ("It is not possible to identify scars because of the blur." + TAIL, WOMAN, "forensic"),
        ("Her skin is as smooth as that of a child's doll and it's even." + TAIL, WOMAN, "skin"),
    ],
)
def test_what_must_not_be_set_aside(text, row, key):
    assert check(text, row, key) == []


@pytest.mark.parametrize(
    ("reason", "text", "row"),
    [
        ("refusal", "I’m sorry, but I can't help with that.", WOMAN),
        ("refusal", "I cannot determine the ethnicity of a person from a picture." + TAIL, WOMAN),
        ("refusal", "As an AI, I have no opinion on faces." + TAIL, WOMAN),
        ("hint", "We know that the person is a woman." + TAIL, WOMAN),
        ("hint", "Her features agree with the provided information." + TAIL, WOMAN),
        ("hint", "As stated, the woman is young." + TAIL, WOMAN),
        ("hint", "According to the label she is young." + TAIL, WOMAN),
        ("gender", "The man has a short beard and his hair is dark." + TAIL, WOMAN),
        ("gender", "A girl with her hair in plaits." + TAIL, BOY),
        ("age", "A woman in her sixties." + TAIL, WOMAN),
        ("age", "She may be in her early-to-mid 50's." + TAIL, WOMAN),
        ("age", "An adult man with dark eyes." + TAIL, BOY),
        ("age", "A man in his twenties." + TAIL, BOY),
        ("age", "The man is a toddler with blue eyes." + TAIL, OLD),
        ("ethnicity", "She is of Middle Eastern descent." + TAIL, WOMAN),
        ("ethnicity", "She is Southeast Asian." + TAIL, WOMAN),
        ("truncated", "The face is oval and the jaw is rounded, while the eyes are open and the mouth is", WOMAN),
        ("markup", "**Face shape:** oval." + TAIL, WOMAN),
        ("markup", "The face shows:\n- an oval outline.\n- a round jaw." + TAIL, WOMAN),
        ("markup", "1. An oval outline." + TAIL, WOMAN),
        ("markup", "# Structure\nAn oval outline." + TAIL, WOMAN),
        ("short", "A woman with dark hair.", WOMAN),
        ("short", "", WOMAN),
        ("long", TAIL * 30, WOMAN),
        ("language", "Das Gesicht ist oval und die Haut wirkt glatt, während die Augen offen sind und der Mund "
                     "geschlossen bleibt, was ruhig aussieht.", WOMAN),
        ("language", "这张照片中的人物面部轮廓呈椭圆形，皮肤光滑，光线均匀。" * 3 + ".", WOMAN),
    ],
)  # fmt: skip
def test_faults_are_found(reason, text, row):
    assert reason in check(text, row, "demographic")
    assert reason in REASONS


def test_what_the_server_says_counts():
    assert check(None, WOMAN, "skin", refusal="I won't.") == ["refusal"]
    assert check(None, WOMAN, "skin", finish_reason="content_filter") == ["refusal"]
    assert check(ANSWERS["skin"], WOMAN, "skin", finish_reason="length") == ["truncated"]


def test_near_duplicates():
    near = ANSWERS["skin"].replace("small pores", "some pores")
    assert check(near, WOMAN, "pose", others=[ANSWERS["skin"]]) == ["duplicate"]
    assert check(ANSWERS["skin"], WOMAN, "skin", others=[ANSWERS["pose"]]) == []


def test_keys_are_attributes():
    assert {attribute(key).key for key in ANSWERS} == {a.key for a in ATTRIBUTES}
