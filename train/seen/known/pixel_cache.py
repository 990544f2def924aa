"""Pixel measurements of whole face sets, kept in a file: `python -m train.seen.known.pixel_cache DATA OUT.npz`."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from facellm.storage.files import atomic_path
from train.faces.measures import Pixels, measure_pixels


def measure_sets(data: Path, sets: tuple[str, ...] = ("utkface", "expressions")) -> Iterator[tuple[str, Pixels]]:
    """(file, its Pixels) for every JPEG in the sets' zip archives."""
    for name in sets:
        for archive in sorted((data / name).glob("*.zip")):
            with zipfile.ZipFile(archive) as handle:
                for member in handle.namelist():
                    if member.lower().endswith((".jpg", ".jpeg", ".png")):
                        with Image.open(io.BytesIO(handle.read(member))) as image:
                            yield f"{name}/{member}", measure_pixels(image.convert("RGB"))


def save(path: Path, rows: dict[str, Pixels]) -> None:
    """Writes the cache."""
    with atomic_path(path) as partial:
        np.savez(partial, name=np.asarray(list(rows)), pixels=np.asarray(list(rows.values()), np.float32))


def load(path: Path) -> dict[str, Pixels]:
    """file -> Pixels; empty where the cache was not made."""
    if not path.is_file():
        return {}
    arrays = np.load(path)
    return {str(n): Pixels(*map(float, row)) for n, row in zip(arrays["name"], arrays["pixels"], strict=True)}


def main(argv: list[str]) -> int:
    if len(argv) != 2:
        print("usage: python -m train.seen.known.pixel_cache DATA OUT.npz", file=sys.stderr)
        return 2
    save(Path(argv[1]), dict(measure_sets(Path(argv[0]))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
