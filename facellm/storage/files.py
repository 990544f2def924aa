"""Files that appear whole or not at all, and their digests."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

PARTIAL = ".partial"  # suffix of a file that is still being written
_BLOCK = 2**20  # bytes read at a time


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Hands out a temporary path beside `path` and renames it to `path` once the block ends without an error.

    For libraries that want a file name (`torch.save`, `np.save`, `save_file`). Where the block raises, whatever stood
    at `path` is left as it was, and the temporary file is removed.

    Args:
        path: The file to write; its folder is made.

    Yields:
        The temporary path, in the same folder, with the same suffix.

    Raises:
        OSError: Where the folder cannot be made or written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.{os.getpid()}{PARTIAL}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_open(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Opens a temporary file that replaces `path`, flushed to disk, once the block ends without an error.

    Args:
        path: The file to write; its folder is made.
        mode: "w" for UTF-8 text with line ends as written, or "wb".

    Yields:
        The open file.

    Raises:
        OSError: Where the file cannot be written.
    """
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    with atomic_path(path) as partial, partial.open(mode, **text) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Replaces `path` by `text` (UTF-8) in one step."""
    with atomic_open(path) as file:
        file.write(text)


def write_json(path: Path, value: Any) -> None:
    """Replaces `path` by `value` as indented JSON that ends with a newline."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def text_digest(*parts: str, length: int = 64) -> str:
    """Returns the first `length` hexadecimal digits of the SHA-256 of `parts`, joined by a unit separator."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:length]
