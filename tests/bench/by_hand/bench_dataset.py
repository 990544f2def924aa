"""`train dataset` against a local server: `python -m tests.bench.by_hand.bench_dataset [--images N] [--kills 20]`.

Throughput: every row of FairFace's validation labels (from ../shared; the images are small ones made up here, one for
each row) x 8 attributes through a server in a process of its own that answers after --latency seconds, against a
measured slice of asking one at a time with a second's pause between, as published scripts do. Memory of the asking
process is read from /proc as the run goes on. Kills: the real command with 30 % faults and SIGKILL at random moments
(tests.train.kills), whose account must be even. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from facellm.attributes import ATTRIBUTES
from tests.paths import ROOT
from tests.train.kills import run_with_kills
from tests.train.teachers.teacher_server import ANSWERS, BY_QUESTION, TeacherServer, completion, write_faces
from train.faces.label_rows import LabelRow, read_labels
from train.teachers import prompt
from train.teachers.openai import Settings, Teacher
from train.teachers.plan import data_url

LABELS = ROOT.parent / "shared" / "data" / "fairface" / "fairface_label_val.csv"
MODEL = "gpt-4o-2024-11-20"
PAUSE = 1.0  # seconds between requests, as in the published scripts
SIDE = 32  # px of the made-up images
RSS_EVERY = 2.0  # seconds


class Answering(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as little of it as the client needs; a process that does more would be what is
    measured."""

    latency = 0.5
    asked: ClassVar[Counter] = Counter()  # (digest of the image's data URL, attribute) -> answers
    bodies: ClassVar[dict] = {  # attribute -> response
        key: json.dumps(completion(MODEL, {"content": text}, "stop")).encode() for key, text in ANSWERS.items()
    }
    # A question's stem in the request's JSON; the whole-image question is the one that has none of the others.
    stems = tuple((question.encode(), key) for question, key in BY_QUESTION.items())

    def connection_made(self, transport) -> None:
        self.transport, self.buffer = transport, bytearray()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.buffer[:end])
        length = next((int(v) for k, _, v in _fields(head) if k.lower() == b"content-length"), 0)
        if len(self.buffer) < end + 4 + length:
            return
        body = bytes(self.buffer[end + 4 : end + 4 + length])
        self.buffer = self.buffer[end + 4 + length :]
        if head.startswith(b"GET /stats"):
            most = max(self.asked.values(), default=0)
            self._send(json.dumps({"answers": self.asked.total(), "distinct": len(self.asked), "most": most}).encode())
        elif head.startswith(b"GET"):
            self._send(json.dumps({"object": "list", "data": [{"id": MODEL}]}).encode())
        else:
            asyncio.get_running_loop().call_later(self.latency, self._answer, body)

    def _answer(self, body: bytes) -> None:
        start = body.index(b"data:image/jpeg;base64,")
        stop = body.index(b'"', start)
        key = next(key for question, key in self.stems if question in body)
        self.asked[hashlib.md5(body[start:stop]).digest(), key] += 1
        self._send(self.bodies[key])

    def _send(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)


def _fields(head: bytes):
    return (line.partition(b":") for line in head.split(b"\r\n")[1:])


async def serve(latency: float) -> None:
    Answering.latency = latency
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def make_faces(folder: Path, number: int | None) -> int:
    """FairFace's label rows and, for each, a distinct little image. Returns how many."""
    with LABELS.open(newline="") as file:
        head, *rows = list(csv.reader(file))
    rows = rows[:number]
    (folder / "val").mkdir(parents=True)
    with (folder / LABELS.name).open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    rng = np.random.default_rng(0)
    for row in rows:
        pixels = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((SIDE, SIDE)).save(folder / row[0], quality=80)
    return len(rows)


