"""Scripts, styles and example pictures: sent from memory after the first time, as Gradio sends them."""

from __future__ import annotations

import io
import re

import httpx
import pytest
from PIL import Image

from demo.tabs.photo import PORTRAITS
from demo.web import ready


@pytest.fixture
def http(local_site):
    with httpx.Client(base_url=local_site.url, timeout=120, trust_env=False) as client:
        yield client


def script(http: httpx.Client) -> str:
    return re.search(r"assets/[\w.-]+\.js", http.get("/").text).group()


@pytest.mark.parametrize("coding", ["br", "gzip", "identity"])
def test_an_asset_is_gradios_and_stays_with_the_browser(http, coding):
    first, again = (http.get(f"/{script(http)}", headers={"Accept-Encoding": coding}) for _ in range(2))
    told = [{**answer.headers, "date": ""} for answer in (first, again)]
    assert told[0] == told[1] and first.content == again.content
    assert again.headers["cache-control"] == ready.FOREVER
    assert again.headers.get("content-encoding", "identity") == coding
    assert "javascript" in again.headers["content-type"] and len(again.content) > 10_000
    assert again.headers["x-content-type-options"] == "nosniff", "under the page's headers"


def test_whoever_has_an_asset_does_not_spoil_it_for_others(http):
    asset = http.get(f"/{script(http)}")
    known = {"If-None-Match": asset.headers.get("etag", "x"), "Range": "bytes=0-9"}
    assert http.get(f"/{script(http)}", headers=known).content == asset.content


def test_the_page_is_compressed_and_the_same(http):
    small, plain = http.get("/"), http.get("/", headers={"Accept-Encoding": "identity"})
    assert small.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert int(small.headers["content-length"]) < 0.4 * int(plain.headers["content-length"])
    same = [re.sub(r'"[^"]*(?:id|hash)": ?"?[\w-]+"?', "", page.text) for page in (small, plain)]
    assert abs(len(same[0]) - len(same[1])) < 200 and "gradio_config" in small.text


def test_what_is_not_there_is_not_kept(http):
    for _ in range(2):
        assert http.get("/assets/none.js").status_code == 404
    assert "cache-control" not in http.get("/assets/none.js").headers


def test_example_pictures_are_small_and_there(http):
    for name in PORTRAITS:
        told = http.get(f"/gallery/{name}")
        assert max(Image.open(io.BytesIO(told.content)).size) == 240 and told.headers["cache-control"] == ready.A_DAY
    assert http.get("/gallery/../CREDITS.md").status_code == 404
