"""Questions without a picture, and pictures without a face."""

from __future__ import annotations

import json
import random

from PIL import Image

from facellm.attributes import ATTRIBUTES
from train.faces.measures import measure_pixels
from train.mini.language import text_only
from train.seen.known.pixel_cache import load, save
from train.seen.typed import no_face
from train.seen.typed.typed_answers import ABOUT_FACE, FORMATS, LIMITS


def test_prompts_of_training_and_measuring_do_not_meet():
    trained, kept = text_only.prompts("trained"), text_only.prompts("kept_out")
    assert len(trained) >= 200 and len(kept) >= 100
    assert len(set(trained)) == len(trained) and not set(trained) & set(kept)
    assert trained == text_only.prompts("trained") != text_only.prompts("trained", seed=1)


def test_no_face_is_said_in_every_attribute_and_to_every_question():
    for seed in range(8):
        rng = random.Random(seed)
        for attribute in ATTRIBUTES:
            question, answer = no_face.attribute(attribute.key, rng, "shapes")
            assert question == attribute.question and no_face.says_no_face(answer)
        for intent in (*ABOUT_FACE, *LIMITS, *FORMATS):
            question, answer = no_face.typed(intent, rng, "shapes")
            assert question and "{" not in question
            if intent == "json":
                assert set(json.loads(answer).values()) == {None}
            else:
                assert no_face.says_no_face(answer), (question, answer)
        assert len(no_face.pairs(rng, "clouds")) == 6


def test_pixels_are_measured_and_kept(tmp_path):
    grey = measure_pixels(Image.new("RGB", (64, 64), (128, 128, 128)))
    assert abs(grey.light - 0.5) < 0.01 and grey.detail < 1e-5 and grey.colour == 0 and grey.side == 0
    half = Image.new("RGB", (112, 112), (220, 40, 40))
    half.paste((20, 20, 20), (56, 0, 112, 112))
    found = measure_pixels(half)
    assert found.side > 0.5 and found.colour > 0.3
    save(tmp_path / "p.npz", {"a/b.jpg": grey})
    assert (
        load(tmp_path / "p.npz")["a/b.jpg"].light == grey.light
        or abs(load(tmp_path / "p.npz")["a/b.jpg"].light - grey.light) < 1e-6
    )
    assert load(tmp_path / "none.npz") == {}
