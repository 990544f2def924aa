"""The card's tables hold the figures that were measured, between their marks, and nothing else is touched."""

import json

import pytest

from facellm.errors import FaceLLMError
from train.nano.model_card import write_card


def share(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "total": 40}


def part(value):
    return {"accuracy": share(value), "balanced": share(value - 0.05)}


@pytest.fixture
def measured(tmp_path):
    fields = ("gender", "ethnicity", "age_group", "expression", "pose")
    ece = {
        variant: {name: {"images": 40, "accuracy": share(value), "before": 0.2, "after": 0.0123} for name in fields}
        for variant, value in (("base", 0.3), ("facellm", 0.8))
    }
    (tmp_path / "calibration.json").write_text(json.dumps({"ece": {"figures": ece}}))
    models = {
        variant: {"generate": {"overall": part(value), "tasks": {"age": part(value)}}}
        for variant, value in (("base", 0.25), ("facellm", 0.625))
    }
    pair = {"gain": 0.375, "low": 0.2, "high": 0.5, "p": 0.004}
    paired = {"generate": {"overall": pair, "tasks": {"age": pair | {"p_holm": 0.008}}}}
    (tmp_path / "results.json").write_text(json.dumps({"models": models, "paired": paired}))
    (tmp_path / "README.md").write_text(
        "before\n<!-- labels -->\nold\n<!-- /labels -->\n<!-- letters -->\n\n<!-- /letters -->\nafter\n"
    )
    readme = tmp_path / "front.md"
    readme.write_text("front\n<!-- nano -->\nold\n<!-- /nano -->\n")
    return tmp_path, readme


def test_the_tables_are_what_was_measured(measured):
    folder, readme = measured
    evaluation = folder / "evaluation"
    evaluation.mkdir()
    (folder / "results.json").rename(evaluation / "results.json")
    write_card(folder, readme, evaluation)
    card = (folder / "README.md").read_text()
    assert card.startswith("before\n<!-- labels -->\n") and card.endswith("<!-- /letters -->\nafter\n")
    assert "old" not in card and "| 80.0 % [70.0, 90.0] | 0.200 | 0.012 |" in card
    assert (
        "| age | 40 | 25.0 [15.0, 35.0] | 62.5 [52.5, 72.5] | 57.5 [47.5, 67.5] | +37.5 [+20.0, +50.0] | 0.008 |"
        in card
    )
    assert "| overall | 40 |" in card
    assert "| gender | 30.0 % [20.0, 40.0] | 80.0 % [70.0, 90.0] | 0.012 |" in readme.read_text()
    rows = json.loads((folder / "results.json").read_text())["rows"]
    assert {"metric": "age, right letter of four", "facellm": "62.5 %", "base": "25.0 %"} in rows


def test_the_words_are_counted_by_attribute_and_fact(measured):
    folder, readme = measured
    rate = lambda count, total: {"count": count, "total": total}  # noqa: E731
    found = {"asked": 40, "answers": rate(2, 38), "self": rate(0, 40), "repeats": rate(1, 40), "different": 9,
             "facts": {"pose": rate(2, 31), "chin": rate(0, 12), "mouth": rate(0, 0)}}  # fmt: skip
    text = folder / "text"
    text.mkdir()
    (text / "results.json").write_text(json.dumps({"models": {"facellm": {"pose": found}}}))
    card = folder / "README.md"
    card.write_text(card.read_text() + "<!-- words -->\nold\n<!-- /words -->\n")
    write_card(folder, readme, folder, freetext=text)
    assert "| pose | 2 of 38 | pose 2 of 31, chin 0 of 12 | 0 | 1 | 9 of 40 |" in card.read_text()


def test_missing_figures_and_marks_are_named(measured):
    folder, readme = measured
    with pytest.raises(FaceLLMError, match="run the command"):
        write_card(folder, readme, folder / "nowhere")
    readme.write_text("no marks")
    with pytest.raises(FaceLLMError, match="<!-- nano -->"):
        write_card(folder, readme, folder)
