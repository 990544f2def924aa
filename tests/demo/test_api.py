"""The named endpoints, through gradio_client and plain HTTP, on the running page."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import httpx
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from facellm.attributes import ATTRIBUTES
from tests.demo.conftest import launch

FEW = {"max_new_tokens": 8}


@pytest.fixture(scope="module")
def client(local_site):
    return Client(local_site.url, verbose=False)


@pytest.fixture(scope="module")
def face():
    from demo.runtime.photos import EXAMPLES

    return handle_file(str(EXAMPLES / "collins.jpg"))


def test_only_the_named_endpoints_are_public_and_documented(client):
    api = client.view_api(return_format="dict")
    assert set(api["named_endpoints"]) == {"/faces", "/chat", "/attributes", "/compare", "/profile"}
    assert not api["unnamed_endpoints"]
    chat = api["named_endpoints"]["/chat"]
    assert [p["parameter_name"] for p in chat["parameters"]][:4] == ["photo", "question", "history", "model"]
    assert "Ask one question" in chat["description"]


def test_faces(client, face):
    found = client.predict(photo=face, api_name="/faces")
    assert (found["width"], found["height"]) == (512, 512)
    left, top, right, bottom = found["faces"][0]["box"]
    assert 0 < left < right < 512 and 0 < top < bottom < 300


def test_chat_streams_and_equals_the_model(client, face, site, portrait):
    job = client.submit(photo=face, question="Describe this image.", **FEW, api_name="/chat")
    text, details = job.result()
    parts = [o[0] for o in job.outputs()]
    assert parts[-1] == text and all(text.startswith(p) for p in parts)
    assert text == site.ctx.host.model.ask(portrait, "Describe this image.", **FEW).text
    assert details["tokens"] <= 8 and details["variant"] == "facellm"


def test_chat_with_history_and_base(client, face, site, portrait):
    history = [["Is the mouth open?", "Yes."]]
    _, details = client.predict(
        photo=face, question="And the eyes?", history=history, model="base", **FEW, api_name="/chat"
    )
    assert details["text"] == site.ctx.host.model.ask(portrait, "And the eyes?", history, "base", **FEW).text


def test_attributes_all_and_some(client, face):
    every = client.predict(photo=face, **FEW, api_name="/attributes")
    assert list(every) == [a.key for a in ATTRIBUTES]
    some = client.predict(photo=face, attributes="pose, skin", **FEW, api_name="/attributes")
    assert list(some) == ["skin", "pose"]  # the paper's order, not the caller's
    assert all(some[k]["question"] == every[k]["question"] and some[k]["tokens"] <= 8 for k in some)


def test_compare(client, face):
    (pair,) = client.predict(photo=face, question="pose", **FEW, api_name="/compare")
    assert pair["base"]["variant"] == "base" and pair["facellm"]["variant"] == "facellm"
    assert pair["question"] == "Describe the face pose of the image based on the visual information."
    (own,) = client.predict(photo=face, question="Any glasses?", **FEW, api_name="/compare")
    assert own["key"] is None and own["question"] == "Any glasses?"


def test_profile(client, face):
    profile = client.predict(photo=face, api_name="/profile")
    for field in profile["fields"].values():
        assert sum(field["probabilities"].values()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"question": ""}, "Write a question"),
        ({"question": "x" * 1001}, "1001 characters"),
        ({"model": "gpt"}, "choose facellm or base"),
        ({"temperature": 9}, "Temperature"),
        ({"top_p": 0}, "Top-p"),
        ({"max_new_tokens": 100000}, "Max new tokens"),
        ({"seed": -1}, "Seed"),
        ({"history": [["only a question"]]}, "history"),
        ({"look": "left"}, "face or whole"),
    ],
)
def test_wrong_arguments_are_answered_with_a_sentence(client, face, wrong, says):
    with pytest.raises(Exception, match=says):
        client.predict(**{"photo": face, "question": "Who?", **FEW, **wrong}, api_name="/chat")


def bad_images() -> dict[str, bytes]:
    """Files that are no usable picture."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(out, "PNG")
    png = out.getvalue()
    tiny = io.BytesIO()
    Image.new("RGB", (2, 2)).save(tiny, "PNG")
    return {
        "empty.jpg": b"",
        "text.jpg": b"hello, I am no picture at all" * 10,
        "cut.png": png[: len(png) // 2],
        "page.html": b"<!doctype html><script>alert(1)</script>",
        "vector.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
        "document.pdf": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
        "small.png": tiny.getvalue(),
        "bomb.png": _png_claiming(60000, 60000),
    }


def _png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims a huge size (a decompression bomb's first step)."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", list(bad_images()))
def test_bad_images_get_a_sentence_and_the_server_lives(client, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(bad_images()[name])
    with pytest.raises(Exception) as caught:
        client.predict(photo=handle_file(str(path)), api_name="/faces")
    said = str(caught.value)
    assert "Traceback" not in said and "went wrong on our side" not in said and len(said) > 15, said
    assert httpx.get(client.src).status_code == 200


def test_plain_http_works_too(site, portrait):
    """The two requests of the documentation's curl example, after an upload."""
    with httpx.Client(base_url=site.url, timeout=120) as http:
        with portrait.open("rb") as file:
            (path,) = http.post("/gradio_api/upload", files={"files": file}).json()
        data = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
        event = http.post("/gradio_api/call/faces", json={"data": data}).json()["event_id"]
        lines = http.get(f"/gradio_api/call/faces/{event}").text.splitlines()
    assert "event: complete" in lines
    (result,) = json.loads(next(line for line in reversed(lines) if line.startswith("data: "))[6:])
    assert len(result["faces"]) == 1


@pytest.mark.parametrize("path", ["/etc/passwd", "README.md", "../../etc/passwd"])
def test_files_of_the_server_cannot_be_named(site, path):
    with httpx.Client(base_url=site.url, timeout=120) as http:
        data = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
        answer = http.post("/gradio_api/call/faces", json={"data": data})
        if answer.status_code == 200:
            lines = http.get(f"/gradio_api/call/faces/{answer.json()['event_id']}").text
            assert "event: error" in lines and "event: complete" not in lines
        else:
            assert answer.status_code in (400, 403, 422)


def test_the_queue_cannot_be_passed_by(site):
    answer = httpx.post(f"{site.url}/gradio_api/run/profile", json={"data": [None, "facellm", "face"]})
    assert answer.status_code in (401, 403, 404)


def test_the_operators_switch_reaches_the_api(site, options, face):
    """FACELLM_SENSITIVE=off: no ethnicity and no emotion from any endpoint."""
    muted = launch(replace(options, sensitive=False, port=17880), site.ctx.host)
    try:
        client = Client(muted.url, verbose=False)
        keys = set(client.predict(photo=face, **FEW, api_name="/attributes"))
        assert keys == {a.key for a in ATTRIBUTES if not a.sensitive}
        fields = client.predict(photo=face, api_name="/profile")["fields"]
        assert "ethnicity" not in fields and "expression" not in fields and "age_group" in fields
        compared = client.predict(photo=face, **FEW, api_name="/compare")
        assert {c["key"] for c in compared} == keys
        for call in (
            {"attributes": "demographic", "api_name": "/attributes"},
            {"question": "expression", "api_name": "/compare"},
            {"question": "What ethnicity is this person?", "api_name": "/chat"},
        ):
            with pytest.raises(Exception, match="switched off"):
                client.predict(photo=face, **call)
    finally:
        muted.close()


def test_with_a_password_nothing_is_open_before_the_login(site, options):
    here = launch(replace(options, auth=("ada", "a:secret"), port=17890), site.ctx.host)
    try:
        with httpx.Client(base_url=here.url, timeout=120) as http:
            assert http.get("/config").status_code == 401
            assert http.post("/gradio_api/call/faces", json={"data": [None]}).status_code == 401
            wrong = http.post("/login", data={"username": "ada", "password": "x"})
            assert wrong.status_code == 400
            assert http.post("/login", data={"username": "ada", "password": "a:secret"}).status_code == 200
            assert http.get("/config").status_code == 200
    finally:
        here.close()
