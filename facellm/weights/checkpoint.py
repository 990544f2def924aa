"""Finds a checkpoint's files, on disk or on the hub, and refuses what is not an InternVL in safetensors.

`HF_HUB_OFFLINE`, `HF_HOME` and `HF_TOKEN` are respected by huggingface_hub itself. A checkpoint's code is never run.
"""

from __future__ import annotations

import json
import logging
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facellm.errors import FaceLLMError
from facellm.weights import split_checkpoint

if TYPE_CHECKING:
    from facellm.weights.processor import FaceProcessor

logger = logging.getLogger("facellm")

FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
SUBFOLDER = "model"  # where published FaceLLM repositories may keep their files


class Unreachable(FaceLLMError):
    """The hub does not answer and the model is not in the cache."""


class Unavailable(FaceLLMError):
    """The hub answers, but does not hand the model out: it is gated or private, or lacks the revision."""


class NotFound(Unavailable):
    """The hub has no such model, or none that it shows to this token."""


def fetch(name: str, revision: str | None = None, subfolder: str = "") -> Path:
    """Finds the local folder of a model. A download is announced in the log.

    Args:
        name: A folder, which is returned as it is, or a hub id.
        revision: A commit, tag or branch on the hub.
        subfolder: Fetches only this part of the repository.

    Returns:
        The folder, for a hub id that of its snapshot.

    Raises:
        Unreachable: Where only the network is at fault.
        Unavailable: Where the hub refuses.
        FaceLLMError: For a name that the hub cannot have.
    """
    path = Path(name).expanduser()
    if path.is_dir() or path.is_absolute():
        return path
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    patterns = [f"{subfolder}/{f}" for f in FILES] if subfolder else list(FILES)
    try:
        if not constants.HF_HUB_OFFLINE and not _cached(name, revision, patterns):
            logger.warning("Fetching %s ...", name)
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except HFValidationError:
        raise FaceLLMError(
            f"{name!r} is neither a folder nor a name that the Hugging Face hub can have; check the path, or write "
            f"owner/name with letters, digits, '-', '_' and '.'."
        ) from None
    except GatedRepoError:
        raise Unavailable(
            f"{name} is gated: accept its terms on https://huggingface.co/{name}, then set HF_TOKEN to a token of that "
            f"account."
        ) from None
    except RevisionNotFoundError:
        raise Unavailable(f"{name} has no revision {revision!r} on the Hugging Face hub.") from None
    except RepositoryNotFoundError:
        raise NotFound(
            f"{name} is not on the Hugging Face hub, or is private; check the name, or set HF_TOKEN if you have access."
        ) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TimeoutError):
        raise Unreachable(
            f"The Hugging Face hub cannot be reached and {name} is not in the local cache; connect to the network or "
            f"use the embedded model with --model nano."
        ) from None
    except Exception as error:  # what httpx, hf_xet and the disk raise has no common class
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise Unavailable(
                f"Access to {name} was refused ({status}): accept its terms on https://huggingface.co/{name}, then set "
                f"HF_TOKEN to a token of that account."
            ) from None
        raise Unreachable(
            f"{name} could not be fetched ({type(error).__name__}: {first_line(error)}); check the network and the "
            f"disk, or use the embedded model with --model nano."
        ) from error


def _cached(name: str, revision: str | None, patterns: list[str]) -> bool:
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(name, revision=revision, allow_patterns=patterns, local_files_only=True)
    except OSError:  # absent, or half fetched
        return False
    return True


def model_folder(name: str, revision: str | None = None, subfolder: str = "") -> Path:
    """Returns the folder that holds a model's config.json: the checkpoint itself or its subfolder `model`.

    A checkpoint that ships without its decoder is put together with it first (`split_checkpoint.whole`).

    Raises:
        FaceLLMError: Where there is none, and as `fetch` does.
    """
    folder = fetch(name, revision, subfolder)
    for place in (folder / subfolder, folder, folder / SUBFOLDER):
        if (place / "config.json").is_file():
            return split_checkpoint.whole(place) if split_checkpoint.is_split(place) else place
    if not folder.is_dir() or not any(folder.iterdir()):
        raise FaceLLMError(f"There is no model in {folder}: the folder is missing or empty.")
    if (folder / "adapter_config.json").is_file():
        raise FaceLLMError(f"{folder} holds an adapter, not a model; open its base and give this as --adapter.")
    raise FaceLLMError(f"There is no model in {folder}: config.json is missing.")


def adapter_or_merged(name: str, revision: str | None = None) -> tuple[Path | None, Path | None]:
    """Returns (adapter's folder, None) or (None, merged model's folder) for what was given as an adapter.

    Raises:
        FaceLLMError: Where it is neither, and as `fetch` does.
    """
    folder = fetch(name, revision)
    if (folder / "adapter_config.json").is_file():
        if not (folder / "adapter_model.safetensors").is_file():
            raise FaceLLMError(
                f"The adapter in {folder} has no adapter_model.safetensors; only safetensors are opened."
            )
        return folder, None
    for place in (folder, folder / SUBFOLDER):
        if (place / "config.json").is_file():
            return None, place
    raise FaceLLMError(f"There is no adapter in {folder}: it has neither adapter_config.json nor config.json.")


def check(folder: Path) -> None:
    """Raises FaceLLMError unless the folder holds an InternVL (Hugging Face form) with safetensors weights."""
    config = read_json(folder / "config.json")
    found = config.get("model_type")
    if found != "internvl":
        names = ", ".join(config.get("architectures") or []) or "unnamed"
        hint = "; use its conversion whose name ends in -hf" if found == "internvl_chat" else ""
        raise FaceLLMError(f"{folder} is not an InternVL: its architecture is {names} (model type {found!r}){hint}.")
    if not list(folder.glob("*.safetensors")):
        others = [p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt")]
        found = f"only {others[0]}" if others else "no weights"
        raise FaceLLMError(f"{folder} holds {found}; convert the weights to safetensors, which cannot run code.")


def read_json(path: Path) -> dict[str, Any]:
    """Returns a JSON file's object.  Raises FaceLLMError where it is missing or not JSON."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FaceLLMError(f"{path} cannot be read ({first_line(error)}).") from None
    if not isinstance(value, dict):
        raise FaceLLMError(f"{path} does not hold a JSON object.")
    return value


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Returns names and shapes in a safetensors file, from its header.  Raises FaceLLMError where it is none."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
    except (OSError, ValueError, struct.error) as error:
        raise FaceLLMError(f"{path} is not a safetensors file ({first_line(error)}).") from None
    return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


def stored_bytes(folder: Path) -> int:
    """Returns the bytes of the weights as stored, for saying what opening them will cost."""
    return sum(p.stat().st_size for p in folder.glob("*.safetensors"))


def commit_of(folder: Path) -> str | None:
    """Returns the hub commit whose snapshot a folder is; None for a folder of the user's."""
    match = re.search(r"snapshots/([0-9a-f]{40})", folder.as_posix())
    return match[1] if match else None


def open_processor(folder: Path) -> FaceProcessor:
    """Opens a model's processor.  Raises FaceLLMError where its files are missing."""
    from facellm.weights.processor import FaceProcessor

    try:
        return FaceProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise FaceLLMError(
            f"The tokenizer or processor files in {folder} cannot be read ({first_line(error)})."
        ) from error


def first_line(error: Exception) -> str:
    """Returns the beginning of an error's message, for one sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
