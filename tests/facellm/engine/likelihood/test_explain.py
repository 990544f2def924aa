"""Why: occlusion of image tokens behind the shared engine, and maps that mean something."""

import json
import math
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from facellm import FaceLLMError, load
from facellm.api import FaceLLM
from facellm.cli.main import main
from facellm.engine.likelihood import explain
from facellm.errors import StoppedError
from facellm.interface import BLANK
from facellm.typed.explanation import Explanation
from facellm.vision.heat_map import heat_map
from tests.paths import ROOT

ASK, OPTIONS = "Wears a tie?", ("yes", "no")
QUESTION = f"{ASK}={','.join(OPTIONS)}"


@pytest.fixture(scope="module")
def nano():
    """A tower that looks at pictures, unlike the tiny model's."""
    return load("nano", device="cpu")


def test_regions_are_hidden_one_by_one():
    features = torch.arange(25.0).view(25, 1)
    found = explain.hidden_regions(features, 2)  # 5 tokens a side: 2 and 3
    changed = [set(torch.nonzero(one[:, 0] != features[:, 0])[:, 0].tolist()) for one in found]
    assert changed[0] == {0, 1, 5, 6} and changed[3] == {12, 13, 14, 17, 18, 19, 22, 23, 24} - {12}
    for one, where in zip(found, changed, strict=True):
        assert torch.equal(one[list(where)], torch.full((len(where), 1), 12.0))
    for side in (0, 6):
        with pytest.raises(FaceLLMError, match="25 image tokens cannot be divided"):
            explain.hidden_regions(features, side)


def test_each_region_is_scored_as_it_would_be_alone(loaded, photo, monkeypatch):
    model = FaceLLM(loaded)
    engine, question = model.engine, f"{ASK} Answer with one of: yes, no."
    for variant in model.variants:
        scores = explain.occluded_scores(engine, photo, question, OPTIONS, variant, 2)
        assert scores.shape == (5, 2)
        assert scores[0].tolist() == pytest.approx(engine.score(photo, question, OPTIONS, variant), abs=1e-4)
        network = engine.networks[variant]
        features = network.encode(engine.processor.pixels(photo)).flatten(0, 1)
        for row, hidden in zip(scores[1:], explain.hidden_regions(features, 2), strict=True):
            engine.clear()
            with monkeypatch.context() as patch:
                patch.setattr(engine.features, "encode", lambda _, images, hidden=hidden: dict.fromkeys(images, hidden))
                assert row.tolist() == pytest.approx(engine.score(photo, question, OPTIONS, variant), abs=1e-4)
        engine.clear()


def test_influence_is_what_the_log_odds_lose():
    scores = torch.log(
        torch.tensor([[0.8, 0.1, 0.1], [0.5, 0.3, 0.2], [0.8, 0.05, 0.15], [0.9, 0.1, 0.0], [0.8, 0.2, 0.0]])
    )
    rows = explain.influence(scores.tolist(), 0, 2)
    assert rows[0] == pytest.approx([math.log(4), 0.0], abs=1e-6)
    assert rows[1] == pytest.approx([math.log(4 / 9), 0.0], abs=1e-6)


def test_a_region_of_the_map_is_that_region_of_the_picture(nano):
    """Tokens stand row by row, as the regions do: what is painted into a corner changes that corner's token most."""
    network, processor = nano.engine.networks["facellm"], nano.engine.processor
    side, plain = explain.tokens_a_side(network), Image.new("RGB", (112, 112), BLANK)
    before = network.encode(processor.pixels(plain)).flatten(0, 1)
    for row, column in ((0, 0), (0, side - 1), (side - 1, 0), (side - 1, side - 1)):
        painted, px = plain.copy(), 112 // side
        painted.paste((255, 0, 0), (column * px, row * px, (column + 1) * px, (row + 1) * px))
        change = (network.encode(processor.pixels(painted)).flatten(0, 1) - before).norm(dim=-1)
        assert int(change.argmax()) == row * side + column


def test_both_models_say_why_and_what_they_would_say_anyway(loaded, photo):
    model = FaceLLM(loaded)
    found = model.explain(photo, QUESTION, whole=True)
    assert list(found) == ["base", "facellm"]
    for variant, one in found.items():
        choice = model.choose(photo, QUESTION, (variant,), whole=True, without_picture=True)[variant][0]
        assert one.probabilities == pytest.approx(choice.probabilities, abs=1e-4)
        assert one.without_picture == pytest.approx(choice.without_picture, abs=1e-4)
        assert one.label == choice.best and len(one.influence) == len(one.influence[0]) == 2
        other = model.explain(photo, QUESTION, "yes" if one.label == "no" else "no", (variant,), whole=True)[variant]
        assert np.array(other.influence) == pytest.approx(-np.array(one.influence), abs=1e-6)  # of two labels
    with pytest.raises(FaceLLMError, match="'perhaps' is no answer to"):
        model.explain(photo, QUESTION, "perhaps", whole=True)


