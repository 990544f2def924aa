"""Tries every image of a set once before anything is computed, so that a run does not end at a damaged one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from facellm.errors import ImageError
from facellm.vision.images import load_image

THREADS = 8  # Pillow decodes without the interpreter's lock


def image_faults(sources: Mapping[str, Path | bytes], known: Iterable[str] = ()) -> dict[str, str]:
    """Decodes images.

    Args:
        sources: Image as the set refers to it -> its file, or its bytes.
        known: Images that need not exist, because their features are cached under their names.

    Returns:
        The images that cannot be used, each with what is wrong as a clause.
    """
    known = set(known)
    tried = [(image, source) for image, source in sources.items() if image not in known]
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        faults = pool.map(_fault, (source for _, source in tried))
        return {image: fault for (image, _), fault in zip(tried, faults, strict=True) if fault}


def _fault(source: Path | bytes) -> str | None:
    if isinstance(source, Path) and not source.is_file():
        return f"names an image that is missing: {source}"
    try:
        load_image(source)
    except ImageError as error:
        place = str(source) if isinstance(source, Path) else "in the row itself"
        return f"has an image that cannot be used, {place}: {str(error).rstrip('.')}"
    return None
