"""The whole way of mini on a few made-up faces: tower at two resolutions, connector, a folder that opens."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, InternVLVisionConfig, InternVLVisionModel, LlamaConfig, LlamaForCausalLM
from transformers.modeling_outputs import BaseModelOutputWithPooling

import facellm
from facellm.errors import FaceLLMError
from facellm.weights.fetch import FOLDER
from facellm.weights.fingerprint import encoder_digest, weights_digest
from facellm.weights.split_checkpoint import OWN_WEIGHTS, whole
from tests.tiny import make_processor
from tests.train.mini.face_data import write_data
from tests.train.seen.made_faces import face
from train.lora import lora
from train.lora.conversations import check_images, read_dataset
from train.lora.feature_cache import FeatureCache
from train.lora.recipe import load_recipe
from train.mini import assemble, connector, dense, dense_facts, handover, manifest, pairs, ship, word_slots
from train.mini.pairs import wanted
from train.mini.vision import face_table, negatives, readings, token_cache, tower, tuning
from train.reports.stats import rate
from train.seen.known import split, tags
from train.seen.typed.no_face import says_no_face

LOW_PX, HIGH_PX = 56, 84


def tiny_config(side: int) -> InternVLVisionConfig:
    """The tower's width and patches in five thin layers."""
    return InternVLVisionConfig(
        hidden_size=384,
        intermediate_size=32,
        num_hidden_layers=5,
        num_attention_heads=6,
        patch_size=14,
        image_size=side,
        use_mean_pooling=False,
        layer_norm_eps=1e-6,
    )


def write_decoder(folder: Path) -> None:
    """A Llama of two layers with the tokenizer of the tiny models."""
    tokenizer = make_processor().tokenizer
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    data, work = write_data(tmp_path_factory.mktemp("data")), tmp_path_factory.mktemp("work")
    patch = pytest.MonkeyPatch()
    patch.setattr(split.read_splits, "__defaults__", (6,))
    for module in (tower, assemble):
        patch.setattr(module, "vision_config", tiny_config)
    patch.setattr(tuning, "load_tower", lambda _, side: InternVLVisionModel(tiny_config(side)))
    low = tuning.Cycle("low", LOW_PX, 1e-3, 1e-2, 1.0, ((0.5, 8), (1.0, 16)), batch=8)
    high = tuning.Cycle("high", HIGH_PX, 1e-3, 1e-2, 0.5, ((1.0, 20),), after="low", batch=8, no_face=2)
    patch.setattr(tuning, "CHECKPOINT_SECONDS", 0.0)
    patch.setattr(tuning, "LOG_STEPS", 2)
    for cycle in (low, high):
        tuning.train(data, Path("unused.onnx"), work, cycle=cycle, steps=4)
    write_decoder(work / "decoder")
    patch.setattr(connector, "CHECKPOINT_SECONDS", 0.0)
    figures = connector.train(data, work, work / "decoder", tuning.newest(work), steps=12, slot_epochs=3, limit=12)
    yield data, work, figures
    patch.undo()


def test_each_cycle_logs_losses_and_figures(made) -> None:
    lines = [json.loads(line) for line in (made[1] / "tower.jsonl").read_text().splitlines()]
    for name in ("low", "high"):
        own = [line for line in lines if line["cycle"] == name]
        assert "all" in own[0] and "gender" in own[-1]["val"] and "glasses_yes_no" in own[-1]["val"]


def test_a_stopped_cycle_goes_on_where_it_was(made) -> None:
    data, work, _ = made
    before = torch.load(work / "tower-low.last.pt", weights_only=False)
    cycle = tuning.Cycle("low", LOW_PX, 1e-3, 1e-2, 1.0, ((1.0, 16),), batch=8)
    tuning.train(data, Path("unused.onnx"), work, cycle=cycle, steps=before["step"] + 2)
    line = json.loads((work / "tower.jsonl").read_text().splitlines()[-1])
    assert line["step"] == before["step"] + 2


