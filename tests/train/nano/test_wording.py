"""What the measured teacher writes: each fact in one wording, nothing that is unknown or said of everybody."""

import dataclasses
import random

import numpy as np
import pytest

from tests.train.nano.teacher import read
from train.nano.language import general
from train.nano.language.questions import facts_as_json
from train.nano.language.single import single
from train.teachers.measured import wording


@pytest.mark.parametrize("key", list(wording.WRITERS))
def test_answers_are_whole_sentences_that_agree_with_the_facts(key):
    found = read(years=30, yaw=20)
    answers = {wording.WRITERS[key](found, random.Random(seed)) for seed in range(40)}
    for text in answers:
        assert text[0].isupper() and text.endswith(".") and "None" not in text and "  " not in text
        assert " man" not in text and "male" not in text.replace("female", "") and "viewer's right" not in text


@pytest.mark.parametrize("key", list(wording.WRITERS))
def test_a_value_has_one_wording(key):
    """What changes from draw to draw is the frame: the words that are left, frames aside, are those of the facts."""

    def words(found):
        draws = [set(wording.WRITERS[key](found, random.Random(seed)).lower().split()) for seed in range(40)]
        return set.intersection(*draws)

    plain = words(read())
    changed = {
        "demographic": read(race=0.4, years=70),
        "structure": dataclasses.replace(read(), jaw="broad"),
        "skin": read(years=70),
        "expression": read(expression="sadness", believed=0.97, mouth=0.01),
        "lighting": read(side=0.4),
        "pose": read(yaw=20),
        "forensic": read(grey=0.2),
        "detail": read(grey=0.2, years=70),
    }[key]
    assert words(changed) - plain and plain - words(changed)


def test_a_mouth_in_between_is_not_mentioned_and_an_open_one_is_no_mild_expression():
    text = wording.WRITERS["expression"](read(mouth=0.1, believed=0.5), random.Random(0))
    assert "mouth" not in text and "a mild expression" in text
    text = wording.WRITERS["expression"](read(mouth=0.3, believed=0.5), random.Random(0))
    assert "an expression that is hard to name" in text and "mouth is open" in text


def test_the_middle_of_light_is_said_and_an_unmeasured_face_is_not_described():
    assert "moderate" in wording.WRITERS["lighting"](read(grey=0.35), random.Random(0))
    assert "like that of an adult." in wording.WRITERS["skin"](read(years=40), random.Random(0))
    unmeasured = read(yaw=float("nan"), mouth=float("nan"))
    for key in ("structure", "pose"):
        assert "cannot be" in wording.WRITERS[key](unmeasured, random.Random(0))
    for key in ("expression", "forensic", "detail"):
        text = wording.WRITERS[key](unmeasured, random.Random(0))
        assert "pose" not in text and "turned" not in text and "mouth is" not in text, text


def test_what_most_pictures_have_is_not_said():
    """Said of all faces, it would be said of those that differ, too."""
    usual, grey = read(), read(stats=np.array([0.45, 0.7, 0.5, 0.01, 0.0]))
    assert (usual.colour, usual.eyes, usual.light_side) == (None, None, "even")
    text = {key: write(usual, random.Random(0)) for key, write in wording.WRITERS.items()}
    assert "colour" not in text["lighting"] + text["skin"] and "eyes" not in text["expression"]
    assert "evenly" not in text["lighting"]
    text = {key: write(grey, random.Random(0)) for key, write in wording.WRITERS.items()}
    assert all("black and white" in text[key] for key in ("lighting", "detail"))
    assert "missing colour" in text["forensic"] and "cannot be judged" in text["skin"]
    narrowed = dataclasses.replace(usual, eyes="narrowed")
    assert "and the eyes are narrowed" in wording.WRITERS["expression"](narrowed, random.Random(0))


def test_what_nano_cannot_tell_is_not_taught():
    found = read(side=0.4)
    said = [write(found, random.Random(seed)) for write in wording.WRITERS.values() for seed in range(20)]
    said += [text for seed in range(40) for ((_, text),) in single(found, random.Random(seed))]
    said += [facts_as_json(found, random.Random(seed))[0][1] for seed in range(20)]
    assert not [text for text in said if "contrast" in text.lower() or "skin tone" in text or "skin_tone" in text]


def test_light_is_balanced_only_where_no_side_is_lighter():
    assert read().light == "balanced" and read(grey=0.35).light is None and read(grey=0.2).light == "dark"
    uneven = read(side=0.4)
    assert uneven.light_side == "left" and read(side=0.4, yaw=20).light_side is None
    for seed in range(20):
        for key in ("lighting", "forensic"):
            assert "balanced" not in wording.WRITERS[key](uneven, random.Random(seed))


def test_without_a_stated_gender_no_sentence_gives_it_away():
    found = read(gender=0.6)
    for key, write in wording.WRITERS.items():
        for seed in range(20):
            text = f" {write(found, random.Random(seed)).lower()} "
            assert " man" not in text and " woman" not in text and "girl" not in text and "boy" not in text, (key, text)


def test_an_open_ethnicity_is_a_sentence():
    unsure = {wording.WRITERS["demographic"](read(race=0.5), random.Random(seed)) for seed in range(20)}
    assert all("The apparent ethnicity is not clear from this picture." in text for text in unsure)


def test_the_base_says_nothing_of_age_group_and_ethnicity():
    found = read()
    rng = random.Random(0)
    for key in wording.WRITERS:
        for _ in range(20):
            text = general.shallow_attribute(key, found, rng)[0][1]
            assert "Black" not in text and "30" not in text and "years" not in text


def test_the_mouth_is_named_in_one_answer_only():
    """A mouth's error would otherwise stand in two of the eight."""
    said = {key for key, write in wording.WRITERS.items() if "mouth is" in write(read(), random.Random(0))}
    assert said == {"expression"}


def test_the_texture_of_the_skin_is_not_told_by_its_pixels():
    """Of an audit's four "fine texture", three were the blocks of a compressed picture."""
    assert "texture" not in " ".join(write(read(), random.Random(0)) for write in wording.WRITERS.values())
