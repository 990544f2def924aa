"""`freetext`: what answers claim, held against labels, and against themselves."""

from __future__ import annotations

import json

import pytest

from facellm.claims import age_claim, claims, conflicts, is_cut, repeats
from facellm.labels import group_span
from tests.tiny import make_tiny_adapter, make_tiny_internvl
from tests.train.face_sets import write_face_set
from train.evaluate.freetext import disagreements, examine, faults, judge, tally
from train.faces.known import Known


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("This appears to be a young woman.", {"gender": "Female"}),
        ("The person appears to be male. He smiles.", {"gender": "Male", "expression": "happiness"}),
        ("It is not clear whether the person is male or female.", {}),
        ("The apparent ethnicity is Indian (South Asian-looking).", {"ethnicity": "Indian"}),
        ("The apparent ethnicity is Asian (East or Southeast Asian-looking).", {"ethnicity": "Asian"}),
        ("The apparent ethnicity is Black (African or African-American-looking).", {"ethnicity": "Black"}),
        ("The picture is black and white.", {}),
        ("It is a black-and-white image.", {}),
        ("The ethnicity is not clear; White or Asian would both fit.", {}),
        ("The face shows a neutral expression. The mouth is closed.", {"expression": "neutral", "mouth": "closed"}),
        ("The overall impression is a smile that suggests happiness.", {"expression": "happiness"}),
        ("The head is clearly turned to the viewer's left.", {"pose": "turned to the viewer's left"}),
        ("The head is nearly frontal, turned slightly to the viewer's right.", {}),
        ("The face is frontal and looks towards the camera.", {"pose": "frontal"}),
        ("The lighting is dim. The image is blurred.", {"lighting": "dark", "sharpness": "blurred"}),
        (
            "Balanced light would help; the lack of sharpness would limit it.",
            {"lighting": "balanced", "sharpness": "blurred"},
        ),
        ("The image shows a frontal pose. It is sharp, which keeps marks.", {"pose": "frontal", "sharpness": "sharp"}),
        (
            "The face is turned towards the camera, and the mouth is slightly open.",
            {"pose": "frontal", "mouth": "open"},
        ),
        ("The image is too soft to judge pores and fine lines.", {"sharpness": "blurred"}),
        ("The image is neither sharp nor blurred.", {}),
        ("The light is bright and the picture is sharp.", {"lighting": "bright", "sharpness": "sharp"}),
        ("The mouth is closed and the eyes are normally open.", {"mouth": "closed", "eyes": "open"}),
        ("The face is long.", {}),
        # black and white: groups of people, not hair, clothes or teeth
        ("He has a short black beard.", {"gender": "Male"}),
        ("White teeth and white hair can be seen.", {}),
        ("The person wears a white blouse. The hair looks black.", {}),
        ("The man's beard is white.", {"gender": "Male"}),
        ("The person is dressed in black.", {}),
        ("In terms of ethnicity, the person looks White.", {"ethnicity": "White"}),
        ("In terms of ethnicity, the person looks Black.", {"ethnicity": "Black"}),
        ("A young Black woman with white hair.", {"gender": "Female", "ethnicity": "Black"}),
        ("The individual appears to be of White ethnicity.", {"ethnicity": "White"}),
        ("The ethnicity seems most likely to be Black.", {"ethnicity": "Black"}),
        ("She looks White. The person appears White and young.", {"gender": "Female", "ethnicity": "White"}),
        ("White", {"ethnicity": "White"}),
        ("Race: Black.", {"ethnicity": "Black"}),
        ("The ethnicity is White or Asian.", {}),
        # what is denied is not claimed
        ("The person is not smiling.", {}),
        ("No sign of anger is visible.", {}),
        ("No sign of anger, fear or sadness is visible.", {}),
        ("He does not look happy or surprised.", {"gender": "Male"}),
        ("She isn't smiling.", {"gender": "Female"}),
        ("The face shows no surprise but a smile.", {"expression": "happiness"}),
        ("The person is not smiling, with a neutral expression.", {"expression": "neutral"}),
        ("The lighting is not bright. The head is never turned to the viewer's left.", {}),
        ("The light is dim, not bright.", {"lighting": "dark"}),
        ("No, the light is bright.", {"lighting": "bright"}),
    ],
)
def test_claims(text, expected):
    assert claims(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The person is between about 25 and 40 years old.", (25, 40)),
        ("The apparent age is roughly 30 to 55 years.", (30, 55)),
        ("A 34-year-old man.", (34, 34)),
        ("A woman in her late thirties.", (36, 39)),
        ("An older man.", (50, 120)),
        ("A middle-aged woman between about 40 and 60 years old.", (40, 60)),
        ("The person is under about four years old.", (0, 4)),
        ("The person is not older than about five.", (0, 5)),
        ("She is between zero and five years old.", (0, 5)),
        ("The light is even.", None),
    ],
)
def test_age_claim(text, expected):
    assert age_claim(text) == expected


