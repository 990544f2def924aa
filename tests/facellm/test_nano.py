"""The embedded model as it is shipped: its files, and real answers about a real, uncropped portrait."""

import json
import re

import pytest

from facellm.api import load
from facellm.attributes import ATTRIBUTES
from facellm.labels import ETHNICITIES
from facellm.profile import FIELDS
from facellm.weights.registry import MODELS, NANO
from tests.paths import EXAMPLES

PORTRAIT = EXAMPLES / "astronaut.jpg"  # Eileen Collins, 36 years old
MB = 1e6


@pytest.fixture(scope="module")
def nano():
    return load("nano")


@pytest.fixture(scope="module")
def described(nano):
    return {answer.key: answer.text for answer in nano.describe(PORTRAIT).answers}


def test_the_folder_is_small_and_holds_safetensors_only():
    files = [path for path in NANO.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 80 * MB
    assert max(path.stat().st_size for path in files) < 24 * MB
    assert not [path for path in files if path.suffix in (".bin", ".pt", ".pth", ".pkl")]


def test_no_path_of_another_machine_is_in_its_files():
    for path in NANO.rglob("*"):
        if path.suffix in (".json", ".yaml", ".md", ".jinja"):
            assert not re.search(r"/(home|root|work|tmp|Users)/", path.read_text()), path


def test_base_and_adapter_share_one_copy_of_the_weights(nano):
    report = nano.report.to_dict()
    assert nano.variants == ("base", "facellm")
    assert report["device"] in ("cpu", "cuda", "mps") and json.dumps(report)
    weights = sum(parameter.numel() for parameter in nano.loaded.model.parameters())
    assert weights == pytest.approx(MODELS["nano"].parameters, rel=0.06)  # the registry's count has no adapter


def test_eight_different_fluent_answers(described):
    assert list(described) == [attribute.key for attribute in ATTRIBUTES]
    assert len(set(described.values())) == 8
    for text in described.values():
        assert text[0].isupper() and text.endswith(".") and len(text.split()) >= 6, text


def test_the_portrait_is_of_a_smiling_woman_facing_the_camera(described):
    assert "woman" in described["demographic"] and "woman" in described["detail"]
    low, high = (int(number) for number in re.search(r"(\d+) (?:to|and) (\d+)", described["demographic"]).groups())
    assert low <= 36 <= high
    assert re.search(r"smil|happ|cheerful", described["expression"].lower())
    assert re.search(r"frontal|camera|from the front", described["pose"].lower())
    assert "dark" not in described["lighting"].lower()


def test_the_base_is_shallower_than_facellm(nano, described):
    base = {answer.key: answer.text for answer in nano.describe(PORTRAIT, variant="base").answers}
    assert all(base[key] != described[key] for key in described)
    assert sum(map(len, base.values())) < sum(map(len, described.values()))


def test_follow_ups_take_the_conversation_into_account(nano):
    question = "Describe this image."
    first = nano.ask(PORTRAIT, question)
    second = nano.ask(PORTRAIT, "Is the mouth open?", history=[(question, first.text)])
    assert first.text and second.text and first.text != second.text


def test_compare_tells_the_two_apart(nano):
    found = nano.compare(PORTRAIT, "Describe the demographic attributes of the image based on the visual information.")
    assert found.base.text != found.facellm.text
    assert found.base.tokens > 0 and found.facellm.tokens_per_second > 0


def test_the_profile_is_calibrated_and_right_about_the_portrait(nano):
    profile = nano.profile(PORTRAIT)
    assert profile.calibrated and json.loads(json.dumps(profile.to_dict())) == profile.to_dict()
    assert set(profile.fields) == {field.key for field in FIELDS}
    for values in profile.fields.values():
        assert sum(values.values()) == pytest.approx(1, abs=1e-3)
    best = {key: max(values, key=values.get) for key, values in profile.fields.items()}
    assert best["gender"] == "Female" and best["expression"] == "happiness" and best["pose"] == "frontal"


def test_opened_by_its_folder_it_is_asked_for_its_own_labels():
    profile = load(str(NANO), adapter=str(NANO / "adapter")).profile(PORTRAIT)
    assert profile.calibrated and tuple(profile.fields["ethnicity"]) == ETHNICITIES


def test_its_calibration_error_is_small_and_stands_in_the_card():
    figures = json.loads((NANO / "calibration.json").read_text())["ece"]["figures"]["facellm"]
    card = (NANO / "README.md").read_text()
    for field, most in (("gender", 0.05), ("ethnicity", 0.05), ("age_group", 0.08)):
        assert figures[field]["after"] <= most and figures[field]["images"] >= 500
        assert f"| {figures[field]['before']:.3f} | {figures[field]['after']:.3f} |" in card


def test_the_model_card_tells_its_limits_and_licence():
    card = (NANO / "README.md").read_text()
    for needed in ("non-commercial", "UTKFace", "Wilson", "calibration", "not be used for decisions"):
        assert needed in card, needed
