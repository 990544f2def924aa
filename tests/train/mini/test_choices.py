"""Multiple choice that has to be read: the right option is right, distractors never are, wordings are kept apart."""

from __future__ import annotations

import random
import re

import pytest

from tests.train.seen.made_faces import face, varied
from train.mini.language import choices
from train.seen.claims.disputes import truth_of

TRUTHS = [truth_of(made) for made in varied()]


@pytest.mark.parametrize("cut", ["trained", "kept_out"])
def test_the_right_option_is_a_word_of_the_label_and_the_letter_is_its_place(cut):
    table, asked = choices.table(), 0
    for seed in range(3):
        for truth in TRUTHS:
            for task in choices.tasks():
                choice = choices.choose(task, truth, random.Random(seed), cut, published=0.0)
                if choice is None:
                    continue
                asked += 1
                label = choices.label_of(task, truth)
                assert choice.right in table["tasks"][task]["labels"][label][cut]
                assert len({option.lower() for option in choice.options}) == len(choice.options) <= 4
                assert choice.options["ABCD".index(choice.letter)] == choice.right
                assert choice.answer.lower().strip("().").startswith((choice.letter.lower(), choice.right.lower()[:3]))
                assert all(option in choice.question for option in choice.options)
    assert asked > 200


def test_distractors_and_labels_of_the_cuts_do_not_meet():
    table = choices.table()
    assert not set(table["distractors"]["trained"]) & set(table["distractors"]["kept_out"])
    for task in table["tasks"].values():
        assert not set(task["questions"]["trained"]) & set(task["questions"]["kept_out"])
        for words in task["labels"].values():
            assert not {w.lower() for w in words["trained"]} & {w.lower() for w in words["kept_out"]}


def test_no_distractor_could_be_meant_where_there_is_none_of_something():
    truth = truth_of(face())
    for seed in range(60):
        choice = choices.choose("glasses", truth, random.Random(seed))
        assert not {option.lower() for option in choice.options} & {"not visible", "none of the above", "other"}


def test_published_form_and_answers_by_text():
    truth = truth_of(face())
    published = choices.choose("gender", truth, random.Random(0), published=1.0)
    assert re.search(r"\(A\) .+\n\(B\) ", published.question) and published.answer in "ABCD"
    answers = {choices.choose("hair_length", truth, random.Random(seed)).answer for seed in range(60)}
    assert any(len(answer) == 1 for answer in answers) and any(answer in ("short", "cut short") for answer in answers)
