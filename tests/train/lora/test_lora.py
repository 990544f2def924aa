"""Real LoRA training on a tiny InternVL: what trains, what it leaves, kill and resume, two processes, every sentence.

About 90 s on an idle machine; the kill, and the two processes, are real processes.
"""

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
from safetensors.torch import load_file, save_file

from facellm.errors import FaceLLMError
from tests.paths import ROOT
from tests.tiny import make_tiny_internvl
from tests.train.lora.lora_data import make_data, make_world, rows
from train import __main__ as cli
from train.lora import lora
from train.lora.parts import adapters
from train.lora.preparation import DataOptions
from train.lora.recipe import check

SETTINGS = {
    "learning_rate": 0.01, "batch": 16, "epochs": 5.0, "precision": "float32", "log_every": 2, "eval_every": 10,
    "save_every": 5, "samples": 1, "sample_tokens": 8, "micro_tokens": 200,
}  # fmt: skip


def recipe(**changes):
    return check({**SETTINGS, **changes})


def flags(**changes) -> list[str]:
    return [part for k, v in {**SETTINGS, **changes}.items() for part in (f"--{k.replace('_', '-')}", str(v))]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "out"
    return out, lora.train(*world, out, recipe(), device="cpu")


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_loss_falls_and_everything_is_written(trained, world):
    out, figures = trained
    losses = [line["loss"] for line in lines(out) if "loss" in line]
    validation = [line["eval_loss"] for line in lines(out) if "eval_loss" in line]
    assert losses[-1] < losses[0] / 2 and validation[-1] < validation[0]
    assert figures["steps"] == 20 and figures["val_loss"] == validation[-1]
    assert figures["val_short_answers"] > 0 and 0 <= figures["val_short_accuracy"] <= 1
    assert (out / "loss.png").stat().st_size > 1000
    sample = json.loads((out / "samples.jsonl").read_text().splitlines()[-1])
    assert sample["step"] == 20 and sample["answer"] and sample["data"]
    adapter = out / "adapter"
    assert {path.name for path in adapter.iterdir()} == {
        "adapter_model.safetensors", "adapter_config.json", "recipe.yaml", "training.json", "README.md",
    }  # fmt: skip
    known = json.loads((adapter / "training.json").read_text())
    assert known["base"]["name"] == str(world[1]) and len(known["base"]["digest"]) == 64
    assert known["data"]["train"] == 64 and known["recipe"]["rank"] == 16
    assert "rank 16" in (adapter / "README.md").read_text()


def test_only_the_decoder_has_adapters_and_the_base_is_untouched(trained, world):
    weights = load_file(trained[0] / "adapter" / "adapter_model.safetensors")
    assert len(weights) == 2 * 2 * 7  # A and B, two layers, seven linear layers each
    assert all(".language_model.layers." in name and "lora_" in name for name in weights)
    assert all(weight.abs().sum() > 0 for weight in weights.values())


def test_encoder_projector_and_head_are_bit_identical(world, tmp_path, monkeypatch):
    kept = {}
    adapter = adapters.make_trainable

    def remember(net, settings):
        kept["before"] = {k: v.clone() for k, v in net.state_dict().items()}
        kept["model"] = adapter(net, settings)
        return kept["model"]

    monkeypatch.setattr(adapters, "make_trainable", remember)
    lora.train(*world, tmp_path / "out", recipe(max_steps=3), device="cpu")
    after = kept["model"].unload().state_dict()
    assert kept["before"].keys() == after.keys()
    for name, weight in kept["before"].items():
        assert torch.equal(weight, after[name]), name


def test_the_adapter_opens_in_facellm(trained, world):
    from facellm.weights.load import open_model

    loaded = open_model(str(world[1]), adapter=str(trained[0] / "adapter"), device="cpu", dtype="float32")
    assert loaded.variants == ("base", "facellm")


