"""What one client can take: places, bytes, requests a minute, memory for pictures, time to send."""

import contextlib
import http.client
import io
import json
import threading

import httpx
import pytest
from PIL import Image

from facellm.server import bodies, limits
from facellm.server.app import make_app
from facellm.server.limits import BODY_BYTES, MAX_OF_CLIENT, MAX_REQUESTS, Clients, Decoding, picture_bytes
from facellm.server.refusals import Refusal
from tests.facellm.server.asking import CLIENT, JSON, post
from tests.served import InThread, wait_until


def test_one_client_leaves_places_for_others():
    clients = Clients()
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_OF_CLIENT):
            stack.enter_context(clients.admitted("a"))
        with pytest.raises(Refusal, match="of your requests") as told, clients.admitted("a"):
            pass
        assert told.value.status == 429
        for i in range(MAX_REQUESTS - MAX_OF_CLIENT):
            stack.enter_context(clients.admitted(f"b{i}"))
        with pytest.raises(Refusal, match="try again") as told, clients.admitted("c"):
            pass
        assert told.value.status == 503
        with pytest.raises(Refusal):
            clients.check_ready()
    assert clients.active == 0
    clients.check_ready()


def test_bytes_are_held_until_the_request_ends():
    clients = Clients()
    with clients.admitted("a") as first:
        first.hold(BODY_BYTES // 2)
        with clients.admitted("a") as second, pytest.raises(Refusal, match="hold 128 MB") as told:
            second.hold(1)
        assert told.value.status == 429
        with clients.admitted("b") as other:
            other.hold(BODY_BYTES // 2)
            with clients.admitted("c") as third, pytest.raises(Refusal, match="holds 256 MB") as told:
                third.hold(1)
            assert told.value.status == 503
    with clients.admitted("a") as again:
        again.hold(BODY_BYTES // 2)


def test_requests_a_minute(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(limits.time, "monotonic", lambda: now[0])
    clients = Clients(rate=2)
    for _ in range(2):
        with clients.admitted("a"):
            pass
    with pytest.raises(Refusal, match="2 times within a minute") as told, clients.admitted("a"):
        pass
    assert (told.value.status, told.value.wait) == (429, 60)
    with clients.admitted("b"):
        pass
    now[0] = 61.0
    with clients.admitted("a"):
        pass


def picture(width, height, kind="PNG"):
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, kind)
    return out.getvalue()


def test_pictures_wait_for_memory_in_their_order():
    small, large = picture(10, 10), picture(100, 100)
    assert picture_bytes(large) == 100 * picture_bytes(small)
    assert picture_bytes(b"no picture") == limits.MAX_PIXELS * limits.PIXEL_BYTES
    decoding, order, inside = Decoding(picture_bytes(large)), [], threading.Event()

    def decode(file, name):
        with decoding.room_for(file):
            order.append(name)
            inside.wait(10)

    threads = []
    for number, (file, name) in enumerate([(large, "large"), (small, "small"), (b"huge", "huge")], 1):
        threads.append(threading.Thread(target=decode, args=(file, name)))
        threads[-1].start()
        wait_until(lambda: len(order) == 1 and sum(t.is_alive() for t in threads) == number)  # noqa: B023
    assert order == ["large"]
    inside.set()
    for thread in threads:
        thread.join()
    assert order == ["large", "small", "huge"]


def test_a_body_that_does_not_come_is_given_up(here, body, monkeypatch):
    monkeypatch.setattr(bodies, "IDLE", 0.3)
    with InThread(make_app(here)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.putrequest("POST", "/v1/chat/completions")
        for name, value in {**JSON, "content-length": "5000"}.items():
            connection.putheader(name, value)
        connection.endheaders(b'{"model": "base",')
        told = connection.getresponse()
        assert told.status == 408 and "did not arrive in time" in json.loads(told.read())["error"]["message"]
        assert told.getheader("connection") == "close"
        assert post(server, body).status_code == 200
        assert server.app.state.metrics.text().count(b'facellm_refusals_total{code="408"} 1.0') == 1


def test_a_body_too_large_is_refused_before_it_is_read(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", "/v1/chat/completions")
    for name, value in {**JSON, "content-length": str(10**9)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413


@pytest.mark.parametrize("length", [8 * 2**20, None], ids=["known", "chunked"])
def test_a_client_that_reads_only_after_it_has_sent_all_is_told_why(here, length):
    with InThread(make_app(here, max_body=20_000)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        parts = (b" " * 2**16 for _ in range(128))
        body = parts if length is None else b" " * length
        connection.request("POST", "/v1/chat/completions", body, JSON, encode_chunked=length is None)
        told = connection.getresponse()
        assert told.status == 413 and "larger than" in json.loads(told.read())["error"]["message"]
        assert told.getheader("connection") == "close"


@pytest.mark.parametrize("content", [b'{"x": [' + b"[1]," * 200_000 + b"[1]]}", b'{"x": {' + b'"a":{' * 250_001])
def test_many_values_are_not_even_parsed(server, content):
    told = CLIENT.post(server.url + "/chat/completions", content=content, headers=JSON)
    assert told.status_code == 413 and "more than 250,000 values" in told.json()["error"]["message"]


def test_a_client_that_asks_too_often_is_told_when_to_come_back(here, body):
    with InThread(make_app(here, client_rate=2)) as server:
        assert [post(server, body).status_code for _ in range(2)] == [200, 200]
        told = post(server, body)
        assert told.status_code == 429 and told.json()["error"]["code"] == "rate_limit_exceeded"
        assert 1 <= int(told.headers["retry-after"]) <= 60
        assert CLIENT.get(server.url + "/models").status_code == 200


@pytest.mark.parametrize(
    "body_of",
    [
        lambda b: {**b, "messages": [{"role": [], "content": "x"}]},
        lambda b: {**b, "model": "\ud800"},
        lambda b: {**b, "\ud800": 1},
        lambda b: {**b, "stop": "\udfff"},
        lambda b: {**b, "messages": [{"role": "user", "content": [{"type": "text", "text": "\ud800"}]}]},
        lambda b: {**b, "response_format": {"type": "\ud800"}},
    ],
)
def test_what_cannot_be_read_leaves_the_connection_usable(server, body, body_of):
    with httpx.Client() as client:
        told = client.post(server.url + "/chat/completions", content=json.dumps(body_of(body)).encode(), headers=JSON)
        assert told.status_code in (400, 404) and set(told.json()["error"]) == {"message", "type", "param", "code"}
        assert told.headers.get("connection") != "close"
        again = client.post(server.url + "/chat/completions", json=body)
        assert again.status_code == 200
