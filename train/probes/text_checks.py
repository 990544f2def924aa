"""What a decoder knew before it saw faces: arithmetic, JSON, instructions and the choice of a tool, judged by rules.

Prompts are made, not stored. Each maker has a cut that training may use and one that only measures; of the choice of a
tool nothing is trained on.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

TRIES = 200  # draws without a new prompt after which a maker is taken to have no more
KINDS = ("arithmetic", "json", "instruction", "tool choice")


@dataclass(frozen=True)
class Check:
    """prompt: what is asked.  kind: of `KINDS`.  passes: whether an answer is right."""

    prompt: str
    kind: str
    passes: Callable[[str], bool]


def checks(count: int = 120, seed: int = 0) -> list[Check]:
    """Returns different checks in words kept out of training, a quarter of each kind.

    Args:
        count: How many; where a kind has no more different ones, the others fill up.
        seed: Of what is drawn.
    """
    rng = random.Random(f"checks:{seed}")
    found: dict[str, Check] = {}
    makers = [
        (plain_sum, "arithmetic"),
        (json_prompt, "json"),
        (order, "instruction"),
        (tool_choice, "tool choice"),
        (word_sum, "arithmetic"),
        (json_prompt, "json"),
        (instruction, "instruction"),
        (tool_choice, "tool choice"),
    ]
    turn = 0
    while len(found) < count and makers:
        maker, kind = one = makers[turn % len(makers)]
        for _ in range(TRIES):
            prompt, passes = maker(rng, "kept_out")
            if prompt not in found:
                found[prompt] = Check(prompt, kind, passes)
                turn += 1
                break
        else:
            makers = [other for other in makers if other != one]
    return list(found.values())


def _number_in(text: str, right: int) -> bool:
    """Whether the last number of the answer is the right one."""
    numbers = re.findall(r"-?\d+", text.replace(",", ""))
    return bool(numbers) and int(numbers[-1]) == right


def plain_sum(rng: random.Random, cut: str) -> tuple[str, Callable[[str], bool]]:
    a, b = rng.randint(2, 60), rng.randint(2, 30)
    sign = rng.choice("+-x")
    right = {"+": a + b, "-": a - b, "x": a * b}[sign]
    forms = {
        "trained": ("What is {} {} {}?", "{} {} {} =", "Calculate {} {} {}.", "How much is {} {} {}?"),
        "kept_out": ("Work out {} {} {}.", "Tell me the result of {} {} {}.", "{} {} {} is how much?"),
    }[cut]
    return rng.choice(forms).format(a, sign, b), lambda text: _number_in(text, right)


_THINGS = {"trained": ("apples", "books", "coins", "cups"), "kept_out": ("pens", "stones", "tickets", "plates")}


def word_sum(rng: random.Random, cut: str) -> tuple[str, Callable[[str], bool]]:
    name, thing = rng.choice(("Anna", "Tom", "Lena", "Omar")), rng.choice(_THINGS[cut])
    a, b = rng.randint(5, 20), rng.randint(1, 5)
    if rng.random() < 0.5:
        return f"{name} has {a} {thing} and gives {b} away. How many are left?", lambda text: _number_in(text, a - b)
    return f"{name} has {a} {thing} and gets {b} more. How many are there now?", lambda text: _number_in(text, a + b)


_KEYS = {
    "trained": ("name", "city", "age", "colour", "price"),
    "kept_out": ("title", "country", "year", "size", "weight"),
}


def json_prompt(rng: random.Random, cut: str) -> tuple[str, Callable[[str], bool]]:
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


def order(rng: random.Random, cut: str) -> tuple[str, Callable[[str], bool]]:
    words = rng.sample(_WORDS[cut], 3)
    right = sorted(words)
    prompt = f"Sort these words alphabetically: {', '.join(words)}."

    def passes(text: str) -> bool:
        places = [text.lower().rfind(word) for word in right]
        return min(places) >= 0 and places == sorted(places)

    return prompt, passes


def instruction(rng: random.Random, cut: str) -> tuple[str, Callable[[str], bool]]:
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


_TOOLS = {
    "calculator": ("What is 318 divided by 6?", "How much is 17 percent of 250?", "Add up 88, 12 and 45.",
                   "What is the square root of 1,225?", "How much is 36 times 14?"),
    "weather": ("Do I need an umbrella in Oslo tomorrow?", "How warm will it be in Lima on Sunday?",
                "Is it windy in Cork now?", "Will it snow in Bern tonight?", "How humid is Hanoi today?"),
    "translator": ("How do you say 'thank you' in Finnish?", "Put 'the shop is closed' into Greek.",
                   "What does 'obrigado' mean in English?", "Say 'two tickets, please' in Polish.",
                   "What is the Italian word for 'bridge'?"),
    "calendar": ("Am I free on Thursday afternoon?", "Move my dentist's appointment to Monday.",
                 "When is my next meeting with Ada?", "Put lunch with Omar down for noon.",
                 "Cancel what I planned for Friday."),
    "maps": ("How do I get from the station to the museum on foot?", "Where is the nearest pharmacy?",
             "How far is it from Lyon to Turin by car?", "Which way is the harbour from here?",
             "Show me a route that avoids the motorway."),
}  # fmt: skip


def tool_choice(rng: random.Random, cut: str) -> tuple[str, Callable[[str], bool]]:
    """A request and some tools, of which one fits."""
    right = rng.choice(sorted(_TOOLS))
    tools = [right, *rng.sample([name for name in sorted(_TOOLS) if name != right], 2)]
    rng.shuffle(tools)
    prompt = (
        f"You can use one of these tools: {', '.join(tools)}. Which one fits this request? {rng.choice(_TOOLS[right])} "
        "Answer with the tool's name only."
    )
    return prompt, lambda text: {name for name in _TOOLS if name in text.lower()} == {right}
