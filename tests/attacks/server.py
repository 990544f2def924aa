"""Attacks a server that it starts: `python -m tests.attacks.server`. Prints what held, what did not, and what it took.

Loopback only. The server is FaceLLM-nano on the CPU with 8 GB of address space (RLIMIT_AS), so that more memory is
refused by the system and not only seen. Takes some minutes and keeps two cores busy; run it with nothing else.
"""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import http.client
import io
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
from PIL import Image

GB = 2**30
QUICK = 1.0  # seconds in which another client's /health must be answered
LEFT = 0.6  # GB that may remain in memory beyond what the server took before
SIDE = 7071  # px: 50 megapixels
JSON = {"content-type": "application/json"}
WHAT = Callable[["Served"], collections.Counter]
ATTACKS: list[tuple[str, WHAT]] = []


class Served:
    """A server under attack, and what another client sees of it.

    Attributes:
        slowest: Seconds that the slowest /health took since `watch` began.
        peak: GB of memory that were resident at most since then.
    """

    def __init__(self, process: subprocess.Popen, url: str) -> None:
        self.process, self.url = process, url
        self.root = url.removesuffix("/v1")
        self.slowest = self.peak = 0.0

    def resident(self) -> float:
        """GB of memory that are resident now."""
        with open(f"/proc/{self.process.pid}/statm") as file:  # noqa: PTH123 (no file)
            return int(file.read().split()[1]) * resource.getpagesize() / GB

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Asks for /health five times a second, as another client, for the length of the block."""
        self.slowest = self.peak = 0.0
        over = threading.Event()

        def watch() -> None:
            with httpx.Client(timeout=60, trust_env=False) as client:
                while not over.wait(0.2):
                    began = time.monotonic()
                    with contextlib.suppress(httpx.HTTPError):
                        if client.get(f"{self.root}/health").status_code != 200:
                            began -= 1000
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    with contextlib.suppress(OSError):
                        self.peak = max(self.peak, self.resident())

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def post(self, body: bytes) -> str:
        """The status of an answer, or the name of what came in its place."""
        try:
            with httpx.Client(timeout=900, trust_env=False) as client:
                return str(client.post(f"{self.url}/chat/completions", content=body, headers=JSON).status_code)
        except httpx.HTTPError as error:
            return type(error).__name__

    def crowd(self, bodies: list[bytes]) -> collections.Counter:
        """The statuses of requests that are sent at the same time."""
        with ThreadPoolExecutor(len(bodies)) as pool:
            return collections.Counter(pool.map(self.post, bodies))

    def answers(self) -> bool:
        """Whether an ordinary question is answered."""
        return any(self.post(question(picture(224))) == "200" or time.sleep(2) for _ in range(10))


def attack(what: str) -> Callable[[WHAT], WHAT]:
    """Registers an attack, which returns how its requests were answered."""

    def register(run: WHAT) -> WHAT:
        ATTACKS.append((what, run))
        return run

    return register


def picture(side: int, kind: str = "PNG") -> bytes:
    """A picture of one colour: small to send, large to decode."""
    out = io.BytesIO()
    Image.new("RGB", (side, side), (200, 160, 130)).save(out, kind)
    return out.getvalue()


def question(file: bytes, text: str = "Hi") -> bytes:
    """A request, as text rather than by way of a JSON library, which would take the attacker's memory."""
    image = b'{"type": "image_url", "image_url": {"url": "data:image/png;base64,' + base64.b64encode(file) + b'"}}'
    parts = image + b', {"type": "text", "text": "' + text.encode() + b'"}'
    return b'{"model": "base", "max_tokens": 4, "messages": [{"role": "user", "content": [' + parts + b"]}]}"


@attack("8 questions of 30 MB at once")
def long_questions(served: Served) -> collections.Counter:
    return served.crowd([question(picture(64), "How old? " * (30 * 2**20 // 9))] * 8)


@attack("400 posts that stall in mid-body")
def stalled(served: Served) -> collections.Counter:
    at = httpx.URL(served.url)
    connections = []
    for _ in range(400):
        connection = http.client.HTTPConnection(at.host, at.port, timeout=60)
        connection.putrequest("POST", "/v1/chat/completions")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", "1000000")
        connection.endheaders(b'{"model": "base", ')
        connections.append(connection)
    told: collections.Counter = collections.Counter()
    for connection in connections:
        try:
            told[str(connection.getresponse().status)] += 1
        except (OSError, http.client.HTTPException) as error:
            told[type(error).__name__] += 1
        connection.close()
    return told


@attack("8 times 31 MB of nested JSON at once, wide and deep")
def nested(served: Served) -> collections.Counter:
    wide = b'{"model": [' + b"[1]," * (31 * 2**20 // 4) + b"[1]]}"
    deep = b'{"model": ' + b"[" * (31 * 2**19) + b"]" * (31 * 2**19) + b"}"
    return served.crowd([wide, deep] * 4)


@attack("64 pictures of 50 megapixels at once, half of them PNG, half JPEG")
def large_pictures(served: Served) -> collections.Counter:
    return served.crowd([question(picture(SIDE, kind)) for kind in ("PNG", "JPEG")] * 32)


def limited(gigabytes: float) -> Callable[[], None]:
    """What the server's process does before it starts."""

    def limit() -> None:
        size = int(gigabytes * GB)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    return limit


@contextlib.contextmanager
def serving(gigabytes: float) -> Iterator[Served]:
    """A server that is ready, under a limit of its memory."""
    command = [sys.executable, "-m", "facellm", "serve", "--model", "nano", "--device", "cpu", "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=limited(gigabytes)
    ) as process:
        assert process.stdout is not None
        served = Served(process, process.stdout.readline().split(" is served at ")[1].split()[0])
        try:
            if not served.answers():
                raise SystemExit("the server does not answer")
            yield served
        finally:
            process.terminate()


def main() -> int:
    """Runs all attacks; returns how many did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", type=float, default=8.0, metavar="GB", help="what the server may take (default 8)")
    args = parser.parse_args()
    lost = 0
    with serving(args.memory) as served:
        for what, run in ATTACKS:
            before = served.resident()
            with served.watched():
                told = run(served)
            slowest, peak = served.slowest, served.peak
            well = served.answers()
            deadline = time.monotonic() + 30
            while served.resident() > before + LEFT and time.monotonic() < deadline:
                time.sleep(1)
            after = served.resident()
            held = well and slowest < QUICK and after <= before + LEFT and served.process.poll() is None
            lost += not held
            statuses = ", ".join(f"{count} x {status}" for status, count in sorted(told.items()))
            print(f"{'held' if held else 'LOST'}  {what}: {statuses}", flush=True)
            print(
                f"      slowest /health {slowest:.2f} s; memory {before:.2f} GB, at most {peak:.2f}, then {after:.2f}; "
                f"{'answers' if well else 'DOES NOT ANSWER'} afterwards",
                flush=True,
            )
    return lost


if __name__ == "__main__":
    sys.exit(main())
