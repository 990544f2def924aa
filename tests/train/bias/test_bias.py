"""`train bias` from predictions to the report: an injected bias is found, none is found without; resuming; faults."""

from __future__ import annotations

import csv
import json

import pytest

from facellm.errors import FaceLLMError
from tests.tiny import make_tiny_adapter, make_tiny_internvl, picture
from tests.train.bias.bias_data import Fair, Unfair, make_rows
from train.__main__ import main
from train.bias.bias import measure, read_answers
from train.bias.predict import read_predictions
from train.reports.pages import Report

SETTINGS = {"model": "stand-in"}
QUICK = {"resamples": 200, "permutations": 1500}  # enough for a p of 0.05 after Holm over 51 gaps


def gap_named(results, variant, name):
    return next(g for g in results["models"][variant]["gaps"] if g["name"] == name)


@pytest.fixture(scope="module")
def injected(tmp_path_factory):
    out = tmp_path_factory.mktemp("unfair")
    results = measure(make_rows(), Unfair(Fair()), out, SETTINGS, variants=("base", "facellm"), **QUICK)
    return out, results


def test_an_injected_bias_is_found_with_sign_and_size(injected):
    """FaceLLM calls 40 % of the Black women men, on top of everybody's 10 % of errors."""
    _, results = injected
    gap = gap_named(results, "facellm", "gender: true positive rate of Female, by ethnicity")
    assert gap["significant"] and gap["lowest"] == "Black" and gap["low"] < 0.4 < gap["high"]
    assert gap["gap"] > 3 * gap["null_mean"]
    rows = next(
        m["groups"] for m in results["models"]["facellm"]["measures"]
        if (m["task"], m["metric"], m["grouping"]) == ("gender", "true positive rate", ["ethnicity"])
    )  # fmt: skip
    black = next(row for row in rows if row["group"] == "Black")
    assert black["rest_low"] < -0.36 < black["rest_high"] < 0  # 0.9 * 0.6 - 0.9
    significant = {g["name"] for g in results["models"]["facellm"]["gaps"] if g["significant"]}
    assert all(name.startswith("gender:") for name in significant)
    change = next(c for c in results["changes"] if c["name"] == gap["name"])
    assert change["change"] > 0.2 and change["low"] > 0


def test_without_injection_nothing_is_significant(injected):
    """The same images and errors, as base has them."""
    _, results = injected
    base = results["models"]["base"]
    assert len(base["gaps"]) > 40 and not any(g["significant"] for g in base["gaps"])
    assert not any(w["significant"] for rows in base["words"].values() for w in rows)
    assert not any(r["low"] > 0 or r["high"] < 0 for r in base["representation"]["profile"] if r["task"] == "gender")


def test_words_representation_and_amplification_have_the_right_sign(injected):
    _, results = injected
    facellm = results["models"]["facellm"]
    gentle = [w for w in facellm["words"]["gender"] if w["word"] == "gentle"]
    assert {(w["group"], w["z"] > 0) for w in gentle} == {("Female", True), ("Male", False)}
    assert all(w["significant"] for w in gentle)
    women = next(r for r in facellm["representation"]["profile"] if r["label"] == "Female")
    assert women["difference"] < 0 and women["high"] < 0  # women who are called men
    # Base says gentle of men and women alike; a tie that chance left there is strengthened or turned round, so only
    # the pair itself has a sign.
    ties = [r for r in facellm["amplification"] if (r["reference"], r["group"]) == ("base", "gender")]
    pair = next(p for r in ties if r["traits"] == "adjective" and "group to trait" in r["measure"] for p in r["pairs"]
                if (p["group"], p["trait"]) == ("Female", "gentle"))  # fmt: skip
    assert pair["said"] - pair["data"] > 0.2
    assert {r["reference"] for r in facellm["amplification"]} == {"labels", "base"}
    assert {r["reference"] for r in results["models"]["base"]["amplification"]} == {"labels"}


def test_the_report_is_one_whole_page_with_its_tables(injected):
    out, results = injected
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    assert page.startswith("<!doctype html>") and "<script" not in page and "<img" not in page
    assert page.count("<svg") == page.count("</svg>") >= 9 and page.count("<table") == page.count("</table>") >= 14
    for words in (
        "Largest gaps of FaceLLM",
        "by chance: mean; 95 %",
        "true positive rate of Female, by ethnicity",
        "Female, Black, 20-39",
        "Representation",
        "BiasAmp, trait to group",
        "gentle",
        "Gaps of base and FaceLLM",
    ):
        assert words in page and words in text, words  # fmt: skip
    assert json.loads((out / "results.json").read_text())["images"] == len(make_rows()) == results["images"]


