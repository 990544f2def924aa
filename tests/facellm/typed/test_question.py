"""Questions with options: how they are typed, kept in files, asked and calibrated."""

import json
import math

import pytest

from facellm import FaceLLMError, connect
from facellm.api import FaceLLM
from facellm.client.answers import data_uri
from facellm.typed import question as typed
from facellm.typed.question import Fit, TypedQuestion
from tests.facellm.server.asking import post


@pytest.mark.parametrize(
    ("text", "name", "ask", "options"),
    [
        ("Wears a tie?=yes,no", "wears-tie", "Wears a tie?", ("yes", "no")),
        ("tie: Wears a tie?= yes , no ", "tie", "Wears a tie?", ("yes", "no")),
        ("Is 2+2=4 on the shirt?=yes,no", "2-2-4-on", "Is 2+2=4 on the shirt?", ("yes", "no")),
        ("Hair=black,brown,red", "hair", "Hair", ("black", "brown", "red")),
        ("Wo ist er?=drinnen,draußen", "wo-ist-er", "Wo ist er?", ("drinnen", "draußen")),
    ],
)
def test_a_question_as_it_is_typed(text, name, ask, options):
    found = typed.parse(text)
    assert (found.name, found.ask, found.options) == (name, ask, options)
    assert found.question == f"{ask} Answer with one of: {', '.join(options)}."


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Wears a tie?", "write it as 'Wears a tie"),
        ("=yes,no", "write it as"),
        ("Tie?=yes", "has 1 options; give 2 to 12"),
        ("Tie?=yes,,no", "options; give 2 to 12"),
        ("Tie?=yes,Yes", "same option twice"),
        ("Tie?=" + ",".join(map(str, range(13))), "has 13 options"),
        ("Tie?=yes," + "n" * 90, "longer than 80 characters"),
        ("<|im_end|>=yes,no", "question is empty"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(text, says):
    with pytest.raises(FaceLLMError, match=says):
        typed.parse(text)


def test_a_file_keeps_question_and_fit(tmp_path):
    fit = Fit(2.0, (0.5, -0.5), {"images": 40, "ece_after": 0.03})
    question = TypedQuestion("tie", "Wears a tie?", ("yes", "no"), {"facellm": fit}, "abc")
    (tmp_path / typed.FOLDER).mkdir()
    question.write(tmp_path / typed.FOLDER / "tie.json")
    assert typed.read_folder(tmp_path) == (question,)
    assert typed.read_folder(tmp_path / "elsewhere") == ()
    p, calibrated = question.probabilities("facellm", [-1.0, -2.0], "abc")
    assert calibrated and p[0] == pytest.approx(1 / (1 + math.exp(-1.5)))
    for variant, model in (("base", "abc"), ("facellm", "other weights")):
        p, calibrated = question.probabilities(variant, [-1.0, -2.0], model)
        assert not calibrated and p[0] == pytest.approx(1 / (1 + math.exp(-1)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"form": "other"}, "its form is 'other'"),
        ({"options": ["yes"]}, "options; give"),
        ({"fits": {"facellm": {"temperature": 0, "biases": [], "measured": {}}}}, "its fit for facellm"),
        ({"fits": {"facellm": {"temperature": 1, "biases": [1.0], "measured": {}}}}, "does not belong to 2 options"),
        ({"fits": {"facellm": {"temperature": "x", "biases": [], "measured": {}}}}, "could not convert"),
    ],
)
def test_a_broken_file_is_a_sentence(tmp_path, change, says):
    path = tmp_path / "tie.json"
    path.write_text(json.dumps(typed.parse("tie: Tie?=yes,no").to_dict() | change))
    with pytest.raises(FaceLLMError, match=says):
        typed.read(path)
    path.write_text("[]")
    with pytest.raises(FaceLLMError, match="cannot be read as a question"):
        typed.read(path)


def test_both_models_choose_and_say_what_comes_from_the_photo(loaded, photo):
    model = FaceLLM(loaded)
    asked = ["Wears a tie?=yes,no", typed.make("Hair?", ["black", "brown", "red"], "hair")]
    found = model.choose(photo, asked, whole=True, without_picture=True)
    assert list(found) == ["base", "facellm"]
    for answers in found.values():
        assert [a.name for a in answers] == ["wears-tie", "hair"] and not any(a.calibrated for a in answers)
        for a in answers:
            assert sum(a.probabilities.values()) == pytest.approx(1) == sum(a.without_picture.values())
            assert a.probabilities != a.without_picture
    scores = model.engine.score(model.view(photo, whole=True).image, typed.parse(asked[0]).question, ["yes", "no"])
    p = found["facellm"][0].probabilities
    assert math.log(p["yes"] / p["no"]) == pytest.approx(scores[0] - scores[1], abs=1e-4)
    assert found["facellm"][0].to_dict()["option"] == found["facellm"][0].best


def test_a_fit_for_these_weights_is_used_and_said(loaded, photo):
    model = FaceLLM(loaded)
    plain = typed.parse("tie: Wears a tie?=yes,no")
    fitted = TypedQuestion(
        plain.name, plain.ask, plain.options, {"facellm": Fit(1.0, (9.0, 0.0))}, model.weights_digest
    )
    before, after = (model.choose(photo, q, ("facellm",), whole=True)["facellm"][0] for q in (plain, fitted))
    assert after.calibrated and not before.calibrated
    assert after.probabilities["yes"] > before.probabilities["yes"]
    assert not model.choose(photo, fitted, ("base",), whole=True)["base"][0].calibrated


def test_over_our_server_it_is_the_same_and_fits_count_there_too(server, here, photo):
    remote = connect(server.url)
    asked = [typed.parse("tie: Wears a tie?=yes,no"), typed.parse("Hair?=black,brown,red")]
    for blind in (False, True):
        local = here.choose(photo, asked, whole=True, without_picture=blind)
        told = remote.choose(photo, asked, whole=True, without_picture=blind)
        for variant, answers in local.items():
            for ours, theirs in zip(answers, told[variant], strict=True):
                assert theirs.probabilities == pytest.approx(ours.probabilities, abs=1e-4)
                assert (theirs.without_picture is None) != blind
    fits = {"facellm": Fit(1.0, (9.0, 0.0))}
    fitted = TypedQuestion("tie", "Wears a tie?", ("yes", "no"), fits, here.weights_digest)
    assert remote.choose(photo, fitted, ("facellm",), whole=True)["facellm"][0].calibrated


def test_the_server_says_what_is_wrong_with_a_question(server, photo):
    body = {"model": "base", "image": data_uri(photo), "questions": [{"ask": "Tie?", "options": ["yes", "Yes"]}]}
    reply = post(server, body, "/choices")
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "questions" and "same option twice" in reply.json()["error"]["message"]
    assert post(server, {**body, "questions": []}, "/choices").status_code == 400
