"""Generation settings: what they are, and the one place that checks the values of visitors and API callers."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any

from facellm.errors import FaceLLMError

MAX_NEW_TOKENS = 512
MAX_TEMPERATURE = 2.0
MAX_SYSTEM = 1000
# InternVL3 was trained with up to 12 tiles of 448 px; each costs 256 tokens of context (16 for nano).
MAX_TILES = 12
MAX_QUESTION = 1000
MAX_TURNS = 20
SEED_LIMIT = 2**31 - 1
# Regenerating with temperature 0 would write the same words again.
RETRY_TEMPERATURE = 0.7


@dataclass(frozen=True)
class Parameters:
    """Checked settings.  seed: any int in 0..2^31-1.

    whole: look at the whole photo instead of the face crop, in at most `tiles` tiles (a face is always one tile).
    """

    system: str = ""
    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    whole: bool = False
    tiles: int = 1

    def sampling(self) -> Any:
        """`facellm.engine.sampling.Sampling` of these values (imports torch)."""
        return importlib.import_module("facellm.engine.sampling").Sampling(
            max_new_tokens=self.max_new_tokens, temperature=self.temperature, top_p=self.top_p, seed=self.seed
        )


def _number(name: str, value: Any, low: float, high: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high:
        raise FaceLLMError(f"{name} is {value!r}: it must be a number from {low} to {high}.")
    return number


def read(
    system: Any = "",
    max_new_tokens: Any = 256,
    temperature: Any = 0,
    top_p: Any = 1,
    seed: Any = 0,
    look: Any = "face",
    tiles: Any = 1,
) -> Parameters:
    """Parameters from raw values.  Raises FaceLLMError, naming the setting and its limits."""
    text = str(system or "").strip()
    if len(text) > MAX_SYSTEM:
        raise FaceLLMError(f"The system prompt has {len(text)} characters: at most {MAX_SYSTEM} are allowed.")
    if look not in ("face", "whole"):
        raise FaceLLMError(f"{look!r} cannot be looked at: choose face or whole.")
    return Parameters(
        system=text,
        max_new_tokens=int(_number("Max new tokens", max_new_tokens, 1, MAX_NEW_TOKENS)),
        temperature=_number("Temperature", temperature, 0, MAX_TEMPERATURE),
        top_p=_number("Top-p", top_p, 0.01, 1),
        seed=int(_number("Seed", seed, 0, SEED_LIMIT)),
        whole=look == "whole",
        tiles=int(_number("Tiles", tiles, 1, MAX_TILES)) if look == "whole" else 1,
    )


def question(text: Any, missing: str) -> str:
    """A question fit to be asked.  Raises FaceLLMError: `missing` for an empty one, a sentence for a very long one."""
    text = str(text or "").strip()
    if not text:
        raise FaceLLMError(missing)
    if len(text) > MAX_QUESTION:
        raise FaceLLMError(f"The question has {len(text)} characters: at most {MAX_QUESTION} are allowed.")
    return text
