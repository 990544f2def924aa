"""`freetext`: claims read from sentences, held against labels."""

from __future__ import annotations

import json

import pytest

from tests.tiny import make_tiny_adapter, make_tiny_internvl
from tests.train.faces import write_face_set
from train.freetext import age_claim, claims, judge, tally
from train.labelled import Known


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
        ("The face is long.", {}),
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


def test_rates():
    rows = [
        {"attribute": "demographic", "verdict": {"gender": True, "age": False}},
        {"attribute": "demographic", "verdict": {"gender": False}},
        {"attribute": "demographic", "verdict": {}},
    ]
    found = tally(rows)["demographic"]
    assert (found["claims"]["count"], found["claims"]["total"]) == (1, 3)
    assert (found["answers"]["count"], found["answers"]["total"], found["asked"]) == (1, 2, 3)
    assert found["facts"]["gender"]["value"] == 0.5


def test_command_on_the_tiny_model(tmp_path, capsys):
    from train.__main__ import main

    data = write_face_set(tmp_path / "people", 6)
    base = make_tiny_internvl(tmp_path / "base")
    adapter = make_tiny_adapter(base, tmp_path / "adapter")
    assert main(["freetext", "--model", str(base), "--adapter", str(adapter), "--data", str(data), "--device", "cpu",
                 "--faces", "2", "--max-new-tokens", "4", "--out", str(tmp_path / "out")]) == 0  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 8 * 2
    assert (tmp_path / "out" / "descriptions.md").read_text().count("Known: ") == 2
    assert "demographic" in capsys.readouterr().out
