"""`calibrate`: labels of the faces, temperatures found again, honest errors, and the file that the profile reads."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from facellm.errors import FaceLLMError
from facellm.profile import FIELDS, read_calibration, trained_fields
from facellm.typed import calibration
from tests.tiny import make_tiny_adapter, make_tiny_internvl
from tests.train.face_sets import write_face_set
from tests.train.seen.seen_data import write_seen
from train.evaluate.calibrate import calibrate, fold_of, with_traits
from train.faces.known import pixel_labels, read_known
from train.faces.measures import Pixels
from train.faces.sets import FaceSet
from train.reports import stats
from train.seen.known.tags import read_seen


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_face_set(tmp_path_factory.mktemp("calibrate") / "people", 72)


def test_a_broken_image_and_a_measurement_that_is_no_number_are_named(tmp_path):
    folder = write_face_set(tmp_path / "people", 4, archive=False)
    whole = (folder / "val" / "2.jpg").read_bytes()
    (folder / "val" / "2.jpg").write_bytes(whole[:-400])
    known = read_known([FaceSet(folder)], "train")
    with pytest.raises(FaceLLMError, match=r"people: the image val/2\.jpg is damaged"):
        read_known([FaceSet(folder)], "val")
    (folder / "train" / known[0].name.split("/")[1]).write_text("no image")
    with pytest.raises(FaceLLMError, match=rf"the image {known[0].name} is damaged"):
        known[0].image()
    (folder / "val" / "2.jpg").write_bytes(whole)
    (folder / "measurements.csv").write_text("file,found,mouth_open\nval/1.jpg,1,wide\n")
    with pytest.raises(FaceLLMError, match=r"measurements\.csv, val/1\.jpg: mouth_open is 'wide'"):
        read_known([FaceSet(folder)], "val")
    (folder / "measurements.csv").unlink()
    (folder / "labels.csv").write_text("file,age_years\nval/1.jpg,thirty\n")
    with pytest.raises(FaceLLMError, match=r"labels\.csv, val/1\.jpg: age_years is 'thirty'"):
        read_known([FaceSet(folder)], "val")


def overconfident(n: int, temperature: float, seed: int = 0):
    """Scores of a model that is `temperature` times too sure, and labels drawn from what it should have said."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, (n, 3))
    p = stats.softmax(logits, temperature)
    labels = (p.cumsum(1) > rng.random((n, 1))).argmax(1)
    return logits, labels, rng.integers(0, 2, n)


def test_temperatures_and_errors():
    temperatures, figures = calibrate({"gender": overconfident(4000, 3.0), "mouth": overconfident(4000, 1.0, 1)})
    assert temperatures["gender"] == pytest.approx(3.0, rel=0.1)
    assert temperatures["mouth"] == pytest.approx(1.0, rel=0.1)
    assert figures["gender"]["after"] < 0.03 < 0.1 < figures["gender"]["before"]
    assert figures["gender"]["nll_after"] < figures["gender"]["nll_before"]
    assert figures["gender"]["images"] == 4000


def test_after_is_measured_on_what_was_not_fitted():
    logits, labels, folds = overconfident(40, 1.0)
    # Labels of one half contradict those of the other: the halves' temperatures fit each other badly, and it shows.
    labels = np.where(folds == 0, logits.argmax(1), logits.argmin(1))
    _, figures = calibrate({"x": (logits, labels, folds)})
    fitted = stats.softmax(logits, stats.fit_temperature(logits, labels))
    assert figures["x"]["after"] > calibration.expected_calibration_error(fitted, labels)


def test_a_field_with_few_images_keeps_no_temperature():
    assert calibrate({"x": overconfident(19, 2.0)}) == ({}, {})


def test_folds_are_even_and_fixed():
    folds = [fold_of(f"utkface/val/{i}.jpg") for i in range(2000)]
    assert 900 < sum(folds) < 1100 and fold_of("a") == fold_of("a")


