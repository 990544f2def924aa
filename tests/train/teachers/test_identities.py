"""Identities are declared: stored answers stay known, and a change of wording without a new version is noticed here."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from facellm.attributes import ATTRIBUTES
from facellm.storage.files import text_digest
from tests.train.nano.teacher import read
from train.faces.label_rows import LabelRow
from train.teachers.measured import substitutes
from train.teachers.measured.teacher import MeasuredSettings
from train.teachers.measured.wording import WORDING_VERSION, WRITERS
from train.teachers.openai import Settings
from train.teachers.plan import Plan
from train.teachers.prompt import PROMPT_VERSION, SYSTEM, question

ROW = LabelRow(2, "val/1.jpg", "30-39", "Female", "East Asian", Path("val/1.jpg"), "0" * 64)
CHILD = LabelRow(3, "val/2.jpg", "0-2", "Male", "Others", Path("val/2.jpg"), "1" * 64)


@pytest.mark.parametrize(
    ("settings", "version", "identity"),
    [
        (Settings("gpt-4o"), PROMPT_VERSION, "16107c997106b647a006f4d9d519fa4a"),
        (MeasuredSettings(), WORDING_VERSION, "e2cf52ca3956165e05d57a8c945f0232"),
    ],
)
def test_answers_that_earlier_releases_stored_are_known(settings, version, identity):
    """As computed by the release whose versions were digests of source text."""
    assert Plan([ROW], ATTRIBUTES, settings, prompt_version=version).request(ROW, ATTRIBUTES[0]) == identity


def test_the_prompt_changes_with_its_version_only():
    texts = [SYSTEM, *(question(a, row) for a in ATTRIBUTES for row in (ROW, CHILD))]
    assert (PROMPT_VERSION, text_digest(*texts, length=8)) == ("1-9976aec0", "979beae8")


def test_the_measured_wording_changes_with_its_version_only():
    texts = []
    for changes in (
        {}, {"gender": 0.5, "race": 0.5, "grey": 0.2}, {"expression": "surprise", "mouth": 0.4},
        {"yaw": 30.0, "side": 0.6},
        {"yaw": -30.0, "pitch": 25.0, "years": 70}, {"smile": 0.2, "years": 1, "grey": 0.75},
        {"shapes": {"face_ratio": 0.5, "jaw_ratio": 0.5, "nose_width": 0.9, "lip_thickness": 0.9, "brow_raise": 0.9}},
    ):  # fmt: skip
        facts = read(**changes)
        for seed in range(5):
            texts += [write(facts, random.Random(seed)) for write in WRITERS.values()]
            for row in (ROW, CHILD):
                for mesh in (True, False):
                    texts += [substitutes.write(row, facts, mesh, a, random.Random(seed)) or "" for a in WRITERS]
    assert (WORDING_VERSION, text_digest(*texts, length=8)) == ("measured-1-f563c778", "5cd5a089")
