"""Digests notice other weights, and nothing else."""

import json
import shutil

from facellm.weights.fingerprint import answering_digest, encoder_digest, weights_digest
from facellm.weights.load import open_model
from facellm.weights.registry import NANO
from tests.tiny import make_tiny_internvl


def test_weights_are_recognised_however_they_are_sharded(folders, tmp_path):
    from transformers import AutoModelForImageTextToText

    whole = weights_digest(folders.base)
    AutoModelForImageTextToText.from_pretrained(folders.base).save_pretrained(tmp_path, max_shard_size="200KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert weights_digest(tmp_path) == whole
    assert weights_digest(make_tiny_internvl(tmp_path / "other", seed=3)) != whole


def test_the_embedded_adapter_names_the_base_beside_it():
    recorded = json.loads((NANO / "adapter" / "training.json").read_text())["base"]["digest"]
    assert weights_digest(NANO) == recorded


def test_answers_are_decided_by_base_and_adapter_wherever_they_lie(folders, loaded, tmp_path):
    shutil.copytree(folders.base, tmp_path / "base")
    shutil.copytree(folders.adapter, tmp_path / "adapter")
    options = {"adapter": str(tmp_path / "adapter"), "device": "cpu"}
    assert answering_digest(open_model(str(tmp_path / "base"), **options)) == answering_digest(loaded)
    make_tiny_internvl(tmp_path / "base", seed=3)
    assert answering_digest(open_model(str(tmp_path / "base"), **options)) != answering_digest(loaded)
    assert answering_digest(open_model(str(folders.base), device="cpu")) != answering_digest(loaded)


def test_an_encoder_is_the_same_in_another_dtype_and_below_an_adapter(folders, loaded):
    rounded = open_model(str(folders.base), dtype="bfloat16", device="cpu")
    assert encoder_digest(rounded.model, rounded.processor) == encoder_digest(loaded.model, loaded.processor)
