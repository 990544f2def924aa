"""Vision features, computed once per image: while the adapter trains, encoder and projector never change.

A cache is a folder that anyone may write (nano's own stages do)::

    index.json     {"format": 1, "fingerprint": "...", "tokens": 16, "width": 320, "rows": {key: row}}
    features.npy   float16 or float32, (images, tokens, width): what the PROJECTOR returns for an image

A key is `sha256:` + the digest of the image file's bytes, or the image's path as the data set writes it; with path keys
the file need not even exist. `fingerprint` (`encoder_digest`) names encoder, projector and image settings, so that a
cache of another base is refused. Arrays are memory-mapped: nothing but the rows of a batch is ever read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facellm.errors import FaceLLMError
from facellm.storage.files import file_digest, write_text
from facellm.vision.images import load_image
from facellm.weights.fingerprint import encoder_digest

FORMAT = 1


def image_key(source: str | Path | bytes) -> str:
    """Returns the key of an image by the content of its file, or by the bytes that its row holds."""
    return f"sha256:{hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else file_digest(Path(source))}"


class FeatureCache:
    """An opened cache. `rows` maps keys to rows; `read` gives features in the order asked."""

    def __init__(self, folder: str | Path, expected: str | None = None):
        """Raises FaceLLMError if the folder is no cache, or of another encoder than `expected` (a fingerprint)."""
        self.folder = Path(folder)
        try:
            index = json.loads((self.folder / "index.json").read_text())
            self.array = np.load(self.folder / "features.npy", mmap_mode="r")
            self.rows: dict[str, int] = index["rows"]
        except (OSError, ValueError, KeyError) as error:
            raise FaceLLMError(f"{self.folder} is not a feature cache ({error}); remove it and run again.") from None
        if (
            index.get("format") != FORMAT
            or self.array.ndim != 3
            or max(self.rows.values(), default=0) >= len(self.array)
        ):
            raise FaceLLMError(f"The feature cache in {self.folder} is of another format; remove it and run again.")
        if expected is not None and index.get("fingerprint") != expected:
            raise FaceLLMError(
                f"The feature cache in {self.folder} was made with another encoder, projector or image size than this "
                "model's; remove it or name another folder with --features."
            )

    def read(self, rows: Sequence[int]) -> torch.Tensor:
        """(images, tokens, width) in the array's own type; rows may repeat."""
        return torch.from_numpy(self.array[np.asarray(rows, dtype=np.int64)])

    def find(self, image: str, source: Path | bytes) -> int | None:
        """The row of an image, by its path as written or by its content; None if it is not cached."""
        if image in self.rows:
            return self.rows[image]
        return self.rows.get(image_key(source)) if isinstance(source, bytes) or source.is_file() else None


def write_features(
    folder: str | Path, keys: Sequence[str | Iterable[str]], batches: Iterable[torch.Tensor], mark: str
) -> FeatureCache:
    """Writes a cache: `keys` name the images in order (one key each, or several), `batches` are (n, tokens, width).

    The index is written last and by rename, so a killed run leaves no cache that looks whole.
    Raises FaceLLMError if the number of features differs from that of keys, or one is not finite in float16.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    array, done = None, 0
    for batch in batches:
        values = batch.detach().to("cpu", torch.float16).numpy()
        if not np.isfinite(values).all():
            raise FaceLLMError("An image's features do not fit float16; this model's features cannot be cached.")
        if array is None:
            shape = (len(keys), *values.shape[1:])
            array = np.lib.format.open_memmap(folder / "features.npy", mode="w+", dtype=np.float16, shape=shape)
        array[done : done + len(values)] = values
        done += len(values)
    if array is None or done != len(keys):
        raise FaceLLMError(f"{len(keys)} images were to be cached in {folder}, but features came for {done}.")
    array.flush()
    rows = {}
    for row, key in enumerate(keys):
        rows.update(dict.fromkeys([key] if isinstance(key, str) else key, row))
    index = {"format": FORMAT, "fingerprint": mark, "tokens": array.shape[1], "width": array.shape[2], "rows": rows}
    write_text(folder / "index.json", json.dumps(index))
    return FeatureCache(folder, mark)


def pixels(processor: Any, sources: Sequence[Path | bytes]) -> torch.Tensor:
    """Pixels of images as the model takes them, one tile each: (images, 3, height, width) float32."""
    images = [load_image(source) for source in sources]
    return processor.image_processor(images=images, crop_to_patches=False, return_tensors="pt")["pixel_values"]


def _encoded(
    model: Any, processor: Any, paths: Sequence[Path | bytes], batch: int, progress: Any
) -> Iterator[torch.Tensor]:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    device = next(base.model.vision_tower.parameters()).device
    for start in range(0, len(paths), batch):
        with torch.inference_mode():
            found = base.get_image_features(pixel_values=pixels(processor, paths[start : start + batch]).to(device))
        yield found.pooler_output
        if progress is not None:
            progress(min(start + batch, len(paths)), len(paths))


def cache_images(
    folder: str | Path,
    model: Any,
    processor: Any,
    paths: dict[str, Path | bytes],
    batch: int = 64,
    progress: Any = None,
) -> tuple[FeatureCache, dict[str, int]]:
    """Opens or makes the cache of these images (name as written -> file or bytes); equal content is encoded once.

    Returns the cache and each image's row. `progress(done, of)` is called after each batch.
    """
    mark = encoder_digest(model, processor)
    if (Path(folder) / "index.json").is_file():
        cache = FeatureCache(folder, mark)
        rows = {image: cache.find(image, path) for image, path in paths.items()}
        if None not in rows.values():
            return cache, rows
    gone = [path for path in paths.values() if isinstance(path, Path) and not path.is_file()]
    if gone:
        raise FaceLLMError(
            f"The feature cache in {folder} lacks some of the images, and it cannot be made again because {len(gone)} "
            f"files are missing (first: {gone[0]}); put them there, or write the cache again."
        )
    keys = {image: image_key(path) for image, path in paths.items()}
    files = {key: paths[image] for image, key in keys.items()}
    cache = write_features(folder, list(files), _encoded(model, processor, list(files.values()), batch, progress), mark)
    return cache, {image: cache.rows[key] for image, key in keys.items()}
