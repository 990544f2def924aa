"""The table of faces: splits, missing values, doubts; targets that turn with the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.mini.face_data import SHAPES, TRAIN, VAL, write_data
from train.faces.measures import MEASUREMENTS
from train.mini.vision import face_table
from train.mini.vision.augment import View, augmented, whole
from train.mini.vision.targets import HEADS, TAG, Targets, epoch_rows, loss_of, no_face
from train.seen.known import split, tags


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, face_table.Faces]:
    patch = pytest.MonkeyPatch()
    patch.setattr(split.read_splits, "__defaults__", (6,))
    data, work = write_data(tmp_path_factory.mktemp("data")), tmp_path_factory.mktemp("work")
    yield data, work, face_table.load(data, work)
    patch.undo()


def test_test_faces_come_only_when_asked_for(made: tuple[Path, Path, face_table.Faces]) -> None:
    data, work, table = made
    assert len(table) == 2 * (TRAIN + VAL) - 6 and set(table.split.tolist()) == {"train", "val"}
    assert len(table.rows("val")) == 2 * VAL
    kept_back = face_table.load(data, work, splits=("test",))
    assert len(kept_back) == 6 and not set(kept_back.names.tolist()) & set(table.names.tolist())


def test_pixels_are_cached_under_what_they_hold(made: tuple[Path, Path, face_table.Faces]) -> None:
    data, work, table = made
    before = sorted(work.glob("pixels-*.npy"))
    again = face_table.load(data, work)
    assert sorted(work.glob("pixels-*.npy")) == before
    assert again.pixels.shape == (len(table), face_table.STORED_PX, face_table.STORED_PX, 3)


def test_what_is_not_known_is_missing(made: tuple[Path, Path, face_table.Faces]) -> None:
    table = made[2]
    row = {name: i for i, name in enumerate(table.names.tolist())}
    expression = next(i for name, i in row.items() if name.startswith("expressions"))
    assert table.gender[expression] == -1 and not table.seen[expression]
    assert np.isnan(table.descriptors[expression]).all()
    assert table.tags["glasses"][expression] == tags.UNKNOWN
    if "utkface/train/0.jpg" in row:  # its gender is doubted
        assert table.gender[row["utkface/train/0.jpg"]] == -1 and table.age_years[row["utkface/train/0.jpg"]] == 30
    known = row.get("utkface/val/2.jpg")
    assert tags.WORDS["glasses"][table.tags["glasses"][known]] == "glasses" and table.gender[known] == 1


def test_targets_turn_with_the_picture(made: tuple[Path, Path, face_table.Faces]) -> None:
    table = made[2]
    targets = Targets(table)
    index = torch.tensor([next(i for i in range(len(table)) if not np.isnan(table.measurements[i]).any())])
    targets.columns[TAG + "gaze"][index] = tags.WORDS["gaze"].index("left")
    pixels = torch.rand(1, 3, 112, 112)
    straight = targets.of(index, View(pixels, torch.tensor([False]), torch.zeros(1)))
    mirrored = targets.of(index, View(pixels, torch.tensor([True]), torch.zeros(1)))

    def degrees(target: dict[str, torch.Tensor], name: str) -> float:
        column = MEASUREMENTS.index(name)
        return float(target["mesh"][0, column] * targets.mesh_std[column] + targets.mesh_mean[column])

    assert degrees(straight, "yaw_deg") == pytest.approx(-degrees(mirrored, "yaw_deg"), abs=1e-4)
    assert degrees(straight, "eye_open_left") == pytest.approx(degrees(mirrored, "eye_open_right"), abs=1e-4)
    assert degrees(straight, "pitch_deg") == pytest.approx(degrees(mirrored, "pitch_deg"), abs=1e-4)
    assert tags.WORDS["gaze"][mirrored[TAG + "gaze"]] == "right"
    left, right = (targets.shape_mirror[SHAPES.index(f"mouthSmile{side}")] for side in ("Left", "Right"))
    assert (SHAPES[left], SHAPES[right]) == ("mouthSmileRight", "mouthSmileLeft")


def test_the_unknown_takes_no_part_in_the_loss() -> None:
    target = no_face(View(torch.rand(2, 3, 112, 112), torch.zeros(2, dtype=torch.bool), torch.zeros(2)))
    out = {name: torch.randn(2, size) for name, size in HEADS.items()}
    terms = loss_of(out, target)
    assert set(terms) == {"pixels", "face"} and all(term.isfinite() for term in terms.values())


def test_an_epoch_has_no_face_of_val(made: tuple[Path, Path, face_table.Faces]) -> None:
    table = made[2]
    rows = epoch_rows(table, np.random.default_rng(0))
    assert set(table.split[rows].tolist()) == {"train"}
    assert {name.split("/")[0] for name in table.names[rows].tolist()} == {"utkface", "expressions"}


@pytest.mark.parametrize("side", [56, 112, 168])
def test_views_have_the_side_asked_for(side: int) -> None:
    raw = torch.randint(0, 255, (3, 200, 200, 3), dtype=torch.uint8)
    first, again = (augmented(raw, side, torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.pixels.shape == (3, 3, side, side) and first.stats().shape == (3, 5)
    assert torch.equal(first.pixels, again.pixels) and first.pixels.min() >= 0 and first.pixels.max() <= 1
    assert not whole(raw, side).flip.any() and first[:2].pixels.shape[0] == 2
