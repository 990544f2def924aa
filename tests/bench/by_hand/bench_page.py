"""From a page that opens to the first words about a photo: `python -m tests.bench.by_hand.bench_page [--repeats 5]`.

A visitor's three actions in Chromium: open the page, drop a photo, click a question. The model is loaded, as on a page
that others have opened before; every repeat is a new visitor and a photo that the model has not seen (one pixel
differs). Prints medians in seconds as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from facellm.weights.registry import EMBEDDED
from tests.demo.conftest import PATIENCE
from tests.demo.pages import drop
from tests.demo.shown import shown
from tests.paths import EXAMPLES


def visit(browser: Browser, url: str, photo: Path) -> dict[str, float]:
    """Seconds from one visitor's actions to what the page shows of them."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE)
    began = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("#model-state .ready")
    ready = time.perf_counter()
    drop(page, "#photo", photo)
    page.wait_for_selector("#stage img.crop")
    seen = time.perf_counter()
    page.locator("#chips button").first.click()
    page.wait_for_selector("#chat .bot.message >> text=/\\w+ \\w+/")
    words = time.perf_counter()
    page.wait_for_selector("#chat-status .more")
    done = time.perf_counter()
    page.close()
    return {
        "page_seconds": ready - began,
        "photo_seconds": seen - ready,
        "first_words_seconds": words - seen,
        "open_to_first_words_seconds": words - began,
        "answer_seconds": done - seen,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=EMBEDDED, default=EMBEDDED[0])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, shown(17980, args.model) as (url, browser):
        runs = []
        for number in range(args.repeats + 1):
            image = Image.open(EXAMPLES / "collins.jpg").convert("RGB")
            image.putpixel((0, 0), (number, 0, 0))
            photo = Path(folder) / f"{number}.png"
            image.save(photo)
            runs.append(visit(browser, url, photo))
    medians = {name: round(statistics.median(run[name] for run in runs[1:]), 3) for name in runs[0]}
    print(json.dumps({"model": args.model, "repeats": args.repeats, "median": medians}, indent=2))


if __name__ == "__main__":
    main()
