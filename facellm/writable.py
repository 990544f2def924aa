"""Whether a command's output can be written, found out before its work begins, and the sentence where it cannot."""

from __future__ import annotations

import os
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
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)  # a full disk accepts an empty file
            probe.flush()
            os.fsync(probe.fileno())
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise FaceLLMError(f"{folder} cannot be written into ({_reason(error)}); choose another {option}.") from None
    return folder


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


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
