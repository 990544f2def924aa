"""The page and a browser for what is made by hand: screenshots, the film, the benchmark of a visit."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from demo.runtime.options import read_options
from tests.demo.conftest import CHROMIUM_ARGUMENTS, launch


@contextlib.contextmanager
def shown(port: int, model: str | None = None) -> Iterator[tuple[str, Browser]]:
    """Serves the page with its model loaded; gives its address and a headless Chromium.

    Args:
        port: The first that is tried.
        model: None takes FACELLM_MODEL, or the best embedded one.
    """
    chosen = read_options([])
    model = model or ("embedded" if chosen.model == "auto" else chosen.model)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = launch(replace(chosen, model=model, votes=Path(folder) / "votes.sqlite3", port=port))
        site.ctx.host.start()
        for _ in site.ctx.host.wait():
            pass
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM_ARGUMENTS)
        yield site.url, browser
        browser.close()
        site.close()
