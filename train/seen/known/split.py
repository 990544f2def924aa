"""Which faces train, which choose, and which are looked at once: the splits of mini's two face sets.

`val` is the sets' own. `test` is cut from their `train` by a hash of the file name, before anything is trained: the
1,500 names with the smallest digests over both sets together, so that each set gives in proportion (about 940 faces of
UTKFace and 560 expressions). It depends on names alone and not on which faces the teacher has seen, so it stays as it
is when more of them are looked at, and its faces are a fair sample of those trained on; about 640 of them carry tags,
as many as in `val`.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

SETS = ("utkface", "expressions")
TEST_FACES = 1500
TRAIN, VAL, TEST = "train", "val", "test"


def digest(file: str) -> str:
    """SHA-256 of a file name of the form "utkface/train/7.jpg"."""
    return hashlib.sha256(f"facellm-mini/{file}".encode()).hexdigest()


def cut(files: list[str], count: int = TEST_FACES) -> set[str]:
    """The `count` of `files` with the smallest digests, whatever order they come in."""
    return set(sorted(set(files), key=digest)[:count])


def read_splits(data: Path, count: int = TEST_FACES) -> dict[str, str]:
    """File ("utkface/train/7.jpg") -> "train", "val" or "test", for every row of both sets' `labels.csv`."""
    files = []
    for folder in SETS:
        with (data / folder / "labels.csv").open(newline="") as handle:
            files += [f"{folder}/{row['file']}" for row in csv.DictReader(handle)]
    own = {file: VAL if file.split("/")[1] == VAL else TRAIN for file in files}
    kept_back = cut([file for file, split in own.items() if split == TRAIN], count)
    return {file: TEST if file in kept_back else split for file, split in own.items()}
