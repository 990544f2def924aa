"""The newer tabs' own functions without a browser: claims and chips, typed answers, what a tab remembers, all faces."""

from __future__ import annotations

import json
import time

import pytest

from demo.page import languages, texts
from demo.runtime import returning
from demo.runtime.photos import COME_BACK, EXAMPLES, Photos, read_photo
from demo.tabs import choices, people
from demo.tabs.claimed import annotated, claimed, interval
from facellm.errors import FaceLLMError
from facellm.labels import AGE_GROUPS

AGES = dict(zip(AGE_GROUPS, (0, 0, 0.05, 0.15, 0.45, 0.3, 0.05, 0, 0), strict=True))
FIELDS = {
    "age_group": AGES,
    "expression": {"neutral": 0.02, "happiness": 0.98},
    "mouth": {"open": 0.07, "closed": 0.93},
    "ethnicity": {"White": 0.6, "Asian": 0.4},
}


def test_an_interval_is_the_shortest_run_of_ages_that_holds_the_share():
    low, high, held = interval(AGES)
    assert (low, high) == (20, 49) and held == pytest.approx(0.9)
    assert interval({"60-69": 0.1, "more than 70": 0.9})[:2] == (70, 120)


def test_claims_get_the_profiles_probability_and_contradictions_are_marked():
    text = "She is smiling. The mouth is open.\n\nShe is 60 to 70 years old. She smiles. The hair is [dark](http://x)."
    told = annotated(text, FIELDS)
    assert told.count("smiling 98 %") == 1, "beside the first claim only"
    assert claimed(text, FIELDS) == ("expression", "mouth", "age_group"), "what can be asked why"
    assert told.index("smiling 98 %") < told.index("The mouth")
    assert "claim against" in told and "but by the profile: mouth closed 93 %" in told
    assert "but by the profile: age 20–49 90 %" in told
    assert "\n\nShe is" in told and "\\[dark]" in told, "paragraphs stay, links do not work"
    assert "Female" not in told, "gender is not in this profile"
    agreed = annotated("The person is 30 to 40 years old and might be Asian.", FIELDS)
    assert "age 20–49 90 %" in agreed and "against" not in agreed and "Asian 40" not in agreed


def test_traits_get_chips_in_plain_words():
    fields = {
        "glasses": {"none": 0.03, "glasses": 0.95, "sunglasses": 0.02},
        "facial_hair": {"none": 0.9, "stubble": 0.05, "moustache": 0.02, "goatee": 0.01, "beard": 0.02},
        "teeth": {"yes": 0.2, "no": 0.8},
    }
    told = annotated("He wears glasses and has a full beard. His teeth are visible.", fields)
    assert "glasses 95 %" in told and "but by the profile: no facial hair 90 %" in told
    assert "but by the profile: no teeth visible 80 %" in told
    assert "no glasses 3 %" not in annotated("He wears no glasses.", {"glasses": {"none": 0.6, "glasses": 0.4}})


def test_what_is_nearly_as_likely_is_no_contradiction():
    told = annotated("The ethnicity is Asian.", FIELDS)
    assert "Asian 40 %" in told and "against" not in told


@pytest.mark.parametrize("text", ["", "   ", "The hair is dark.", "It is not clear whether the mouth is open."])
def test_without_a_claim_there_is_no_chip(text):
    assert annotated(text, FIELDS).strip() == text.strip()


def test_typed_answers_are_read_or_refused_in_a_sentence():
    read = choices.read(" Wears a tie? ", "yes / no", True)
    assert (read.ask, read.options) == ("Wears a tie?", ("yes", "no"))
    assert choices.read("Hair?", "long, short or bald\nLong", True).options == ("long", "short", "bald")
    for question, options, says in (
        ("", "yes, no", "Write a question"),
        ("Tie?", "yes", "two or more"),
        ("Tie?", ",".join("abcdefghijklmnop"), "16 options"),
        ("Tie?", "no, " + "y" * 90, "longer than"),
    ):
        with pytest.raises(FaceLLMError, match=says):
            choices.read(question, options, True)
    with pytest.raises(FaceLLMError, match="switched off"):
        choices.read("Which one?", "happy, sad", False)


def test_what_a_tab_remembers_is_read_and_the_address_goes_first():
    kept = json.dumps({"key": "a" * 32, "settings": ["Be short.", 64, 0.5, 1, 7, "whole", 3]})
    back = returning.read(kept, {}, 1.0)
    assert back.key == "a" * 32 and back.settings == ("Be short.", 64, 0.5, 1, 7, "whole", 3)
    assert returning.read(kept, {"temperature": "0.2", "look": "face"}, 1.0).settings[2:6] == (0.2, 1, 7, "face")
    assert returning.read(None, {"tokens": "32"}, 1.0).settings[1] == 32
    assert returning.read(None, {"tab": "profile"}, 1.0) == returning.Returning()
    for told in ("", "not json", "[]", json.dumps({"key": "../x", "settings": [1]}), "{" * 9999):
        assert returning.read(told, {}, 1.0) == returning.Returning()
    for query in ({"temperature": "1.5"}, {"look": "up"}, {"tiles": "99"}, {"seed": "nan"}):
        assert returning.read(None, query, 1.0).settings is None


def test_a_photo_comes_back_to_its_tab_alone_and_is_forgotten_soon_after_the_page_closed():
    photos, photo = Photos(), read_photo(EXAMPLES / "collins.jpg")
    assert photos.adopt("first", "key") is None
    photos.put("first", photo)
    photos.leave("first")
    assert photos.adopt("other", "another key") is None and photos.get("other") is None
    assert photos.adopt("second", "key") is photo and photos.get("second") is photo
    photos.leave("second")
    used, _ = photos._kept["second"]
    assert used + photos._forget_after - time.monotonic() <= COME_BACK, "a closed page's photo is not kept for long"
    photos._kept["second"] = used - COME_BACK - 1, photo
    assert photos.adopt("third", "key") is None and photos.get("third") is None


def test_the_table_has_everybody_from_left_to_right():
    crew = read_photo(EXAMPLES / "crew.jpg")
    faces = people.everybody(crew)
    lefts = [face.view.face.box[0] for face in faces]
    assert len(faces) == 4 and lefts == sorted(lefts) and len({face.face_index for face in faces}) == 4
    told = {"fields": {"gender": {"probabilities": {"Male": 0.2, "Female": 0.8}}}}
    html = people.show([people.person(face, n, told) for n, face in enumerate(faces, 1)], faces[2].face_index, True)
    assert html.count("data-person=") == 4 and html.count("Female <small>80 %") == 4 and html.count('"chosen"') == 1
    assert people.show([], 0, True) == ""


def test_every_language_says_all_that_the_others_say():
    told = languages.translations()
    assert set(told) == {"es", "fr", "de", "zh"}
    for words in told.values():
        assert words.keys() == told["es"].keys()
        for english, said in words.items():
            assert said.strip() and said.count("{}") == english.count("{}"), english
    for own in (
        *texts.STARTERS.values(),
        *texts.MEASURED_STARTERS.values(),
        texts.PHOTO_FIRST,
        texts.NO_FACE,
        texts.WAITING,
        texts.NEW_PHOTO,
    ):
        assert own in told["de"], own
