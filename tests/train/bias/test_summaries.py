"""Summary metrics of fairness, other wordings, and how far a run says that it is."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest

from facellm.labels import GENDERS
from facellm.profile import FIELDS
from tests.tiny import make_tiny_internvl, picture
from tests.train.bias.bias_data import OTHER, Fair, make_rows, sure_of
from train.__main__ import main
from train.bias.bias import measure
from train.bias.bias_report import low_accuracy
from train.bias.gaps import summaries
from train.bias.other_questions import MOST_WORDINGS, WORDED, other_question
from train.bias.predict import paced, read_predictions

QUICK = {"resamples": 50, "permutations": 50}


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    monkeypatch.setattr("train.bias.bias_report.figures", lambda _: [("<svg></svg>", "")])


def test_metrics_by_hand():
    two = summaries(np.array([0.9, 0.6]))
    assert two["difference"] == pytest.approx(0.3) and two["ratio"] == pytest.approx(2 / 3)
    assert two["max_over_geometric_mean"] == pytest.approx(0.9 / math.sqrt(0.54))
    assert two["gini"] == pytest.approx(0.2)  # |0.3| / 2 over twice the mean 0.75, times 2
    equal = summaries(np.array([0.5, 0.5, 0.5]))
    assert [float(value) for value in equal.values()] == [0, 1, 1, 0]
    one = summaries(np.array([1.0, 0.0, 0.0, 0.0]))
    assert one["gini"] == pytest.approx(1.0) and one["ratio"] == 0 and math.isnan(one["max_over_geometric_mean"])
    none = summaries(np.zeros((2, 3)))
    assert none["difference"].tolist() == [0, 0] and all(np.isnan(none[name]).all() for name in ("ratio", "gini"))


def test_low_accuracy_is_no_fairness_and_the_report_says_so(tmp_path):
    wrong, good = (
        measure(make_rows(200), Fair(error), tmp_path / str(error), {"model": "m"}, variants=("base",), **QUICK)
        for error in (0.95, 0.1)
    )
    assert "Here that is so for" in low_accuracy(wrong) and "gender of base" in low_accuracy(wrong)
    assert "Here" not in low_accuracy(good)
    report = (tmp_path / "0.95" / "report.md").read_text()
    assert "Low accuracy looks fair" in report and "Summary metrics of base (equal treatment: 0, 1, 1, 0)" in report
    row = next(s for s in good["models"]["base"]["summaries"] if s["name"] == "gender: accuracy, by gender")
    assert row["groups"] == 2 and 0 <= row["difference"] < 0.15 and 0.85 < row["ratio"] <= 1 and row["gini"] < 0.1
    assert row["gini_low"] <= row["gini_high"] and row["ratio_low"] <= row["ratio_high"]
    assert row["max_over_geometric_mean"] >= 1


class Worded(Fair):
    """In the second wording every woman is called a man."""

    def one(self, row, variant, rng):
        found = super().one(row, variant, rng)
        gender = row.gender if row.gender == "Male" else OTHER[row.gender]
        return replace(found, worded={"2": {**found.profile, "gender": sure_of(gender, GENDERS)}})


def test_a_gap_of_one_wording_is_seen_as_such(tmp_path):
    results = measure(make_rows(200), Worded(), tmp_path, {"model": "m"}, variants=("base",), **QUICK)
    rows = {
        row["wording"]: row for row in results["models"]["base"]["wordings"]
        if (row["task"], row["grouping"]) == ("gender", "gender")
    }  # fmt: skip
    assert rows[1]["difference"] < 0.15 and rows[2]["difference"] == 1.0 and rows[2]["ratio"] == 0
    assert len(results["models"]["base"]["wordings"]) == 2 * 9
    assert "The same in other wordings: base" in (tmp_path / "report.md").read_text()


def test_wordings_name_every_label_and_differ():
    for field in (field for field in FIELDS if field.key in WORDED):
        asked = [field.question, *(other_question(field, number) for number in range(2, MOST_WORDINGS + 1))]
        assert len(set(asked)) == MOST_WORDINGS
        assert all(label in question for label in field.labels for question in asked)


def test_how_far_it_is_is_told_in_time_and_at_the_end():
    said = []
    tell = paced(said.append, 3600)
    for done in range(1, 1001):
        tell("questions of base", done, 1000)
    assert said == ["1,000 of 1,000 questions of base"]
    tell = paced(said.append, 0)
    tell("images looked at", 1, 2)
    assert said[-1] == "1 of 2 images looked at"


def test_the_command_asks_in_two_wordings_and_says_how_far_it_is(tmp_path, capsys):
    base = make_tiny_internvl(tmp_path / "base")
    rows = make_rows(6)
    (tmp_path / "images" / "val").mkdir(parents=True)
    for row in rows:
        picture(row.line, 48).save(tmp_path / "images" / row.file)
    with (tmp_path / "labels.csv").open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(("file", "age", "gender", "race"))
        table.writerows((row.file, row.age, row.gender, row.race) for row in rows)
    command = ["bias", "--model", str(base), "--base", "--device", "cpu", "--images", str(tmp_path / "images"),
               "--labels", str(tmp_path / "labels.csv"), "--resamples", "20", "--permutations", "20", "--attributes",
               "none", "--least", "1", "--out", str(tmp_path / "out")]  # fmt: skip
    assert main([*command, "--wordings", "2"]) == 0
    for one in read_predictions(tmp_path / "out" / "predictions" / "base.jsonl").values():
        assert set(one.worded) == {"2"} and set(one.worded["2"]) == set(WORDED)
    told = capsys.readouterr().err
    assert "6 of 6 images looked at" in told and "Asking about 6 images: 7 questions each, of base." in told
    assert "42 of 42 questions of base" in told and "measuring groups" in told
    assert main([*command, "--wordings", "4"]) == 2 and f"there are {MOST_WORDINGS}" in capsys.readouterr().err
    assert main([*command, "--wordings", "1"]) == 2 and "wordings" in capsys.readouterr().err  # answers do not mix
