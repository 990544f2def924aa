"""Pictures of the reports for docs/: `python -m tests.train.report_pictures [--evaluate OUT] [--bias OUT]`.

OUT is the folder that `train evaluate` or `train bias` wrote. Opens its report.html in a headless browser, 1280 px
wide, and writes docs/screenshots/evaluate-report.webp, bias-groups.webp (plots) and bias-gaps.webp (tables). Reports
hold figures and plots alone, so no face is in the pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.demo.conftest import CHROMIUM_ARGUMENTS
from tests.demo.screenshots import OUT, TALLEST, save

WIDTH = 1280


def pictures(page, kind: str) -> dict[str, bytes]:
    """name -> PNG of the open report."""
    if kind == "evaluate":
        return {"evaluate-report": page.screenshot(full_page=True)}
    first = page.locator("h2").first.bounding_box()["y"]
    tall = page.evaluate("document.documentElement.scrollHeight")
    parts = {"bias-groups": (0, first), "bias-gaps": (first, tall)}
    return {
        name: page.screenshot(
            full_page=True, clip={"x": 0, "y": top, "width": WIDTH, "height": min(end - top, TALLEST)}
        )
        for name, (top, end) in parts.items()
    }  # fmt: skip


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--evaluate", type=Path, help="--out folder of train evaluate")
    p.add_argument("--bias", type=Path, help="--out folder of train bias")
    p.add_argument("--out", type=Path, default=OUT, help="folder of the pictures (docs/screenshots)")
    args = p.parse_args()
    if not args.evaluate and not args.bias:
        p.error("give --evaluate, --bias or both")
    args.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        for kind in ("evaluate", "bias"):
            folder = getattr(args, kind)
            if folder is None:
                continue
            page.goto((folder / "report.html").resolve().as_uri())
            for name, png in pictures(page, kind).items():
                save(png, args.out / f"{name}.webp")
        browser.close()


if __name__ == "__main__":
    main()
