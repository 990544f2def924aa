"""One loader: adapters, merged checkpoints, dtypes, quantisation, and what it reports."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from facellm import FaceLLMError
from facellm.engine.engine import Engine
from facellm.engine.sampling import Sampling
from facellm.results import Row
from facellm.weights import checkpoint, device, load
from facellm.weights.load import open_model
from facellm.weights.quantization import check_quantized, quantization_config
from facellm.weights.registry import MODELS, Device
from tests import tiny

FORMATS = [("float32", "none"), ("bfloat16", "none"), ("float32", "nf4"), ("bfloat16", "int8")]


def open_tiny(folders, adapter="adapter", **options):
    return open_model(str(folders.base), adapter=str(getattr(folders, adapter)), device="cpu", **options)


@pytest.mark.parametrize("adapter", ["adapter", "merged"])
@pytest.mark.parametrize(("dtype", "quantization"), FORMATS)
def test_every_format_opens_and_answers_for_both(folders, photo, adapter, dtype, quantization):
    loaded = open_tiny(folders, adapter, dtype=dtype, quantization=quantization)
    assert loaded.variants == ("base", "facellm")
    assert loaded.report.sharing == ("one batch" if adapter == "adapter" else "two batches")
    rows = [Row(w, "Which way is the head turned?") for w in loaded.variants]
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
    assert caplog.records[0].levelname == "WARNING"  # so that it is seen without --verbose
    assert merged.report.memory_bytes > 1.8 * plain.report.memory_bytes


def test_a_single_model_is_the_base_unless_it_is_opened_as_facellm(folders):
    alone = open_model(str(folders.base), device="cpu", dtype="float32")
    assert alone.variants == ("base",) and alone.report.facellm is None
    only = open_model(str(folders.merged), device="cpu", dtype="float32", base=False)
    assert only.variants == ("facellm",) and only.report.base is None
    tuned = open_tiny(folders, base=False, dtype="float32")
    assert tuned.variants == ("facellm",)


def test_a_merged_facellm_needs_no_base_unless_that_is_asked(folders, monkeypatch):
    monkeypatch.setitem(MODELS, "1b", replace(MODELS["1b"], base="o/never-fetched", facellm=str(folders.merged)))
    alone = open_model("1b", device="cpu", dtype="float32", base=None)
    assert alone.variants == ("facellm",) and alone.report.base is None and alone.report.notes == ()
    both = open_model(str(folders.base), adapter=str(folders.adapter), device="cpu", dtype="float32", base=None)
    assert both.variants == ("base", "facellm")
    assert open_model(str(folders.base), device="cpu", dtype="float32", base=None).variants == ("base",)


@pytest.mark.parametrize(
    ("name", "says"), [("2b", "none of this size is known"), ("38b", "Idiap/FaceLLM-38B, a presumed name, is not on")]
)
def test_without_a_facellm_the_base_is_opened_and_that_is_said(folders, monkeypatch, caplog, name, says):
    def fetch(place, revision=None, subfolder=""):
        asked.append((place, revision))
        if place.startswith("Idiap/"):
            raise checkpoint.NotFound(f"{place} is not on the Hugging Face hub.")
        return folders.base

    asked = []
    monkeypatch.setattr(checkpoint, "fetch", fetch)
    loaded = open_model(f"{name}@v1", device="cpu", dtype="float32", base=None)
    assert loaded.variants == ("base",) and loaded.report.facellm is None
    assert says in loaded.report.notes[0] and loaded.report.notes[0] == caplog.messages[0]
    assert asked[-1] == (MODELS[name].base, "v1")
    with pytest.raises(FaceLLMError, match=f"{name} has no FaceLLM to open alone: {says}"):
        open_model(name, device="cpu", base=False)
    with pytest.raises(checkpoint.NotFound):  # not presumed, so something is wrong
        open_model("8b", device="cpu")


def test_both_commits_are_reported(folders, tmp_path):
    places = []
    for letter, source in (("a", folders.base), ("b", folders.adapter), ("c", folders.merged)):
        places.append(tmp_path / letter / "snapshots" / (letter * 40))
        shutil.copytree(source, places[-1])
    base, adapter, merged = map(str, places)

    def commits(name, adapter=None, **options):
        report = open_model(name, adapter=adapter, device="cpu", dtype="float32", **options).report
        return [c and c[0] for c in (report.revision, report.base_revision)]

    assert commits(base) == ["a", "a"]
    assert commits(base, adapter) == ["b", "a"]
    assert commits(base, merged) == ["c", "a"]
    assert commits(base, merged, base=False) == ["c", None]


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
        ({"device": "cuda:x"}, "no device 'cuda:x'"),
        ({"device": "cpu:2"}, "last one is cpu:0"),
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


def test_a_gpu_that_is_not_there_is_a_sentence(folders, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(FaceLLMError, match="no device 'cuda:9': this machine's last one is cuda:1"):
        open_model(str(folders.base), device="cuda:9")


def test_dtype_follows_the_machine(monkeypatch):
    monkeypatch.setattr(device, "cpu_has_fast_bfloat16", lambda: True)
    assert device.choose_dtype(Device("cpu"), None) is torch.bfloat16
    assert device.choose_dtype(Device("cpu"), MODELS["nano"]) is torch.float32
    monkeypatch.setattr(device, "cpu_has_fast_bfloat16", lambda: False)
    assert device.choose_dtype(Device("cpu"), None) is torch.float32
    assert device.choose_dtype(Device("mps"), None) is torch.float16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert device.choose_dtype(Device("cuda"), None) is torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert device.choose_dtype(Device("cuda"), None) is torch.float16


@pytest.mark.parametrize("kind", [checkpoint.Unreachable, checkpoint.Unavailable, checkpoint.NotFound])
def test_only_auto_falls_back_to_nano(folders, monkeypatch, caplog, kind):
    def fetch(place, revision=None, subfolder=""):
        if place.startswith(("Idiap/", "OpenGVLab/")):
            raise kind("The hub cannot be reached.")
        return folders.adapter if place == "me/for-8b" else Path(place)

    monkeypatch.setattr(load, "choose", lambda *_: ("8b", "the card is large"))
    monkeypatch.setattr(load, "EMBEDDED", ("nano",))
    monkeypatch.setattr(checkpoint, "fetch", fetch)
    report = open_model("auto", device="cpu").report
    assert report.name == "nano"
    assert report.reason == "the card is large, but 8b could not be fetched: The hub cannot be reached."
    assert caplog.messages == ["nano is opened, because 8b could not be fetched: The hub cannot be reached."]
    for asked in ({"name": "8b"}, {"name": "auto", "adapter": "me/for-8b"}):
        with pytest.raises(kind):
            open_model(**asked, device="cpu")


def test_auto_knows_how_many_sets_of_weights_it_opens(folders, monkeypatch):
    class Chosen(Exception):
        pass

    def choose(facts, quantization, copies):
        raise Chosen(copies)

    monkeypatch.setattr(load, "choose", choose)
    cases = [(None, True, 2), (None, None, 1), (None, False, 1), (folders.adapter, True, 1), (folders.merged, True, 2)]
    for adapter, base, copies in cases:
        with pytest.raises(Chosen) as chosen:
            open_model(adapter=adapter and str(adapter), base=base, device="cpu")
        assert chosen.value.args == (copies,)


def test_labels_are_those_that_the_model_declares(folders, tmp_path):
    assert open_model(str(folders.base), device="cpu").label_set == "fairface"
    place = changed(folders, tmp_path / "m", lambda weights: None)
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    for declared in ({"label_set": "utkface"}, {"label_set": "runes"}):
        (tmp_path / "m" / "config.json").write_text(json.dumps(config | {"facellm": declared}))
        if declared["label_set"] == "utkface":
            assert open_model(place, device="cpu").label_set == "utkface"
        else:
            with pytest.raises(FaceLLMError, match="declares the label set 'runes'; this version knows fairface, utk"):
                open_model(place, device="cpu")


def changed(folders, out, change, config=None):
    """The tiny base with other weights (change edits the dict of them) or other entries of text_config."""
    shutil.copytree(folders.base, out)
    weights = load_file(out / "model.safetensors")
    change(weights)
    save_file(weights, out / "model.safetensors", {"format": "pt"})
    content = json.loads((out / "config.json").read_text())
    content["text_config"] |= config or {}
    (out / "config.json").write_text(json.dumps(content))
    return str(out)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_checkpoint_must_be_complete(folders, tmp_path, quantization):
    options = {"device": "cpu", "dtype": "float32", "quantization": quantization}
    query = "language_model.model.layers.1.self_attn.q_proj.weight"
    norm = "language_model.model.layers.1.input_layernorm.weight"

    def shorten(weights):
        del weights[query], weights[norm]

    with pytest.raises(FaceLLMError, match=r"lacks 2 of the model's weights, \S*1\.input_layernorm\.weight first"):
        open_model(changed(folders, tmp_path / "short", shorten), **options)
    with pytest.raises(FaceLLMError, match=r"1 of the weights .*input_layernorm\S* first: \(3,\) in place of \(64,\)"):
        open_model(changed(folders, tmp_path / "odd", lambda w: w.update({norm: torch.ones(3)})), **options)


def test_a_wrongly_typed_config_is_a_sentence(folders, tmp_path):
    wrong = changed(folders, tmp_path / "m", lambda _: None, {"hidden_size": "64"})
    with pytest.raises(FaceLLMError, match=r"config\.json cannot be used .*'hidden_size' expected int, got str"):
        open_model(wrong, device="cpu")


@pytest.mark.parametrize(
    ("error", "device", "says"),
    [
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), "mps", "memory of mps; use a smaller model"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to"), "cpu", "memory of cpu; use --quant"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), "cpu", "memory of cpu"),
        (torch.OutOfMemoryError("CUDA out of memory."), "cuda", "memory of cuda"),
        (MemoryError(), "cpu", "memory of cpu"),
    ],
)
def test_too_little_memory_is_said_as_such(folders, monkeypatch, error, device, says):
    def from_pretrained(*_, **__):
        raise error

    monkeypatch.setattr("transformers.InternVLForConditionalGeneration.from_pretrained", from_pretrained)
    with pytest.raises(FaceLLMError, match=re.escape(f"base does not fit the {says}")):
        load.read_weights(folders.base, torch.float32, "none", device)


def test_broken_weights_are_a_sentence(folders, tmp_path):
    shutil.copytree(folders.base, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(FaceLLMError, match="cannot be read"):
        open_model(str(tmp_path / "m"), device="cpu")
