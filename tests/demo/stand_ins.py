"""A host, a context and an answer for tests that need no page."""

from __future__ import annotations

from types import SimpleNamespace

from demo.runtime.context import Context
from demo.runtime.host import Host
from demo.runtime.options import Options
from demo.runtime.streaming import Cell
from demo.votes import Votes
from facellm.attributes import ATTRIBUTES


def stand_in(variants=("base", "facellm"), answers=(), **card) -> Host:
    """A host whose model can say what it is, and no more."""
    made = Host(Options())
    made._model = SimpleNamespace(
        variants=variants, answers=tuple(answers), report=SimpleNamespace(to_dict=lambda: card)
    )
    made._settled.set()
    return made


def context(host: Host, votes: Votes | None = None) -> Context:
    return Context(Options(), host, votes or Votes(None))


def finished(text="A <b>face</b>.\n\nSecond."):
    return Cell("facellm", ATTRIBUTES[5].question, "pose", text=text, state="done", tokens=4, seconds=1.0, rate=4.0)
