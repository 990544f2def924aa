"""Sentences asked for alone: worded as in the answers, the rare ones always asked for."""

import dataclasses
import random

from facellm.claims import sentences
from tests.train.nano.teacher import read
from train.nano.language.single import single
from train.teachers.measured import wording


def test_a_single_sentence_is_worded_as_in_the_long_answers():
    found = dataclasses.replace(read(yaw=20), colour="greyscale", light_side="left")
    said = {
        text
        for write in wording.WRITERS.values()
        for seed in range(40)
        for text in sentences(write(found, random.Random(seed)))
    }
    alone = [turns for seed in range(40) for turns in single(found, random.Random(seed))]
    assert len(alone) > 100 and len({question for ((question, _),) in alone}) > 15
    assert {answer for ((_, answer),) in alone} <= said | {"The chin is nearly level."}


def test_light_of_a_dark_or_bright_picture_is_always_asked_for():
    asked = {question for seed in range(60) for ((question, _),) in single(read(grey=0.2), random.Random(seed))}
    light = {"How bright is the picture?", "What is the light like?", "How is the exposure?"}
    assert light <= asked
    for seed in range(30):
        assert any(question in light for ((question, _),) in single(read(grey=0.2), random.Random(seed)))