@pytest.fixture
def cheap(monkeypatch):
    """Figures of gender alone and no report, for tests that are about something else."""
    monkeypatch.setattr("train.bias.groups.GROUPINGS", (("gender",), ("gender", "ethnicity", "band")))
    monkeypatch.setattr("train.bias.groups.RATED", {})
    monkeypatch.setattr("train.bias.bias_report.report", lambda _: Report("", [], []))
    monkeypatch.setattr("train.bias.bias_report.figures", lambda _: [])


def run(rows, predictor, out, **more):
    return measure(rows, predictor, out, SETTINGS, variants=("facellm",), resamples=20, permutations=20, **more)


def test_a_killed_run_goes_on_and_asks_nothing_twice(tmp_path, cheap):
    rows, first = make_rows(40), Fair()

    class Dies(Fair):
        def predict(self, rows, variant):
            for number, said in enumerate(first.predict(rows, variant)):
                if number == 15:
                    raise KeyboardInterrupt
                yield said

    with pytest.raises(KeyboardInterrupt):
        run(rows, Dies(), tmp_path)
    path = tmp_path / "predictions" / "facellm.jsonl"
    assert len(read_predictions(path)) == 15
    with path.open("a") as half:
        half.write('{"key": "val/3')
    second = Fair()
    results = run(rows, second, tmp_path)
    assert len(second.asked) == 25 and results["images"] == 40
    assert len(path.read_text().splitlines()) == 40
    with pytest.raises(FaceLLMError, match=r"another run .*model"):
        measure(rows, Fair(), tmp_path, {"model": "other"}, variants=("facellm",))
    path.write_text('{"key": "a", "face": 1}\n')
    with pytest.raises(FaceLLMError, match="no prediction"):
        run(rows, Fair(), tmp_path)


def write_dataset(folder, rows, words):
    (folder / "jsonl").mkdir(parents=True)
    with (folder / "jsonl" / "train.jsonl").open("w") as out:
        for row in rows:
            line = {"image": f"images/{row.file}", "attribute": "detail", "answer": words(row), "age": row.age,
                    "gender": row.gender, "race": row.race}  # fmt: skip
            out.write(json.dumps(line) + "\n")
    return folder


def test_amplification_against_the_training_set(tmp_path, cheap):
    """In the data 2 of 3 gentle people are women; the model calls all women gentle and no man."""
    rows = make_rows(240)
    data = write_dataset(
        tmp_path / "data", make_rows(300, 5),
        lambda r: "She is gentle." if hash_of(r.file) < (0.6 if r.gender == "Female" else 0.3) else "It is plain.",
    )  # fmt: skip
    frame, answers = read_answers(data)
    assert len(frame) == len(answers) == 300 and set(answers[0]) == {"detail"}

    class Stereotype(Fair):
        def one(self, row, variant, rng):
            said = super().one(row, variant, rng)
            said.texts["detail"] = "She is gentle." if row.gender == "Female" else "It is plain."
            return said

    found = run(rows, Stereotype(), tmp_path / "out", dataset=data)["models"]["facellm"]["amplification"]
    own = {r["measure"]: r for r in found if (r["reference"], r["group"]) == ("data set", "gender")}
    forward = own["BiasAmp, group to trait"]
    assert forward["value"] == pytest.approx(0.35, abs=0.08)  # ((1 - 0.6) + (0.3 - 0)) / 2
    assert forward["low"] > 0 and forward["pairs"][0]["trait"] == "gentle"
    assert own["co-occurrence"]["value"] == pytest.approx(1 - 2 / 3, abs=0.1)


