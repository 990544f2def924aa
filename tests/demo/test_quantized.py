"""Another model through the same page: `python app.py --model FOLDER --adapter FOLDER --quantization nf4`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from tests.demo.conftest import eventually
from tests.demo.pages import DONE, set_slider, starter, tab
from tests.paths import ROOT

pytestmark = pytest.mark.browser


@pytest.fixture
def quantized(folders, tmp_path):
    """The address of app.py in a process of its own, on the tiny InternVL in NF4 with its adapter."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "app.py", "--model", str(folders.base), "--adapter", str(folders.adapter)]
    command += ["--quantization", "nf4", "--device", "cpu", "--port", str(port)]
    log = tmp_path / "log"
    with log.open("w") as out:
        env = {**os.environ, "FACELLM_VOTES": "off"}
        app = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=subprocess.STDOUT)
        try:
            eventually(lambda: "FaceLLM is at" in log.read_text() or app.poll() is not None, seconds=600)
            assert app.poll() is None, log.read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            app.terminate()
            app.wait(20)


def test_a_folder_in_nf4_with_an_adapter_serves_chat_attributes_and_compare(quantized, visit):
    page = visit(url=quantized)
    assert "nf4" in page.locator("#model-state").inner_text()
    page.click('[data-example="collins.jpg"]')
    page.wait_for_selector("#stage img.crop")
    set_slider(page, "Max new tokens", 64)

    page.evaluate(
        """() => {
          window.grown = new Set();
          const note = () => window.grown.add(document.querySelector('#chat .bot.message')?.innerText ?? '');
          new MutationObserver(note).observe(document.querySelector('#chat'), {
            subtree: true, childList: true, characterData: true});
        }"""
    )
    page.click(starter("pose"))
    page.wait_for_selector(DONE)
    assert page.evaluate("window.grown.size") >= 3, "no answer, a part of it, all of it"

    tab(page, "Attributes")
    page.click("#attributes-go")
    page.wait_for_selector("#attributes-report a")
    assert all("tokens" in foot for foot in page.locator(".card .foot").all_text_contents())

    tab(page, "Compare")
    page.click("#compare-go")
    page.wait_for_selector("#compare-status >> text=/one copy of the weights/")
    base, facellm = page.locator("#pairs .side .text").all_inner_texts()
    assert base.strip() and facellm.strip() and base != facellm, "the adapter changes the answer"

    tab(page, "About")
    assert "nf4" in page.locator("#model-card").inner_text()