@pytest.mark.parametrize("key", ["age_group", "mouth"])
def test_a_field_is_explained_with_the_probabilities_of_the_profile(nano, key):
    photo = ROOT / "demo" / "examples" / "hopper.jpg"
    profiles, found = nano.profiles(photo), nano.explain(photo, key)
    assert any(nano._temperatures[v].get(key, 1.0) != 1.0 for v in found), "this model is calibrated"
    for variant, one in found.items():
        assert one.probabilities == pytest.approx(profiles[variant].fields[key], abs=1e-3)


def test_the_map_changes_with_the_last_layers(folders, photo):
    from facellm.weights.load import open_model

    model = FaceLLM(open_model(str(folders.base), device="cpu"))
    before = np.array(model.explain(photo, QUESTION, "yes", whole=True)["base"].influence)
    torch.manual_seed(0)
    for weight in model.loaded.model.model.language_model.layers[-1].parameters():
        weight.data = torch.randn_like(weight) * weight.std()
    model.engine.clear()
    after = np.array(model.explain(photo, QUESTION, "yes", whole=True)["base"].influence)
    assert np.abs(before - after).max() > 0.1 * np.abs(before).max()


@pytest.mark.parametrize("field", ["mouth", "eyes", "expression"])
def test_a_picture_of_one_colour_has_little_to_hide(nano, field):
    """Its tokens differ only by their places, so hiding some moves the answer far less than on a face."""
    blank = nano.explain(Image.new("RGB", (112, 112), BLANK), field, whole=True)["facellm"]
    assert blank.probabilities == pytest.approx(blank.without_picture, abs=1e-4)
    face = nano.explain(ROOT / "demo" / "examples" / "hopper.jpg", field)["facellm"]
    assert np.abs(blank.influence).max() < 0.5 * np.abs(face.influence).max()


def test_the_map_in_words_and_colours():
    rows = ((0.0, 0.0, 2.0), (0.0, -1.0, 0.0), (0.0, 0.0, 0.0))
    one = Explanation("facellm", "q", "yes", {"yes": 0.9, "no": 0.1}, {"yes": 0.6, "no": 0.4}, rows)
    assert "in the top right of the picture" in one.sentence and "still say 'yes': 60% (with it: 90%)" in one.sentence
    flat = Explanation("facellm", "q", "yes", {"yes": 0.9, "no": 0.1}, {"yes": 0.6, "no": 0.4}, ((0.01, 0.0),) * 2)
    assert flat.flat and flat.sentence.startswith("No region of the picture moves")
    drawn = np.asarray(heat_map(Image.new("RGB", (90, 90), (128, 128, 128)), rows)).astype(int)
    assert drawn[8, 82, 0] > drawn[8, 82, 2] + 60  # orange where it speaks for the answer
    assert drawn[45, 45, 2] > drawn[45, 45, 0] + 20  # blue where against
    assert np.abs(drawn[82, 8] - 128).max() < 10  # untouched elsewhere


def test_on_the_command_line(folders, photo, tmp_path, capsys):
    photo.save(tmp_path / "p.png")
    model = ["--model", str(folders.base), "--adapter", str(folders.adapter), "--device", "cpu", "--whole-image"]
    out = tmp_path / "out.json"
    with out.open("w") as file:
        assert (
            main(["why", str(tmp_path / "p.png"), QUESTION, *model, "--json", "--out", str(tmp_path / "m.png")], file)
            == 0
        )
    found = json.loads(out.read_text())
    assert set(found) == {"base", "facellm"} and found["base"]["sentence"]
    assert Image.open(tmp_path / "m.png").width == 2 * photo.width + 8
    with out.open("w") as file:
        assert main(["why", str(tmp_path / "p.png"), "mouth", *model, "--base"], file) == 0
    assert "Base: " in out.read_text() and "FaceLLM: " not in out.read_text()
    assert main(["why", str(tmp_path / "p.png"), "nonsense", *model]) == 2
    assert "is not a question with options" in capsys.readouterr().err


def test_it_ends_between_regions_when_it_is_stopped(loaded, photo):
    model, cancel = FaceLLM(loaded), threading.Event()
    exclusive, jobs = model.engine.scheduler.exclusive, []

    def counted(work):
        jobs.append(work)
        cancel.set()
        return exclusive(work)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(model.engine.scheduler, "exclusive", counted)
        model.explain(photo, QUESTION, whole=True, cancel=cancel)
    assert len(jobs) == 1, "the picture was encoded, no region was scored"
