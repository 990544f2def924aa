"""Whether a command's output can be written, found out before its work begins, and the sentence where it cannot."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from pathlib import Path

from facellm.errors import FaceLLMError


def usable_folder(folder: Path, option: str = "--out") -> Path:
    """Makes a folder and tries to write into it, so that hours of work do not end at a read-only disk.

    Args:
        folder: The folder that results will be written into.
        option: How the user named it, for the message.

    Returns:
        The folder.

    Raises:
        FaceLLMError: Where it cannot be made or written into.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _probe(folder)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise _unusable(folder, error, option) from None
    return folder


def usable_place(folder: Path, option: str = "--out") -> Path:
    """Does as `usable_folder` without making the folder, for commands that may yet refuse and leave nothing behind.

    Args:
        folder: The folder that results will be written into; the nearest one above it that is there is tried.
        option: How the user named it, for the message.

    Returns:
        The folder.

    Raises:
        FaceLLMError: Where it cannot be written into, or could not be made.
    """
    folder = Path(folder)
    place = next((p for p in (folder.absolute(), *folder.absolute().parents) if p.exists()), Path())
    try:
        _probe(place)
    except (OSError, ValueError) as error:
        raise _unusable(folder, error, option) from None
    return folder


def _probe(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(b"\0" * 4096)  # a full disk accepts an empty file
        probe.flush()
        os.fsync(probe.fileno())


def _unusable(folder: Path, error: Exception, option: str) -> FaceLLMError:
    return FaceLLMError(f"{folder} cannot be written into ({_reason(error)}); choose another {option}.")


def usable_file(path: Path, option: str = "--out") -> Path:
    """Makes the folder of a file that will be written, and tries to write there.

    Args:
        path: The file.
        option: How the user named it, for the message.

    Returns:
        The file.

    Raises:
        FaceLLMError: Where it is a folder, or its folder cannot be made or written into.
    """
    path = Path(path)
    if path.is_dir():
        raise FaceLLMError(f"{path} is a folder; name a file in it with {option}.")
    usable_folder(path.parent, option)
    return path


def not_written(path: Path, error: Exception, option: str = "--out") -> FaceLLMError:
    """Returns the error for a file that could not be written although `usable_folder` found nothing wrong.

    Args:
        path: The file.
        error: What the operating system said.
        option: How the user named it or its folder.
    """
    return FaceLLMError(
        f"{path} cannot be written ({_reason(error)}); free some space there or choose another {option}, and run the "
        "command again."
    )


def refused(error: BaseException) -> str | None:
    """Returns the sentence for a file that the operating system refused in the middle of the work.

    The last net of a command line, where nothing nearer to the work knew better. Besides OSError it knows how
    safetensors and torch tell of a full disk.

    Args:
        error: What ended the command.

    Returns:
        The sentence; None where the error is of another kind.
    """
    if isinstance(error, OSError):
        places = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        if error.errno in _FULL:
            return _full(places or "A file", _reason(error))
        if error.errno is None:  # a library's own, whose text says what is the matter
            return f"{str(error).strip().splitlines()[0]}" if str(error).strip() else None
        return f"{places or 'A file'} cannot be used ({_reason(error)}); mend that and run the same command again."
    text = str(error)
    if found := _RUSTS.search(text):  # safetensors: "I/O error: No space left on device (os error 28)"
        return _full("A file", found[1])
    return _full("A file", "its disk took no more") if _TORCHS.search(text) else None


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_RUSTS = re.compile(r"([^:()]+) \(os error \d+\)")
_TORCHS = re.compile(r"PytorchStreamWriter failed writing|inline_container\.cc:\d+\] \. unexpected pos")


def _full(place: str, reason: str) -> str:
    return (
        f"{place} cannot be written ({reason.strip()}); free some space there and run the same command again: what was "
        "kept so far is not done twice."
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
