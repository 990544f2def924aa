"""Questions of the user's own on the command line: beside a profile, in a table, calibrated on pictures."""

import csv
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from facellm import FaceLLMError
from facellm.cli import calibrate_question
from facellm.cli.main import main
from facellm.typed import question as typed
from tests import tiny

TINY = ("--device", "cpu")


@pytest.fixture
def model(folders):
    return ["--model", str(folders.base), "--adapter", str(folders.adapter), *TINY]


@pytest.fixture
def photos(tmp_path):
    """Pictures that differ, in one folder for each answer."""
    for name, count in (("yes", 20), ("no", 16)):
        (tmp_path / "labelled" / name).mkdir(parents=True)
        for number in range(count):
            tiny.picture(number + 100 * (name == "no")).save(tmp_path / "labelled" / name / f"{number}.png")
    return tmp_path / "labelled"


def test_beside_a_profile_and_what_comes_from_the_picture(model, photos, capsys):
    out = io.StringIO()
    photo = str(photos / "yes" / "0.png")
    asked = ["--ask", "tie: Wears a tie?=yes,no", "--ask", "Hair?=black,brown,red"]
    assert main(["profile", photo, *model, *asked, "--json"], out) == 0
    choices = json.loads(out.getvalue())["choices"]
    assert [(c["name"], set(c["probabilities"])) for c in choices] == [
        ("tie", {"yes", "no"}), ("hair", {"black", "brown", "red"})
    ]  # fmt: skip
    assert all(c["without_picture"] and not c["calibrated"] for c in choices)
    out = io.StringIO()
    assert main(["profile", photo, *model, *asked], out) == 0
    assert "Without the picture the model would say" in out.getvalue() and out.getvalue().count("Untested") == 2


def test_in_a_table_of_many_photos(model, photos, tmp_path):
    table = tmp_path / "faces.csv"
    assert main(["profile", str(photos / "no"), *model, "--ask", "tie: Wears a tie?=yes,no", "--out", str(table)]) == 0
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 16
    for row in rows:
        assert row["tie"] in ("yes", "no") and 0.5 <= float(row["tie_probability"]) <= 1
        assert row["tie_calibrated"] == "false"


def test_a_question_is_fitted_kept_and_asked_by_its_file(model, photos, tmp_path, monkeypatch):
    # A model that knows the answer but is far too sure of it, and leans towards "no".
    def scores(self, view, questions, variants, blank=False):
        light = float(np.asarray(view.image.resize((1, 1)).convert("L"))[0, 0]) / 255
        noise = float(np.asarray(view.image, np.int64).sum() % 97) / 97 - 0.5
        return {v: [[20 * (light - 0.5) + 12 * noise - 6, 0.0] for _ in questions] for v in variants}

    for number in range(20):
        Image.new("RGB", (96, 96), (200, 200, 200 - number)).save(photos / "yes" / f"{number}.png")
        if number < 16:
            Image.new("RGB", (96, 96), (60, 60 + number, 60)).save(photos / "no" / f"{number}.png")
    monkeypatch.setattr("facellm.api.FaceLLM.option_scores", scores)
    file, out = tmp_path / "tie.json", io.StringIO()
    command = ["calibrate-question", str(photos), "--ask", "tie: Wears a tie?=yes,no", "--out", str(file), *model]
    assert main(command, out) == 0
    question = typed.read(file)
    assert set(question.fits) == {"base", "facellm"} and question.model
    measured = question.fits["facellm"].measured
    assert measured["images"] == 36 and measured["nll_after"] < measured["nll_before"]
    assert measured["accuracy"]["value"] > measured["accuracy_before"]  # the lean is gone
    assert "facellm" in out.getvalue() and "36" in out.getvalue()
    out = io.StringIO()
    assert main(["profile", str(photos / "yes" / "3.png"), *model, "--ask", str(file), "--json"], out) == 0
    (choice,) = json.loads(out.getvalue())["choices"]
    assert choice["calibrated"] and choice["option"] == "yes"


def test_a_fit_that_does_not_help_is_refused(model, photos, tmp_path, monkeypatch, capsys):
    def scores(self, view, questions, variants, blank=False):  # right as often as not, and it knows: nothing to gain
        return {v: [[0.2, 0.0] for _ in questions] for v in variants}

    monkeypatch.setattr("facellm.api.FaceLLM.option_scores", scores)
    file = tmp_path / "tie.json"
    assert (
        main(["calibrate-question", str(photos), "--ask", "Tie?=yes,no", "--out", str(file), *model], io.StringIO())
        == 2
    )
    assert "helps no model on these 36 pictures" in capsys.readouterr().err and not file.exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / "perhaps").mkdir(), "has an unknown folder 'perhaps'"),
        (lambda folder: (folder / "no").rename(folder / ".no"), "lacks folder 'no'"),
        (lambda folder: [p.unlink() for p in list((folder / "no").iterdir())[4:]], "No photo|too few"),
    ],
)
def test_folders_that_do_not_fit_are_a_sentence(model, photos, tmp_path, capsys, change, says):
    change(photos)
    out = str(tmp_path / "q.json")
    assert main(["calibrate-question", str(photos), "--ask", "Tie?=yes,no", "--out", out, *model], io.StringIO()) == 2
    assert re.search(says, capsys.readouterr().err)


def test_a_bad_picture_is_told_and_left_out(model, photos, tmp_path, capsys):
    (photos / "yes" / "0.png").write_bytes(b"no picture")
    out = str(tmp_path / "q.json")
    main(["calibrate-question", str(photos), "--ask", "Tie?=yes,no", "--out", out, *model], io.StringIO())
    assert "0.png is left out" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_known_before_the_model_is_opened(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(calibrate_question, "open_chosen", lambda *_: pytest.fail("opened in vain"))
    out = tmp_path / "file" / "q.json"
    out.parent.write_text("no folder")
    assert main(["calibrate-question", str(photos), "--ask", "T?=yes,no", "--out", str(out)]) == 2
    with pytest.raises(FaceLLMError, match="cannot be read"):
        calibrate_question.read_labelled(tmp_path / "nowhere", typed.parse("T?=yes,no"))
