"""An encoder that does not live on the card: same features, weights elsewhere between images, the decoder untouched."""

import copy

import pytest
import torch
from torch import nn

from facellm.engine.engine import Engine
from facellm.engine.sampling import Sampling
from facellm.results import Row
from facellm.weights import load, offload
from facellm.weights.load import open_model
from facellm.weights.quantization import quantization_config
from facellm.weights.registry import Device
from tests import tiny

ROWS = [Row(w, "Is the mouth open?") for w in ("base", "facellm")]


def open_tiny(folders, **options):
    return open_model(str(folders.base), adapter=str(folders.adapter), dtype="float32", **options)


def test_visiting_layers_give_the_same_answers_and_leave_nothing_behind(folders, engine, photo, monkeypatch):
    expected = [engine.answer(p, ROWS, Sampling(max_new_tokens=4)) for p in (photo, tiny.picture(5, 90))]
    loaded = open_tiny(folders, device="cpu")
    model = loaded.model.get_base_model()
    before = copy.deepcopy(model.model.vision_tower.state_dict())
    # On a CPU the layers' visits go to the CPU: the same hooks, without the other device.
    tower = offload.visit(model, torch.device("cpu"))
    there = []
    layer = type(tower.encoder.layer[0])
    original = layer.forward

    def forward(self, *args, **kwargs):
        there.append([all(not p.is_meta for p in one.parameters()) for one in tower.encoder.layer])
        return original(self, *args, **kwargs)

    for one in tower.encoder.layer:  # accelerate's hook is around `_old_forward`
        monkeypatch.setattr(one, "_old_forward", forward.__get__(one))
    visited = Engine(loaded)
    for answers, picture in zip(expected, (photo, tiny.picture(5, 90)), strict=True):
        again = visited.answer(picture, ROWS, Sampling(max_new_tokens=4))
        assert [a.token_ids for a in again] == [a.token_ids for a in answers]
        assert all(p.is_meta for p in tower.parameters())  # no weights between images
    assert there == [[True, False], [False, True]] * 2  # one layer at a time, for each of the two images
    visited.answer(photo, [Row("base", "Hi")], Sampling(max_new_tokens=1))
    assert len(there) == 4  # features that are known need no encoder
    others = [p for n, p in model.named_parameters() if "vision_tower" not in n]
    assert others and not any(p.is_meta for p in others)
    state = tower._hf_hook.hooks[0] if hasattr(tower._hf_hook, "hooks") else tower._hf_hook
    assert state is not None and set(before) == set(tower.state_dict())


def test_where_the_parts_are_opened():
    assert offload.placement("cuda:1", False) == {"": "cuda:1"}
    assert offload.placement("cuda:1", True) == {"": "cuda:1", offload.TOWER: "cpu"}
    for quantization in ("nf4", "int8"):
        kept, freed = (quantization_config(quantization, torch.bfloat16, k) for k in (False, True))
        assert not kept.llm_int8_enable_fp32_cpu_offload and freed.llm_int8_enable_fp32_cpu_offload
        assert freed.llm_int8_skip_modules == kept.llm_int8_skip_modules
    assert quantization_config("none", torch.bfloat16, True) is None


def test_hooks_of_an_opening_on_two_devices_are_taken_away(folders, photo):
    from accelerate import dispatch_model

    model = open_model(str(folders.base), device="cpu", dtype="float32").model
    weights = {n: p.clone() for n, p in model.state_dict().items()}
    dispatch_model(model, {"": "cpu", offload.TOWER: "cpu"}, force_hooks=True)
    model.hf_device_map = {"": "cpu", offload.TOWER: "cpu"}
    assert any(hasattr(m, "_hf_hook") for m in model.modules())
    offload.settle(model)
    assert not any(hasattr(m, "_hf_hook") for m in model.modules()) and not hasattr(model, "hf_device_map")
    assert all(torch.equal(p, weights[n]) for n, p in model.state_dict().items())


def test_on_a_cpu_there_is_nothing_to_free(folders):
    loaded = open_tiny(folders, device="cpu", offload_encoder=True)
    assert "nothing to free" in loaded.report.notes[0]
    assert not any(p.is_meta for p in loaded.model.parameters())


def test_each_part_is_asked_for_where_it_belongs(folders, monkeypatch):
    """What happens on a card, with the card's part played by the CPU."""
    asked, visitors = [], []
    original = offload.placement

    def placement(device, offloaded):
        asked.append(original(device, offloaded))
        return {"": "cpu"}

    monkeypatch.setattr(load, "device_facts", lambda device: Device("cuda", 24 * 2**30, "a card"))
    monkeypatch.setattr(offload, "placement", placement)
    monkeypatch.setattr(offload, "visit", lambda model, device: visitors.append((type(model), str(device))))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    loaded = open_tiny(folders, device="cuda:0", quantization="none", offload_encoder=True)
    assert asked == [{"": "cuda:0", offload.TOWER: "cpu"}]
    assert visitors == [(type(loaded.model.get_base_model()), "cuda:0")]
    assert "stays in main memory" in loaded.report.notes[0]
    merged = open_model(str(folders.base), adapter=str(folders.merged), device="cuda:0", offload_encoder=True)
    assert len(visitors) == 3 and merged.merged is not None  # both copies have an encoder


@pytest.mark.gpu
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_on_a_card_the_encoder_takes_no_memory(folders, photo, quantization):
    options = {"device": "cuda", "quantization": quantization}
    kept = open_model(str(folders.base), adapter=str(folders.adapter), **options)
    freed = open_model(str(folders.base), adapter=str(folders.adapter), offload_encoder=True, **options)
    tower: nn.Module = freed.model.get_base_model().model.vision_tower
    answers = [Engine(m).answer(photo, ROWS, Sampling(max_new_tokens=4)) for m in (kept, freed)]
    assert [a.token_ids for a in answers[0]] == [a.token_ids for a in answers[1]]
    assert all(p.device.type != "cuda" for p in tower.parameters())
    rest = [p for n, p in freed.model.named_parameters() if "vision_tower" not in n]
    assert {p.device.type for p in rest} == {"cuda"}
