"""What report, profile and About show, without a browser."""

from __future__ import annotations

from demo.page.render import percent
from demo.runtime import parameters
from demo.runtime.host import Host
from demo.runtime.options import Options
from demo.runtime.streaming import Cell
from demo.tabs import about, attributes, profile, report
from facellm.profile import FIELDS
from facellm.weights.registry import MODELS
from tests.demo.stand_ins import finished, stand_in


def test_report_escapes_and_holds_its_picture(collins):
    made = report.to_dict([finished(), Cell("facellm", "unfinished")], collins, {"name": "nano"})
    assert len(made["answers"]) == 1 and made["photo"]["faces"] == 1
    page = report.to_html(made, collins)
    assert "<b>face</b>" not in page and "&lt;b&gt;" in page and "data:image/jpeg;base64," in page
    assert "http" not in page.replace("charset", "")
    assert report.links([Cell("facellm", "x")], collins, {}) == ""


def test_report_tells_how_each_answer_was_made(collins):
    cell = finished()
    assert "The face that was described" in report.to_html(report.to_dict([cell], collins, {}), collins)
    cell.parameters = parameters.read(look="whole", tiles=6, temperature=0.7, seed=3)
    made = report.to_dict([cell], collins, {})
    answer = made["answers"][0]
    assert [answer[k] for k in ("look", "tiles", "temperature", "seed")] == ["whole", 6, 0.7, 3]
    page = report.to_html(made, collins)
    assert "The face that was described" not in page
    assert "whole photo in up to 6 tiles, temperature 0.7, seed 3, 4 tokens" in page
    foot = attributes.foot(cell)
    assert foot.count("FaceLLM · 1.0 s") == 1 and foot.index("<details") < foot.index("4 tokens · 4 tokens/s")


def measured(**changes):
    one = {"variant": "facellm", "calibrated": True, "face": {"box": [0, 0, 1, 1]}, **changes}
    return {**one, "fields": {"gender": {"probabilities": {"Male": 0.3, "Female": 0.7}}}}


def test_profile_claims_calibration_for_crops_of_faces_only():
    notes = [
        profile.show({"facellm": profile.allowed(measured(**changes), True)})
        for changes in ({}, {"calibrated": False}, {"face": None})
    ]
    assert "are calibrated" in notes[0] and "for this model" in notes[1] and "whole photos" in notes[2]
    assert profile.allowed(measured(face=None), True)["calibrated"] is False


def test_profile_shows_each_field_once_per_model(host, collins):
    measured = host.profiles(collins.view)
    shown = profile.show(measured)
    assert shown.count("<h3 ") == shown.count("data-why=") == len(FIELDS) and "Not calibrated" in shown
    muted = {w: profile.allowed(p, False) for w, p in measured.items()}
    assert "ethnicity" not in muted["base"]["fields"] and "Ethnicity" not in profile.show(muted)
    assert profile.tables(muted).count("<tr>") > 10


def test_small_probabilities_are_not_shown_as_nothing():
    assert percent(0.0) == "0 %" and percent(0.001) == "<1 %" and percent(0.126) == "13 %"


def test_about_shows_the_card_without_machine_paths(host):
    html = about.model_card(host.card(), "")
    assert "MiB" in html and "/tmp" not in html
    assert "still" in about.model_card({}, "still loading")


def test_no_path_of_this_machine_is_in_the_card():
    card = stand_in(
        name="/srv/models/face",
        base="/var/cache/hub/models--OpenGVLab--InternVL3-8B-hf/snapshots/0a1b",
        facellm="C:\\models\\lora",
        device="cuda",
        memory_bytes=7,
        reason="it is served at http://127.0.0.1:8000/v1 and/or asked for",
        notes=["the base of /srv/models/face is opened without a FaceLLM: see /srv/log."],
    ).card()
    assert card["name"] == "face" and card["base"] == "OpenGVLab/InternVL3-8B-hf" and card["facellm"] == "lora"
    assert card["reason"] == "it is served at http://127.0.0.1:8000/v1 and/or asked for" and card["memory_bytes"] == 7
    assert card["notes"] == ["the base of face is opened without a FaceLLM: see log."]
    assert Host(Options()).card() == {}


def test_about_speaks_of_the_loaded_model(tmp_path, monkeypatch):
    """Its figures are the ones beside its own weights; a model without such says where to get them."""
    mine = MODELS["nano"].__class__("mine", str(tmp_path), adapter="here", decoder=150_000_000, other=7_000_000)
    monkeypatch.setitem(MODELS, "mine", mine)
    card, path = {"name": "mine"}, tmp_path / "results.json"
    assert "python -m train evaluate" in about.figures(card) and "FaceLLM-mine" in about.figures(card)
    path.write_text('{"rows": [{"metric": "gender <b>", "facellm": "91.0 %", "base": 0.54321}, {"metric": "age"}]}')
    html = about.figures(card)
    assert "91.0 %" in html and "0.543" in html and "gender &lt;b&gt;" in html and html.count("—") == 2
    path.write_text("not json")
    assert "python -m train evaluate" in about.figures(card)
    assert "python -m train evaluate" in about.figures({"name": "/some/folder"})
    first = about.introduction(card)
    assert "<b>FaceLLM-mine</b>, 157 million parameters, made here; not the paper’s 38B" in first
    assert "billion parameters" in about.introduction({"name": "8b"}) and "made here" not in about.introduction(
        {"name": "8b"}
    )
    assert about.read_more().count("<a href=") == 2 and "Model card" in about.read_more()
