"""The demo timed and crowded: `python -m tests.bench.by_hand.bench_demo first-words|crowd|start [options]`.

first-words: in a headless Chromium, seconds from the click on "Describe all eight" to the first words in a card, each
  time about a photo that the server has not seen (median of --times); seconds until all eight are done, and that over
  the time of the longest of the eight asked alone.
crowd: --visitors clients for --minutes over the real queue, each with a photo, a question and a seed of its own, whose
  right answer was taken beforehand, alone. Reported: requests by outcome (right, another visitor's answer, an answer
  that is nobody's, "queue is full", other errors), and the server's resident memory before (after one round of all)
  and after.
start: seconds from `python app.py` to the first page served, over those that importing torch, transformers and gradio
  takes, each in a fresh process, by turns (medians of --times).

All serve app.py in a process of its own, on the embedded model or --model. What this does not know: other machines.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from PIL import Image

from facellm.attributes import ATTRIBUTES
from tests.paths import ROOT

# Of the crowd: with a seed for everybody, as many different right answers as there are visitors, nearly.
TEMPERATURE = 0.8


@contextlib.contextmanager
def serving(arguments: argparse.Namespace, wait: bool = True) -> Iterator[tuple[str, int, float]]:
    """app.py in its own process: (address, process id, seconds until the page was served)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "app.py", "--model", arguments.model, "--port", str(port)]
    command += ["--adapter", arguments.adapter] if arguments.adapter else []
    started = time.perf_counter()
    app = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "FACELLM_VOTES": "off"}, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(url, timeout=5).status_code == 200:
                    break
            if app.poll() is not None:
                raise SystemExit("app.py ended; its message is above")
            time.sleep(0.05)
        served = time.perf_counter() - started
        if wait:
            ask(client(url), ROOT / "demo" / "examples" / "collins.jpg", 0, 1)
        yield url, app.pid, served
    finally:
        app.terminate()
        app.wait(30)


def client(url: str):
    from gradio_client import Client

    return Client(url, verbose=False)


def ask(visitor, photo: Path, number: int, tokens: int) -> str:
    """The answer to the question of visitor `number`, through the endpoint that waits in the page's queue."""
    from gradio_client import handle_file

    text, _ = visitor.predict(
        photo=handle_file(str(photo)),
        question=ATTRIBUTES[number % len(ATTRIBUTES)].question,
        max_new_tokens=tokens,
        temperature=TEMPERATURE,
        seed=number,
        api_name="/chat",
    )
    return text


# Resolves to the seconds from the click to the first words in a card: the cards empty first, then one fills. The words
# alone are looked at: Gradio counts a card's seconds beside them.
_FIRST_WORDS = """() => new Promise(done => {
  const start = performance.now();
  let emptied = false;
  const look = () => {
    const words = [...document.querySelectorAll('.card .answer .prose')].some(a => a.innerText.trim());
    if (!words) emptied = true;
    else if (emptied) { watch.disconnect(); done((performance.now() - start) / 1000); }
  };
  const watch = new MutationObserver(look);
  watch.observe(document.body, {subtree: true, childList: true, characterData: true});
  look();
  document.querySelector('#attributes-go').click();
})"""


