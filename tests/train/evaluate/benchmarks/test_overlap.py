"""A benchmark's images that a training set holds, too."""

from __future__ import annotations

import pytest

from facellm.errors import FaceLLMError
from tests.tiny import picture
from tests.train.evaluate.stand_ins import SETTINGS, StandIn, halting, oracle
from tests.train.face_sets import write_benchmark
from train.evaluate import facexbench
from train.evaluate.evaluate import evaluate


def test_overlap_lists_questions_whose_image_was_trained_on(made, folder, tmp_path):
    train = tmp_path / "train"
    train.mkdir()
    copied = made.questions[0]
    from PIL import Image

    Image.open(copied.images[0]).resize((64, 64)).save(train / "copy.jpg", quality=80)
    picture(999_999).save(train / "other.png")
    results = evaluate(made, StandIn(oracle), tmp_path / "out", SETTINGS, variants=("base",), overlap=train)
    found = results["overlap"]
    assert copied.key in {key for key, name, _ in found["pairs"] if name == "copy.jpg"}
    assert found["without"]["base-generate"]["total"] < found["with"]["base-generate"]["total"]
    for name in ("report.md", "report.html"):
        assert f"{copied.key}: a near copy of copy.jpg, " in (tmp_path / "out" / name).read_text()


def test_overlap_lists_the_first_questions_and_counts_the_others(made, tmp_path):
    from train.evaluate.evaluation_report import LISTED

    train = tmp_path / "train"
    train.mkdir()
    shown = [q for q in made.questions if q.num_images == "single"]
    for number, question in enumerate(shown):
        (train / f"{number}.png").write_bytes(question.images[0].read_bytes())
    results = evaluate(made, StandIn(oracle), tmp_path / "out", SETTINGS, variants=("base",), overlap=train)
    count = len({key for key, _, _ in results["overlap"]["pairs"]})
    report = (tmp_path / "out" / "report.md").read_text()
    assert count >= len(shown) > LISTED
    assert report.count(": a near copy of ") == LISTED
    assert f"- and {count - LISTED} more; results.json lists all." in report


def test_overlap_goes_on_where_images_do_not_open(tmp_path):
    folder = write_benchmark(tmp_path / "benchmark", 1)
    path = folder / "images" / "made_single_mcq_age" / "question_1.png"
    picture(1, 400).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-900])  # opens, but does not decode
    train = tmp_path / "train"
    train.mkdir()
    picture(999_999).save(train / "fine.png")
    (train / "broken.png").write_bytes((train / "fine.png").read_bytes()[:-400])
    out = tmp_path / "out"
    evaluate(facexbench.read(folder), StandIn(oracle), out, SETTINGS, variants=("base",), overlap=train)
    report = (out / "report.md").read_text()
    assert f"made_single_mcq_age.json#1: its image {path} does not open" in report
    assert f"1 images of {train} do not open and match nothing; the first: broken.png." in report
    (train / "more.zip").write_bytes(b"PK no archive")
    with pytest.raises(FaceLLMError, match=r"more\.zip is neither a folder nor a zip archive"):
        evaluate(facexbench.read(folder), StandIn(halting), tmp_path / "b", SETTINGS, variants=("base",), overlap=train)
