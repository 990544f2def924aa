"""The encoder's stage: what augmentation does to measurements, which labels take part in the loss, what an epoch is."""

import numpy as np
import pytest
import torch

from train.faces.measures import MEASUREMENTS, pixel_stats
from train.nano.vision import augment, targets, tower, tuning
from train.nano.vision import faces as data
from train.nano.vision.pretrained import resize_positions


def test_a_flip_mirrors_yaw_roll_and_eyes_and_nothing_else():
    count = 200
    raw = torch.zeros(count, data.STORED_PX, data.STORED_PX, 3, dtype=torch.uint8)
    raw[:, :, : data.STORED_PX // 2] = 200  # the left half is light
    mesh = torch.arange(13.0).repeat(count, 1)
    mesh[:, 0] = 20.0
    pixels, changed = augment.augment(raw, mesh, torch.Generator().manual_seed(0))
    assert pixels.shape == (count, 3, augment.IMAGE_PX, augment.IMAGE_PX) and pixels.min() >= 0 and pixels.max() <= 1
    light_on_left = pixels[:, :, :, :30].mean((1, 2, 3)) > pixels[:, :, :, -30:].mean((1, 2, 3))
    assert torch.equal(changed[:, 0] > 0, light_on_left)  # yaw keeps its sign where the picture was not mirrored
    left, right = MEASUREMENTS.index("eye_open_left"), data.MEASUREMENTS.index("eye_open_right")
    assert torch.equal(changed[:, left] == left, light_on_left) and torch.equal(
        changed[:, right] == left, ~light_on_left
    )
    rest = [i for i in range(13) if i not in (0, 2, left, right)]
    assert torch.equal(changed[:, rest], mesh[:, rest])
    assert 0.3 < light_on_left.float().mean() < 0.7


def test_retouched_crops_cover_light_and_focus_and_some_stay_as_they_are():
    count = 160
    one = torch.randint(90, 160, (data.STORED_PX, data.STORED_PX, 3), generator=torch.Generator().manual_seed(1))
    raw = one.to(torch.uint8).expand(count, -1, -1, -1)
    pixels = augment.retouch(raw, torch.Generator().manual_seed(0))
    assert pixels.shape == (count, 3, augment.IMAGE_PX, augment.IMAGE_PX) and pixels.min() >= 0 and pixels.max() <= 1
    whole = augment.centre(raw[:1])
    light, _, sharp, _, side = pixel_stats(pixels).T - pixel_stats(whole)[0][:, None]
    same = (pixels - whole).abs().amax((1, 2, 3)) < 1e-6
    assert same.any() and same.float().mean() < 0.2
    for change in (light < -0.1, light > 0.1, side < -0.3, side > 0.3, sharp < -0.1, sharp > 0.02):
        assert 0.05 < change.float().mean() < 0.7


def test_missing_labels_take_no_part_in_the_loss():
    out = {name: torch.randn(4, size) for name, size in tower.HEADS.items()}
    target = {name: torch.full((4,), data.MISSING) for name in ("gender", "race", "age_group", "expression")}
    target |= {"age_years": torch.full((4,), -1.0), "mesh": torch.full((4, 13), float("nan"))}
    target |= {"pixels": torch.zeros(4, 5), "descriptor": torch.full((4, 128), float("nan"))}
    assert set(targets.loss_of(out, target, tuning.FIRST.weights)) == {"pixels"}
    target["race"] = torch.tensor([1, -1, -1, -1])
    target["age_years"][0] = 30
    terms = targets.loss_of(out, target, tuning.FIRST.weights)
    assert set(terms) == {"pixels", "race", "age_years"} and all(term.isfinite() for term in terms.values())


def test_an_epoch_holds_every_labelled_face_once_and_rare_expressions_often():
    count = 60
    columns = {
        "gender": np.array([0] * 30 + [-1] * 30),
        "expression": np.array([-1] * 30 + [0] * 14 + [1] * 4 + [i for i in range(2, 8) for _ in range(2)]),
    }
    faces = data.Faces(
        names=np.arange(count),
        pixels=None,
        is_train=np.arange(count) != 0,
        age_years=None,
        age_group=None,
        race=None,
        measurements=None,
        descriptors=None,
        **columns,
    )
    rows = targets.epoch_rows(faces, np.random.default_rng(0))
    drawn = np.bincount(rows, minlength=count)
    assert drawn[0] == 0 and (drawn[1:30] == 1).all()
    assert drawn[columns["expression"] == 2].sum() == targets.EXPRESSION_DRAWS["surprise"]


def test_patch_dropout_keeps_the_class_token_and_the_heads_shapes():
    from transformers import InternVLVisionConfig, InternVLVisionModel

    config = InternVLVisionConfig(
        hidden_size=384,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=6,
        patch_size=14,
        image_size=112,
        use_mean_pooling=False,
    )
    model = tower.FaceNet(InternVLVisionModel(config)).eval()
    pixels = torch.randn(2, 3, 112, 112)
    for keep in (None, 10):
        out = model(pixels, keep)
        assert {name: tuple(value.shape) for name, value in out.items()} == {
            name: (2, size) for name, size in tower.HEADS.items()
        }
    whole = model.shared(model.tower(pixels).last_hidden_state[:, 1:].mean(1))
    assert torch.allclose(model.heads["race"](whole), model(pixels)["race"], atol=1e-5)


def test_positions_resize_by_interpolation():
    grid = torch.linspace(0, 1, 37)[None, :, None].expand(37, -1, 4).reshape(1, 37 * 37, 4)
    small = resize_positions(grid, 8).reshape(8, 8, 4)
    assert torch.allclose(small[0], small[7], atol=1e-5)
    assert (small[0, 1:, 0] > small[0, :-1, 0]).all() and small[0, 0, 0] == pytest.approx(1 / 16, abs=0.03)
