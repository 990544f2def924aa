"""The README's animation, a photo dropped and eight cards filling: `python -m tests.demo.animation`.

Serves the embedded model (or FACELLM_MODEL), takes pictures of the page as fast as the browser gives them, and writes
docs/screenshots/eight-cards.webp, each picture shown for as long as it really stood, below two megabytes.
"""

from __future__ import annotations

import io
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from tests.demo.conftest import PATIENCE
from tests.demo.pages import drop, tab
from tests.demo.shown import shown
from tests.paths import EXAMPLES, ROOT

OUT = ROOT / "docs" / "screenshots" / "eight-cards.webp"
SIZE, SHOWN = (1280, 860), (960, 645)
MOST_BYTES, LAST_MS = 2_000_000, 3000


class Film:
    """Pictures of the page and when each was taken."""

    def __init__(self, page: Page) -> None:
        self.page, self.frames, self.times = page, list[Image.Image](), list[float]()

    def shoot(self) -> None:
        self.times.append(time.monotonic())
        self.frames.append(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB").resize(SHOWN, Image.LANCZOS))

    def until(self, selector: str) -> None:
        """Takes pictures until the page has that."""
        while not self.page.locator(selector).count():
            self.shoot()

    def save(self, path: Path) -> int:
        """Writes the film and returns its bytes."""
        gaps = [int(1000 * (b - a)) for a, b in zip(self.times, self.times[1:], strict=False)] + [LAST_MS]
        for quality in (70, 55, 40, 25):
            out = io.BytesIO()
            self.frames[0].save(
                out, "WEBP", save_all=True, append_images=self.frames[1:], duration=gaps, loop=0, quality=quality
            )
            if out.tell() < MOST_BYTES:
                break
        path.write_bytes(out.getvalue())
        return out.tell()


def main() -> None:
    with shown(17970) as (url, browser):
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme="light")
        page.set_default_timeout(PATIENCE)
        page.goto(url)
        page.wait_for_selector("#model-state .ready")
        page.click("#consent-read")
        tab(page, "Attributes")
        film = Film(page)
        for _ in range(3):
            film.shoot()
        drop(page, "#photo", EXAMPLES / "collins.jpg")
        film.until("#stage img.crop")
        film.shoot()
        page.click("#attributes-go")
        film.until("#attributes-report a")
        film.shoot()
        print(OUT.name, len(film.frames), "pictures", film.save(OUT), "bytes")


if __name__ == "__main__":
    main()
