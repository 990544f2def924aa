"""What people write in few words: "about 30" is an age, "turned to the left" a pose."""

from __future__ import annotations

import pytest

from facellm.labels import POSES
from train.people.agreement import shared_facts


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("about 30", (28, 32)),
        ("Around 45, I think.", (43, 47)),
        ("approx. 7", (5, 9)),
        ("30", (30, 30)),
        ("A woman, 30 years", (30, 30)),
        ("between 30 and 35", (30, 35)),
        ("25-30", (25, 30)),
        ("in her 30s", (30, 39)),
        ("late 40s", (46, 49)),
        ("a woman of about 30 years", (28, 32)),
        ("The head is turned by about 30 degrees.", None),
        ("about 30 % of the face is hidden", None),
        ("about 3 people", None),
        ("She smiles.", None),
    ],
)
def test_ages_in_few_words(text, span):
    assert shared_facts.age_of(text) == span


@pytest.mark.parametrize(
    ("text", "pose"),
    [
        ("turned to the left", POSES[1]),
        ("The head is turned to the right, the chin is level.", POSES[2]),
        ("looking left", POSES[1]),
        ("She faces to her left.", POSES[2]),  # her own left is the viewer's right
        ("turned to the viewer's left", POSES[1]),
        ("straight at the camera", POSES[0]),
        ("frontal", POSES[0]),
        ("slightly turned to the left", None),
        ("not turned to the left", None),
        ("turned to the left or turned to the right", None),
        ("The light comes from the left.", None),
        ("He left the room.", None),
    ],
)
def test_poses_in_few_words(text, pose):
    assert shared_facts.stated(text).get("pose") == pose
