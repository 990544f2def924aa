"""The audit page in a real browser: judged by keyboard, killed, resumed; answers of one's own. About 40 s when idle."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.demo.conftest import CHROMIUM_ARGUMENTS, PATIENCE
from tests.paths import ROOT
from tests.train.people.audit_data import make_set
from train.people.audit.judgements import AuditStore

pytestmark = pytest.mark.browser

ITEMS, BEFORE_KILL = 20, 9  # pairs of two sentences each


class Served:
    """`python -m train audit` in a process of its own, so that it can be killed."""

    def __init__(self, dataset: Path, db: Path, *more: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        command = ["audit", str(dataset), "--sample", str(ITEMS), "--db", str(db), "--port", str(self.port), *more]
        self.command, self.process = [sys.executable, "-m", "train", *command], None

    def start(self) -> None:
        environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "0"}
        self.process = subprocess.Popen(self.command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
        line = self.process.stdout.readline()
        assert line.startswith(f"The audit is at {self.url}"), line

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process.stdout.close()


@contextmanager
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = [shutil.which("chromium"), "/usr/bin/chromium", playwright.chromium.executable_path]
        path = next((p for p in found if p and Path(p).exists()), None)
        assert path is not None, "Chromium is not installed: run tests/install_chromium.sh"
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


def in_browser(work, *arguments) -> None:
    """Runs in a thread: playwright keeps an event loop in its own, and other tests need this one without."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work, *arguments).result()


def open_page(browser, url: str, errors: list[str], **settings):
    page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **settings})
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else errors.append(r.url))
    page.goto(url)
    return page


def press(page, key: str) -> None:
    """A key, and what follows from it on the page."""
    before = page.locator("#judging .audit").evaluate("e => e.dataset.place + ' ' + e.dataset.marked")
    page.keyboard.press(key)
    page.wait_for_function(
        "before => { const e = document.querySelector('#judging .audit');"
        " return e.dataset.place + ' ' + e.dataset.marked != before; }",
        arg=before,
    )


def place(page) -> str:
    return page.locator("#judging .audit").get_attribute("data-place")


@pytest.fixture
def served(tmp_path):
    dataset = make_set(tmp_path / "set", images=8)
    running = Served(dataset, tmp_path / "marks.sqlite3", "--annotator", "ada")
    running.start()
    yield running
    running.stop()


def test_twenty_pairs_by_keyboard_with_a_kill_in_the_middle(served, tmp_path):
    store, errors = AuditStore(tmp_path / "marks.sqlite3"), []

    def judge() -> None:
        with chromium() as browser:
            page = open_page(browser, served.url, errors)
            page.wait_for_selector("#judging .audit")
            assert place(page) == "0.0"
            keys = page.locator("#judging .legend kbd").all_inner_texts()
            assert keys == ["1", "2", "3", "u", "↑", "↓", "←", "→"]  # the legend is on the page
            for number in range(2 * BEFORE_KILL):
                press(page, "123"[number % 3])
            assert place(page) == f"{BEFORE_KILL}.0" and len(store.marks("ada")) == 2 * BEFORE_KILL
            press(page, "u")
            assert place(page) == f"{BEFORE_KILL - 1}.1" and len(store.marks("ada")) == 2 * BEFORE_KILL - 1
            press(page, "3")
            press(page, "ArrowLeft")
            press(page, "ArrowDown")
            assert place(page) == f"{BEFORE_KILL - 1}.1"
            press(page, "ArrowUp")
            press(page, "ArrowRight")
            served.stop(signal.SIGKILL)
            served.start()
            page.goto(served.url)
            page.wait_for_selector(f'#judging .audit[data-place="{BEFORE_KILL}.0"]')  # resumed
            page.click('#judging [data-act="mark:wrong"]')  # the mouse does the same
            page.wait_for_selector(f'#judging .audit[data-place="{BEFORE_KILL}.1"]')
            press(page, "1")
            for _ in range(2 * (ITEMS - BEFORE_KILL - 1)):
                press(page, "1")
            page.wait_for_selector("text=All sentences are judged.")
            progress = page.locator("#judging progress")
            assert (progress.get_attribute("value"), progress.get_attribute("max")) == (str(2 * ITEMS), str(2 * ITEMS))

    in_browser(judge)
    assert not errors
    marks = store.marks()
    assert len(marks) == 2 * ITEMS and {mark.annotator for mark in marks} == {"ada"}
    by_place = {(mark.item, mark.sentence): mark.mark for mark in marks}
    expected = [("supported", "not visible", "wrong")[number % 3] for number in range(2 * BEFORE_KILL)]
    expected[-1] = "wrong"
    expected += ["wrong"] + ["supported"] * (2 * ITEMS - 2 * BEFORE_KILL - 1)
    assert [by_place[item.key, s] for item in store.items() for s in (0, 1)] == expected


def test_a_second_person_a_phone_and_own_answers(tmp_path):
    dataset = make_set(tmp_path / "set", images=4)
    served, store, errors = Served(dataset, tmp_path / "marks.sqlite3"), AuditStore(tmp_path / "marks.sqlite3"), []
    served.start()

    def visit() -> None:
        with chromium() as browser:
            page = open_page(browser, served.url, errors, viewport={"width": 390, "height": 844})
            page.fill("#name textarea, #name input", "auto")
            page.click("#begin")
            page.wait_for_selector("#said [role=alert] >> text=kept for the automatic checks")
            page.fill("#name textarea, #name input", "bo")
            page.keyboard.press("Enter")
            page.wait_for_selector("#judging .audit")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            press(page, "2")
            page.keyboard.press("x")  # no key of the legend
            # A key that belongs to a pair which is not on the screen is not taken.
            page.evaluate("document.querySelector('#judging .audit').dataset.item = 'another'")
            page.keyboard.press("1")
            page.wait_for_selector("#judging .status >> text=was not taken")
            assert len(store.marks("bo")) == 1
            page.get_by_role("tab", name="Write your own answers").click()
            page.wait_for_selector("#writing .audit")
            assert "the data set's answer" not in page.locator("#writing .audit").inner_text().replace("is hidden", "")
            first = store.items()[0]
            assert first.answer not in page.locator("#writing").inner_text()
            page.fill("#own-answer textarea", "A pattern of 1, 2 and 3.")  # digits are no marks here
            page.keyboard.press("Shift+Enter")
            page.wait_for_selector('#writing .audit[data-written="1"]')
            assert page.input_value("#own-answer textarea") == ""
            page.click("#own-before")
            page.wait_for_function("document.querySelector('#own-answer textarea').value.startsWith('A pattern')")
            page.click("#own-save")
            page.wait_for_selector("#writing .status >> text=Saved.")

    try:
        in_browser(visit)
    finally:
        served.stop()
    assert not errors
    assert [(w.item, w.annotator, w.answer) for w in store.written()] == [
        (store.items()[0].key, "bo", "A pattern of 1, 2 and 3.")
    ]
    assert len(store.marks()) == 1
