"""Questions without a picture: what the decoder knew before it saw faces, kept alive and measured.

`text_prompts.yaml` holds the written prompts; answers to them are made by the untouched decoder. Prompts whose answers
a rule can judge are made by `train.probes.text_checks`.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import yaml

from train.probes.text_checks import json_prompt, order, plain_sum, word_sum

FILE = Path(__file__).with_name("text_prompts.yaml")
CUTS = ("trained", "kept_out")
GENERATED = {"trained": 120, "kept_out": 60}  # prompts made by rule beside the written ones


@cache
def table() -> dict[str, dict[str, list[str]]]:
    """kind -> cut -> prompts as written."""
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def prompts(cut: str = "trained", seed: int = 0) -> list[str]:
    """Written prompts and generated ones, in a random order that hangs on the seed."""
    rng = random.Random(f"text:{cut}:{seed}")
    found = [prompt for cuts in table().values() for prompt in cuts[cut]]
    made: set[str] = set()
    while len(made) < GENERATED[cut]:
        made.add(rng.choice((plain_sum, word_sum, json_prompt, order))(rng, cut)[0])
    found += sorted(made)
    rng.shuffle(found)
    return found
