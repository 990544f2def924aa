"""Parts of a model that train: adapters in every form on a tiny InternVL, whole parts on nano (about 60 s)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import facellm
from facellm.errors import FaceLLMError
from facellm.weights.load import open_model, read_weights
from facellm.weights.registry import NANO
from tests.paths import ROOT
from tests.tiny import make_tiny_internvl, picture
from tests.train.lora.lora_data import make_data
from train.lora import lora
from train.lora.base_model import open_base
from train.lora.parts.adapters import make_trainable
from train.lora.parts.parts import PARTS, counts, part_of_weight, read_parts
from train.lora.recipe import check

TINY = {
    "learning_rate": 0.01, "batch": 16, "max_steps": 4, "precision": "float32", "log_every": 1, "eval_every": 0,
    "save_every": 0, "samples": 0, "rank": 4, "alpha": 8,
}  # fmt: skip
ON_NANO = {
    "learning_rate": 3e-4, "schedule": "constant", "batch": 8, "max_steps": 3, "precision": "float32", "log_every": 1,
    "eval_every": 1, "save_every": 0, "samples": 0, "micro_tokens": 1024,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data") / "set", train=6, val=2)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_internvl(tmp_path_factory.mktemp("base") / "base", end_bias=0.5)


def validation(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["eval_loss"] for line in lines if "eval_loss" in line]


FORMS = {
    "target_modules": ({"target_modules": "q_proj,v_proj"}, {}),
    "dora": ({"use_dora": True}, {"use_dora": True}),
    "rslora": ({"use_rslora": True}, {"use_rslora": True}),
    "gaussian": ({"init": "gaussian"}, {}),
    "orthogonal": ({"init": "orthogonal"}, {}),
    # Stored as the difference to the initial weights, at twice the rank.
    "pissa": ({"init": "pissa"}, {"rank": 8, "alpha": 16}),
    "pissa_niter_16": ({"init": "pissa_niter_16"}, {"rank": 8, "alpha": 16}),
    "olora": ({"init": "olora"}, {"rank": 8, "alpha": 16}),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_adapter_of_any_form_opens_as_it_was_trained(data, base, tmp_path, form):
    options, as_stored = FORMS[form]
    figures = lora.train(data, str(base), tmp_path / "out", check({**TINY, **options}), device="cpu")
    adapter = tmp_path / "out" / "adapter"
    loaded = open_model(str(base), adapter=str(adapter), device="cpu", dtype="float32")
    assert loaded.variants == ("base", "facellm")
    assert loaded.report.sharing == ("two batches" if form == "dora" else "one batch")
    layers = {name.split(".")[-3] for name in load_file(adapter / "adapter_model.safetensors") if "lora_A" in name}
    assert layers == {"q_proj", "v_proj"} if form == "target_modules" else len(layers) == 7
    # The very model that was validated: base and stored adapter have its validation loss.
    still = check({**TINY, **({} if form in ("gaussian", "orthogonal") else options), "init": "default", **as_stored,
                   "max_steps": 1, "learning_rate": 1e-12})  # fmt: skip
    again = lora.train(data, str(base), tmp_path / "again", still, device="cpu", start=[adapter])
    assert again["val_loss"] == pytest.approx(figures["val_loss"], abs=2e-4)
    known = json.loads((tmp_path / "again" / "adapter" / "training.json").read_text())
    assert known["start"][0]["weights"] == json.loads((adapter / "training.json").read_text())["weights"]


def test_loraplus_lets_b_learn_faster(data, base, tmp_path):
    largest = []
    for ratio in (0.0, 16.0):
        options = {**TINY, "loraplus_ratio": ratio, "max_steps": 1, "learning_rate": 1e-4, "schedule": "constant"}
        lora.train(data, str(base), tmp_path / str(ratio), check(options), device="cpu")
        weights = load_file(tmp_path / str(ratio) / "adapter" / "adapter_model.safetensors")
        largest.append(max(w.abs().max().item() for name, w in weights.items() if "lora_B" in name))
    assert largest == pytest.approx([1e-4, 16e-4], rel=1e-2)  # Adam's first step is the learning rate


@pytest.mark.parametrize("train", [*PARTS, "encoder,projector", "all", "adapter,projector"])
def test_what_trains_is_counted_and_nothing_else_does(base, train):
    net, _ = open_base(base, "bf16", "none", "cpu")
    model = make_trainable(net, check({"train": train}))
    trained = {part for part, (trains, _) in counts(model).items() if trains}
    assert trained == set(read_parts(train))
    assert all(w.dtype == torch.float32 for w in model.parameters() if w.requires_grad)
    assert sum(total for _, total in counts(model).values()) >= sum(w.numel() for w in net.parameters()) / 2


@pytest.mark.slow
@pytest.mark.parametrize("train", ["projector", "encoder", "all", "adapter,projector"])
def test_parts_of_nano_learn_and_open_through_load(data, tmp_path, train, capsys):
    options = {**ON_NANO, "train": train, "learning_rate": 1e-3 if train == "projector" else 3e-4}
    lora.train(data, "nano", tmp_path / "out", check(options), device="cpu")
    losses = validation(tmp_path / "out")
    assert min(losses[1:]) < losses[0]  # three large steps on 24 rows: the last one may overshoot
    told = capsys.readouterr().err
    assert "parameters that train: " in told and all(part in told for part in read_parts(train))
    assert not (tmp_path / "out" / "features").exists()  # an image's features change
    model = tmp_path / "out" / "model"
    before = read_weights(NANO, torch.float32, "none", "cpu").state_dict()
    after = read_weights(model, torch.float32, "none", "cpu").state_dict()
    changed = {part_of_weight(name) for name, weight in before.items() if not torch.equal(weight, after[name])}
    assert changed == {"decoder" if part == "adapter" else part for part in read_parts(train)}
    alone = facellm.load(str(model))
    answer = alone.ask(picture(1), "Is the mouth open?", max_new_tokens=4).text
    beside = facellm.load("nano", adapter=str(model))
    assert beside.ask(picture(1), "Is the mouth open?", max_new_tokens=4).text == answer
    assert json.loads((model / "training.json").read_text())["recipe"]["train"] == train
    assert "Open it with" in (model / "README.md").read_text()


@pytest.mark.parametrize(
    "options", [{"train": "all"}, {"train": "adapter,projector"}, {"train": "encoder"}, {"init": "pissa"}]
)
def test_a_run_goes_on_from_its_checkpoint(data, base, tmp_path, options):
    settings = check({**TINY, **options, "save_every": 2})
    unbroken = lora.train(data, str(base), tmp_path / "out", settings, device="cpu")
    shutil.copytree(tmp_path / "out/checkpoints/checkpoint-2", tmp_path / "again/checkpoints/checkpoint-2")
    resumed = lora.train(data, str(base), tmp_path / "again", settings, device="cpu")
    assert resumed["train_loss"] == pytest.approx(unbroken["train_loss"], abs=1e-4)
    assert resumed["val_loss"] == pytest.approx(unbroken["val_loss"], abs=1e-4)


@pytest.mark.slow
def test_full_training_goes_on_after_a_kill_to_the_same_loss(data, tmp_path):
    options = {**ON_NANO, "train": "all", "save_every": 1, "eval_every": 0, "samples": 0}
    unbroken = lora.train(data, "nano", tmp_path / "unbroken", check(options), device="cpu")
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "train", "lora", "--data", str(data), "--out", str(out), "--device", "cpu"]
    command += [part for k, v in options.items() for part in (f"--{k.replace('_', '-')}", str(v))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while not list(out.glob("checkpoints/checkpoint-*/complete.json")):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[1][-2000:]
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (out / "model").exists()
    resumed = lora.train(data, "nano", out, check(options), device="cpu")
    assert resumed["val_loss"] == pytest.approx(unbroken["val_loss"], abs=1e-3)
    assert resumed["train_loss"] == pytest.approx(unbroken["train_loss"], abs=1e-3)


@pytest.mark.parametrize("train", ["all", "encoder", "projector", "decoder", "adapter,projector", "adapter,encoder"])
def test_bf16_trains_parts_in_float32(data, base, tmp_path, train):
    plain = train == "decoder"
    options = {**TINY, "train": train, "precision": "bf16", "packed": not plain, "gradient_checkpointing": plain}
    figures = lora.train(data, str(base), tmp_path / "out", check(options), device="cpu")
    assert figures["train_loss"] > 0 and not list((tmp_path / "out").glob("*.part"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train": "head"}, "no part 'head' to train; choose from adapter, projector, decoder, encoder and all"),
        ({"train": "adapter,decoder"}, "either of the two"),
        ({"train": "all", "quantization": "nf4"}, "cannot be written back in full"),
        ({"train": "projector", "use_dora": True}, "use_dora in the settings is of an adapter"),
        ({"init": "pissa", "quantization": "nf4"}, "takes the base's weights apart"),
        ({"init": "pissa", "use_dora": True}, "take either"),
        ({"init": "best"}, "must be one of default, gaussian"),
    ],
)
def test_what_cannot_go_together_is_told(options, words):
    with pytest.raises(FaceLLMError) as caught:
        check(options)
    assert words in str(caught.value)


def test_sentences_about_parts(data, base, tmp_path):
    with pytest.raises(FaceLLMError, match=r"no linear layers 'w_pack' for --target-modules; it has down_proj"):
        lora.train(data, str(base), tmp_path / "a", check({**TINY, "target_modules": "w_pack"}), device="cpu")
    with pytest.raises(FaceLLMError, match="--features holds what an image was"):
        options = check({**TINY, "train": "projector"})
        lora.train(data, str(base), tmp_path / "b", options, features=tmp_path / "f", device="cpu")
    with pytest.raises(FaceLLMError, match="leave out --init"):
        lora.train(data, str(base), tmp_path / "c", check({**TINY, "init": "pissa"}), start=[tmp_path], device="cpu")
