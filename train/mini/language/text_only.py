"""Questions without a picture: what the decoder knew before it saw faces, kept alive and measured.

`text_prompts.yaml` holds the written prompts; answers to them are made by the untouched decoder. Checks (arithmetic,
JSON, instructions) are prompts whose answers a rule can judge.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("text_prompts.yaml")
CUTS = ("trained", "kept_out")
GENERATED = {"trained": 120, "kept_out": 60}  # prompts made by rule beside the written ones


@dataclass(frozen=True)
class Check:
    """prompt: what is asked.  kind: arithmetic, json or instruction.  passes: whether an answer is right."""

    prompt: str
    kind: str
    passes: Callable[[str], bool]


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
        made.add(rng.choice((_sum, _word_sum, _json_prompt, _order))(rng, cut)[0])
    found += sorted(made)
    rng.shuffle(found)
    return found


def checks(count: int = 120, seed: int = 0) -> list[Check]:
    """Checks for measuring, a third of each kind; never the prompts that are trained on."""
    rng = random.Random(f"checks:{seed}")
    trained = set(prompts("trained", seed))
    found: dict[str, Check] = {}
    makers = (
        (_sum, "arithmetic"),
        (_word_sum, "arithmetic"),
        (_json_prompt, "json"),
        (_json_prompt, "json"),
        (_order, "instruction"),
        (_instruction, "instruction"),
    )
    while len(found) < count:
        maker, kind = makers[len(found) % len(makers)]
        prompt, passes = maker(rng, "kept_out")
        if prompt not in trained and prompt not in found:
            found[prompt] = Check(prompt, kind, passes)
    return list(found.values())


def _number_in(text: str, right: int) -> bool:
    """Whether the last number of the answer is the right one."""
    numbers = re.findall(r"-?\d+", text.replace(",", ""))
    return bool(numbers) and int(numbers[-1]) == right


def _sum(rng: random.Random, cut: str) -> tuple[str, Callable[[str], bool]]:
    a, b = rng.randint(2, 60), rng.randint(2, 30)
    sign = rng.choice("+-x")
    right = {"+": a + b, "-": a - b, "x": a * b}[sign]
    forms = {
        "trained": ("What is {} {} {}?", "{} {} {} =", "Calculate {} {} {}.", "How much is {} {} {}?"),
        "kept_out": ("Work out {} {} {}.", "Tell me the result of {} {} {}.", "{} {} {} is how much?"),
    }[cut]
    return rng.choice(forms).format(a, sign, b), lambda text: _number_in(text, right)


_THINGS = {"trained": ("apples", "books", "coins", "cups"), "kept_out": ("pens", "stones", "tickets", "plates")}


def _word_sum(rng: random.Random, cut: str) -> tuple[str, Callable[[str], bool]]:
    name, thing = rng.choice(("Anna", "Tom", "Lena", "Omar")), rng.choice(_THINGS[cut])
    a, b = rng.randint(5, 20), rng.randint(1, 5)
    if rng.random() < 0.5:
        return f"{name} has {a} {thing} and gives {b} away. How many are left?", lambda text: _number_in(text, a - b)
    return f"{name} has {a} {thing} and gets {b} more. How many are there now?", lambda text: _number_in(text, a + b)


_KEYS = {
    "trained": ("name", "city", "age", "colour", "price"),
    "kept_out": ("title", "country", "year", "size", "weight"),
}


def _json_prompt(rng: random.Random, cut: str) -> tuple[str, Callable[[str], bool]]:
    keys = rng.sample(_KEYS[cut], rng.randint(2, 3))
    values = [rng.choice((rng.randint(1, 90), "red", "Rome", "Ada", "blue", "Lima")) for _ in keys]
    told = ", ".join(f"{key} {value}" for key, value in zip(keys, values, strict=True))
    forms = {"trained": "Write as JSON: {}.", "kept_out": "Put this into a JSON object: {}."}[cut]

    def passes(text: str) -> bool:
        match = re.search(r"\{.*\}", text, re.DOTALL)
        try:
            found = json.loads(match.group(0)) if match else None
        except ValueError:
            return False
        return isinstance(found, dict) and all(
            str(found.get(key)) == str(value) for key, value in zip(keys, values, strict=True)
        )

    return forms.format(told), passes


_WORDS = {
    "trained": ("table", "river", "window", "garden", "apple"),
    "kept_out": ("bridge", "candle", "pocket", "mountain", "lemon"),
}


def _order(rng: random.Random, cut: str) -> tuple[str, Callable[[str], bool]]:
    words = rng.sample(_WORDS[cut], 3)
    right = sorted(words)
    prompt = f"Sort these words alphabetically: {', '.join(words)}."

    def passes(text: str) -> bool:
        places = [text.lower().rfind(word) for word in right]
        return min(places) >= 0 and places == sorted(places)

    return prompt, passes


def _instruction(rng: random.Random, cut: str) -> tuple[str, Callable[[str], bool]]:
    """An instruction whose fulfilment can be seen in the answer's form."""
    word = rng.choice(_WORDS[cut])
    kinds: tuple[tuple[str, Callable[[str], bool]], ...] = (
        (
            f"Answer with one word only: what is the opposite of {rng.choice(('hot', 'big', 'old', 'dark'))}?",
            lambda text: len(text.split()) == 1,
        ),
        (f"Write the word {word} in capital letters.", lambda text: word.upper() in text),
        (f"Repeat the word {word} three times.", lambda text: text.lower().count(word) == 3),
        (
            f"Write one sentence that contains the word {word}.",
            lambda text: word in text.lower() and len(re.findall(r"[.!?](?:\s|$)", text.strip())) == 1,
        ),
        (f"How many letters does the word {word} have?", lambda text: _number_in(text, len(word))),
    )
    return rng.choice(kinds)
