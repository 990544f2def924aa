"""What is no uploaded file is not read, fetched or decoded, whatever a request calls it."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from demo.runtime.photos import EXAMPLES
from demo.web import uploads
from demo.web.guard import check_inputs
from facellm.errors import FaceLLMError
from tests.demo.web.apart import holds

FILE = {"_type": "gradio.FileData"}


def test_an_uploaded_file_passes_with_the_pages_own_address(upload_folder):
    path = str(upload_folder / "abc" / "face.jpg")
    check_inputs(
        [{"path": path, "url": "http://127.0.0.1:7860/gradio_api/file=x", "meta": FILE}, "a question", 3, None]
    )
    check_inputs([[["How old?", "About 40."]], {"role": "user", "content": [{"type": "text", "text": "http://x"}]}])


@pytest.mark.parametrize(
    "given",
    [
        {"path": "http://192.0.2.1/face.jpg"},
        {"path": "HTTPS://192.0.2.1/face.jpg"},
        {"path": "", "url": "https://192.0.2.1/face.jpg"},
        {"path": None, "url": "http://192.0.2.1/face.jpg"},
        {"path": "x", "url": "data:image/jpeg;base64,AAAA"},
        {"path": "data:image/jpeg;base64,AAAA"},
        {"path": "ftp://192.0.2.1/face.jpg"},
        {"path": "file:///etc/passwd"},
        {"path": "/etc/passwd"},
        {"path": "README.md"},
        {"path": "../../etc/passwd"},
        {"path": "a\0b"},
    ],
)
def test_addresses_and_other_files_are_refused_however_deep(given):
    given = {**given, "meta": FILE}
    for inputs in ([given], [[{"content": [given]}]], [{"value": given}]):
        with pytest.raises(FaceLLMError, match=r"address|not uploaded"):
            check_inputs(inputs)


def test_a_link_out_of_the_upload_folder_is_refused(upload_folder):
    link = upload_folder / "link.jpg"
    link.symlink_to("/etc/passwd")
    with pytest.raises(FaceLLMError, match="not uploaded"):
        check_inputs([{"path": str(link), "meta": FILE}])
    link.unlink()


def test_endless_nesting_is_refused():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(FaceLLMError, match="lists within lists"):
        check_inputs([deep])


class Stranger(BaseHTTPRequestHandler):
    """Another machine, which counts who comes."""

    visits: ClassVar[list[str]] = []

    def do_GET(self):
        self.visits.append(self.path)
        self.send_response(200)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def stranger():
    server = HTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Stranger.visits.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def said(url: str, endpoint: str, data: list) -> str:
    """What the page answers to one call of an endpoint."""
    with httpx.Client(base_url=f"{url}/gradio_api", timeout=120) as http:
        made = http.post(f"/call/{endpoint}", json={"data": data})
        if made.status_code != 200:
            return made.text
        return http.get(f"/call/{endpoint}/{made.json()['event_id']}").text


def test_no_endpoint_fetches_an_address_or_writes_one_to_disk(local_site, stranger, upload_folder):
    photo = (EXAMPLES / "collins.jpg").read_bytes() + secrets.token_bytes(64)  # of which the folder has no other copy
    inline = f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"
    for name in (f"{stranger}/face.jpg", inline):
        for given in ({"path": name}, {"path": "", "url": name}, {"path": "x.jpg", "url": name}):
            answer = said(local_site.url, "faces", [{**given, "meta": FILE}])
            assert "event: error" in answer and "event: complete" not in answer, answer
    history = [{"path": f"{stranger}/history.jpg", "meta": FILE}]
    photo_there = {"path": str(upload_folder / "x.jpg"), "meta": FILE}
    answer = said(local_site.url, "chat", [photo_there, "Who?", history, "", "", 8, 0, 1, 0, "face", 1])
    assert "cannot be given as an address" in answer
    assert Stranger.visits == []
    assert not holds(upload_folder, photo[-64:])


def test_side_doors_that_fetch_addresses_are_closed(local_site, stranger):
    for path in (
        f"file={stranger}/a.jpg",
        f"proxy={stranger}/a.jpg",
        f"file/{stranger}/a.jpg",
        "deep_link",
        "vibe-edit/",
    ):
        assert httpx.get(timeout=120, url=f"{local_site.url}/gradio_api/{path}").status_code in (404, 405), path
    assert (
        httpx.post(timeout=120, url=f"{local_site.url}/gradio_api/component_server", files={"f": b"x" * 10}).status_code
        == 404
    )
    assert Stranger.visits == []


def test_files_beside_the_uploads_are_not_served(local_site, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("for nobody")
    for path in (secret, Path("/etc/passwd"), Path("README.md"), uploads.folder_in_use() / ".." / secret.name):
        answer = httpx.get(timeout=120, url=f"{local_site.url}/gradio_api/file={path}")
        assert answer.status_code in (403, 404) and "for nobody" not in answer.text


def test_an_upload_is_read_and_named_in_json(local_site):
    with (EXAMPLES / "collins.jpg").open("rb") as file:
        (path,) = httpx.post(timeout=120, url=f"{local_site.url}/gradio_api/upload", files={"files": file}).json()
    answer = said(local_site.url, "faces", [{"path": path, "meta": FILE}])
    found = json.loads(next(line for line in answer.splitlines() if line.startswith("data: "))[6:])
    assert len(found[0]["faces"]) == 1
