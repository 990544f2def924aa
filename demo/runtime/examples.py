"""Small pictures of the example photos, and where the page finds them."""

from __future__ import annotations

import functools

from demo.runtime.photos import EXAMPLES, decode, jpeg

PICTURES = "gallery"  # from the page's address
SIDE = 240  # px, longest side


@functools.cache
def picture(name: str) -> bytes:
    """An example as JPEG bytes.

    Args:
        name: Of a file in EXAMPLES.
    """
    return jpeg(decode((EXAMPLES / name).read_bytes()), SIDE, 80)
