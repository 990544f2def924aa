"""What a comparison asks: pairs of answers, the side each model stands on, what is hidden until the vote, marked words.

Input: a choice of questions. Output: a `Round` whose cells fill. What this file does not know: Gradio, models, how it
is shown.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from html import escape

from demo.page import texts
from demo.runtime.streaming import Cell
from demo.tabs import parameters
from facellm import policy
from facellm.attributes import attribute
from facellm.errors import FaceLLMError

ALL, OWN = "all", "own"
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass
class Pair:
    """One question's two answers. left: which model stands left.  vote: None until voted."""

    key: str | None
    question: str
    left: str = "base"
    vote: str | None = None
    cells: dict[str, Cell] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return attribute(self.key).title if self.key else self.question

    @property
    def void(self) -> bool:
        """Whether it ended with nothing said on one side: there is nothing to vote on."""
        return all(c.finished for c in self.cells.values()) and not all(c.text for c in self.cells.values())

    @property
    def sides(self) -> tuple[str, str]:
        return ("base", "facellm") if self.left == "base" else ("facellm", "base")


@dataclass
class Round:
    """What one click asked. blind: names and measures stay hidden until the vote."""

    pairs: list[Pair]
    blind: bool
    temperature: float = 0.0

    @property
    def finished(self) -> bool:
        return bool(self.pairs) and all(c.finished for p in self.pairs for c in p.cells.values())

    @property
    def open_vote(self) -> Pair | None:
        """The next pair to vote on: only in a blind test, only when all is written, and something on both sides."""
        if not (self.blind and self.finished):
            return None
        return next((p for p in self.pairs if p.vote is None and not p.void), None)

    def hidden(self, pair: Pair) -> bool:
        """Whether names and measures of that pair are still to be hidden."""
        return self.blind and pair.vote is None and not pair.void


def questions(choice: str, own: str, sensitive: bool) -> list[tuple[str | None, str]]:
    """(key, question) pairs for a choice: "all", "own", or one attribute's key.  Raises FaceLLMError."""
    allowed = policy.attributes(sensitive)
    if choice == ALL:
        return [(a.key, a.question) for a in allowed]
    if choice == OWN:
        text = parameters.question(own, texts.QUESTION_FIRST)
        policy.check(text, sensitive)
        return [(None, text)]
    a = attribute(choice)
    if a not in allowed:
        raise FaceLLMError(policy.REFUSED)
    return [(a.key, a.question)]


def make_round(choice: str, own: str, blind: bool, sensitive: bool, rng: random.Random | None = None) -> Round:
    """A new round; in a blind test the sides are drawn anew for every pair."""
    rng = rng or random.SystemRandom()
    pairs = []
    for key, text in questions(choice, own, sensitive):
        pair = Pair(key, text, left=rng.choice(("base", "facellm")) if blind else "base")
        pair.cells = {w: Cell(w, text, key) for w in ("base", "facellm")}
        pairs.append(pair)
    return Round(pairs, blind)


def words(text: str) -> set[str]:
    """The words of a text, lower case."""
    return {w.lower() for w in _WORD.findall(text)}


def marked(text: str, other: str) -> str:
    """Escaped text in which the words that `other` does not say are marked; neighbours share one mark."""
    theirs = words(other)
    out, last = [], 0
    for match in _WORD.finditer(text):
        out.append(escape(text[last : match.start()]))
        word = escape(match.group())
        out.append(word if match.group().lower() in theirs else f"<mark>{word}</mark>")
        last = match.end()
    out.append(escape(text[last:]))
    return re.sub(r"</mark>(\s+)<mark>", r"\1", "".join(out))
