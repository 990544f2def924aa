"""Image features, computed once for an image and shared by all questions about it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping

import torch

from facellm.engine.network import Network

IMAGES = 32  # images encoded at once


class FeatureStore:
    """Features of the last images: (network's name, image's key) to (image tokens, hidden).

    Attributes:
        max_bytes: The least recently used leave where more would be held; one image always stays.
        bytes: Held now.
        hits: How often features were found.
        misses: How often they were not.
    """

    def __init__(self, max_bytes: int = 64 * 2**20) -> None:
        self.max_bytes, self.bytes, self.hits, self.misses = max_bytes, 0, 0, 0
        self._entries: OrderedDict[tuple[str, Hashable], torch.Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: tuple[str, Hashable]) -> bool:
        return key in self._entries

    def encode(
        self, network: Network, images: Mapping[Hashable, Callable[[], torch.Tensor]]
    ) -> dict[Hashable, torch.Tensor]:
        """Looks up the features of images, and encodes those that are missing together.

        Args:
            network: Whose encoder is used. Its lock must be held.
            images: For each key a function that gives the image's pixels, (tiles, 3, side, side).

        Returns:
            For each key (image tokens of all tiles, hidden).
        """
        found = {key: entry for key in images if (entry := self.get((network.name, key))) is not None}
        missing = [key for key in images if key not in found]
        for start in range(0, len(missing), IMAGES):
            part = missing[start : start + IMAGES]
            pixels = [images[key]() for key in part]
            encoded = network.encode(torch.cat(pixels)).split([len(tiles) for tiles in pixels])
            for key, features in zip(part, encoded, strict=True):
                found[key] = features.flatten(0, 1).clone()
                self.put((network.name, key), found[key])
        return found

    def get(self, key: tuple[str, Hashable]) -> torch.Tensor | None:
        """Returns the features under `key`, None where there are none."""
        if key in self._entries:
            self._entries.move_to_end(key)
            self.hits += 1
            return self._entries[key]
        self.misses += 1
        return None

    def put(self, key: tuple[str, Hashable], features: torch.Tensor) -> None:
        """Stores features."""
        if key in self._entries:
            self.bytes -= self._entries.pop(key).nbytes
        self._entries[key] = features
        self.bytes += features.nbytes
        while self.bytes > self.max_bytes and len(self._entries) > 1:
            self.bytes -= self._entries.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Drops everything."""
        self._entries.clear()
        self.bytes = 0
