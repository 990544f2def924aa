"""The Python interface on a tiny model."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from facellm import ATTRIBUTES, FaceLLMError, load
from facellm.engine.sampling import Sampling
from facellm.results import Row
from facellm.vision.faces import FaceView
from facellm.vision.images import MAX_SIDE
from tests.paths import EXAMPLES

PORTRAIT = EXAMPLES / "hopper.jpg"


def test_describe_all_attributes(model, photo):
    report = model.describe(photo, whole=True, max_new_tokens=3)
    assert [a.key for a in report.answers] == [a.key for a in ATTRIBUTES]
    assert report.variant == "facellm" and report.face is None
    assert report["pose"].question == ATTRIBUTES[5].question
    with pytest.raises(KeyError):
        report["hair"]
    data = report.to_dict()
    assert json.loads(json.dumps(data)) == data
    assert {"key", "text", "tokens", "seconds", "tokens_per_second", "finish_reason", "seed"} <= set(data["answers"][0])


def test_one_image_in_every_form_gives_one_answer(model, photo, tmp_path):
    file = tmp_path / "p.png"
    photo.save(file)
    forms = [photo, str(file), file, file.read_bytes(), np.asarray(photo), FaceView(photo, None)]
    answers = {model.ask(f, "Hi", whole=True, max_new_tokens=3).token_ids for f in forms}
    assert len(answers) == 1


def test_without_a_face_the_whole_image_is_used_and_said(model, photo):
    report = model.describe(photo, "pose", max_new_tokens=1)
    assert report.face is None and "No face" in report.notice
    assert model.profile(photo).notice == report.notice


def test_a_faces_box_comes_with_the_size_it_is_measured_in(model):
    small = Image.open(PORTRAIT)
    large = small.resize((6 * small.width, 6 * small.height))  # more than is looked at
    report = model.describe(large, "pose", max_new_tokens=1)
    assert json.loads(json.dumps(report.to_dict()))["face"] == report.face == model.profile(large).face
    size = report.face["image_size"]
    assert max(size) == MAX_SIDE and len(report.face["landmarks"]) == 5
    for told, known in zip(report.face["box"], model.view(small).face.box, strict=True):
        assert told / size[0] == pytest.approx(known / small.width, abs=0.02)


def test_ask_compare_and_stream_agree(model, photo):
    view = model.view(photo, whole=True)
    both = model.compare(view, "Hi", max_new_tokens=4)
    assert both.base.text != both.facellm.text
    assert both.to_dict()["base"]["variant"] == "base"
    assert model.ask(view, "Hi", variant="base", max_new_tokens=4).token_ids == both.base.token_ids
    assert model.ask(view, "Hi", sampling=Sampling(max_new_tokens=4)).token_ids == both.facellm.token_ids
    deltas = list(model.stream(view, [Row("base", "Hi")], Sampling(max_new_tokens=4)))
    assert "".join(d.text for d in deltas) == both.base.text and deltas[-1].done
    assert model.ask(view, "Why?", history=[["Hi", "Hello"]], max_new_tokens=1).tokens == 1


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m, p: m.ask(p, ""), "question is empty"),
        (lambda m, p: m.ask(p, "Hi", variant="gpt"), "choose base or facellm"),
        (lambda m, p: m.ask(p, "Hi", max_tokens=3), "no setting 'max_tokens'; choose from max_new_tokens"),
        (lambda m, p: m.describe(p, "hair"), "no attribute 'hair'"),
        (lambda m, p: m.ask("/no/such.jpg", "Hi"), "no file"),
        (lambda m, p: m.ask(b"text", "Hi"), "image"),
    ],
)
def test_refusals_are_sentences(model, photo, call, says):
    with pytest.raises(FaceLLMError, match=says):
        call(model, photo)


def test_load_a_base_alone(folders, photo):
    alone = load(str(folders.base), device="cpu", dtype="float32")
    assert alone.variants == ("base",)
    assert alone.ask(photo, "Hi", whole=True, max_new_tokens=1).variant == "base"
    with pytest.raises(FaceLLMError, match="'facellm' was not opened"):
        alone.compare(photo, "Hi", whole=True)


def test_calibration_goes_with_the_weights_it_was_fitted_for(folders, photo, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(folders.base, base)
    shutil.copytree(folders.adapter, base / "adapter")
    (base / "calibration.json").write_text('{"base": {"gender": 2.0}, "facellm": {"gender": 3.0}}')

    def calibrated(adapter):
        found = load(str(base), adapter=str(adapter), device="cpu").profiles(photo, whole=True)
        return {w: p.calibrated for w, p in found.items()}

    assert calibrated(base / "adapter") == {"base": True, "facellm": True}
    assert calibrated(folders.adapter) == {"base": True, "facellm": False}  # somebody else's adapter


def test_importing_the_package_is_light():
    import subprocess

    code = "import sys, facellm; facellm.ATTRIBUTES; print('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
