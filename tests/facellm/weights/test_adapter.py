"""An adapter is put only onto the base that it was made for."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from facellm import FaceLLMError
from facellm.weights.load import open_model
from tests import tiny


def open_with(folders, adapter):
    return open_model(str(folders.base), adapter=str(adapter), device="cpu", dtype="float32")


def rewritten(folders, out, rename):
    shutil.copytree(folders.adapter, out)
    weights = load_file(out / "adapter_model.safetensors")
    save_file({rename(k): v for k, v in weights.items()}, out / "adapter_model.safetensors")
    return out


def test_another_bases_adapter_is_refused(folders, tmp_path):
    wide = tiny.make_tiny_internvl(tmp_path / "wide", hidden=32)
    with pytest.raises(FaceLLMError, match=r"made for another base: its layer \S+ has \d+ inputs, and \S+'s has \d+"):
        open_with(folders, tiny.make_tiny_adapter(wide, tmp_path / "a"))
    deep = rewritten(folders, tmp_path / "deep", lambda k: k.replace("layers.1", "layers.7"))
    with pytest.raises(FaceLLMError, match=r"has no layer .*layers\.7"):
        open_with(folders, deep)


def test_encoder_and_projector_must_stay_frozen(folders, tmp_path):
    adapter = tiny.make_tiny_adapter(folders.base, tmp_path / "v", target_modules=["q_proj", "linear_1"])
    with pytest.raises(FaceLLMError, match="changes the image encoder or projector"):
        open_with(folders, adapter)


@pytest.mark.parametrize(
    "key",
    [
        "base_model.model.lm_head.weight",  # modules_to_save
        "base_model.model.lm_head.lora_A.weight",
        "base_model.model.model.language_model.embed_tokens.lora_embedding_A",
        "base_model.model.model.language_model.layers.0.input_layernorm.lora_A.weight",
        "base_model.model.model.language_model.layers.0.self_attn.q_proj.base_layer.bias",
    ],
)
def test_only_loras_on_the_decoders_linear_layers_are_taken(folders, tmp_path, key):
    shutil.copytree(folders.adapter, tmp_path / "more")
    file = tmp_path / "more" / "adapter_model.safetensors"
    save_file({**load_file(file), key: torch.ones(4, 64)}, file)
    with pytest.raises(FaceLLMError, match=f"holds {key}, which is no LoRA on a linear layer of the decoder"):
        open_with(folders, tmp_path / "more")


def test_other_kinds_of_adapter_are_named(folders, tmp_path):
    shutil.copytree(folders.adapter, tmp_path / "p")
    config = tmp_path / "p" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "peft_type": "PREFIX_TUNING"}))
    with pytest.raises(FaceLLMError, match="'PREFIX_TUNING'; only LoRA"):
        open_with(folders, tmp_path / "p")


def test_names_of_older_transformers_are_understood(folders, loaded, tmp_path):
    old = rewritten(folders, tmp_path / "old", lambda k: k.replace("model.language_model.", "language_model.model."))
    weights = {k: v for k, v in open_with(folders, old).model.named_parameters() if "lora_" in k}
    expected = {k: v for k, v in loaded.model.named_parameters() if "lora_" in k}
    assert weights.keys() == expected.keys() and len(weights) == 28
    assert all(torch.equal(weights[k], expected[k]) for k in weights)
