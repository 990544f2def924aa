"""`app.py` in a process of its own, as its operator starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.paths import ROOT


class Apart:
    """A page in a process of its own; a context manager that ends it.

    Attributes:
        url: Where the page is.
        log: File with what it wrote.
        temp: Folder that it takes for the system's temporary one.
    """

    def __init__(self, folder: Path, *argv: str, port: int | None = None, cwd: Path = ROOT, **env: str) -> None:
        self.temp, self.log = folder / "temp", folder / "log"
        self.temp.mkdir(exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("FACELLM_", "GRADIO_"))}
        given = {"TMPDIR": str(self.temp), "FACELLM_VOTES": "off", "FACELLM_MODEL": "nano", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, str(ROOT / "app.py"), *argv]
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                command, cwd=cwd, env=kept | given | env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        found = self.wait(r"FaceLLM is at (\S+)")
        self.url = found[1]

    def wait(self, pattern: str, seconds: float = 300) -> re.Match[str]:
        """Waits until the log has `pattern`."""
        end = time.monotonic() + seconds
        while (found := re.search(pattern, self.log.read_text())) is None:
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)
        return found

    def end(self, sig: int = signal.SIGTERM, seconds: float = 30) -> tuple[int, float]:
        """Sends a signal; returns the exit code and the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(sig)
        return self.process.wait(seconds), time.monotonic() - began

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)


def holds(folder: Path, needle: bytes) -> list[Path]:
    """The files below `folder` that have `needle` in them."""
    return [path for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]
