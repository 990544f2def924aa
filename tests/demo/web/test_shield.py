"""Names, origins, sizes and rates, around an application that says what it was sent; headers on every answer."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from demo.runtime.options import Options, read_options
from demo.web import limits, shield
from demo.web.limits import Limits
from demo.web.shield import Shield
from tests.served import InThread


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine in a thread of its own: where a browser is open, this one has a running loop already."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def inner(scope, receive, send):
    """Answers with the number of bytes it was sent; /slow waits for a while first."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(0.2)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def ask(app, path="/", method="GET", client="198.51.100.1", **more):
    """One request, as a client at that address sends it."""

    async def asking():
        transport = httpx.ASGITransport(app, client=(client, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:7860") as http:
            return await http.request(method, path, **more)

    return run(asking())


@pytest.mark.parametrize(
    ("argv", "host", "fine"),
    [
        ([], "localhost:7860", True),
        ([], "127.0.0.1", True),
        ([], "127.9.9.9:80", True),
        ([], "[::1]:7860", True),
        ([], "page.localhost", True),
        ([], "evil.example", False),
        ([], "127.0.0.1.evil.example", False),
        ([], "localhost.evil.example:7860", False),
        ([], "192.168.1.7:7860", False),
        ([], "[::1", False),
        ([], "", False),
        (["--host", "::1"], "evil.example", False),
        (["--allow-host", "faces.example.org, other"], "Faces.Example.ORG", True),
        (["--allow-host", "faces.example.org"], "localhost:7860", True),
        (["--allow-host", "faces.example.org"], "evil.example", False),
        (["--allow-host", "*"], "evil.example", True),
        (["--host", "0.0.0.0"], "anything.example", True),
        (["--host", "0.0.0.0", "--allow-host", "faces.example.org"], "anything.example", False),
    ],
)
def test_a_page_on_a_loopback_address_answers_to_loopback_names_only(argv, host, fine):
    answer = ask(Shield(inner, read_options(argv, {})), headers={"Host": host})
    assert answer.status_code == (200 if fine else 403)
    if not fine:
        assert "--allow-host" in answer.text and answer.text.count("\n") == 0


@pytest.mark.parametrize(
    ("argv", "headers", "fine"),
    [
        ([], {}, True),
        ([], {"Origin": "http://localhost:7860"}, True),
        ([], {"Origin": "http://evil.example"}, False),
        ([], {"Origin": "http://localhost:9999"}, False),
        ([], {"Origin": "null"}, False),
        (["--allow-origin", "https://lab.example/"], {"Origin": "https://lab.example"}, True),
        (["--allow-origin", "https://lab.example"], {"Origin": "http://lab.example"}, False),
        ([], {"Origin": "https://faces.example", "X-Forwarded-Host": "faces.example"}, True),
        ([], {"Origin": "https://faces.example", "X-Forwarded-Host": ""}, False),
    ],
)
def test_scripts_of_other_sites_are_refused(argv, headers, fine):
    app = Shield(inner, read_options(argv, {}))
    for method in ("GET", "POST", "OPTIONS"):
        assert ask(app, "/config", method, headers=headers).status_code == (200 if fine else 403)


def test_every_answer_carries_the_headers():
    page, space = Shield(inner, Options()), Shield(inner, Options(space=True, host="0.0.0.0"))
    for answer in (ask(page), ask(page, headers={"Host": "evil.example"}), ask(space)):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "img-src 'self' data: blob:;" in policy and "http:" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'self'" in ask(page).headers["content-security-policy"]
    assert ask(page).headers["x-frame-options"] == "SAMEORIGIN"
    assert "https://huggingface.co" in ask(space).headers["content-security-policy"]
    assert "x-frame-options" not in ask(space).headers


def test_a_body_is_bounded_whether_its_length_is_told_or_not(monkeypatch):
    monkeypatch.setattr(shield, "MAX_BODY", {"/gradio_api/upload": 2000, "": 1000})
    app = Shield(inner, Options())

    async def chunks(count):
        for _ in range(count):
            yield b"x" * 100

    assert ask(app, method="POST", content=b"x" * 1000).text == "1000"
    assert ask(app, method="POST", content=chunks(10)).text == "1000"
    assert ask(app, method="POST", content=b"x" * 1001).status_code == 413
    assert ask(app, method="POST", content=chunks(11)).status_code == 413
    assert ask(app, "/gradio_api/upload", "POST", content=b"x" * 1500).text == "1500"
    assert ask(app, method="POST", headers={"Content-Length": "-1"}, content=b"").status_code == 413


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(shield, "BODY_SECONDS", 0.1)

    async def stalled():
        yield b"x"
        await asyncio.sleep(5)
        yield b"x"

    assert ask(Shield(inner, Options()), method="POST", content=stalled()).status_code == 408


def test_one_client_cannot_take_the_page_from_others(monkeypatch):
    app = Shield(inner, Options(), Limits({"asks": 2, "bytes": 1000, "logins": 3}, most_open=2))
    login = [ask(app, "/login", "POST").status_code for _ in range(5)]
    assert login == [200, 200, 200, 429, 429]
    join = [ask(app, "/gradio_api/queue/join", "POST").status_code for _ in range(3)]
    assert join == [200, 200, 429] and ask(app, "/gradio_api/call/chat", "POST").status_code == 429
    upload = [ask(app, "/gradio_api/upload", "POST", content=b"x" * 600).status_code for _ in range(2)]
    assert upload == [200, 429]
    assert ask(app, "/login", "POST", client="198.51.100.2").status_code == 200, "another client"
    assert ask(app).status_code == 200, "reading the page costs nothing"

    async def together():
        transport = httpx.ASGITransport(app, client=("198.51.100.3", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            answers = await asyncio.gather(*(http.get("/slow") for _ in range(4)))
        return sorted(a.status_code for a in answers)

    assert run(together()) == [200, 200, 429, 429]
    monkeypatch.setattr(limits, "WINDOW", -1.0)
    assert ask(app, "/login", "POST").status_code == 200, "the next minute"


def test_an_ipv6_client_is_its_network():
    counted = Limits({"asks": 1})
    assert counted.spend("2001:db8::1", "asks") and not counted.spend("2001:db8::2", "asks")
    assert counted.spend("2001:db8:0:1::1", "asks")


def test_what_fails_inside_costs_one_line_of_the_log(caplog):
    async def failing(scope, receive, send):
        raise RuntimeError("inside")

    async def malformed(scope, receive, send):
        "\ud800".encode()

    answer = ask(Shield(failing, Options()), "/gradio_api/queue/join", "POST")
    assert answer.status_code == 500 and "inside" not in answer.text
    assert len(caplog.records) == 1 and caplog.records[0].exc_info is None
    assert ask(Shield(malformed, Options()), method="POST").status_code == 400


def test_a_closing_page_turns_new_requests_away():
    app = Shield(inner, Options())
    app.closing = True
    assert ask(app).status_code == 503


@pytest.mark.parametrize(
    "path", ["file=http://192.0.2.1/a", "proxy=http://192.0.2.1", "vibe-edit/", "component_server"]
)
def test_routes_that_the_page_does_not_need_are_closed(path):
    assert ask(Shield(inner, Options()), f"/gradio_api/{path}").status_code == 404


def test_a_client_that_reads_only_after_it_has_sent_all_is_told_why():
    with InThread(Shield(inner, Options())) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("POST", "/gradio_api/queue/join", b" " * 8 * 2**20)
        told = connection.getresponse()
        assert told.status == 413 and b"larger than 2 MB" in told.read()