def first_words(arguments: argparse.Namespace) -> None:
    from playwright.sync_api import sync_playwright

    firsts, alls, ratios = [], [], []
    with tempfile.TemporaryDirectory() as folder, serving(arguments) as (url, _, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or "/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.set_default_timeout(300_000)
        page.goto(url)
        page.wait_for_selector("#model-state .ready")
        page.locator("[role=tab][data-tab-id=attributes]").click()
        for i in range(arguments.times):
            page.set_input_files("#photo input[type=file]", photo_of(i, Path(folder)))
            page.wait_for_selector("#stage img.crop")
            page.wait_for_selector("#attributes-go >> visible=true")
            started = time.perf_counter()
            firsts.append(page.evaluate(_FIRST_WORDS))
            page.wait_for_selector("#attributes-report a")
            alls.append(time.perf_counter() - started)
            page.wait_for_selector("#attributes-go >> visible=true")
            feet = page.locator(".card .foot").all_text_contents()
            tokens = [int(re.findall(r"(\d+) tokens", foot)[0]) for foot in feet]
            longest = tokens.index(max(tokens))
            started = time.perf_counter()
            page.locator(".card .card-foot button").nth(longest).click()
            page.wait_for_selector("#attributes-status >> text=/^1 answer in/")
            ratios.append(alls[-1] / (time.perf_counter() - started))
            page.click("#another")
            page.wait_for_selector("#photo input[type=file]", state="attached")
        browser.close()
    print(f"first words: median {statistics.median(firsts):.2f} s of {len(firsts)} (worst {max(firsts):.2f} s)")
    print(f"all eight: median {statistics.median(alls):.2f} s, {statistics.median(ratios):.2f} x the longest one alone")


def resident(pid: int) -> float:
    """MiB of the process in memory (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


def photo_of(visitor: int, folder: Path) -> Path:
    """A picture that no other visitor has: an example portrait, coloured and mirrored by number."""
    names = ("collins", "hopper")
    with Image.open(ROOT / "demo" / "examples" / f"{names[visitor % 2]}.jpg") as image:
        made = image.convert("RGB")
    rng = random.Random(visitor)
    tint = Image.new("RGB", made.size, tuple(rng.randrange(256) for _ in range(3)))
    made = Image.blend(made, tint, 0.25 + 0.2 * rng.random())
    path = folder / f"{visitor}.jpg"
    (made.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if visitor % 4 > 1 else made).save(path, quality=95)
    return path


def crowd(arguments: argparse.Namespace) -> None:
    counts: collections.Counter[str] = collections.Counter()
    lock = threading.Lock()
    with tempfile.TemporaryDirectory() as folder, serving(arguments) as (url, pid, _):
        photos = [photo_of(i, Path(folder)) for i in range(arguments.visitors)]
        visitors = [client(url) for _ in photos]
        right = [ask(visitors[0], photo, i, arguments.tokens) for i, photo in enumerate(photos)]
        print(f"{len(set(right))} different answers for {len(photos)} visitors", flush=True)

        def outcome(i: int) -> str:
            try:
                answer = ask(visitors[i], photos[i], i, arguments.tokens)
            except Exception as error:  # whatever a client may meet is what is counted here
                time.sleep(0.5)
                return "queue is full" if "full" in str(error).lower() else f"ERROR {error}"
            if answer == right[i]:
                return "right"
            return "ANOTHER VISITOR'S" if answer in right else "nobody's"

        def come(i: int, end: float) -> None:
            first = True
            while first or time.monotonic() < end:
                first = False
                kind = outcome(i)
                with lock:
                    counts[kind] += 1

        def together(end: float) -> None:
            threads = [threading.Thread(target=come, args=(i, end)) for i in range(len(photos))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        together(0)  # everybody once at the same time: threads, caches and arenas are there before memory is read
        before = resident(pid)
        together(time.monotonic() + 60 * arguments.minutes)
        time.sleep(5)
        after = resident(pid)
        alive = outcome(0)
    print(f"{arguments.visitors} visitors, {arguments.minutes:g} min: {dict(counts)}; one more afterwards: {alive}")
    print(f"memory before {before:.0f} MiB, after {after:.0f} MiB ({100 * (after / before - 1):+.1f} %)")


def start(arguments: argparse.Namespace) -> None:
    command = [sys.executable, "-c", "import torch, transformers, gradio"]
    imports, pages = [], []
    for _ in range(arguments.times):
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True)
        imports.append(time.perf_counter() - started)
        with serving(arguments, wait=False) as (_, _, served):
            pages.append(served)
    page, modules = statistics.median(pages), statistics.median(imports)
    print(f"page after {page:.1f} s, imports {modules:.1f} s: {page / modules:.2f} x (medians of {len(pages)})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("first-words", "crowd", "start"))
    parser.add_argument("--model", default="nano")
    parser.add_argument("--adapter")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--tokens", type=int, default=16, help="length of an answer in the crowd")
    arguments = parser.parse_args()
    {"first-words": first_words, "crowd": crowd, "start": start}[arguments.what](arguments)


if __name__ == "__main__":
    main()
