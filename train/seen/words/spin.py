"""Many forms from one line: choices in brackets and slots in braces.

"{They} [is wearing|wears] {eyewear}[, I think|]." has two choices and two slots. Choices may be nested.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_START = re.compile(r"(^|[.!?] )([a-z])")


def spin(form: str, rng: random.Random, slots: Mapping[str, str] = {}) -> str:
    """One sentence of the form: a choice taken at each bracket, then the slots filled.

    A slot with a capital ("{They}") is the slot in lower case with its first letter raised. Raises KeyError for a slot
    that is not given.
    """
    while match := _CHOICE.search(form):
        form = form[: match.start()] + rng.choice(match.group(1).split("|")) + form[match.end() :]
    return _SLOT.sub(lambda match: _slot(match.group(1), slots), form)


def _slot(name: str, slots: Mapping[str, str]) -> str:
    if name in slots:
        return slots[name]
    return raised(slots[name[0].lower() + name[1:]])


@cache
def needs(form: str) -> frozenset[str]:
    """The slots of a form, in lower case."""
    return frozenset(name[0].lower() + name[1:] for name in _SLOT.findall(form))


def raised(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def lowered(text: str) -> str:
    """The text with its first letter in lower case, but for "I"."""
    return text if re.match(r"I\b|[A-Z]{2}", text) else text[:1].lower() + text[1:]


def article(noun: str) -> str:
    """The noun phrase behind "a" or "an"."""
    vowel = re.match(r"(?:[aeio]|u(?!n(?:i|s)|s|r))", noun, re.IGNORECASE) and not re.match(r"one\b", noun)
    return f"{'an' if vowel else 'a'} {noun}"


def listed(parts: list[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


@cache
def read_tables(folder: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """Every YAML file of a folder in one table: key -> value -> lines. Words such as yes and no stay text."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for path in sorted(folder.glob("*.yaml")):
        table = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
        for key, values in table.items():
            if key in found:
                raise ValueError(f"{path.name} lists {key!r}, which another file of {folder} lists already.")
            found[key] = {value: tuple(lines) for value, lines in values.items()}
    return found
