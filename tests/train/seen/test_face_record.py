"""Sources joined to faces: what each gives, what is left out, and that test faces come only when they are asked for."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from tests.train.seen.made_faces import face
from tests.train.seen.seen_data import write_seen
from train.faces.measures import Pixels
from train.seen.claims.disputes import truth_of
from train.seen.known.face_record import MESH, MOVES, read_faces, read_tagged


@pytest.fixture
def data(tmp_path):
    """Two sets of a few rows; so few that the test cut takes every training row."""
    for name, columns, rows in (
        (
            "utkface",
            ("file", "age", "gender", "race", "age_years"),
            [
                ("val/1.jpg", "30-39", "Male", "White", 34),
                ("val/2.jpg", "3-9", "Female", "Asian", 6),
                ("train/1.jpg", "20-29", "Male", "Black", 22),
            ],
        ),
        ("expressions", ("file", "expression"), [("val/1.jpg", "happiness")]),
    ):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows([columns, *rows])
    with (tmp_path / "utkface" / "measurements.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("file", "found", *MESH))
        table.writerow(("val/1.jpg", 1, 20, 8, 0, 0.0, 0.0, 0.3, 0.3))
        table.writerow(("val/2.jpg", 0, *[""] * len(MESH)))
    columns = [column for names in MOVES.values() for column in names]
    np.savez(
        tmp_path / "utkface" / "blendshapes.npz",
        name=["val/1.jpg"],
        columns=columns,
        blendshape=np.full((1, len(columns)), 0.5, np.float16),
    )
    write_seen(
        tmp_path / "seen",
        [
            {"file": "utkface/val/1.jpg", "glasses": "glasses"},
            {"file": "utkface/train/1.jpg"},
            {"file": "utkface/val/2.jpg", "doubtful": "1"},
        ],
    )
    with (tmp_path / "seen" / "label_doubts.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("file", "field", "label", "teacher_says", "age_label"),
                ("utkface/val/1.jpg", "gender", "Male", "Female", "30-39"),
            ]
        )
    (tmp_path / "seen" / "eight_answers.jsonl").write_text(
        json.dumps({"file": "utkface/val/1.jpg", "skin": "Fair."}) + "\n"
    )
    return tmp_path


def test_every_source_gives_its_part(data):
    pixels = Pixels(0.5, 0.05, 0.4, 0.0)
    faces = read_faces(data, pixels={"utkface/val/1.jpg": pixels})
    assert set(faces) == {"utkface/val/1.jpg", "expressions/val/1.jpg"}  # the doubtful one and test are left out
    one = faces["utkface/val/1.jpg"]
    assert one.years == 34 and one.gender == "Male" and one.doubts == {"gender"} and one.answers == {"skin": "Fair."}
    assert one.tags["glasses"] == "glasses" and one.mesh["yaw_deg"] == 20 and one.moves["smile"] == 0.5
    assert one.pixels == pixels
    truth = truth_of(one)
    assert truth.value("gender") is None and truth.value("pose") == "left" and truth.holds("glasses")
    other = truth_of(faces["expressions/val/1.jpg"])
    assert other.value("expression") == "smile" and other.value("glasses") is None


def test_test_faces_come_only_when_asked_for(data):
    assert set(read_faces(data, splits=("test",))) == {"utkface/train/1.jpg"}
    assert not read_faces(data, files=["utkface/train/1.jpg"])
    assert set(read_faces(data, tagged=True)) == {"utkface/val/1.jpg"}


def test_tags_alone_make_faces(data):
    faces = read_tagged(data / "seen")
    assert set(faces) == {"utkface/val/1.jpg", "utkface/train/1.jpg"}
    assert truth_of(faces["utkface/val/1.jpg"]).holds("glasses") is True


def test_a_mirror_image_changes_sides_in_every_source():
    made = face(
        gaze="left",
        light="side-right",
        yaw_deg="20",
        caption="Turned left, lit from the right-hand side. Left ear hidden.",
    )
    other = made.mirrored()
    assert (other.tags["gaze"], other.raw["gaze"], other.tags["light"]) == ("right", "right", "side-left")
    assert other.mesh["yaw_deg"] == -20 and other.tags["glasses"] == made.tags["glasses"]
    assert other.caption == "Turned right, lit from the left-hand side. Right ear hidden."
    assert truth_of(made).value("pose") == "left" and truth_of(other).value("pose") == "right"
    assert other.mirrored() == made
