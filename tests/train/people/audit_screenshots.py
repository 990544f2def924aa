"""Pictures of the audit page: `python -m tests.train.people.audit_screenshots`.

Serves the page on the demo's own example portraits (demo/examples) with answers written for the picture, judges a few
sentences by keyboard, and writes docs/screenshots/audit-NAME.webp.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from demo.runtime.photos import EXAMPLES
from facellm.attributes import attribute
from facellm.server.ports import free_port
from tests.demo.conftest import CHROMIUM_ARGUMENTS, PATIENCE
from tests.demo.screenshots import OUT, save
from tests.train.people.test_audit_browser import press
from train.people.audit import page as audit_page
from train.people.audit.items import read_items
from train.people.audit.judgements import AuditStore
from train.people.audit.sample import draw
from train.people.audit.session import Session

# Sentences for the eye to check: some hold, some do not, one cannot be told.
ANSWERS = {
    "collins.jpg": {
        "detail": "The image shows a woman who smiles. Her hair is short. She wears glasses. She is a pilot.",
        "expression": "The person shows a happy expression. The mouth is closed. The impression is friendly.",
    },
    "hopper.jpg": {
        "lighting": "The light is balanced. The picture is sharp. It is a black-and-white image.",
        "pose": "The head is turned to the viewer's left. The chin is level.",
    },
}
VIEWS = {
    "wide-light": ((1280, 900), "light"), "wide-dark": ((1280, 900), "dark"), "narrow-light": ((390, 844), "light"),
}  # fmt: skip


def make_set(folder: Path) -> Path:
    rows = []
    for name, answers in ANSWERS.items():
        (folder / "images").mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLES / name, folder / "images" / name)
        for key, answer in answers.items():
            said = [("human", f"<image>\n{attribute(key).question}"), ("gpt", answer)]
            turns = [{"from": who, "value": text} for who, text in said]
            rows.append({"conversations": turns, "images": [f"images/{name}"]})
    (folder / "dataset.json").write_text(json.dumps(rows))
    return folder


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        read = read_items(make_set(Path(work) / "portraits"))
        store = AuditStore(Path(work) / "marks.sqlite3")
        # The picture begins with the whole image, whatever the draw.
        drawn = sorted(draw(read.items, len(read.items), 0), key=lambda item: (item.attribute != "detail", item.key))
        store.begin("portraits", len(drawn), 0, read, drawn)
        page = audit_page.build(Session(store), "ada", "portraits")
        port = free_port("127.0.0.1", 17980)
        page.launch(**audit_page.launch_arguments("127.0.0.1", port))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM_ARGUMENTS)
            for name, ((width, height), scheme) in VIEWS.items():
                tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                tab.set_default_timeout(PATIENCE)
                tab.goto(f"http://127.0.0.1:{port}")
                tab.wait_for_selector("#judging .audit img.face")
                if not store.marks():
                    for key in "113":
                        press(tab, key)
                tab.wait_for_selector("#judging .audit .wrong")
                tab.wait_for_timeout(500)
                save(tab.screenshot(full_page=True), OUT / f"audit-{name}.webp")
                tab.close()
            browser.close()
        page.close(verbose=False)


if __name__ == "__main__":
    main()
