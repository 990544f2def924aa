"""The page as Hugging Face Spaces runs it: its environment, entry point, `spaces` package and front matter."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
import yaml
from gradio_client import Client, handle_file

from demo.runtime import lease, spaces
from demo.runtime.host import Host
from demo.runtime.options import Options
from demo.runtime.photos import EXAMPLES
from demo.runtime.sentences import sentence
from facellm.errors import FaceLLMError
from facellm.results import Delta, Row
from tests.demo.runtime import lent_gpu
from tests.paths import ROOT

# Published in "Spaces Configuration Reference" of the Hugging Face hub's documentation.
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
HARDWARE = {
    "cpu-basic", "cpu-upgrade", "t4-small", "t4-medium", "l4x1", "l4x4", "a10g-small", "a10g-large", "a10g-largex2",
    "a10g-largex4", "a100-large", "zero-a10g", "l40sx1", "l40sx4", "l40sx8", "h100", "h100x8",
}  # fmt: skip

SPACES = (
    Path(lent_gpu.__file__).read_text()
    + """
import sys
assert "torch" not in sys.modules, "spaces has to be imported before torch"
"""
)


def test_the_app_serves_as_a_zero_gpu_space(served_model, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "spaces.py").write_text(SPACES)
    model, adapter = served_model
    env = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "SYSTEM": "spaces",
        "SPACE_ID": "someone/facellm",
        "SPACES_ZERO_GPU": "true",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "FACELLM_MODEL": model,
        "FACELLM_VOTES": str(tmp_path / "votes.sqlite3"),
        "HF_HUB_OFFLINE": "1",
    }
    if adapter:
        env["FACELLM_ADAPTER"] = adapter
    log = tmp_path / "log"
    with log.open("w") as out:
        app = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stdout=out, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + 600
            while "FaceLLM is at" not in log.read_text():
                assert app.poll() is None and time.monotonic() < end, log.read_text()
                time.sleep(0.2)
            url = f"http://127.0.0.1:{port}"
            assert httpx.get(url).status_code == 200
            photo = handle_file(str(EXAMPLES / "collins.jpg"))
            client = Client(url, verbose=False)
            text, details = client.predict(photo=photo, question="Who?", max_new_tokens=6, api_name="/chat")
            assert details["tokens"] <= 6 and details["text"] == text
            assert client.predict(photo=photo, api_name="/profile")["fields"]["gender"]
            assert "GPU for 10 s: _stream" in log.read_text()
        finally:
            app.terminate()
            app.wait(20)


class Endless:
    """A model that writes on until it is cancelled.  written: its words.  error: what it fails with instead."""

    variants = ("base", "facellm")

    def __init__(self) -> None:
        self.written, self.error = 0, None

    def stream(self, view, rows, sampling, cancel, tiles=1):
        if self.error:
            raise self.error
        while not cancel.is_set() and self.written < 1000:
            self.written += 1
            yield Delta(0, "word ")
        yield Delta(0, "", done=True)

    def profiles(self, view, variant):
        raise self.error


@pytest.fixture
def lent(monkeypatch):
    """A host on ZeroGPU with an `Endless` model."""
    host = Host(Options())
    host._model = Endless()
    host._settled.set()
    monkeypatch.setattr(spaces, "ZERO", True)
    monkeypatch.setattr(lease, "model", host.model)
    monkeypatch.setattr(lease, "_stream", lent_gpu.GPU(lease._stream, duration=lease._seconds))
    monkeypatch.setattr(lease, "_profiles", lent_gpu.GPU(lease._profiles, duration=30))
    return host


def ask(host: Host, cancel: threading.Event):
    return host.stream("a view", [Row("facellm", "Who?")], SimpleNamespace(max_new_tokens=64), cancel)


def test_stop_ends_the_answer_in_the_fork_and_its_last_words_come(lent):
    cancel, deltas = threading.Event(), []
    for delta in ask(lent, cancel):
        deltas.append(delta)
        if len(deltas) == 3:
            cancel.set()
    assert deltas[-1].done and lent.model.written <= 4
    assert list(ask(lent, cancel)) == [] and lent.model.written <= 4, "stopped while it waited: no lease"


def test_closing_does_not_wait_for_the_whole_answer(lent):
    stream = ask(lent, threading.Event())
    next(stream)
    stream.close()
    assert lent.model.written <= 2


def test_errors_come_out_of_the_fork_as_sentences(lent):
    lent.model.error = FaceLLMError("Do this.")
    for failing in (lambda: list(ask(lent, threading.Event())), lambda: lent.profiles("a view")):
        with pytest.raises(gr.Error) as caught:
            failing()
        assert sentence(caught.value) == "Do this."
    refused = gr.Error('Your quota is used up. <a href="https://hf.co">Sign in &amp; go on</a>')
    assert sentence(refused) == "Your quota is used up. Sign in & go on"


def front_matter() -> dict:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    assert found, "README.md starts with the front matter that Spaces reads, between two lines of ---"
    return yaml.safe_load(found[1])


def test_front_matter_is_what_spaces_accepts():
    card = front_matter()
    assert card["sdk"] == "gradio" and (ROOT / card["app_file"]).is_file()
    version = tuple(int(n) for n in str(card["sdk_version"]).split(".")[:2])
    assert (6, 22) <= version < (7, 0), "the gradio that requirements.txt allows"
    assert str(card["python_version"]) == "3.12"
    assert card["title"] and card["emoji"] and card["license"]
    assert card["colorFrom"] in COLOURS and card["colorTo"] in COLOURS
    assert card["suggested_hardware"] in HARDWARE
    assert 0 < len(card["short_description"]) <= 60
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", m) for m in card["models"]) and card["models"]
    thumbnail = str(card["thumbnail"])
    assert thumbnail.startswith("https://") or (ROOT / thumbnail).is_file(), (
        "an address, or a picture of this repository"
    )


@pytest.mark.parametrize("name", ["requirements.txt"])
def test_requirements_do_not_pin_what_the_sdk_installs(name):
    lines = (ROOT / name).read_text().splitlines()
    gradio = next(line for line in lines if line.startswith("gradio"))
    assert "==" not in gradio and ">=6.22" in gradio
