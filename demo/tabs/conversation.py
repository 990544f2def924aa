"""A conversation about one photo: questions with their answers, and how Gradio's chatbot shows them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo.page import texts
from demo.page.downloads import downloads
from demo.page.markdown import inert
from demo.page.render import render
from demo.runtime.parameters import MAX_TURNS
from demo.runtime.streaming import Cell


@dataclass(frozen=True)
class Turn:
    """One question and its answer.

    Attributes:
        question: What the model is asked.
        said: What the visitor said, where that is not the question's own wording (a starter question).
        variant: Whose answer it is; None while there is none.
        text: The answer's words so far; empty while there are none, and for an answer that could not be used.
        state: As of the `Cell` that holds the answer.
        attempt: How often the answer was asked for again.
        noted: The words with what the photo's profile says of their claims, as Markdown; empty where it says nothing.
    """

    question: str
    said: str = ""
    variant: str | None = None
    text: str = ""
    state: str = "waiting"
    attempt: int = 0
    noted: str = ""

    @property
    def shown(self) -> str:
        """The visitor's side as the page shows it."""
        return self.said or self.question

    @property
    def answer(self) -> str:
        """The model's side as the page shows it: whose answer it is, then its words."""
        if self.variant is None:
            return ""
        nothing = {"broken": texts.BROKEN, "done": "(no words)", "stopped": "(no words)"}
        return f"**{texts.VARIANTS[self.variant]}**\n\n{self.noted or inert(self.text) or nothing.get(self.state, '…')}"


Turns = tuple[Turn, ...]


def messages(turns: Turns) -> list[dict[str, Any]]:
    """The conversation as the chatbot takes it."""
    shown = []
    for turn in turns:
        shown.append({"role": "user", "content": turn.shown})
        if turn.variant is not None:
            shown.append({"role": "assistant", "content": turn.answer})
    return shown


def position(turns: Turns, index: Any) -> int | None:
    """Which turn message `index` of `messages` belongs to; None where there is no such message."""
    wanted = int(index[0] if isinstance(index, (list, tuple)) else index)
    owners = [i for i, turn in enumerate(turns) for _ in range(1 if turn.variant is None else 2)]
    return owners[wanted] if 0 <= wanted < len(owners) else None


def history(turns: Turns) -> tuple[tuple[str, str], ...]:
    """(question, answer) pairs for the model: the last ones, without those that have no usable answer."""
    return tuple((turn.question, turn.text) for turn in turns if turn.text)[-MAX_TURNS:]


def to_dict(turns: Turns, card: Mapping[str, Any]) -> dict[str, Any]:
    """The conversation, ready for JSON; questions are as the model was asked them."""
    return {
        "made_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "model": dict(card),
        "turns": [
            {"question": t.question, "said": t.shown, "variant": t.variant, "answer": t.text, "state": t.state}
            for t in turns
        ],
        "note": texts.ESTIMATES,
    }


def to_markdown(turns: Turns, card: Mapping[str, Any]) -> str:
    """The conversation as Markdown."""
    lines = ["# A conversation with FaceLLM", "", f"Model: {card.get('name', 'unknown')}", ""]
    for t in turns:
        name = texts.VARIANTS.get(t.variant or "", "No answer")
        lines += [f"**You:** {t.shown}", "", f"**{name}:** {t.text or texts.BROKEN}", ""]
    return "\n".join([*lines, "---", "", texts.ESTIMATES, ""])


def keep(turns: Turns, card: Mapping[str, Any]) -> str:
    """Links that save the conversation, and buttons that make a picture of its last answer; empty without an answer."""
    told = [t for t in turns if t.text]
    if not told:
        return ""
    last = told[-1]
    whole = json.dumps(to_dict(turns, card), indent=2, ensure_ascii=False)
    files = [
        ("Markdown", "facellm-chat.md", "text/markdown", to_markdown(turns, card)),
        ("JSON", "facellm-chat.json", "application/json", whole),
    ]
    name = " · ".join(filter(None, [texts.VARIANTS[last.variant or "facellm"], str(card.get("name", ""))]))
    return render("keep", files=downloads("Save the chat", files), question=last.shown, answer=last.text, model=name)


def answered(turn: Turn, cell: Cell) -> Turn:
    """The turn with the answer as `cell` has it."""
    return Turn(turn.question, turn.said, cell.variant, cell.text, cell.state, turn.attempt)
