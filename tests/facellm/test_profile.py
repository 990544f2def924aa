"""The profile: allowed labels, probabilities, calibration, and always valid JSON."""

import json
import math
from dataclasses import replace

import pytest

from facellm import FaceLLMError
from facellm.api import FaceLLM
from facellm.profile import FIELDS, TRAITS, fields_for, read_calibration, softmax


def test_the_fields():
    assert [f.key for f in FIELDS] == [
        "age_group", "gender", "ethnicity", "expression", "pose", "mouth", "eyes", "lighting", "sharpness",
    ]  # fmt: skip
    age = FIELDS[0]
    assert age.question.startswith("What is the age group of the person? Answer with one of: 0-2, 3-9, 10-19,")
    assert len(age.labels) == 9 and age.labels[-1] == "more than 70"
    assert all(len(set(f.labels)) == len(f.labels) > 1 for f in FIELDS)
    assert [f.key for f in FIELDS if f.sensitive] == ["ethnicity", "expression"]


def test_ethnicities_are_nanos_own_or_fairfaces_seven():
    nano, hub = ({f.key: f for f in fields_for(n)}["ethnicity"] for n in ("utkface", "fairface"))
    assert nano.labels == ("White", "Black", "Asian", "Indian", "Others")
    assert len(hub.labels) == 7 and "Middle Eastern" in hub.question


def test_switched_off_fields_are_gone(model, photo, monkeypatch):
    monkeypatch.setenv("FACELLM_SENSITIVE", "off")
    profile = model.profile(photo, "base")
    assert set(profile.fields) == {f.key for f in FIELDS} - {"ethnicity", "expression"}
    assert "White" not in json.dumps(profile.to_dict())


def test_softmax_and_temperature():
    assert softmax([0.0, math.log(3)]) == pytest.approx([0.25, 0.75])
    assert softmax([-1000.0, -1000.0]) == pytest.approx([0.5, 0.5])
    assert softmax([0.0, 2.0], 2.0) == pytest.approx(softmax([0.0, 1.0]))


def test_traits_are_asked_only_of_models_that_declare_them(loaded, photo):
    assert {f.key for f in fields_for("utkface", ["glasses", "gender"])} == {"glasses", "gender"}
    assert not {f.key for f in fields_for("utkface")} & {f.key for f in TRAITS}
    declared = replace(loaded.declared, fields=("gender", "glasses"))
    profile = FaceLLM(replace(loaded, declared=declared)).profile(photo, "base")
    assert list(profile.fields) == ["gender", "glasses"] and set(profile.fields["glasses"]) == set(TRAITS[0].labels)


def test_profiles_of_both_models(model, loaded, photo, tmp_path):
    plain = model.profiles(photo)
    (tmp_path / "calibration.json").write_text('{"base": {"gender": 50.0}}')
    warm = FaceLLM(replace(loaded, folder=tmp_path)).profile(photo, "base")
    assert plain["base"].fields != plain["facellm"].fields
    assert not plain["base"].calibrated and warm.calibrated
    assert warm.fields["age_group"] == pytest.approx(plain["base"].fields["age_group"], abs=1e-4)
    assert abs(warm.fields["gender"]["Male"] - 0.5) < abs(plain["base"].fields["gender"]["Male"] - 0.5)
    for profile in plain.values():
        data = profile.to_dict()
        assert json.loads(json.dumps(data, allow_nan=False)) == data
        for key, field in data["fields"].items():
            assert sum(field["probabilities"].values()) == pytest.approx(1, abs=1e-4)
            assert field["label"] == profile.best(key)
            assert field["probability"] == max(field["probabilities"].values())


def test_calibration_file(tmp_path):
    assert read_calibration(tmp_path) == {}
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps({"facellm": {"gender": 1.5}, "ece": {"gender": [0.1, 0.02]}}))
    assert read_calibration(tmp_path) == {"base": {}, "facellm": {"gender": 1.5}}
    for wrong in ('{"base": {"gender": 0}}', '{"base": {"gender": NaN}}', '{"base": {"gender": "x"}}', "[]", "{"):
        file.write_text(wrong)
        with pytest.raises(FaceLLMError, match=r"calibration\.json"):
            read_calibration(tmp_path)
