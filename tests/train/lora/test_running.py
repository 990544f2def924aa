"""What a machine allows, how a run is followed, and the hub, by a server that stands in for it (about 15 s)."""

from __future__ import annotations

import base64
import json
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from facellm.errors import FaceLLMError
from tests.tiny import make_processor
from tests.train.lora.lora_data import make_world
from train import __main__ as cli
from train.lora import lora
from train.lora.base_model import open_base
from train.lora.conversations import SYSTEM_PROMPTS, read_dataset, tokenize
from train.lora.recipe import check
from train.lora.running import trackers
from train.lora.running.arguments import check_precision, check_sharding, training_arguments
from train.lora.running.upload import Upload

QUICK = {"max_steps": 2, "precision": "float32", "log_every": 1, "eval_every": 1, "save_every": 0, "samples": 0}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def test_fp16_is_refused_on_a_cpu(tmp_path):
    with pytest.raises(FaceLLMError, match="fp16 needs a GPU"):
        training_arguments(tmp_path, check({"precision": "fp16"}), "cpu")
    check_precision(check({"precision": "fp16"}), use_cpu=False)


def test_the_base_is_opened_in_fp16(world):
    net, _ = open_base(world[1], "fp16", "none", "cpu")
    assert {w.dtype for w in net.parameters()} == {torch.float16}


def test_a_card_that_emulates_bf16_is_told(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    check_precision(check({"precision": "bf16"}), use_cpu=False)
    assert (
        capsys.readouterr().err == "Tesla T4 only emulates bf16, slowly; --precision fp16 is what it computes itself.\n"
    )


FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
ZERO3 = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}


@pytest.mark.parametrize(
    ("options", "environment", "words"),
    [
        ({}, {**FSDP, "FSDP_VERSION": "1"}, "FSDP 1 cannot keep"),
        ({"quantization": "nf4"}, ZERO3, "ZeRO stage 3 cannot share out a base in nf4"),
        ({"train": "adapter,projector"}, FSDP, "cannot be merged where the model is sharded"),
        ({"init": "pissa"}, FSDP, "cannot be stored where the model is sharded"),
    ],
)
def test_what_sharding_cannot_do_is_refused(options, environment, words):
    with pytest.raises(FaceLLMError, match=words):
        check_sharding(check(options), environment)
    check_sharding(check(options), {})
    check_sharding(check({"quantization": "nf4"}), FSDP)


def test_fsdp_gets_four_bit_weights_packed_as_the_others(world, caplog):
    from bitsandbytes.nn import Linear4bit

    with caplog.at_level(logging.WARNING):
        net, _ = open_base(world[1], "bf16", "nf4", "cpu", sharded=True)
    packed = [layer for layer in net.modules() if isinstance(layer, Linear4bit)]
    assert packed and all(layer.weight.dtype == torch.bfloat16 for layer in packed)
    assert net.lm_head.weight.dtype == torch.bfloat16
    assert "kernels" not in caplog.text
    alone, _ = open_base(world[1], "bf16", "nf4", "cpu")
    assert next(layer for layer in alone.modules() if isinstance(layer, Linear4bit)).weight.dtype == torch.uint8


def test_the_system_prompt_of_llamafactory_is_learnt_with(world):
    data = read_dataset(world[0]).with_system("intern_vl")
    (row,) = tokenize(make_processor(), data.train[:1])
    assert SYSTEM_PROMPTS["intern_vl"] in make_processor().tokenizer.decode(row.ids)
    assert {e.system for e in read_dataset(world[0]).with_system("Be brief.").val} == {"Be brief."}
    assert {e.system for e in read_dataset(world[0]).with_system("").train} == {None}


def test_a_missing_tracker_is_told_before_work_begins(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    flags = ["lora", "--data", "/nowhere", "--out", str(tmp_path)]
    monkeypatch.setattr(cli, "check_needs", lambda verb: None)
    assert cli.main([*flags, "--report-to", "wandb"]) == 2
    assert "--report-to wandb needs the package wandb" in capsys.readouterr().err
    assert cli.main([*flags, "--report-to", "paper"]) == 2
    assert "no tracker 'paper'; choose from tensorboard, wandb, trackio, none" in capsys.readouterr().err


def test_tensorboard_gets_the_run(world, tmp_path, monkeypatch):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    figures = lora.train(*map(str, world), tmp_path / "out", check(QUICK), device="cpu", report_to="tensorboard")
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR")
    seen = event_accumulator.EventAccumulator(str(tmp_path / "out" / "tensorboard")).Reload()
    assert seen.Scalars("eval/loss")[-1].value == pytest.approx(figures["val_loss"], rel=1e-5)
    assert len(seen.Scalars("train/loss")) == 2


def test_a_terminal_gets_a_bar_and_a_file_lines(world, tmp_path, capsys, monkeypatch):
    lora.train(*map(str, world), tmp_path / "lines", check(QUICK), device="cpu")
    told = capsys.readouterr().err
    assert "step 1/2  loss" in told and "step 2/2  validation loss" in told and "it/s" not in told
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    lora.train(*map(str, world), tmp_path / "bar", check(QUICK), device="cpu")
    told = capsys.readouterr().err
    assert "2/2" in told and "validation loss" in told and "step 1/2  loss" not in told


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as an upload asks: who may write, the repository, a commit with the files in it."""

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(self.path)
        if self.headers.get("Authorization") != "Bearer hf_right":
            return self.answer(401, {"error": "no"})
        if self.path == "/api/repos/create":
            self.server.made = json.loads(body)
            return self.answer(200, {"url": f"{self.server.url}/me/faces", "name": "me/faces"})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            how = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            return self.answer(200, {"files": [{"path": file["path"], **how} for file in files]})
        if "/commit/" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.server.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            return self.answer(
                200, {"success": True, "commitOid": "0" * 40, "commitUrl": f"{self.server.url}/me/faces/commit/0"}
            )
        return self.answer(200, {})

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.headers.get("Authorization") != "Bearer hf_right":
            return self.answer(401, {"error": "no"})
        return self.answer(
            200, {"id": "me/faces", "modelId": "me/faces", "sha": "0" * 40, "siblings": [], "private": True}
        )

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.files, server.made = [], {}, None
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()


def test_what_was_trained_is_pushed_to_the_hub(world, tmp_path, hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    lora.train(*map(str, world), tmp_path / "out", check(QUICK), device="cpu", upload=Upload("me/faces"))
    assert hub.made["name"] == "faces" and "private" in (
        hub.made.get("visibility"),
        hub.made.get("private") and "private",
    )
    adapter = tmp_path / "out" / "adapter"
    assert hub.files == {file.name: file.read_bytes() for file in adapter.iterdir()}
    assert f"uploaded: {hub.url}/me/faces/commit/0" in capsys.readouterr().err


def test_a_token_that_may_not_write_is_told_before_work_begins(world, tmp_path, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(
        FaceLLMError, match=r"refused the upload before training to me/faces \(status 401\); set HF_TOKEN"
    ):
        lora.train(*map(str, world), tmp_path / "out", check(QUICK), device="cpu", upload=Upload("me/faces"))
    assert not (tmp_path / "out" / "metrics.jsonl").exists()
    with pytest.raises(FaceLLMError, match="no name of a repository"):
        Upload("no name").prepare()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FaceLLMError, match="HF_HUB_OFFLINE is set"):
        Upload("me/faces").prepare()
