"""Runs the real command with faults and SIGKILL at random moments, and checks the account at the end.

Used by a test with a few kills and by tests.bench.by_hand.bench_dataset with many.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT
from tests.train.teachers.teacher_server import TeacherServer

FAULTS = (
    ("status", 429, {"error": {"message": "slow"}}),
    ("status", 429, {"error": {"message": "slow"}}, {"Retry-After": "0.05"}),
    ("status", 500, {"error": {"message": "oops"}}),
    ("cut",),
    ("raw", b'{"choices": [{"mess', "application/json"),
    ("raw", b"<html>a proxy</html>", "text/html"),
)


@dataclass
class Account:
    requests: int  # that reached the server
    answers: int  # on disk
    faults: int  # on disk
    sent: int  # faults that the server made
    lost: int  # requests whose end no process saw, because it was killed
    kills: int


def thirty_per_cent(asked):
    """Three of ten requests meet a fault, each kind in turn."""
    return FAULTS[asked["order"] // 10 * 3 % 6 + asked["order"] % 10 // 3] if asked["order"] % 10 in (2, 5, 8) else None


def stored(out: Path) -> tuple[list[tuple[str, str]], int]:
    """((image's digest, attribute) of every answer, number of faults) on disk; a torn last line is left out."""
    file = out / "answers.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    records = [json.loads(line) for line in lines]
    answers = [(r["digest"], r["attribute"]) for r in records if r["kind"] == "answer"]
    return answers, len(records) - len(answers)


def run_with_kills(
    server: TeacherServer, faces: Path, out: Path, images: int, kills: int, concurrency: int, seed: int
) -> Account:
    """Raises AssertionError where an answer is missing, double, or asked for after it was stored."""
    rng = random.Random(seed)
    server.behave = thirty_per_cent
    command = [sys.executable, "-m", "train", "dataset", "--images", faces, "--out", out, "--base-url", server.url]
    command += ["--val", 0, "--teacher", "openai", "--concurrency", concurrency, "--tries", 20]
    apart = max(1, images * 8 // (kills + 1))  # requests between two kills, in the mean
    checked: list[tuple[int, set]] = []
    for _ in range(kills):
        process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=subprocess.DEVNULL)
        until = len(server.requests) + rng.randint(1, apart)
        while len(server.requests) < until:
            assert process.poll() is None, "the process ended before it was killed"
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        checked.append((len(server.requests), set(stored(out)[0])))
    subprocess.run(list(map(str, command)), cwd=ROOT, stderr=subprocess.DEVNULL, check=True)

    answers, faults = stored(out)
    assert len(answers) == len(set(answers)) == images * 8
    for place, before in checked:
        assert not before & set(server.keys_asked[place:]), "an answer that was stored was asked for again"
    account = Account(
        requests=len(server.requests),
        answers=len(answers),
        faults=faults,
        sent=sum(server.faults.values()),
        lost=len(server.requests) - len(answers) - faults,
        kills=kills,
    )
    # What no process recorded was on its way when one was killed, and nothing else.
    assert 0 <= account.lost <= kills * concurrency
    assert 0 <= account.sent - account.faults <= account.lost
    return account
