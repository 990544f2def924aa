"""What asking a teacher costs in US dollars, from the server's usage field and as an estimate beforehand.

Discounts and taxes are not counted; servers that bill in another way need a price given by the user.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from facellm.errors import FaceLLMError

CHARACTERS_PER_TOKEN = 4.0  # English prose
ANSWER_TOKENS = 220  # an answer of one to three paragraphs
LONGEST_ANSWER = 16_384  # that gpt-4o writes where no limit is given
BATCH_FACTOR = 0.5  # OpenAI's batches cost half


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens: read, read from the server's prompt cache, written."""

    prompt: float
    cached: float
    answer: float

    def cost(self, usage: Mapping[str, Any] | None) -> float | None:
        """US dollars for a response's `usage`; None where the server does not say what was read and written."""
        if not isinstance(usage, Mapping):
            return None
        read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if not read or written is None:  # every request reads something
            return None
        cached = min(read, (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
        return ((read - cached) * self.prompt + cached * self.cached + written * self.answer) / 1e6

    def estimate(self, prompt_tokens: float, answer_tokens: float = ANSWER_TOKENS) -> float:
        return (prompt_tokens * self.prompt + answer_tokens * self.answer) / 1e6

    def by_batch(self) -> Price:
        return Price(*(BATCH_FACTOR * value for value in (self.prompt, self.cached, self.answer)))


@dataclass(frozen=True)
class ImageRule:
    """How a family counts an image. Either tiles of 512 px: `base` + `tile` each; or patches of 32 px, `patch` each."""

    base: int = 0
    tile: int = 0
    patch: float = 0.0


# OpenAI's published prices by family; dated snapshots ("gpt-4o-2024-11-20") cost what their family costs.
PRICES = {
    "gpt-4o": Price(2.50, 1.25, 10.00),
    "gpt-4o-mini": Price(0.15, 0.075, 0.60),
    "gpt-4.1": Price(2.00, 0.50, 8.00),
    "gpt-4.1-mini": Price(0.40, 0.10, 1.60),
}
# As published; users measured the same for gpt-4o, gpt-4.1 (85 and 170) and gpt-4o-mini (2,833 and 5,667), whose images
# thus cost about as much as gpt-4o's, and 1.62 a patch for gpt-4.1-mini.
IMAGE_RULES = {
    "gpt-4o": ImageRule(85, 170),
    "gpt-4o-mini": ImageRule(2833, 5667),
    "gpt-4.1": ImageRule(85, 170),
    "gpt-4.1-mini": ImageRule(patch=1.62),
}
MOST_PATCHES = 1536
DEAREST_IMAGE = (2048, 768)  # px: eight tiles and MOST_PATCHES patches; no size costs more by either rule


def _family(model: str) -> str:
    return re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model)


def read_price(text: str, source: str = "--price") -> Price:
    """ "PROMPT,ANSWER" or "PROMPT,CACHED,ANSWER" in US dollars per million tokens.  Raises FaceLLMError."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (2, 3) or not all(0 <= value < math.inf for value in values):
        raise FaceLLMError(
            f"{source} {text!r} is not two numbers like 2.5,10 (USD per million tokens in and out), or three with the "
            "price of cached input between."
        )
    return Price(values[0], values[-2] if len(values) == 3 else values[0], values[-1])


def price_of(model: str, given: str | None = None) -> Price | None:
    """given: see `read_price`. None where nothing is known of the model."""
    return read_price(given) if given is not None else PRICES.get(_family(model))


def image_tokens(width: int, height: int, detail: str, model: str = "gpt-4o") -> int:
    """Tokens of an image (`auto` counts as `high`). Models that are not known here count like gpt-4o.

    Tiles: low detail is the base alone; else fitted into 2,048 px, the shorter side to at most 768 px, then the base
    and so much for each 512 px tile. Patches: each 32 px square at any detail, scaled down to at most 1,536 of them.
    """
    rule = IMAGE_RULES.get(_family(model), IMAGE_RULES["gpt-4o"])
    if rule.patch:
        patches = math.ceil(width / 32) * math.ceil(height / 32)
        return math.ceil(min(patches, MOST_PATCHES) * rule.patch)
    if detail == "low":
        return rule.base
    scale = min(1.0, 2048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    tiles = math.ceil(width * scale / 512) * math.ceil(height * scale / 512)
    return rule.base + rule.tile * tiles


def text_tokens(text: str) -> int:
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)