def test_plain_training_gives_the_same_curve(world, trained, tmp_path):
    """Different batches of the same pairs would differ, so both run one step of all pairs an epoch."""
    curves = []
    for packed in (True, False):
        out = tmp_path / str(packed)
        lora.train(*world, out, recipe(packed=packed, batch=64, max_steps=3, log_every=1), device="cpu")
        curves.append([line["loss"] for line in lines(out) if "loss" in line])
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_micro_batches_do_not_change_a_weighted_step(world, tmp_path):
    """Half of the images have letters for answers, half have sentences, so that micro-batches differ in length."""
    data = tmp_path / "data"
    shutil.copytree(world[0], data)
    said = json.loads((data / "dataset.json").read_text())
    for place, row in enumerate(said):
        row["conversations"][1]["value"] = "yes" if place < len(said) // 2 else "The head is turned to the left. " * 4
    (data / "dataset.json").write_text(json.dumps(said))
    losses = []
    for micro_tokens in (150, 100_000):
        settings = recipe(micro_tokens=micro_tokens, weighting="root", batch=64, max_steps=2, log_every=1, eval_every=0)
        out = tmp_path / str(micro_tokens)
        lora.train(data, world[1], out, settings, features=tmp_path / "features", device="cpu")
        losses.append([line["loss"] for line in lines(out) if "loss" in line])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_features_live_cached_and_given_agree(world, trained, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(world[0], data)
    wanted = [line["loss"] for line in lines(trained[0]) if "loss" in line][:1]
    live = lora.train(data, world[1], tmp_path / "live", recipe(cache_features=False, max_steps=2), device="cpu")
    assert [live["train_loss"]] == pytest.approx(wanted, rel=2e-3)  # the cache is float16
    assert not (tmp_path / "live" / "features").exists()
    # With path keys the images need not exist.
    shutil.copytree(trained[0] / "features", data / "features")
    index = json.loads((data / "features" / "index.json").read_text())
    index["rows"] = {f"images/{i}.png": i for i in range(20)}
    (data / "features" / "index.json").write_text(json.dumps(index))
    shutil.rmtree(data / "images")
    given = lora.train(data, world[1], tmp_path / "given", recipe(max_steps=2), device="cpu")
    assert given["train_loss"] == pytest.approx(wanted[0], rel=1e-6)


@pytest.mark.parametrize("options", [{"quantization": "nf4"}, {"precision": "bf16"}, {"gradient_checkpointing": True}])
def test_other_precisions_learn(world, tmp_path, options):
    figures = lora.train(*world, tmp_path / "out", recipe(**options), device="cpu")
    losses = [line["loss"] for line in lines(tmp_path / "out") if "loss" in line]
    assert losses[-1] < losses[0] / 2 and figures["val_loss"] > 0


def start(out: Path, world, *launcher: str, **changes) -> subprocess.Popen:
    command = [
        sys.executable,
        *(launcher or ("-m", "train")),
        "lora",
        "--data",
        str(world[0]),
        "--model",
        str(world[1]),
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
    command += ["--out", str(out), "--device", "cpu", *flags(**changes)]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_killed_and_resumed_gives_the_same_curve(world, trained, tmp_path):
    out = tmp_path / "out"
    process = start(out, world)
    deadline = time.monotonic() + 300
    while not list(out.glob("checkpoints/checkpoint-*/complete.json")):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (out / "adapter").exists()
    # What a kill in the middle of saving leaves behind is passed over.
    (out / "checkpoints" / "checkpoint-99").mkdir()
    figures = lora.train(*world, out, recipe(), device="cpu")
    assert figures["val_loss"] == pytest.approx(trained[1]["val_loss"], abs=1e-3)
    unbroken = {line["step"]: line["loss"] for line in lines(trained[0]) if "loss" in line}
    resumed = {line["step"]: line["loss"] for line in lines(out) if "loss" in line}
    assert resumed.keys() == unbroken.keys()
    assert [resumed[s] for s in sorted(resumed)] == pytest.approx([unbroken[s] for s in sorted(unbroken)], abs=1e-3)


def test_a_run_may_begin_with_another_adapters_weights(world, trained, tmp_path):
    short = recipe(max_steps=2, eval_every=0, save_every=0, samples=0)
    lora.train(*world, tmp_path / "on", short, device="cpu", start=[trained[0] / "adapter"])
    before, after = (
        next(line["loss"] for line in lines(out) if "loss" in line) for out in (trained[0], tmp_path / "on")
    )
    assert after < before
    told(
        lambda: lora.train(*world, tmp_path / "no", short, device="cpu", start=[tmp_path]),
        "holds no adapter_model.safetensors",
    )


def test_a_run_may_begin_with_the_mean_of_several_adapters(world, trained, tmp_path):
    still = recipe(max_steps=1, learning_rate=1e-12, eval_every=0, save_every=0, samples=0)
    other = tmp_path / "other"
    shutil.copytree(trained[0] / "adapter", other)
    first = load_file(other / "adapter_model.safetensors")
    save_file({name: value * 3 for name, value in first.items()}, other / "adapter_model.safetensors")
    lora.train(*world, tmp_path / "mean", still, device="cpu", start=[trained[0] / "adapter", other])
    begun = load_file(tmp_path / "mean" / "adapter" / "adapter_model.safetensors")
    for name, value in first.items():
        torch.testing.assert_close(begun[name].float(), 2 * value.float(), atol=1e-6, rtol=1e-3)
    lora.train(
        *world, tmp_path / "shares", still, device="cpu", start=[trained[0] / "adapter", other], start_shares=[3, 1]
    )
    begun = load_file(tmp_path / "shares" / "adapter" / "adapter_model.safetensors")
    for name, value in first.items():
        torch.testing.assert_close(begun[name].float(), 1.5 * value.float(), atol=1e-6, rtol=1e-3)
    known = json.loads((tmp_path / "shares" / "adapter" / "training.json").read_text())
    assert [one["share"] for one in known["start"]] == [3, 1]


def test_two_processes_equal_one(world, trained, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29611", "-m", "train")
    process = start(tmp_path / "out", world, *launcher)
    text = process.communicate(timeout=400)[0]
    assert process.returncode == 0, text[-3000:]
    two = [line["loss"] for line in lines(tmp_path / "out") if "loss" in line]
    one = [line["loss"] for line in lines(trained[0]) if "loss" in line]
    assert two == pytest.approx(one, rel=2e-3)
    known = json.loads((tmp_path / "out" / "adapter" / "training.json").read_text())
    assert known["figures"]["val_loss"] == pytest.approx(trained[1]["val_loss"], rel=2e-3)


def told(call, *words: str) -> None:
    with pytest.raises(FaceLLMError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".") and all(word in text for word in words), text


def test_sentences_about_the_data(world, tmp_path):
    def run(content, name="dataset.json", **changes):
        folder = tmp_path / "data"
        shutil.rmtree(folder, ignore_errors=True)
        make_data(folder, 2, 1)
        if content is not None:
            (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return lambda: lora.train(folder, world[1], tmp_path / "out", recipe(**changes), device="cpu")

    good = rows(0, 2)
    told(
        run([{k: v for k, v in row.items() if k != "images"} for row in good]),
        "8 of 12 rows",
        "no image column",
        "row 1",
    )
    told(run([*good, {**good[0], "images": ["images/99.png"]}]), "1 of 13 rows", "row 9", "missing", "99.png")
    told(run(None, cutoff=20), "longer than the cutoff of 20", "dataset.json row 1", "--skip-long")
    told(run("{nonsense"), "not valid JSON")
    told(run([{**good[0], "images": ["a.png", "b.png"]}]), "row 1 has 2 images")
    told(run([{**good[0], "conversations": good[0]["conversations"][:1]}]), "must end with an answer")
    told(run([{**good[0], "images": []}]), "mentions <image> 1 times but lists 0")
    told(run([]), "no training row")
    told(
        lambda: lora.train(tmp_path, world[1], tmp_path / "out", recipe(), device="cpu"),
        "dataset.json",
        "train dataset",
    )


def test_sentences_about_the_run(world, trained, tmp_path, monkeypatch):
    out = tmp_path / "out"
    told(lambda: lora.train(*world, trained[0], recipe(), device="cpu"), "finished adapter", "--overwrite")
    shutil.copytree(trained[0], out)
    shutil.rmtree(out / "adapter")
    other = make_tiny_internvl(tmp_path / "other", seed=5)
    told(lambda: lora.train(world[0], other, out, recipe(), device="cpu"), "another base", str(world[1]))
    told(lambda: lora.train(*world, out, recipe(rank=4), device="cpu"), "rank=16, not 4")
    told(lambda: lora.train(make_data(tmp_path / "d", 4), world[1], out, recipe(), device="cpu"), "on other data")
    shutil.rmtree(out / "checkpoints")
    told(lambda: lora.train(world[0], other, out, recipe(), device="cpu"), "feature cache", "another encoder")

    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("train.lora.trainer.packed_forward", full)
    told(
        lambda: lora.train(*world, tmp_path / "memory", recipe(), device="cpu"),
        "Out of memory", "--micro-tokens 256", "--gradient-checkpointing", "--quantization nf4",
    )  # fmt: skip


def test_jsonl_questions_and_skipping_long_rows(world, tmp_path):
    data = make_data(tmp_path / "data", 4, 1)
    (data / "dataset.json").unlink()
    written = [{"image": f"images/{i}.png", "question": "Is it?", "answer": "yes"} for i in range(4)]
    written += [{"image": "images/4.png", "question": "Is it?", "answer": "no", "split": "val"}]
    written += [{"image": "images/0.png", "question": "Is it? " * 30, "answer": "yes"}]
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in written))
    skip = DataOptions(skip_long=True)
    figures = lora.train(data, world[1], tmp_path / "out", recipe(cutoff=80, max_steps=1), options=skip, device="cpu")
    assert figures["steps"] == 1
    assert json.loads((tmp_path / "out/adapter/training.json").read_text())["data"]["train"] == 5


def test_command_line(capsys):
    assert cli.main(["lora", "--data", "/nowhere", "--model", "/nowhere", "--out", "/tmp/none"]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.endswith(".") and "/nowhere" in message
    assert cli.main(["nonsense"]) == 2 and "choose from" in capsys.readouterr().err
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in ("lora", "export", "ablate"))