def known(years=30.0, **labels):
    return Known(None, "val/1.jpg", labels, years)


def test_verdicts():
    face = known(gender="Female", ethnicity="White", expression="happiness")
    text = "A man with a happy expression, between about 45 and 60 years old. The apparent ethnicity is White."
    assert judge(text, face) == {"gender": True, "ethnicity": False, "expression": False, "age": True}
    assert judge("The light is even.", face) == {}
    assert "ethnicity" not in judge("The apparent ethnicity is White.", known(ethnicity="Others"))
    assert judge("between about 33 and 40 years old", face)["age"] is False  # within the slack


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("The chin is level.", {"chin": True}),
        ("The chin is raised.", {"chin": False}),
        ("The chin is nearly level.", {"chin": True}),
        ("The jaw is tapered, the nose is narrow and the lips are full.", {"jaw": False, "nose": True}),
        ("The eyebrows sit high above the eyes.", {"brows": False}),
        ("The light comes mainly from the viewer's left.", {"light side": False}),
        ("The light is spread evenly over both sides of the face.", {"light side": True}),
        ("The light is spread almost evenly over both sides of the face.", {}),
        ("The picture is black and white.", {"colour": False}),
        ("The colours look natural.", {"colour": True}),
    ],
)
def test_shapes_chin_light_and_colour_are_held_against_measurements(text, verdict):
    seen = {
        "chin": "raised",
        "jaw": "tapered",
        "nose": "broad",
        "brows": "raised",
        "colour": "none",
        "light side": "left",
    }
    face = Known(None, "val/1.jpg", {}, 30.0, seen)
    assert judge(text, face) == verdict


def test_age_against_a_group_where_years_are_unknown():
    assert group_span("20-29") == (20, 29) and group_span("more than 70") == (70, 120)
    face = known(years=None, age_group="20-29")
    assert judge("A man between about 31 and 40 years old.", face)["age"] is False  # within the slack
    assert judge("A man between about 35 and 45 years old.", face)["age"] is True
    assert judge("A woman.", face) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The lips are closed. The face looks at the camera and the mouth is open.", {"mouth": ["closed", "open"]}),
        ("This is a young man. She appears to be happy.", {"gender": ["Female", "Male"]}),
        ("It is not clear whether the person is male or female.", {}),
        ("A young woman, between about 45 and 60 years old.", {"age": ["15-40", "45-60"]}),
        ("A baby girl, roughly 20 to 40 years old. The apparent ethnicity is White.", {"age": ["0-4", "20-40"]}),
        ("A middle-aged man between about 35 and 60 years old.", {}),
        ("The eyes are wide open and the eyes are narrowed.", {"eye opening": ["narrowed", "wide"]}),
        ("The nose is narrow. The nose is broad at the base.", {"nose": ["broad", "narrow"]}),
        ("More light falls on the side at the viewer's left. Both sides of the face are lit evenly.",
         {"light side": ["even", "left"]}),
        ("It is a black-and-white image. Colours are vivid.", {"colour": ["none", "some"]}),
        ("The apparent ethnicity is White. The person appears to be Indian.", {"ethnicity": ["Indian", "White"]}),
        ("The ethnicity is hard to judge and could be read as Black or as Indian.", {}),
        ("The lips are parted and the mouth is open.", {}),
        ("A White man. In terms of ethnicity, he looks Black.", {"ethnicity": ["Black", "White"]}),
        ("The head is tilted to one side. It is upright, without a sideways tilt.", {"tilt": ["tilted", "upright"]}),
        ("A White man with a black beard who is happy, not sad.", {}),
    ],
)  # fmt: skip
def test_conflicts_inside_one_answer(text, expected):
    assert conflicts(text) == expected


