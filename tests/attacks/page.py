"""Attacks the running page: `python -m tests.attacks.page http://127.0.0.1:7860`. Prints what held and what did not.

Loopback only. Needs a page that nobody else uses: some attacks fill its limits for a minute.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import ipaddress
import json
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
from PIL import Image

FILE = {"_type": "gradio.FileData"}
ATTACKS: list[tuple[str, Callable[[str], bool]]] = []


def attack(what: str) -> Callable[[Callable[[str], bool]], Callable[[str], bool]]:
    """Registers an attack; it returns whether the page held."""

    def register(run: Callable[[str], bool]) -> Callable[[str], bool]:
        ATTACKS.append((what, run))
        return run

    return register


def call(url: str, endpoint: str, data: list) -> str:
    """What an endpoint answers, as its stream of events."""
    with httpx.Client(base_url=f"{url}/gradio_api", timeout=120, trust_env=False) as http_client:
        made = http_client.post(f"/call/{endpoint}", json={"data": data})
        if made.status_code != 200:
            return made.text
        return http_client.get(f"/call/{endpoint}/{made.json()['event_id']}").text


class _Stranger(BaseHTTPRequestHandler):
    visits = 0

    def do_GET(self) -> None:
        type(self).visits += 1
        self.send_response(200)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


def _visited(run: Callable[[str], object]) -> int:
    """How often another server on this machine was fetched from while `run(its address)` went."""
    server = HTTPServer(("127.0.0.1", 0), _Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    before = _Stranger.visits
    run(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    return _Stranger.visits - before


@attack("a name that rebinds to 127.0.0.1")
def rebinding(url: str) -> bool:
    answers = [httpx.get(url, headers={"Host": host}) for host in ("evil.example", "127.0.0.1.evil.example:80", "a.b")]
    return all(a.status_code == 403 for a in answers)


@attack("a script of another site reads or posts")
def cross_origin(url: str) -> bool:
    for origin in ("http://evil.example", "null", url.replace("127.0.0.1", "127.0.0.2")):
        for method, path in (("GET", "/config"), ("POST", "/gradio_api/queue/join"), ("OPTIONS", "/config")):
            answer = httpx.request(method, url + path, headers={"Origin": origin})
            if answer.status_code != 403 or "access-control-allow-origin" in answer.headers:
                return False
    return True


@attack("photos as http: and data: addresses, in every input")
def addresses(url: str) -> bool:
    out = io.BytesIO()
    Image.new("RGB", (64, 64)).save(out, "PNG")
    inline = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    answers: list[str] = []

    def run(stranger: str) -> None:
        for name in (f"{stranger}/a.jpg", inline):
            for given in ({"path": name}, {"path": "", "url": name}, {"path": "x", "url": name}):
                answers.append(call(url, "faces", [{**given, "meta": FILE}]))
        answers.append(call(url, "chat", [None, "Who?", [[{"path": f"{stranger}/b.jpg", "meta": FILE}]], "", "", 8]))
        for door in ("file=", "proxy=", "file/"):
            httpx.get(f"{url}/gradio_api/{door}{stranger}/c.jpg")

    return _visited(run) == 0 and not any("event: complete" in a for a in answers)


@attack("files of the server as photos, and by the file route")
def other_files(url: str) -> bool:
    names = ["/etc/passwd", "/etc/hostname", "../../etc/passwd", "README.md", "file:///etc/passwd", "a\0b", "~/.bashrc"]
    read = [call(url, "faces", [{"path": name, "meta": FILE}]) for name in names]
    served = [httpx.get(f"{url}/gradio_api/file={name}") for name in names if "\0" not in name]
    return not any("event: complete" in a for a in read) and all(a.status_code in (403, 404) for a in served)


@attack("a body of 30 MB, its length told and not")
def large_bodies(url: str) -> bool:
    def endless():
        for _ in range(30):
            yield b"x" * 2**20

    told = httpx.post(f"{url}/gradio_api/queue/join", content=b"x" * 30 * 2**20, timeout=60)
    try:
        untold = httpx.post(f"{url}/gradio_api/queue/join", content=endless(), timeout=60).status_code
    except httpx.TransportError:  # cut off while it was still sending
        untold = 413
    return told.status_code == 413 and untold == 413


@attack("31 MB of nested JSON, and 20,000 levels in 40 kB")
def nested_json(url: str) -> bool:
    deep = b'{"data": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    large = b'{"data": [' + b"[1]," * (31 * 2**20 // 4) + b"[1]]}"
    answers = [httpx.post(f"{url}/gradio_api/call/faces", content=body, timeout=60) for body in (deep, large)]
    return all(400 <= a.status_code < 500 for a in answers) and _quick(url)


@attack("100 uploads that stall; others still read the page in under a second")
def stalled(url: str) -> bool:
    at, connections = httpx.URL(url), []
    for _ in range(100):
        connection = http.client.HTTPConnection(at.host, at.port, timeout=10)
        connection.putrequest("POST", "/gradio_api/upload")
        connection.putheader("Content-Type", "multipart/form-data; boundary=b")
        connection.putheader("Content-Length", "1000000")
        connection.endheaders(b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\nxxx')
        connections.append(connection)
    held = _quick(url)
    for connection in connections:
        connection.close()
    return held


@attack("guessing a password 30 times in a minute")
def guessing(url: str) -> bool:
    codes = [httpx.post(f"{url}/login", data={"username": "ada", "password": str(i)}).status_code for i in range(30)]
    return codes.count(429) >= 15


@attack("forged events: other sessions' tickets, unknown functions, wrong types")
def forged(url: str) -> bool:
    bodies: list[object] = [
        {"session_hash": "x", "fn_index": 10**6, "data": []},
        {"session_hash": "x", "fn_index": -1, "data": None},
        {"session_hash": ["x"], "fn_index": "a", "data": {}},
        {"session_hash": "\ud800", "fn_index": 1, "data": [None]},
        [],
        None,
    ]
    for body in bodies:
        content = json.dumps(body).encode()
        answer = httpx.post(
            f"{url}/gradio_api/queue/join", content=content, headers={"Content-Type": "application/json"}
        )
        if "Traceback" in answer.text:
            return False
    return _quick(url)


def _quick(url: str) -> bool:
    """Whether another client gets the page's configuration in under a second; the best of three tries."""
    times = []
    for _ in range(3):
        began = time.monotonic()
        httpx.get(f"{url}/gradio_api/startup-events", timeout=30)
        times.append(time.monotonic() - began)
    return min(times) < 1


def main() -> int:
    """Runs all attacks; returns how many did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    url = parser.parse_args().url.rstrip("/")
    host = httpx.URL(url).host
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        parser.error("only a page on this machine may be attacked")
    lost = 0
    for what, run in ATTACKS:
        held = run(url)
        lost += not held
        print(f"{'held' if held else 'LOST'}  {what}", flush=True)
    return lost


if __name__ == "__main__":
    sys.exit(main())
