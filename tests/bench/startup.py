"""B8: how long this project takes to start, against importing what it stands on alone.

Every measurement is a process of its own, with warm file caches. What this file does not know: models.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.bench.by_hand.bench_demo import serving
from tests.bench.timing import Result, race, result, seconds
from tests.paths import ROOT

NOTHING = "pass"
LIBRARIES = "import torch, transformers, peft"
PAGE = "import torch, transformers, gradio"


def _python(*arguments: str):
    def run() -> None:
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    return run


def start(model: str, repeats: int) -> list[Result]:
    """model: what the page is opened with."""
    found = []
    for what, arguments in (
        ("import facellm", ("-c", "import facellm")),
        ("python -m facellm --help", ("-m", "facellm", "--help")),
        ("app.py --help", ("app.py", "--help")),
    ):
        for other, code in (("python alone", NOTHING), (f"python: {LIBRARIES}", LIBRARIES)):
            pairs = race(_python(*arguments), _python("-c", code), repeats)
            found.append(result("B8", "-", what, other, pairs, slower=True))
    options = argparse.Namespace(model=model, adapter=None)
    pairs = []
    for _ in range(repeats):
        with serving(options, wait=False) as (_, _, served):
            pass
        pairs.append((served, seconds(_python("-c", PAGE))))
    found.append(result("B8", "-", "app.py to its first page", f"python: {PAGE}", pairs, slower=True))
    return found
