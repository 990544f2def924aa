"""The page as an app: what a browser needs to install it is there where the operator allows it, and only there."""

from __future__ import annotations

import io

import httpx
import pytest
from PIL import Image

from demo.runtime.options import Options, read_options
from demo.web.installable import ICONS, MANIFEST, WORKER, icon
from tests.demo.conftest import launch

PATHS = (MANIFEST, WORKER, *(f"/{name}" for name in ICONS))


@pytest.fixture(scope="module")
def allowed():
    """A page without a model that may be installed."""
    running = launch(Options(port=17950, installable=True))
    yield running
    running.close()


def test_only_who_asks_for_it_gets_it():
    assert not read_options([], {}).installable
    assert read_options(["--installable"], {}).installable
    assert read_options([], {"FACELLM_INSTALLABLE": "on"}).installable


def test_manifest_icons_and_worker_are_served_under_the_pages_headers(allowed):
    with httpx.Client(base_url=allowed.url, timeout=120, trust_env=False) as http:
        told = http.get(MANIFEST)
        assert told.headers["content-type"].startswith("application/manifest+json")
        manifest = told.json()
        assert manifest["display"] == "standalone" and manifest["start_url"] == "./" and manifest["name"]
        assert manifest["theme_color"] and manifest["background_color"] and manifest["short_name"] == "FaceLLM"
        assert {(one["sizes"], one["purpose"]) for one in manifest["icons"]} >= {
            ("192x192", "any"), ("512x512", "any"), ("512x512", "maskable")
        }  # fmt: skip
        for one in manifest["icons"]:
            drawn = http.get(f"/{one['src']}")
            assert drawn.headers["content-type"] == one["type"]
            image = Image.open(io.BytesIO(drawn.content))
            assert f"{image.width}x{image.height}" == one["sizes"]
        worker = http.get(WORKER)
        assert worker.headers["content-type"].startswith("text/javascript") and "caches" not in worker.text
        for answer in (told, worker):
            policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
            assert "'self'" in policy["worker-src"] and "'self'" in policy.get("manifest-src", policy["default-src"])
            assert answer.headers["cache-control"] == "no-cache", "a new version is seen at the next visit"
        page = http.get("/").text
        assert WORKER.removeprefix("/") in page and "serviceWorker?.register" in page


def test_without_leave_nothing_of_it_is_there(local_site):
    with httpx.Client(base_url=local_site.url, timeout=120, trust_env=False) as http:
        assert {path: http.get(path).status_code for path in (*PATHS, "/pwa_icon", "/pwa_icon/192")} == dict.fromkeys(
            (*PATHS, "/pwa_icon", "/pwa_icon/192"), 404
        )
        assert "serviceWorker?.register" not in http.get("/").text


def test_the_icon_is_the_mark():
    plain, filled = (Image.open(io.BytesIO(icon(192, cut))).convert("RGBA") for cut in (False, True))
    white, teal = (255, 255, 255, 255), (15, 118, 110, 255)
    at = 192 / 40
    for x, y in ((16, 18), (24, 18), (9, 12), (31, 28), (20, 25.8)):  # eyes, two corners, the smile
        assert (
            plain.getpixel((round(x * at), round(y * at))) == filled.getpixel((round(x * at), round(y * at))) == white
        )
    assert plain.getpixel((96, 40)) == teal and plain.getpixel((1, 1))[3] == 0 and filled.getpixel((1, 1)) == teal


@pytest.mark.browser
def test_a_browser_would_install_it_and_the_worker_keeps_nothing(visit, expected):
    running = launch(Options(port=17960, installable=True))
    try:
        page = visit(url=running.url, ready=False)
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        cdp = page.context.new_cdp_session(page)
        told = cdp.send("Page.getAppManifest")
        assert told["url"] == f"{running.url}{MANIFEST}" and not told["errors"]
        found = {error["errorId"] for error in cdp.send("Page.getInstallabilityErrors")["installabilityErrors"]}
        assert found <= {"in-incognito"}, "a test's window is private, and that is all that is in the way"
        page.reload()
        page.wait_for_selector("#tabs [role=tab]")
        assert page.evaluate("navigator.serviceWorker.controller !== null && caches.keys()") == []
        page.goto("about:blank")
    finally:
        running.close()
    expected += ["503", "AbortError", "Connection errored out"]  # the page was left while it was still loading
    page.goto(running.url)
    assert "does not answer just now" in page.inner_text("body")


@pytest.mark.browser
def test_a_page_that_may_not_be_installed_has_no_manifest_and_no_worker(visit):
    page = visit(ready=False)
    assert not page.locator("link[rel=manifest]").count()
    assert page.evaluate("navigator.serviceWorker.getRegistrations().then((all) => all.length)") == 0
