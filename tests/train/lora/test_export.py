"""Merging: the checkpoint answers as base and adapter do, opens everywhere, and refuses a strange base (about 20 s)."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from facellm.errors import FaceLLMError
from tests.tiny import make_tiny_adapter, make_tiny_internvl
from tests.train.lora.lora_data import make_world
from train.lora import export, lora
from train.lora.recipe import check

QUICK = {
    "learning_rate": 0.02, "batch": 32, "epochs": 2.0, "precision": "float32", "eval_every": 0, "save_every": 0,
    "samples": 0, "log_every": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def adapter(world, tmp_path_factory):
    """An adapter that `train lora` made, with B made larger so that it surely changes answers."""
    out = tmp_path_factory.mktemp("lora")
    lora.train(*world, out, check(QUICK), device="cpu")
    file = out / "adapter" / "adapter_model.safetensors"
    weights = {k: w * 20 if "lora_B" in k else w for k, w in load_file(file).items()}
    save_file(weights, file)
    return out / "adapter"


def test_merged_opens_alike_and_answers_as_the_adapter(world, adapter, tmp_path):
    from transformers import AutoModelForImageTextToText

    from facellm.weights.load import open_model

    figures = export.export(adapter, tmp_path / "merged")
    assert (tmp_path / "merged" / "video_preprocessor_config.json").is_file()
    assert figures["compared"] == 4 == figures["equal_before_storing"] == figures["equal_as_stored"]
    assert figures["base"] == str(world[1]) and figures["dtype"] == "float32"
    ours = open_model(str(tmp_path / "merged"), device="cpu", dtype="float32").model
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged").eval()
    separate = open_model(str(world[1]), adapter=str(adapter), device="cpu", dtype="float32")
    questions = export._questions(separate.processor, [], separate.model)
    answers = [export._answer(separate.model, question) for question in questions]
    assert [export._answer(ours, question) for question in questions] == answers
    assert [export._answer(plain, question) for question in questions] == answers
    with separate.model.disable_adapter():
        assert [export._answer(separate.model, question) for question in questions] != answers
    assert not (tmp_path / "merged.part").exists()
    with pytest.raises(FaceLLMError, match="exists already"):
        export.export(adapter, tmp_path / "merged")


def test_stored_in_bf16_and_in_shards(adapter, tmp_path):
    figures = export.export(adapter, tmp_path / "merged", dtype="bf16", max_shard_size="100KB")
    assert figures["dtype"] == "bf16" and figures["equal_before_storing"] == 4
    files = list((tmp_path / "merged").glob("*.safetensors"))
    assert len(files) > 1
    assert all(w.dtype == torch.bfloat16 for file in files for w in load_file(file).values())


def test_a_strange_base_is_refused(adapter, tmp_path):
    other = make_tiny_internvl(tmp_path / "other", seed=9)
    with pytest.raises(FaceLLMError, match="their weights differ"):
        export.export(adapter, tmp_path / "merged", base=str(other))
    wide = make_tiny_internvl(tmp_path / "wide", hidden=128)
    stranger = make_tiny_adapter(wide, tmp_path / "stranger")
    with pytest.raises(FaceLLMError, match="another base"):
        export.export(stranger, tmp_path / "merged", base=str(other))
    with pytest.raises(FaceLLMError, match="nothing to merge"):
        export.export(other, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_base_is_named_as_others_find_it():
    from train.lora.base_model import base_folder, public_name

    assert public_name("8b") == "OpenGVLab/InternVL3-8B-hf" and public_name("/some/folder") == "/some/folder"
    assert public_name("nano") == "facellm/nano"
    assert base_folder("facellm/nano").name == "nano"  # found from any directory


def test_the_shipped_adapter_belongs_to_the_shipped_base_and_a_strange_record_is_refused(adapter, tmp_path):
    from facellm.weights.fingerprint import weights_digest
    from facellm.weights.registry import NANO
    from train.lora.base_model import check_record

    shipped = json.loads((NANO / "adapter" / "training.json").read_text())
    config = json.loads((NANO / "adapter" / "adapter_config.json").read_text())
    assert shipped["base"] == {"name": "facellm/nano", "revision": None, "digest": weights_digest(NANO)}
    assert config["base_model_name_or_path"] == "facellm/nano"
    assert (config["r"], config["lora_alpha"]) == (shipped["recipe"]["rank"], shipped["recipe"]["alpha"])
    assert yaml.safe_load((NANO / "adapter" / "recipe.yaml").read_text()) == shipped["recipe"]
    check_record(NANO / "adapter")
    with pytest.raises(FaceLLMError, match=r"not those that its training\.json describes"):
        check_record(adapter)  # the fixture enlarged its weights
    weights = load_file(adapter / "adapter_model.safetensors")
    shutil.copytree(adapter, tmp_path / "as trained")
    stored = {name: (w / 20 if "lora_B" in name else w).bfloat16() for name, w in weights.items()}
    save_file(stored, tmp_path / "as trained" / "adapter_model.safetensors")
    check_record(tmp_path / "as trained")  # ships in bf16


def test_an_embedded_model_is_exported_by_its_name(tmp_path, capsys):
    assert export.main(["nano", "--out", str(tmp_path / "whole"), "--max-shard-size", "100MB"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["equal_before_storing"] == told["compared"] > 0
    assert (tmp_path / "whole" / "video_preprocessor_config.json").is_file()
    with pytest.raises(FaceLLMError, match="a base of its own"):
        export.main(["nano", "--base", "1b", "--out", str(tmp_path / "other")])
    with pytest.raises(FaceLLMError, match="Name a model"):
        export.main(["--out", str(tmp_path / "other")])
