"""What asking a teacher costs: from the server's usage field, and as an estimate before anything is asked.

Input: a model's name or a price given by the user, usage, image sizes. Output: US dollars, tokens. What this file does
not know: discounts, taxes, servers that bill in another way; give those a price of your own.
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


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens: read, read from the server's prompt cache, written."""

    prompt: float
    cached: float
    answer: float

    def cost(self, usage: Mapping[str, Any] | None) -> float:
        """US dollars for a response's `usage`; what a server leaves out counts as nothing."""
        usage = usage or {}
        read = usage.get("prompt_tokens") or 0
        cached = min(read, (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
        written = usage.get("completion_tokens") or 0
        return ((read - cached) * self.prompt + cached * self.cached + written * self.answer) / 1e6

    def estimate(self, prompt_tokens: float, answer_tokens: float = ANSWER_TOKENS) -> float:
        return (prompt_tokens * self.prompt + answer_tokens * self.answer) / 1e6


# OpenAI's published prices by family; dated snapshots ("gpt-4o-2024-11-20") cost what their family costs.
PRICES = {
    "gpt-4o": Price(2.50, 1.25, 10.00),
    "gpt-4o-mini": Price(0.15, 0.075, 0.60),
    "gpt-4.1": Price(2.00, 0.50, 8.00),
    "gpt-4.1-mini": Price(0.40, 0.10, 1.60),
}


def price_of(model: str, given: str | None = None) -> Price | None:
    """given: "PROMPT,ANSWER" in US dollars per million tokens. None where nothing is known of the model."""
    if given is not None:
        try:
            prompt, answer = (float(part) for part in given.split(","))
        except ValueError:
            prompt = answer = -1.0
        if not (0 <= prompt < math.inf and 0 <= answer < math.inf):
            raise FaceLLMError(f"--price {given!r} is not two numbers like 2.5,10: USD per million tokens in and out.")
        return Price(prompt, prompt, answer)
    return PRICES.get(re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model))


def image_tokens(width: int, height: int, detail: str) -> int:
    """Tokens of an image by OpenAI's published rule for the gpt-4o and gpt-4.1 families (`auto` counts as `high`).

    low: 85. high: fitted into 2,048 px, the shorter side to at most 768 px, then 85 and 170 for each 512 px tile.
    """
    if detail == "low":
        return 85
    scale = min(1.0, 2048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    tiles = math.ceil(width * scale / 512) * math.ceil(height * scale / 512)
    return 85 + 170 * tiles


def text_tokens(text: str) -> int:
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)
