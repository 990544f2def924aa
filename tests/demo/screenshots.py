"""Pictures of every tab, wide and narrow, light and dark: `python -m tests.demo.screenshots [TAB ...]`.

Serves the embedded model (or FACELLM_MODEL), visits the page as a browser test does, and writes
docs/screenshots/TAB-WIDTH-SCHEME.webp.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

from tests.demo.conftest import PATIENCE
from tests.demo.shown import shown
from tests.paths import ROOT

OUT = ROOT / "docs" / "screenshots"
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}
MOST_BYTES, TALLEST = 200_000, 2400


def chat(page) -> None:
    page.locator("#chips button").nth(1).click()
    page.wait_for_selector("#chat-status .more")
    page.locator("#chips button").nth(0).click()
    page.wait_for_function("document.querySelectorAll('#chat .bot.message').length == 2")
    page.wait_for_selector("#chat-status .more")


def attributes(page) -> None:
    page.click("#attributes-go")
    page.wait_for_selector("#attributes-report a")


def compare(page) -> None:
    page.click("#compare-go")
    page.wait_for_selector("#compare-status >> text=/one copy of the weights/")


def photos(page) -> None:
    page.locator("#compare-what input[value=photos]").check()
    page.click('[data-second="hopper.jpg"]')
    page.wait_for_selector("#second-remove >> visible=true")
    page.locator("#two-question").locator("input, textarea").fill("How old does this person look?")
    page.click("#two-go")
    page.wait_for_selector("#two-status .more")


def profile(page) -> None:
    page.click("#profile-go")
    page.wait_for_selector("#profile-download a")


def faces(page) -> None:
    page.click("#another")
    page.click('[data-example="crew.jpg"]')
    page.wait_for_selector("#stage button.face")
    page.click("#profile-everyone")
    page.wait_for_selector("#profile-status >> text=/4 faces measured/")
    page.locator("#options-question").locator("input, textarea").fill("Does the person wear glasses?")
    page.locator("#options-answers").locator("input, textarea").fill("yes, no")
    page.click("#options-go")
    page.wait_for_selector("#options-scored .bars")


def why(page) -> None:
    page.click("#profile-go")
    page.wait_for_selector("#profile-download a")
    page.click("[data-why=expression]")
    page.wait_for_selector("#why .maps >> visible=true")


def about(page) -> None:
    page.wait_for_selector("#model-card dl")


TABS = {
    "chat": chat,
    "attributes": attributes,
    "compare": compare,
    "photos": photos,
    "profile": profile,
    "about": about,
    "faces": faces,
    "why": why,
}
WHERE = {"faces": "profile", "why": "profile", "photos": "compare"}  # the tab of a picture that is not named after it


def save(png: bytes, path: Path) -> None:
    """As WebP below 200 kB; very long pages are cut at the bottom."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image = image.crop((0, 0, image.width, min(image.height, TALLEST)))
    for quality in (88, 75, 60, 45):
        out = io.BytesIO()
        image.save(out, "WEBP", quality=quality, method=6)
        if out.tell() < MOST_BYTES:
            break
    path.write_bytes(out.getvalue())
    print(path.name, out.tell(), flush=True)


def main(names: list[str]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with shown(17990) as (url, browser):
        for width, (w, h) in SIZES.items():
            for scheme in ("light", "dark"):
                phone = {"has_touch": True, "is_mobile": True} if width == "narrow" else {}
                page = browser.new_page(viewport={"width": w, "height": h}, color_scheme=scheme, **phone)
                page.set_default_timeout(PATIENCE)
                page.goto(url)
                page.wait_for_selector("#model-state .ready")
                page.click("#consent-read")
                page.click('[data-example="collins.jpg"]')
                page.wait_for_selector("#stage img.crop")
                for name in names or list(TABS):
                    page.locator(f"[role=tab][data-tab-id={WHERE.get(name, name)}]").click()
                    page.wait_for_timeout(300)
                    TABS[name](page)
                    page.evaluate("window.scrollTo(0, 0)")
                    page.wait_for_timeout(500)
                    save(page.screenshot(full_page=True), OUT / f"{name}-{width}-{scheme}.webp")
                page.close()


if __name__ == "__main__":
    main(sys.argv[1:])