def test_repeated_sentences_loops_and_cut_ends():
    assert repeats("The nose is narrow. The lips are full. The nose is narrow!") == ["the nose is narrow"]
    assert repeats("It is and it is and it is and it is") == ["it is and (again and again)"]
    assert repeats("The dark light and the dark light and grain.") == ["the dark light and (again and again)"]
    assert repeats("It could be read as White or as White.") == ["White or as White"]
    assert repeats("The mouth is open. The mouth is wide. It is very, very, good, and White or as Black.") == []
    assert is_cut("The nose is") and not is_cut('It is "sharp."')


def row(attribute, text, face, image="people/val/1.jpg"):
    return {"attribute": attribute, "image": image, "text": text, **examine(text, face)}


def test_rates_and_disagreements():
    face = known(gender="Female", mouth="open")
    rows = [
        row("demographic", "A man between about 25 and 40 years old.", face),
        row("demographic", "A woman. A woman.", face),
        row("demographic", "The light", face),
        row("expression", "The mouth is open. The lips are closed.", face),
        row("detail", "A woman. The mouth is closed.", face),
    ]
    found = tally(rows)
    demographic = found["demographic"]
    assert (demographic["claims"]["count"], demographic["claims"]["total"]) == (1, 3)
    assert (demographic["answers"]["count"], demographic["answers"]["total"], demographic["asked"]) == (1, 2, 3)
    assert demographic["facts"]["gender"]["value"] == 0.5 and demographic["facts"]["age"]["count"] == 0
    assert demographic["known"] == {"age": 3, "gender": 3, "mouth": 3} and demographic["different"] == 3
    assert demographic["age_width"] == 15 and found["detail"]["age_width"] is None
    assert (demographic["repeats"]["count"], demographic["cut"]["count"], demographic["self"]["count"]) == (1, 1, 0)
    assert found["expression"]["self_facts"] == {"mouth": 1} and found["expression"]["answers"]["total"] == 0
    assert found["detail"]["facts"]["mouth"]["count"] == 1
    apart = disagreements(rows)
    assert apart["gender"] == {**apart["gender"], "count": 1, "total": 1} and apart["mouth"]["total"] == 0
    assert faults(rows[0]) == ["contradicts gender"] and "cut off" in faults(rows[2])
    assert faults(rows[3]) == ["says closed and open of mouth"]


def test_command_on_the_tiny_model(tmp_path, capsys):
    from train.__main__ import main

    data = write_face_set(tmp_path / "people", 6)
    base = make_tiny_internvl(tmp_path / "base")
    adapter = make_tiny_adapter(base, tmp_path / "adapter")
    assert main(["freetext", "--model", str(base), "--adapter", str(adapter), "--data", str(data), "--device", "cpu",
                 "--both", "--faces", "2", "--max-new-tokens", "4", "--out", str(tmp_path / "out")]) == 0  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 8 * 2
    read = (tmp_path / "out" / "descriptions.md").read_text()
    assert read.count("Known: ") == 2 and read.count("Measured: yaw_deg") == 2 and "## people/val/" in read
    printed = capsys.readouterr().out
    assert printed.count("| demographic | base |") == 3 and "2 of people" in printed
    assert "Answers that refuse: base 0 of 16; facellm 0 of 16." in printed
