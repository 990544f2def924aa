"""One loader: adapters, merged checkpoints, dtypes, quantisation, and what it reports."""

import json
import shutil

import pytest
import torch

from facellm import FaceLLMError, checkpoint, loading
from facellm.engine import Engine
from facellm.loading import Device, check_quantized, choose_dtype, open_model, quantization_config
from facellm.registry import resolve
from facellm.results import Row
from facellm.sampling import Sampling
from tests import tiny

FORMATS = [("float32", "none"), ("bfloat16", "none"), ("float32", "nf4"), ("bfloat16", "int8")]


def open_tiny(folders, adapter="adapter", **options):
    return open_model(str(folders.base), adapter=str(getattr(folders, adapter)), device="cpu", **options)


@pytest.mark.parametrize("adapter", ["adapter", "merged"])
@pytest.mark.parametrize(("dtype", "quantization"), FORMATS)
def test_every_format_opens_and_answers_for_both(folders, photo, adapter, dtype, quantization):
    loaded = open_tiny(folders, adapter, dtype=dtype, quantization=quantization)
    assert loaded.which == ("base", "facellm")
    assert loaded.report.sharing == ("one batch" if adapter == "adapter" else "two batches")
    rows = [Row(w, "Which way is the head turned?") for w in loaded.which]
    base, facellm = Engine(loaded).answer(photo, rows, Sampling(4))
    assert base.tokens == facellm.tokens == 4
    assert base.token_ids != facellm.token_ids
    report = loaded.report.to_dict()
    assert (report["dtype"], report["quantization"], report["device"]) == (dtype, quantization, "cpu")
    assert json.loads(json.dumps(report)) == report
    assert str(folders.base) in str(loaded.report)


def test_quantised_layers_are_the_decoders_and_no_others(folders):
    import bitsandbytes as bnb

    model = open_model(str(folders.base), quantization="nf4", device="cpu").model
    kinds = {n: type(m) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    inside = {n for n in kinds if n.startswith("model.language_model.")}
    assert len(inside) == 14
    assert {kinds[n] for n in inside} == {bnb.nn.Linear4bit}
    assert {kinds[n] for n in kinds if n not in inside} == {torch.nn.Linear}
    state = model.model.language_model.layers[0].mlp.up_proj.weight.quant_state
    assert state.quant_type == "nf4" and state.nested
    with pytest.raises(FaceLLMError, match="was not quantised to int8"):
        check_quantized(model, "int8")
    model.lm_head = bnb.nn.Linear4bit(4, 4)
    with pytest.raises(FaceLLMError, match="lm_head was quantised"):
        check_quantized(model, "nf4")


def test_the_quantisation_config_received():
    config = quantization_config("nf4", torch.bfloat16)
    assert config.load_in_4bit and config.bnb_4bit_use_double_quant and config.bnb_4bit_quant_type == "nf4"
    assert config.bnb_4bit_compute_dtype is torch.bfloat16
    assert config.llm_int8_skip_modules == ["lm_head", "model.vision_tower", "model.multi_modal_projector"]
    assert quantization_config("int8", torch.float32).load_in_8bit
    assert quantization_config("none", torch.float32) is None


def test_nf4_is_smaller_and_merged_costs_twice(folders, caplog):
    plain, nf4 = open_tiny(folders, dtype="float32"), open_tiny(folders, dtype="float32", quantization="nf4")
    assert nf4.report.memory_bytes < plain.report.memory_bytes
    with caplog.at_level("INFO", "facellm"):
        merged = open_tiny(folders, "merged", dtype="float32")
    assert "in addition to the base" in merged.report.notes[0]
    assert caplog.messages[0] == merged.report.notes[0]  # said before the weights are read
    assert merged.report.memory_bytes > 1.8 * plain.report.memory_bytes


def test_a_single_model_is_the_base_unless_it_is_opened_as_facellm(folders):
    alone = open_model(str(folders.base), device="cpu", dtype="float32")
    assert alone.which == ("base",) and alone.report.facellm is None
    only = open_model(str(folders.merged), device="cpu", dtype="float32", base=False)
    assert only.which == ("facellm",) and only.report.base is None
    tuned = open_tiny(folders, base=False, dtype="float32")
    assert tuned.which == ("facellm",)


def test_dora_takes_turns(folders, tmp_path):
    adapter = tiny.make_tiny_adapter(folders.base, tmp_path / "dora", use_dora=True)
    loaded = open_model(str(folders.base), adapter=str(adapter), device="cpu", dtype="float32")
    assert loaded.report.sharing == "two batches"
    assert "take turns" in loaded.report.notes[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"quantization": "int4"}, "choose from none, int8, nf4"),
        ({"dtype": "half"}, "choose from float32"),
        ({"device": "tpu"}, "choose cuda, mps or cpu"),
    ],
)
def test_unknown_options_are_errors(folders, options, says):
    with pytest.raises(FaceLLMError, match=says):
        open_model(str(folders.base), **options)


def test_unknown_keywords_are_errors(folders):
    with pytest.raises(TypeError):
        open_model(str(folders.base), load_in_4bit=True)


def test_a_missing_gpu_is_a_sentence(folders, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FaceLLMError, match="no cuda device"):
        open_model(str(folders.base), device="cuda")


def test_dtype_follows_the_machine(monkeypatch):
    source = resolve("o/m")
    monkeypatch.setattr(loading, "cpu_has_fast_bfloat16", lambda: True)
    assert choose_dtype(Device("cpu"), source, None) is torch.bfloat16
    assert choose_dtype(Device("cpu"), resolve("nano"), None) is torch.float32
    monkeypatch.setattr(loading, "cpu_has_fast_bfloat16", lambda: False)
    assert choose_dtype(Device("cpu"), source, None) is torch.float32
    assert choose_dtype(Device("mps"), source, None) is torch.float16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert choose_dtype(Device("cuda"), source, None) is torch.bfloat16


def test_only_auto_falls_back_to_nano(folders, monkeypatch):
    gpu = Device("cuda", 80 * 2**30, "H100")
    monkeypatch.setattr(loading, "device_facts", lambda device=None: Device("cpu") if device == "cpu" else gpu)
    opened = []

    def stop(source, facts, reason, *options):
        opened.append((source.name, reason))
        if source.name != "nano":
            raise checkpoint.Unreachable("The hub cannot be reached.")
        return "nano opened"

    monkeypatch.setattr(loading, "_open", stop)
    assert open_model("auto") == "nano opened"
    assert [name for name, _ in opened] == ["8b", "nano"]
    assert "8b could not be fetched: The hub cannot be reached." in opened[1][1]
    with pytest.raises(checkpoint.Unreachable):
        open_model("8b")
    opened.clear()
    assert open_model("auto", device="cpu") == "nano opened"
    assert opened == [("nano", "no GPU found")]


def test_broken_weights_are_a_sentence(folders, tmp_path):
    shutil.copytree(folders.base, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(FaceLLMError, match="cannot be read"):
        open_model(str(tmp_path / "m"), device="cpu")