def test_positions_are_interpolated_between_sides(made) -> None:
    net = tower.load(made[1] / "tower-low.pt", HIGH_PX)
    assert tower.side_of(net.state_dict()) == HIGH_PX
    assert net.tokens(torch.zeros(1, 3, HIGH_PX, HIGH_PX)).shape == (1, 36, 384)


def test_the_features_are_what_the_model_in_the_folder_computes(made) -> None:
    data, work, _ = made
    model = facellm.load(str(work / "base")).loaded.model
    net = tower.load(tuning.newest(work))
    shown = connector.prepare(data, work, net, HIGH_PX, 12)
    name = shown.faces.names[shown.val[:1]]
    pixels = torch.from_numpy(shown.faces.pixels[shown.val[:1]])
    normal = tower.normalise(tower.whole(pixels, HIGH_PX).pixels)
    with torch.no_grad():
        seen = model.get_image_features(pixel_values=normal.to(model.dtype)).pooler_output.float()
        cached = model.model.multi_modal_projector(shown.features.of(name).to(model.dtype)).float()
    assert torch.allclose(seen.flatten(), cached.flatten(), atol=0.05)


def test_no_test_face_is_ever_shown(made) -> None:
    data, work, _ = made
    kept_back = {name for name, own in split.read_splits(data).items() if own == split.TEST}
    named = json.loads((work / f"features-{HIGH_PX}" / "index.json").read_text())["names"]
    assert kept_back and not kept_back & set(named)


def test_the_base_answers_through_the_package(made, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (90, 90), (200, 180, 160)).save(tmp_path / "face.png")
    model = facellm.load(str(made[1] / "base"))
    assert model.ask(str(tmp_path / "face.png"), "Is she wearing glasses?").text is not None
    assert (made[1] / "base" / "video_preprocessor_config.json").exists()
    assert "balanced" in made[2]


def test_slots_teach_what_the_features_tell(made) -> None:
    lines = [json.loads(line) for line in (made[1] / "connector.jsonl").read_text().splitlines()]
    assert set(lines[0]["slots"]) <= set(dense_facts.FACTS) and lines[-1]["val"]
    share = word_slots.layout(18, 36)
    assert torch.equal(share.sum(1), torch.ones(18)) and (share > 0).sum() == 36
    assert torch.equal(word_slots.layout(18, 9).sum(1), torch.ones(18))


def test_the_tokenizer_survives(made) -> None:
    tokenizer = AutoTokenizer.from_pretrained(made[1] / "base")
    assert tokenizer.decode(tokenizer("Is she wearing glasses?")["input_ids"]) == "Is she wearing glasses?"


def test_packed_pairs_of_a_llama_get_the_logits_they_would_get_alone(made) -> None:
    data, work, _ = made
    shown = connector.prepare(data, work, tower.load(tuning.newest(work)), HIGH_PX, 12)
    model, processor = facellm.load(str(work / "base"), dtype="float32").loaded.model, make_processor(HIGH_PX)
    connector.use_packed_attention(model)
    draw, row, name = random.Random(0), int(shown.train[0]), str(shown.faces.names[shown.train[0]])
    told = [
        dense.fact_list(processor, shown.places(row), shown.weights, draw),
        dense.caption(processor, shown.captions[name], draw),
    ]
    with torch.no_grad():
        packs = connector.pack(told, image=name, image_token_id=processor.image_token_id)
        together, targets = connector.forward(model, packs, shown)
        made_of = model.model.multi_modal_projector(shown.features.of(shown.faces.names[[row]]))
        alone = []
        for ids, labels in told:
            out = model(
                input_ids=torch.tensor([ids]),
                mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=made_of)},
            )
            alone.append(out.logits[0][torch.nonzero(torch.tensor(labels)[1:] >= 0)[:, 0]])
    assert len(targets) == sum(len(logits) for logits in alone)
    assert torch.allclose(together, torch.cat(alone), atol=1e-3)


