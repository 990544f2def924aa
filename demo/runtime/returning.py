"""What a browser tab remembers of itself and hands over when the page is loaded again: its key and the settings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo.runtime import parameters
from facellm.errors import FaceLLMError

# The settings in the order of `parameters.read`, and their names in addresses; the system prompt is in none.
NAMES = ("system", "tokens", "temperature", "top_p", "seed", "look", "tiles")
_KEY = re.compile(r"[\w-]{16,64}", re.ASCII)
_LONGEST = 5000  # characters of JSON


@dataclass(frozen=True)
class Returning:
    """A tab that loads the page.

    Attributes:
        key: Its random name; empty where it gives none.
        settings: Raw settings in the order of NAMES, that `parameters.read` takes; None for the page's own.
    """

    key: str = ""
    settings: tuple[Any, ...] | None = None


def read(told: object, query: Mapping[str, str], warmest: float) -> Returning:
    """Reads what the tab remembers; what the address says goes first, and what makes no sense is left out.

    Args:
        told: JSON of {"key": ..., "settings": [...]}.
        query: The address's parameters.
        warmest: Highest temperature that the page offers.
    """
    try:
        data = json.loads(told) if isinstance(told, str) and len(told) <= _LONGEST else {}
    except ValueError:
        data = {}
    data = data if isinstance(data, dict) else {}
    key, kept = data.get("key"), data.get("settings")
    values = dict(zip(NAMES, kept, strict=True)) if isinstance(kept, list) and len(kept) == len(NAMES) else {}
    values |= {name: query[name] for name in NAMES[1:] if name in query}
    named = key if isinstance(key, str) and _KEY.fullmatch(key) else ""
    return Returning(named, _checked(values, warmest) if values else None)


def _checked(values: Mapping[str, Any], warmest: float) -> tuple[Any, ...] | None:
    own = parameters.Parameters()
    given = [values.get("system", "")]
    given += [values.get("tokens", own.max_new_tokens), values.get("temperature", 0), values.get("top_p", 1)]
    given += [values.get("seed", 0), values.get("look", "face"), values.get("tiles", 1)]
    try:
        checked = parameters.read(*given)
        tiles = int(float(str(given[-1])))
    except (FaceLLMError, ValueError):
        return None
    if checked.temperature > warmest or not 1 <= tiles <= parameters.MAX_TILES:
        return None
    numbers = (max(16, checked.max_new_tokens), checked.temperature, checked.top_p, checked.seed)
    return checked.system, *numbers, "whole" if checked.whole else "face", tiles
