"""What a comparison asks: pairs of answers, the side each model stands on, what a blind test hides, marked words."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from demo.page import texts
from demo.runtime import parameters
from demo.runtime.streaming import Cell
from facellm import policy
from facellm.attributes import attribute
from facellm.errors import FaceLLMError

ALL, OWN = "all", "own"
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")

# A text in pieces: (words, whether only this side says them).
Marked = list[tuple[str, bool]]


@dataclass
class Pair:
    """One question's two answers.

    Attributes:
        key: The attribute's; None for a question in the visitor's own words.
        left: Which model stands on the left side.
        vote: The winner; None until there was a vote.
    """

    key: str | None
    question: str
    left: str = "base"
    vote: str | None = None
    cells: dict[str, Cell] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What stands above the two answers."""
        return attribute(self.key).title if self.key else self.question

    @property
    def void(self) -> bool:
        """Whether it ended with nothing said on one side: there is nothing to vote on."""
        return all(c.finished for c in self.cells.values()) and not all(c.text for c in self.cells.values())

    @property
    def sides(self) -> tuple[str, str]:
        """The models, left one first."""
        return ("base", "facellm") if self.left == "base" else ("facellm", "base")

    def blocks(self, variant: str) -> list[Marked]:
        """The paragraphs of that model's answer; once both are written, with the words marked that only it says."""
        return blocks(self.cells[variant], self.cells["base" if variant == "facellm" else "facellm"])


@dataclass
class Round:
    """What one click asked.  blind: names and measures stay hidden until the vote."""

    pairs: list[Pair]
    blind: bool
    temperature: float = 0.0

    @property
    def cells(self) -> list[Cell]:
        """All answers, the base model's of each pair first."""
        return [p.cells[v] for p in self.pairs for v in ("base", "facellm")]

    @property
    def finished(self) -> bool:
        """Whether all answers have come to their end."""
        return bool(self.pairs) and all(c.finished for c in self.cells)

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
        pair.cells = {v: Cell(v, text, key) for v in ("base", "facellm")}
        pairs.append(pair)
    return Round(pairs, blind)


def blocks(cell: Cell, other: Cell) -> list[Marked]:
    """The paragraphs of an answer; once both are written, with the words marked that `other` does not say."""
    compared = cell.finished and other.finished and cell.text and other.text
    return [
        marked(block, other.text) if compared else [(block, False)]
        for block in cell.text.split("\n\n")
        if block.strip()
    ]


def words(text: str) -> set[str]:
    """The words of a text, lower case."""
    return {w.lower() for w in _WORD.findall(text)}


def marked(text: str, other: str) -> Marked:
    """The text in pieces, those marked whose words `other` does not say; neighbours share one piece."""
    theirs, pieces, last = words(other), Marked(), 0
    for match in _WORD.finditer(text):
        between, word = text[last : match.start()], match.group()
        mine = word.lower() not in theirs
        if mine and pieces and pieces[-1][1] and between.isspace():
            pieces[-1] = (pieces[-1][0] + between + word, True)
        else:
            pieces += [(between, False), (word, mine)]
        last = match.end()
    return [piece for piece in [*pieces, (text[last:], False)] if piece[0]]