def test_readings_are_probabilities_of_words(made) -> None:
    data, work, _ = made
    assert tuning.believe(work, tuning.newest(work)) == len(readings.read(work / "readings.npz"))
    one = readings.read(work / "readings.npz")["utkface/val/0.jpg"]
    table = face_table.load(data, work)
    row = np.flatnonzero(table.names == "utkface/val/0.jpg")
    seen = tower.predict(tower.load(tuning.newest(work)), table, row, HIGH_PX)
    assert list(one["gender"].values()) == pytest.approx(seen["gender"].softmax(1)[0].tolist(), abs=5e-3)
    assert set(one) == {*tags.FIELDS, "gender", "race", "age_group", "expression_label"}
    assert all(sum(words.values()) == pytest.approx(1, abs=0.02) for words in one.values())
    assert list(one["glasses"]) == list(tags.WORDS["glasses"])


def test_the_table_counts_faces_and_pictures_without_one(made) -> None:
    data, work, _ = made
    figures = tuning.measure(data, work, tuning.newest(work), HIGH_PX)
    assert {"gender", "head_pose", "faces_missed", "none_corner", "none_chart"} <= set(figures)


def test_pairs_are_written_and_learnt(made, tmp_path: Path, monkeypatch) -> None:
    data, work, _ = made
    tuning.believe(work, tuning.newest(work))
    faces = face_table.load(data, work)
    bare = list(negatives.named(24, face_table.STORED_PX, faces.pixels[:4]))
    cached = token_cache.load(work / f"features-{HIGH_PX}")
    handover.write(cached, work / "base", work / "lora-features", bare)
    monkeypatch.setattr(pairs, "plain_answers", lambda _, prompts: ["Yes." for _ in prompts])
    told = pairs.write(data, work, work / "decoder", 6)
    assert told["faces"] == 6 and told["without"] and told["plain"]
    dataset = read_dataset(work / "pairs")
    every = {part: (work / "pairs" / f"{part}.jsonl").read_text() for part in ("train", "val")}
    few = pairs.write(data, work, work / "decoder", 6, each=2)
    asked = Counter(
        json.loads(line)["images"][0] for line in (work / "pairs" / "train.jsonl").open() if '"images": ["' in line
    )
    assert set(asked.values()) <= {2, 3, 4} and few["faces"] == told["faces"], "all faces, two beside the dense ones"
    assert (work / "pairs" / "val.jsonl").read_text() == every["val"], "what it is measured by stays"
    assert set((work / "pairs" / "train.jsonl").read_text().splitlines()) <= set(every["train"].splitlines())
    for part, text in every.items():
        (work / "pairs" / f"{part}.jsonl").write_text(text)
    assert not check_images(dataset, FeatureCache(work / "lora-features").rows)
    split_of = split.read_splits(data)
    for part, rows in ((split.TRAIN, dataset.train), (split.VAL, dataset.val)):
        images = {row.image for row in rows}
        assert {split_of[image] for image in images if image in split_of} == {part}
        nobody = [turn for row in rows if row.image and negatives.kind_of(row.image) for turn in row.turns]
        assert nobody and any(says_no_face(answer) for _, answer in nobody)
    assert sum(row.image is None for row in dataset.train) == told["plain"]
    recipe = load_recipe("mini", {"max_steps": 2, "batch": 8, "eval_every": 0})
    lora.train(work / "pairs", str(work / "base"), tmp_path / "run", recipe, features=work / "lora-features")
    weights = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    assert {weight.shape[0] for name, weight in weights.items() if "lora_A" in name} == {16}
    layers = {name.split(".")[-3] for name in weights}
    assert layers == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert facellm.load(str(work / "base"), adapter=str(tmp_path / "run" / "adapter")).variants == ("base", "facellm")
    sizes = ship.ship(work / "base", tmp_path / "shipped", tmp_path / "run" / "adapter")
    assert {"adapter/adapter_model.safetensors", "adapter/training.json", "config.json"} <= set(sizes)
    declared = json.loads((tmp_path / "shipped" / "config.json").read_text())["facellm"]
    assert {"glasses", "gender"} <= set(declared["fields"])
    told = tmp_path / "run" / "adapter" / "training.json"
    known = json.loads(told.read_text())
    told.write_text(json.dumps(known | {"base": known["base"] | {"digest": "another"}}))
    with pytest.raises(FaceLLMError, match="trained on another base"):
        ship.ship(work / "base", tmp_path / "again", tmp_path / "run" / "adapter")


