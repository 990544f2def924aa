"""One browser and two pages for all tests of the demo: over a model in this process, and over a server that has it.

The model is the embedded one (the tiny one until the embedded weights are there). Page and server run in this process
too, so that a test can look at the model's side: who runs, which face was shown, whether it is idle.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from demo import layout
from demo.runtime.host import Host
from demo.runtime.options import Options
from demo.runtime.photos import EXAMPLES, read_photo
from demo.web.serving import PageServer
from demo.web.uploads import private_folder
from facellm.server.ports import listen
from tests.demo.scripted import Scripted
from tests.paths import ROOT
from tests.served import InThread

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
NANO = ROOT / "facellm" / "nano"
# ms: for everything that waits on the model; generous, because two busy cores may serve it
PATIENCE = 240_000

# For tests that hold whether the page's model is here or behind a server.
everywhere = pytest.mark.parametrize("site", ["local", "remote"], indirect=True)


def has_nano() -> bool:
    """Whether the embedded weights are in this checkout."""
    return (NANO / "config.json").is_file() and any(NANO.glob("*.safetensors"))


@pytest.fixture(scope="package", autouse=True)
def upload_folder():
    """Where the pages of these tests keep uploads."""
    with private_folder() as folder:
        yield folder


@pytest.fixture(scope="package")
def served_model(request):
    """(model, adapter) to serve."""
    if has_nano():
        return "nano", None
    folders = request.getfixturevalue("folders")
    return str(folders.base), str(folders.adapter)


@pytest.fixture(scope="package")
def options(served_model, tmp_path_factory):
    model, adapter = served_model
    votes = tmp_path_factory.mktemp("votes") / "votes.sqlite3"
    return Options(model=model, adapter=adapter, device="cpu", votes=votes, port=17860)


def launch(options: Options, host: Host | None = None) -> SimpleNamespace:
    """Serves the page in a thread, as demo.cli does.  url, ctx, page, app, close."""
    page, ctx = layout.build(options, host)
    server = PageServer(page, ctx, listen(options.host, options.port), layout.look())
    server.start()
    return SimpleNamespace(url=server.url, ctx=ctx, page=page, app=server.app, close=server.close)


def started(options: Options) -> SimpleNamespace:
    """A page whose model is there."""
    running = launch(options)
    running.ctx.host.start()
    for _ in running.ctx.host.wait():
        pass
    return running


@pytest.fixture(scope="package")
def local_site(options):
    """The running page, its model in this process.  engine: the model's, for a look at whether it is idle."""
    running = started(options)
    running.engine = running.ctx.host.model.engine
    yield running
    running.close()


@pytest.fixture(scope="package")
def server(local_site):
    """The application of `python -m facellm serve` on the local page's weights."""
    from facellm.server.app import make_app

    with InThread(make_app(local_site.ctx.host.model)) as running:
        yield running


@pytest.fixture(scope="package")
def remote_site(local_site, server, options):
    """The same page with --backend-url."""
    running = started(replace(options, model="auto", adapter=None, backend_url=server.url, port=17900))
    running.engine = local_site.engine
    yield running
    running.close()


@pytest.fixture
def site(request):
    """The page of the test: the local one, or what `everywhere` asks for."""
    return request.getfixturevalue(f"{getattr(request, 'param', 'local')}_site")


@pytest.fixture(scope="package")
def browser():
    """One headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = [shutil.which("chromium"), "/usr/bin/chromium", playwright.chromium.executable_path]
        path = next((p for p in found if p and Path(p).exists()), None)
        if path is None:
            pytest.fail("Chromium is not installed: run tests/install_chromium.sh", pytrace=False)
        running = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def expected():
    """Parts of console errors that a test provokes."""
    return []


@pytest.fixture
def visit(site, browser, expected):
    """Open the page as a new visitor.  After the test: no console error, no request to any other host."""
    contexts, errors, strangers = [], [], []

    def allowed(url: str) -> bool:
        return url.startswith((site.url, "data:", "blob:", "about:"))

    def opened(query: str = "", url: str | None = None, ready: bool = True, **settings):
        here = url or site.url
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.on("request", lambda r: None if allowed(r.url) or r.url.startswith(here) else strangers.append(r.url))
        page.goto(f"{here}/{query}")
        page.wait_for_selector("#tabs [role=tab]")
        if ready:
            page.wait_for_selector("#model-state .ready")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not strangers, f"requests to other hosts: {strangers}"
    unexpected = [e for e in errors if not any(part in e for part in expected)]
    assert not unexpected, f"console errors: {unexpected}"


@pytest.fixture
def with_photo(visit):
    """A new visitor with an example portrait."""

    def opened(example: str = "collins.jpg", query: str = "", **settings):
        page = visit(query, **settings)
        page.click(f'[data-example="{example}"]')
        page.wait_for_selector("#stage img.crop")
        return page

    return opened


class Slowly(list):
    """What each request was shown and asked, in order.

    hold: an answer stops growing after a few words in each of its rows, until it is cancelled or `go` is set: time to
    act in mid-answer, however slow the machine is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hold, self.go = False, threading.Event()

    def wait(self, cancel: threading.Event) -> None:
        eventually(lambda: cancel.is_set() or self.go.is_set(), seconds=600)


@pytest.fixture
def slowly(site, monkeypatch):
    """The model answers with pauses.  Returns a `Slowly`."""
    real, seen = site.ctx.host.stream, Slowly()

    def stream(view, rows, sampling, cancel, tiles=1):
        seen.append(SimpleNamespace(view=view, rows=rows, cancel=cancel, sampling=sampling))
        source = real(view, rows, sampling, cancel, tiles)
        grown = [0] * len(rows)
        try:
            for i, delta in enumerate(source):
                if i % len(rows) == 0:
                    time.sleep(0.05)
                yield delta
                grown[delta.row] += 100 if delta.done else 1
                if seen.hold and min(grown) >= 8:  # enough to be drawn, however fast they came
                    seen.wait(cancel)
        finally:
            source.close()

    monkeypatch.setattr(site.ctx.host, "stream", stream)
    yield seen
    seen.go.set()


@pytest.fixture
def scripted(site, monkeypatch):
    """The page's model answers with given words, at once: for tests of the page alone.  Returns a `Scripted`."""
    made = Scripted(site, monkeypatch)
    yield made
    made.go.set()
    eventually(lambda: site.ctx.runs.count() == 0)


def eventually(true: Callable[[], bool], seconds: float = PATIENCE / 1000, what: str = "") -> None:
    """Wait until `true()`; fails with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what or "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def portrait() -> Path:
    return EXAMPLES / "collins.jpg"


@pytest.fixture(scope="module")
def collins():
    return read_photo(EXAMPLES / "collins.jpg")


@pytest.fixture(scope="module")
def host(model):
    """A host that already has the tiny model."""
    made = Host(Options())
    made._model = model
    made._settled.set()
    return made
