"""The page as a process: its addresses, the environment's proxies, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
from gradio_client import Client, handle_file

from demo.runtime.photos import EXAMPLES
from tests.demo.web.apart import Apart
from tests.paths import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize(("host", "names"), [("::1", ["[::1]"]), ("::", ["[::1]", "127.0.0.1"])])
def test_ipv6_addresses_are_served(host, names, tmp_path):
    """In an environment whose proxies answer nobody or cannot be understood: the page asks none about itself."""
    proxies = {
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "socks5://127.0.0.1:1080",
        "NO_PROXY": "fd00::/8,[::1],10.0.0.0/8",
    }
    with Apart(tmp_path, "--host", host, "--port", "17871", **proxies) as page:
        assert page.url == f"http://[{host}]:17871"
        with httpx.Client(trust_env=False, timeout=120) as http:
            for name in names:
                assert http.get(f"http://{name}:17871/").status_code == 200
        assert "Traceback" not in page.log.read_text()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_streams_with_their_words_and_leaves_nothing(sig, tmp_path):
    if signal.getsignal(sig) == signal.SIG_IGN:
        pytest.skip("these tests were told to outlive their terminal, and so is what they start")
    with Apart(tmp_path, "--port", "17872") as page:
        client = Client(page.url, verbose=False)
        photo = handle_file(str(EXAMPLES / "collins.jpg"))
        client.predict(photo=photo, question="Who?", max_new_tokens=1, api_name="/chat")  # the model is there
        with httpx.Client(base_url=page.url, timeout=120) as http:
            with (EXAMPLES / "collins.jpg").open("rb") as file:
                (path,) = http.post("/gradio_api/upload", files={"files": file}).json()
            file_data = {"path": path, "meta": {"_type": "gradio.FileData"}}
            data = [file_data, "all", *("", 512, 1.5, 1, 1, "face", 1)]
            event = http.post("/gradio_api/call/compare", json={"data": data}).json()["event_id"]
            heartbeat = threading.Thread(target=_hold, args=(f"{page.url}/gradio_api/heartbeat/abc",), daemon=True)
            heartbeat.start()
            lines = []
            with http.stream("GET", f"/gradio_api/call/compare/{event}") as stream:
                for line in stream.iter_lines():
                    lines.append(line)
                    if len(lines) == 2:
                        began = time.monotonic()
                        page.process.send_signal(sig)
        assert page.process.wait(30) == 0 and time.monotonic() - began < 10
        last = [i for i, line in enumerate(lines) if line == "event: complete"]
        assert last, lines[-3:]
        pairs = json.loads(lines[last[-1] + 1].removeprefix("data: "))[0]
        assert any(pair[side]["state"] == "stopped" for pair in pairs for side in ("base", "facellm"))
        assert "Traceback" not in page.log.read_text()
    assert list(page.temp.glob("facellm-*")) == []


def _hold(url: str) -> None:
    with httpx.stream("GET", url, timeout=60) as beats:
        for _ in beats.iter_lines():
            pass


def test_the_command_works_from_any_folder_and_says_its_name(tmp_path):
    command = [sys.executable, "-c", "import sys, demo.cli; sys.exit(demo.cli.main())"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, "--help"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.startswith("usage: facellm-demo ")
    wrong = subprocess.run(
        [*command, "--port", "x"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )
    assert wrong.returncode == 2 and wrong.stderr.startswith("facellm-demo: 'x' is not a port")
    assert wrong.stderr.count("\n") == 1
