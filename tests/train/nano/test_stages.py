"""The stages of nano one after another on a few made-up faces: what each writes is what the next one reads."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, InternVLVisionModel

from facellm.weights.fingerprint import encoder_digest
from facellm.weights.processor import FaceProcessor
from train.lora.conversations import read_dataset
from train.lora.feature_cache import FeatureCache
from train.lora.parts.adapters import make_trainable
from train.lora.recipe import load_recipe
from train.nano import base, face_pairs, projector, words
from train.nano.language import corpus
from train.nano.vision import augment, faces, tower
from train.nano.vision import views as features
from train.nano.vision.pretrained import vision_config

FACES = 24


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, FACES)
    utk = np.arange(FACES) < FACES // 2
    pixels = rng.integers(0, 255, (FACES, 9, 9, 3), dtype=np.uint8).repeat(16, 1).repeat(16, 2)
    return faces.Faces(
        names=np.array([f"face/{number}" for number in range(FACES)]),
        pixels=pixels,
        is_train=np.arange(FACES) % 6 != 0,
        age_years=np.where(utk, 20.0 + 30 * label, -1).astype(np.float32),
        age_group=np.where(utk, 3 + 3 * label, -1),
        gender=np.where(utk, label, -1),
        race=np.where(utk, label, -1),
        expression=np.where(utk, -1, label),
        measurements=rng.normal(0.3, 0.1, (FACES, 13)).astype(np.float32),
        descriptors=np.full((FACES, 128), np.nan, np.float16),
    )


@pytest.fixture(scope="module")
def work(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nano")
    patch = pytest.MonkeyPatch()
    patch.setattr(faces, "load", lambda *_: made)
    patch.setattr(corpus, "EXPRESSION_LINES", {"neutral": 4, "happiness": 4})
    torch.manual_seed(0)
    model = tower.FaceNet(InternVLVisionModel(vision_config(augment.IMAGE_PX)))
    torch.save({"model": model.state_dict()}, folder / "encoder.pt")
    views = features.encode(folder, folder, batch=8)
    counts = corpus.build(folder, folder, base_lines=8)
    figures = base.train(folder, batch_tokens=1500)
    shutil.copytree(folder / "base", folder / "base-of-old")
    for name in ("POSE_WEIGHT", "POSE_GAIN"):  # all these heads are frontal
        patch.setattr(projector, name, 0.0)
    projector.train(folder, folder, epochs=150)
    shutil.copytree(folder / "base", folder / "base-without-words")
    words.train(folder, steps=4)
    rows = face_pairs.build(folder)
    patch.undo()
    return folder, views, counts, figures, rows


def test_every_face_has_a_view_and_its_cached_tokens_are_the_towers(work, made):
    folder, views, *_ = work
    table, tokens = np.load(folder / "views.npz"), np.load(folder / "tokens.npy")
    assert len(tokens) == views == len(table["row"]) > FACES
    assert sorted(table["row"][~table["changed"]].tolist()) == list(range(FACES))
    model = tower.load_encoder(folder)
    with torch.no_grad():
        pixels = augment.normalise(augment.centre(torch.from_numpy(made.pixels[table["row"][:1]])))
        plain = model.tower(pixels).last_hidden_state[0, 1:].numpy()
    assert np.abs(plain - tokens[0]).max() < 0.15  # bf16 and whole pixel values apart


def test_the_corpus_is_of_training_faces_only(work, made):
    folder, _, counts, *_ = work
    rows = np.load(folder / "views.npz")["row"]
    for name, held_out in (("base", False), ("facellm", False), ("val", True)):
        lines = [json.loads(line) for line in (folder / "corpus" / f"{name}.jsonl").read_text().splitlines()]
        assert len(lines) == counts[name] > 0
        for line in lines:
            assert made.is_train[rows[line["view"]]] != held_out
            assert line["conversations"] and all(answer for turns in line["conversations"] for _, answer in turns)


def test_the_base_opens_as_an_internvl_and_its_tower_is_unchanged(work):
    folder, _, _, figures, _ = work
    assert np.isfinite(figures["val_loss"])
    model = AutoModelForImageTextToText.from_pretrained(folder / "base", dtype=torch.float32)
    processor = FaceProcessor.from_pretrained(folder / "base")
    assert model.config.image_token_id == processor.image_token_id
    tuned = tower.load_encoder(folder).tower.state_dict()
    for name, weight in model.model.vision_tower.state_dict().items():
        assert torch.equal(weight, tuned[name].bfloat16().float()), name


def test_projector_moves_towards_what_the_readings_explain_and_trains_nothing_else(work, made, monkeypatch):
    folder = work[0]
    before, after = (
        AutoModelForImageTextToText.from_pretrained(folder / name, dtype=torch.float32)
        for name in ("base-of-old", "base-without-words")
    )
    moved = {name for name, weight in before.state_dict().items() if not torch.equal(weight, after.state_dict()[name])}
    assert moved == {name for name in before.state_dict() if "multi_modal_projector" in name}
    monkeypatch.setattr(faces, "load", lambda *_: made)
    views = corpus.Views(folder, folder)
    old, new = (
        projector.mean_tokens(model.model.multi_modal_projector, base.Tokens(folder, model), len(views))
        for model in (before, after)
    )
    kept = torch.from_numpy(views.train)
    wished = projector.explained(old, projector.readings(views), kept)
    agreement = torch.nn.functional.cosine_similarity((new - old)[kept], wished[kept]).mean()
    assert agreement > 0.7
    line = json.loads((folder / "projector.jsonl").read_text().splitlines()[-1])
    assert line["steps"] == 150 and np.isfinite(line["realised"])


def test_the_explained_part_is_what_the_readings_say_and_no_more():
    rng = torch.Generator().manual_seed(0)
    read = torch.randn(400, 3, generator=rng)
    part = read @ torch.tensor([[2.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 0]])
    noise = torch.randn(400, 4, generator=rng)
    found = projector.explained(5 + part + noise, read, torch.arange(400) < 300)
    assert (found - part)[300:].pow(2).mean() < 0.05 < noise[300:].pow(2).mean()


def test_a_louder_pose_stands_where_it_stood_and_nothing_else_moves():
    """Of tokens (d = 4) whose first number is the side and whose last only goes along with another reading."""
    rng = torch.Generator().manual_seed(0)
    side, grey = torch.randn(2, 600, generator=rng)
    means = torch.stack([side, torch.zeros(600), torch.zeros(600), grey], 1) + 3
    reader = torch.nn.Linear(4, 3)
    with torch.no_grad():
        reader.weight.copy_(torch.tensor([[0.0, 0, 0, 0], [1.0, 0, 0, 0], [-1.0, 0, 0, 0]]))
        reader.weight[0, 1] = 1.0
    passing = torch.nn.Module()
    passing.linear_2 = torch.nn.Linear(4, 4)
    with torch.no_grad():
        passing.linear_2.weight.copy_(torch.eye(4))
        passing.linear_2.bias.zero_()
    means[:, 1] += 0.1 * torch.randn(600, generator=rng)
    train = torch.arange(600) < 500
    projector.louder_pose(passing, reader, means, grey[:, None], train)
    moved = passing.linear_2(means) - means
    centre = means[train].mean(0)
    assert torch.allclose(moved[:, 0], projector.POSE_GAIN * (means - centre)[:, 0], atol=0.1)
    assert moved[:, 3].abs().max() < 0.1
    assert moved[train].mean(0).abs().max() < 1e-3


def test_poses_are_frontal_turned_or_neither():
    yaw = np.array([0.0, -9, 9.1, 14, -14, np.nan])
    assert projector.poses(yaw).tolist() == [0, 0, -1, 1, 2, -1]


def test_words_moves_the_embeddings_of_words_that_the_base_never_answers_with_and_nothing_else(work):
    folder = work[0]
    before, after = (
        AutoModelForImageTextToText.from_pretrained(folder / name, dtype=torch.float32)
        for name in ("base-without-words", "base")
    )
    processor = FaceProcessor.from_pretrained(folder / "base")
    weight = before.get_input_embeddings().weight
    own, face = (
        words.answer_tokens(base.read_packs(processor, folder / "corpus" / f"{name}.jsonl"), len(weight))
        for name in ("base", "facellm")
    )
    moved = (weight != after.get_input_embeddings().weight).any(1).numpy()
    assert moved.any()
    assert np.array_equal(moved, (own == 0) & (face > 0))
    rest = {
        name: weight for name, weight in before.state_dict().items() if "embed" not in name and "lm_head" not in name
    }
    assert all(torch.equal(weight, after.state_dict()[name]) for name, weight in rest.items())
    assert "float32" not in (folder / "base" / "config.json").read_text()  # the weights are bf16
    line = json.loads((folder / "words.jsonl").read_text().splitlines()[-1])
    assert line["rows"] == moved.sum() and line["words_after"] < line["words_before"]


def test_words_may_be_fitted_to_an_adapter_which_stays_as_it_is(work, tmp_path):
    for name in ("base", "corpus"):
        shutil.copytree(work[0] / name, tmp_path / name)
    for name in ("tokens.npy", "views.npz"):
        shutil.copy(work[0] / name, tmp_path)
    adapter = tmp_path / "adapter"
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "base", dtype=torch.float32)
    before = model.get_input_embeddings().weight.clone()
    make_trainable(model, load_recipe("nano")).save_pretrained(adapter)
    kept = (adapter / "adapter_model.safetensors").read_bytes()
    words.train(tmp_path, steps=2, adapter=adapter)
    assert (adapter / "adapter_model.safetensors").read_bytes() == kept
    after = AutoModelForImageTextToText.from_pretrained(tmp_path / "base", dtype=torch.float32)
    assert not torch.equal(before, after.get_input_embeddings().weight)


def test_strangers_keep_the_conversations_and_change_the_faces(work):
    folder = work[0]
    packs = base.read_packs(FaceProcessor.from_pretrained(folder / "base"), folder / "corpus" / "facellm.jsonl")
    other = words.strangers(packs, np.random.default_rng(0))
    assert [p.input_ids.tobytes() for p in other] == [p.input_ids.tobytes() for p in packs]
    assert sorted(p.image for p in other) == sorted(p.image for p in packs)
    assert [p.image for p in other] != [p.image for p in packs]


def test_the_data_set_is_what_train_lora_reads_with_features_of_this_base(work):
    folder, views, _, _, rows = work
    found = read_dataset(folder / "facellm")
    assert (len(found.train), len(found.val)) == (rows["train"], rows["val"])
    model = AutoModelForImageTextToText.from_pretrained(folder / "base", dtype=torch.float32)
    cache = FeatureCache(folder / "features", encoder_digest(model, FaceProcessor.from_pretrained(folder / "base")))
    assert len(cache.array) == views and set(found.images()) <= set(cache.rows)