def test_known_labels(data):
    known = {k.name: k.labels for k in read_known([FaceSet(data)], "val")}
    assert len(known) == 72 and all(name.startswith("val/") for name in known)
    assert known["val/1.jpg"] | {"lighting": 0, "sharpness": 0} == {
        "age_group": "0-2", "gender": "Male", "ethnicity": "White", "expression": "neutral", "pose": "frontal",
        "lighting": 0, "sharpness": 0,
    }  # fmt: skip
    assert known["val/2.jpg"]["pose"] == "turned to the viewer's left" and "pose" not in known["val/4.jpg"]
    sharp = [k["sharpness"] for k in known.values() if "sharpness" in k]
    assert sharp.count("sharp") == sharp.count("blurred") == 18
    assert all(
        label in next(f for f in FIELDS if f.key == field).labels for k in known.values() for field, label in k.items()
    )


@pytest.mark.parametrize(("grey", "label"), [(50, "dark"), (90, None), (125, "balanced"), (160, None), (220, "bright")])
def test_light_is_judged_by_itself_and_not_beside_other_pictures(grey, label):
    found = pixel_labels([Pixels(grey / 255, 0.02)], [Pixels(level / 255, 0.02) for level in range(0, 250, 10)])
    assert found[0].get("lighting") == label


def test_sensitive_fields_are_fitted_even_where_they_are_hidden(monkeypatch):
    monkeypatch.setenv("FACELLM_SENSITIVE", "off")
    assert {f.key for f in trained_fields("utkface")} == {f.key for f in FIELDS}


def test_traits_are_fitted_where_the_model_declares_them_and_tags_tell_them(data, tmp_path):
    assert [f.key for f in trained_fields("utkface", ["glasses", "gender"])] == ["gender", "glasses"]
    known = read_known([FaceSet(data)], "val")
    name = FaceSet(data).name
    write_seen(tmp_path, [{"file": f"{name}/val/1.jpg", "glasses": "sunglasses", "hair_length": "tied"}])
    told = {face.name: face.labels for face in with_traits(known, read_seen(tmp_path))}
    assert told["val/1.jpg"]["glasses"] == "sunglasses" and told["val/1.jpg"]["hair_length"] == "long"
    assert told["val/1.jpg"]["gender"] == "Male" and "glasses" not in told["val/2.jpg"]


def test_command_writes_what_the_profile_reads(data, tmp_path, capsys):
    from facellm.api import load
    from tests.tiny import picture
    from train.__main__ import main

    base = make_tiny_internvl(tmp_path / "base")
    adapter = make_tiny_adapter(base, tmp_path / "adapter")
    out = tmp_path / "not" / "yet"
    command = ["calibrate", "--model", str(base), "--adapter", str(adapter), "--data", str(data), "--device", "cpu",
               "--nano-labels", "--out", str(out)]  # fmt: skip
    assert main(command) == 0
    assert "ECE after" in capsys.readouterr().out
    shutil.copy(out / "calibration.json", base)
    content = json.loads((out / "calibration.json").read_text())
    assert "1706.04599" in content["ece"]["definition"] and content["ece"]["bins"] == 15
    temperatures = read_calibration(base)
    assert set(temperatures) == {"base", "facellm"}
    for variant in temperatures:
        assert {"age_group", "gender", "ethnicity", "expression", "pose", "lighting"} <= set(temperatures[variant])
    profile = load(str(base), device="cpu").profile(picture(0), whole=True)
    assert profile.calibrated and sum(profile.fields["gender"].values()) == pytest.approx(1)
    write_seen(tmp_path / "tags", [{"file": f"{FaceSet(data).name}/val/1.jpg"}])
    assert main([*command, "--tags", str(tmp_path / "tags")]) == 2
    assert "declares no field that tags tell" in capsys.readouterr().err


def test_an_unusable_folder_is_found_before_anything_is_scored(data, tmp_path, capsys):
    from train.__main__ import main

    (tmp_path / "file").write_text("")
    assert main(["calibrate", "--data", str(data), "--out", str(tmp_path / "file" / "new")]) == 2
    told = capsys.readouterr()
    assert "cannot be written into" in told.err and "questions" not in told.err and not told.out


def test_nothing_to_fit_is_a_sentence(tmp_path, capsys):
    from train.__main__ import main

    data = write_face_set(tmp_path / "people", 4)
    assert main(["calibrate", "--data", str(data), "--split", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
