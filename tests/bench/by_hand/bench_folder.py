"""Profiles of a folder against one call a picture (B12): `python -m tests.bench.by_hand.bench_folder [--photos 64]`.

The photos are small portraits, made from the example photos in many light and crops. Three ways to the same rows are
timed: `facellm profile FOLDER --out`, the command once for each picture (a few of them, from which a picture's time is
taken), and `FaceLLM.profile` picture by picture in one process, whose opening is not counted. Prints seconds a picture
and how many times as fast the folder is; whether the probabilities agree is checked on the way.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageEnhance

from tests.paths import EXAMPLES

TARGET = 5.0  # times as many pictures a second as one command a picture
SIDE = 200  # px
LOOP = """
import json, sys, time
from facellm import load
model = load("nano")
model.profile(sys.argv[1])  # what is opened at the first call is not counted
began = time.perf_counter()
found = [model.profile(path).fields for path in sys.argv[1:]]
print(json.dumps({"seconds": (time.perf_counter() - began) / len(found), "fields": found}))
"""


def make_portraits(folder: Path, count: int) -> list[Path]:
    """Writes square portraits of SIDE px, no two alike."""
    sources = []
    for name in ("hopper.jpg", "collins.jpg", "astronaut.jpg"):
        image = Image.open(EXAMPLES / name).convert("RGB")
        side = min(image.size)
        sources.append(image.crop(((image.width - side) // 2, 0, (image.width + side) // 2, side)))
    paths = []
    for number in range(count):
        image = sources[number % len(sources)]
        cut = image.width * (number // len(sources) % 8) // 100
        image = image.crop((cut, cut // 2, image.width - cut, image.width - 2 * cut + cut // 2)).resize((SIDE, SIDE))
        image = ImageEnhance.Brightness(image).enhance(0.7 + 0.6 * number / count)
        paths.append(folder / f"{number:05}.jpg")
        image.save(paths[-1], quality=90)
    return paths


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Returns a command's seconds and what it printed."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - began, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--commands", type=int, default=4, help="commands of one picture that are timed")
    parser.add_argument("--loop", type=int, default=16, help="pictures of the loop in one process")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as top:
        photos = Path(top, "photos")
        photos.mkdir()
        paths = make_portraits(photos, args.photos)
        table = Path(top, "r.jsonl")
        command = ["-m", "facellm", "profile"]
        once = [timed([*command, str(path), "--model", "nano", "--json"], environment)[0]
                for path in paths[: args.commands]]  # fmt: skip
        whole, _ = timed([*command, str(photos), "--model", "nano", "--out", str(table)], environment)
        _, told = timed(["-c", LOOP, *map(str, paths[: args.loop])], environment)
        rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    loop = json.loads(told)
    gap = max(
        abs(fields[key][row[key]] - row[f"{key}_probability"])
        for row, fields in zip(rows, loop["fields"], strict=False)
        for key in fields
    )
    folder = whole / args.photos
    figures = {
        "photos": args.photos,
        "threads": args.threads,
        "folder_seconds_a_photo": round(folder, 3),
        "command_seconds_a_photo": round(statistics.median(once), 3),
        "loop_seconds_a_photo": round(loop["seconds"], 3),
        "times_as_fast_as_commands": round(statistics.median(once) / folder, 2),
        "target": TARGET,
        "times_as_fast_as_the_loop": round(loop["seconds"] / folder, 2),
        "largest_difference_of_a_probability": round(gap, 6),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