async def one_at_a_time(url: str, row: LabelRow, number: int) -> float:
    """Seconds an answer takes when the next is asked for a second after the last has come."""
    image = data_url(row.path, row.digest)
    async with Teacher(Settings(MODEL, url), 1, lambda kind, text: None) as teacher:
        await teacher.ask(prompt.SYSTEM, "warm-up " + ATTRIBUTES[0].question, image)
        began = time.perf_counter()
        for place in range(number):
            question = prompt.question(ATTRIBUTES[place % len(ATTRIBUTES)], row)
            await teacher.ask(prompt.SYSTEM, question, image)
            await asyncio.sleep(PAUSE)
        return (time.perf_counter() - began) / number


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def throughput(folder: Path, number: int | None, concurrency: int, latency: float, slice_size: int) -> dict:
    faces, out = folder / "faces", folder / "out"
    images = make_faces(faces, number)
    command = [sys.executable, "-m", "tests.bench.by_hand.bench_dataset", "--serve", "--latency", str(latency)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        (row,) = read_labels(faces, limit=1).rows
        slow = asyncio.run(one_at_a_time(url, row, slice_size))
        with urllib.request.urlopen(url.removesuffix("/v1") + "/stats") as response:
            before = json.load(response)
        command = [sys.executable, "-m", "train", "dataset", "--images", faces, "--out", out, "--base-url", url]
        command += ["--teacher", "openai", "--concurrency", concurrency, "--timeout", 600]
        began, curve, cpu = time.perf_counter(), [], 0.0
        with (folder / "said").open("w") as said:
            process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=said)
            while process.poll() is None:
                time.sleep(RSS_EVERY)
                try:
                    file = out / "answers.jsonl"
                    size = file.stat().st_size if file.exists() else 0
                    curve.append((round(time.perf_counter() - began), size, round(resident_mb(process.pid))))
                    cpu = cpu_seconds(process.pid)
                except (OSError, IndexError):  # it has just ended
                    break
            process.wait()
        wall = time.perf_counter() - began
        if process.returncode:
            raise SystemExit((folder / "said").read_text()[-2000:])
        server_cpu = cpu_seconds(server.pid)
        with urllib.request.urlopen(url.removesuffix("/v1") + "/stats") as response:
            after = json.load(response)
    finally:
        server.terminate()
        server.wait()
    manifest = json.loads((out / "manifest.json").read_text())
    answers = images * len(ATTRIBUTES)
    assert manifest["complete"] and manifest["written"] == answers
    assert after["answers"] - before["answers"] == answers  # none was asked for twice
    asking = [mb for _, size, mb in curve if size]
    whole = curve[-1][1]
    return {
        "images": images,
        "answers": answers,
        "concurrency": concurrency,
        "latency_seconds": latency,
        "wall_seconds": round(wall, 1),
        "answers_a_second": round(answers / wall, 1),
        "one_at_a_time_seconds_an_answer": round(slow, 4),
        "one_at_a_time_slice": slice_size,
        "one_at_a_time_hours_for_all": round(slow * answers / 3600, 2),
        "times_as_fast": round(slow * answers / wall, 1),
        "client_cpu_ms_an_answer": round(1000 * cpu / answers, 2),
        "server_cpu_ms_an_answer": round(1000 * server_cpu / answers, 2),
        "rss_mb_by_share_of_answers": {
            f"{share:.0%}": next(mb for _, size, mb in curve if size >= share * whole)
            for share in (0.05, 0.25, 0.5, 0.75, 1.0)
        },
        "rss_mb_most": max(asking),
        "said": (folder / "said").read_text().splitlines()[-3:],
    }


def kills(folder: Path, images: int, number: int, seed: int) -> dict:
    write_faces(folder / "faces", images)
    os.environ["OPENAI_API_KEY"] = "sk-bench-not-a-real-key"
    server, began = TeacherServer(), time.perf_counter()
    try:
        account = run_with_kills(server, folder / "faces", folder / "out", images, number, 8, seed)
    finally:
        server.close()
    return vars(account) | {"images": images, "seconds": round(time.perf_counter() - began, 1), "seed": seed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, help="rows of the label file (default: all 10,954)")
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--latency", type=float, default=0.5, help="seconds until the server answers")
    parser.add_argument("--slice", type=int, default=40, help="answers of the one-at-a-time slice")
    parser.add_argument("--kills", type=int, default=20, help="0: none")
    parser.add_argument("--kill-images", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0, help="of the kills' moments")
    parser.add_argument("--no-throughput", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(args.latency))
    figures = {}
    with tempfile.TemporaryDirectory() as name:
        if not args.no_throughput:
            if not LABELS.is_file():
                raise SystemExit(f"FairFace's label file is not at {LABELS}.")
            figures["throughput"] = throughput(
                Path(name) / "all", args.images, args.concurrency, args.latency, args.slice
            )
            shutil.rmtree(Path(name) / "all")
        if args.kills:
            figures["kills"] = kills(Path(name) / "kills", args.kill_images, args.kills, args.seed)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