def test_what_a_model_answers_well_is_what_was_surely_measured_on_val(tmp_path: Path) -> None:
    def told(part: str, variant: str) -> Path:
        shares = {"glasses": rate(40, 40), "hair": rate(36, 40), "name": rate(30, 40), "bald": rate(4, 4)}
        intents = {name: {"right": share.to_dict()} for name, share in shares.items()}
        path = tmp_path / f"{part}-{variant}.json"
        path.write_text(json.dumps({"split": part, "models": {variant: {"intents": intents}}}))
        return path

    assert ship.answered_well(told("val", "facellm")) == ["glasses"], "36 of 40 may be 77 %, and 4 of 4 are few"
    for part, variant in (("test", "facellm"), ("val", "base")):
        measured = told(part, variant)
        with pytest.raises(FaceLLMError, match="no measurement of FaceLLM on val"):
            ship.answered_well(measured)


def test_the_untouched_decoder_answers_plain_prompts(made) -> None:
    said = list(pairs.plain_answers(made[1] / "decoder", ["What is 2 + 3?", "Name a colour."]))
    assert len(said) == 2 and all(isinstance(text, str) for text in said)


def test_rare_faces_are_wanted_sooner() -> None:
    faces = [face(f"{n}.jpg", glasses="none" if n else "glasses") for n in range(400)]
    first = [next(i for i, one in enumerate(wanted(faces, 400, s)) if one.file == "0.jpg") for s in range(40)]
    assert sum(place < 100 for place in first) > 30 > 40 * 100 / 400


def test_the_features_are_handed_to_train_lora(made, tmp_path: Path) -> None:
    work = made[1]
    cached = token_cache.load(work / f"features-{HIGH_PX}")
    assert handover.write(cached, work / "base", tmp_path / "features") == len(cached.row_of)
    model = facellm.load(str(work / "base"))
    mark = encoder_digest(model.loaded.model, model.loaded.processor)
    cache = FeatureCache(tmp_path / "features", mark)
    assert set(cache.rows) == set(cached.row_of) and cache.array.shape[1:] == (9, 32)


def test_what_is_shipped_and_the_decoder_are_the_whole_model(made, tmp_path: Path) -> None:
    work = made[1]
    sizes = ship.ship(work / "base", tmp_path / "shipped")
    assert {"config.json", "tokenizer.json", "video_preprocessor_config.json", OWN_WEIGHTS.format(suffix="")} <= set(
        sizes
    )
    again = ship.ship(work / "base", tmp_path / "shipped")
    assert again == sizes, "nothing of a former one is left"
    wanted = {}
    for shard in (work / "base").glob("*.safetensors"):
        wanted |= load_file(shard)
    (tmp_path / "cache").mkdir()
    shutil.copytree(work / "decoder", tmp_path / "cache" / FOLDER)
    place = whole(tmp_path / "shipped", tmp_path / "cache")
    assert weights_digest(place) == weights_digest(work / "base")
    joined = {name: tensor for shard in place.glob("*.safetensors") for name, tensor in load_file(shard).items()}
    assert json.loads((place / "config.json").read_text())["facellm"]["model"] == "mini"
    assert (
        str(tmp_path) not in (place / "config.json").read_text()
        and str(work) not in (place / "config.json").read_text()
    )
    assert set(joined) == set(wanted) - {"lm_head.weight"}
    assert all(torch.equal(joined[name].to(torch.bfloat16), wanted[name].to(torch.bfloat16)) for name in joined)


def test_the_manifest_names_data_stages_and_no_place(made, tmp_path: Path) -> None:
    data, work, _ = made
    manifest.note(work, "connector", {"data": data, "work": work, "limit": 12, "tower": work / "t.pt"}, {"a": 1}, 60)
    written = manifest.write(data, work, tmp_path / "manifest.json")
    assert "utkface/labels.csv" in written["data"] and written["packages"]["torch"]
    assert written["stages"][-1]["arguments"] == {"limit": 12, "tower": "t.pt"}
    assert str(work) not in (tmp_path / "manifest.json").read_text()
