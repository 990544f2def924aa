"""The one folder where uploaded photos lie for a few minutes: of this process alone, and gone with it.

Gradio would keep them in a folder that all users of the machine share, and leave them there when the process dies.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from facellm.errors import FaceLLMError

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be deleted
    fcntl = None  # type: ignore[assignment]

VARIABLE = "GRADIO_TEMP_DIR"
KEEP_SECONDS = 300  # how old an upload may get: long enough to wait for the model, and for several calls of the API
_LOCK = "lock"
_USER = os.getuid() if hasattr(os, "getuid") else 0  # Windows gives all files to 0


@contextmanager
def private_folder() -> Iterator[Path]:
    """Makes the folder, has Gradio use it, and removes it at the end, with those that dead processes left behind.

    To be entered before Gradio is imported. It lies in GRADIO_TEMP_DIR where that is set, else in the system's folder
    for temporary files.

    Yields:
        The folder, which only its owner can read.

    Raises:
        FaceLLMError: Where no folder can be made.
    """
    base = Path(os.environ.get(VARIABLE) or tempfile.gettempdir())
    prefix = f"facellm-{_USER}-"
    try:
        base.mkdir(parents=True, exist_ok=True)
        remove_abandoned(base, prefix)
        folder, lock = _make(base, prefix)
    except OSError as error:
        raise FaceLLMError(
            f"No folder for uploads can be made in {base} ({error.strerror}): name another with {VARIABLE}."
        ) from None
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(folder)
    try:
        yield folder
    finally:
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def remove_abandoned(base: Path, prefix: str) -> None:
    """Removes the folders of processes of this user that have ended without doing so."""
    for folder in base.glob(f"{prefix}*"):
        try:
            if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != _USER:
                continue
            lock = _locked(folder)
        except OSError:  # its process lives, or another one is removing it
            continue
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)


def _make(base: Path, prefix: str) -> tuple[Path, IO[bytes]]:
    for _ in range(100):  # another process may sweep between making and locking
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base)).resolve()
        try:
            lock = _locked(folder)
        except OSError:
            continue
        if (folder / _LOCK).exists():
            return folder, lock
        lock.close()
    raise OSError(0, "other processes remove it again and again")


def _locked(folder: Path) -> IO[bytes]:
    """A lock that is held until it is closed or the process ends, however it ends. Raises OSError where it is held."""
    if fcntl is None:
        (folder / _LOCK).unlink(missing_ok=True)
    file = (folder / _LOCK).open("wb")
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise
    return file


def sweep(folder: Path, older_than: float = KEEP_SECONDS) -> None:
    """Removes what was uploaded more than `older_than` seconds ago, half-finished uploads too."""
    if not (folder / _LOCK).exists():  # not a folder of ours
        return
    limit = time.time() - older_than
    for path in sorted(folder.rglob("*"), reverse=True):  # files before their folders
        if path.name == _LOCK and path.parent == folder:
            continue
        try:
            if path.lstat().st_mtime < limit:
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        except OSError:  # a folder that is not empty, or gone meanwhile
            continue


def folder_in_use() -> Path:
    """Returns the folder that Gradio writes uploads to."""
    return Path(os.environ.get(VARIABLE) or Path(tempfile.gettempdir()) / "gradio").resolve()