def test_a_training_image_without_an_asked_answer_is_no_reference(tmp_path, cheap):
    """Half of the set's men have no `detail` any more, which does not make men half as often gentle: the figures are
    those of a set without these men."""
    rows = make_rows(300, 5)
    lacking = {f"images/{row.file}" for row in rows if row.gender == "Male" and row.line % 4 < 2}
    found = []
    for name in ("some", "without"):
        data = write_dataset(tmp_path / name, rows, lambda r: "A gentle face." if r.line % 2 else "It is plain.")
        file = data / "jsonl" / "train.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        details = [line for line in lines if line["image"] not in lacking]
        others = [line | {"attribute": "demographic"} for line in (lines if name == "some" else details)]
        file.write_text("".join(json.dumps(line) + "\n" for line in others + details))
        found.append(run(make_rows(240), Fair(), tmp_path / f"{name}-out", dataset=data))
    own, without = (
        [r for r in one["models"]["facellm"]["amplification"] if r["reference"] == "data set"] for one in found
    )
    assert own and own == without
    assert found[0]["left_out"] == [
        f"{len(lacking)} of 300 images of the training set lack one of the answers (demographic, detail) and were left "
        "out of what is compared with it."
    ]
    assert not found[1]["left_out"]


def hash_of(name):
    """A number in [0, 1) that depends on the name alone."""
    import hashlib

    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Images under val/, and a label file with one more row than images."""
    root = tmp_path_factory.mktemp("faces")
    (root / "images" / "val").mkdir(parents=True)
    rows = make_rows(12)
    for row in rows:
        picture(row.line, 48).save(root / "images" / row.file)
    with (root / "labels.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("file", "age", "gender", "race"))
        writer.writerows((row.file, row.age, row.gender, row.race) for row in rows)
        writer.writerow(("val/none.jpg", "20-29", "Male", "White"))
    return root


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    base = make_tiny_internvl(root / "base")
    return base, make_tiny_adapter(base, root / "adapter")


def test_command_on_the_tiny_model(faces, tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("train.bias.bias_report.figures", lambda _: [("<svg></svg>", "")])  # `injected` draws them
    base, adapter = tiny
    command = ["bias", "--model", str(base), "--adapter", str(adapter), "--device", "cpu", "--both", "--images",
               str(faces / "images"), "--labels", str(faces / "labels.csv"), "--limit", "8", "--resamples", "20",
               "--permutations", "20", "--max-new-tokens", "3", "--attributes", "demographic", "--least", "2",
               "--out", str(tmp_path / "out")]  # fmt: skip
    assert main(command) == 0
    said = [read_predictions(tmp_path / "out" / "predictions" / f"{w}.jsonl") for w in ("base", "facellm")]
    assert len(said[0]) == len(said[1]) == 8
    for one in said[0].values():
        assert set(one.profile) == {"age_group", "gender", "ethnicity", "expression"} and set(one.texts) == {
            "demographic"
        }
        assert all(sum(labels.values()) == pytest.approx(1, abs=1e-4) for labels in one.profile.values())
    printed = capsys.readouterr()
    assert "1 row left out; the first: line 14 (val/none.jpg)" in printed.out and "report.html" in printed.err
    assert "<table" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("labels", "more", "words"),
    [
        (None, [], "no fairface_label_*.csv"),
        ("missing.csv", [], "cannot be read"),
        ("file,age,gender\nval/0.jpg,20-29,Male\n", [], "no column `race`"),
        ("file,age,gender,race\nval/0.jpg,old,Male,White\n", [], "None of the 1 rows"),
        ("file,age,gender,race\nval/0.jpg,20-29,Male,White\nval/1.jpg,20-29,Male,White\n", [], "at least two"),
        ("labels.csv", ["--attributes", "demographic,ears"], "no attribute 'ears'"),
        ("labels.csv", ["--least", "0"], "--least is 0"),
        ("labels.csv", ["--dataset", "nowhere"], "no jsonl/train.jsonl"),
    ],
)
def test_bad_input_is_a_sentence(faces, tiny, tmp_path, capsys, labels, more, words):
    arguments = ["bias", "--model", str(tiny[0]), "--base", "--device", "cpu", "--images", str(faces / "images"),
                 "--out", str(tmp_path / "out"), *more]  # fmt: skip
    if labels is not None:
        path = faces / labels if labels.endswith(".csv") else tmp_path / "labels.csv"
        if not labels.endswith(".csv"):
            path.write_text(labels)
        arguments += ["--labels", str(path)]
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in error and "Traceback" not in error


def test_a_training_set_without_labels_is_refused(tmp_path):
    (tmp_path / "jsonl").mkdir()
    (tmp_path / "jsonl" / "train.jsonl").write_text('{"image": "a.jpg", "answer": "x"}\n')
    with pytest.raises(FaceLLMError, match=r"train\.jsonl, line 1"):
        read_answers(tmp_path)
