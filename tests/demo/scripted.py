"""A stand-in for the page's model: it answers at once with given words, and can be held in mid-answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from demo.runtime.host import Status
from facellm.profile import FIELDS
from facellm.results import Answer, Delta, Row
from facellm.typed.explanation import Explanation
from facellm.typed.question import TypedQuestion


class Scripted:
    """Takes the place of a host's `stream`, `profiles`, `explain` and, while `loading`, of its `wait`.

    Attributes:
        text: What every answer says.
        hold: An answer stops after its first words until it is cancelled or `go` is set; a profile and an explanation
            stop before their end until `go` is set.
        linger: An answer that was cancelled takes until `go` to come to its end.
        calibrated: Field -> the label that a profile finds with 90 %; then it counts as calibrated.
        influence: The map of every explanation.
        go: Lets everything that is held go on.
        asked: The rows of each request, in order.
    """

    FIRST = "The first words"

    def __init__(self, site: Any, monkeypatch: Any) -> None:
        self.text, self.hold = f"{self.FIRST} and the rest.", False
        self.loading = self.linger = False
        self.calibrated: dict[str, str] = {}
        self.influence = ((0.5, 0.0), (0.0, -0.2))
        self.go = threading.Event()
        self.asked: list[Sequence[Row]] = []
        self._wait = site.ctx.host.wait
        for name in ("stream", "profiles", "explain", "wait"):
            monkeypatch.setattr(site.ctx.host, name, getattr(self, name))

    def stream(
        self, view: Any, rows: Sequence[Row], sampling: Any, cancel: threading.Event, tiles: int = 1
    ) -> Iterator:
        self.asked.append(rows)
        for i, _ in enumerate(rows):
            yield Delta(i, self.text[: len(self.FIRST)])
        while self.hold and not cancel.wait(0.05) and not self.go.is_set():
            pass
        while self.linger and cancel.is_set() and not self.go.wait(0.05):
            pass
        for i, row in enumerate(rows):  # what was under way when it was stopped still comes
            ended = "cancelled" if cancel.is_set() else "stop"
            answer = Answer(row.variant, row.key, row.question, self.text, 9, 0.5, 0.1, 18.0, ended, 0)
            yield Delta(i, self.text[len(self.FIRST) :])
            yield Delta(i, "", True, answer)

    def profiles(self, view: Any, variants: Sequence[str] | None = None) -> dict[str, dict]:
        while self.hold and not self.go.wait(0.05):
            pass
        fields = {f.key: {"probabilities": {label: 1 / len(f.labels) for label in f.labels}} for f in FIELDS}
        for f in FIELDS:
            if label := self.calibrated.get(f.key):
                rest = 0.1 / (len(f.labels) - 1)
                fields[f.key] = {"probabilities": {name: 0.9 if name == label else rest for name in f.labels}}
        told = {"calibrated": bool(self.calibrated), "face": {"box": []}, "fields": fields}
        return {v: {"variant": v, **told} for v in ("facellm", "base")}

    def explain(
        self, view: Any, question: str | TypedQuestion, variant: str, label: str | None, cancel: threading.Event
    ) -> Explanation:
        while self.hold and not self.go.wait(0.05):
            pass
        key = question if isinstance(question, str) else question.name
        labels = next((f.labels for f in FIELDS if f.key == key), getattr(question, "options", ()))
        label = label or self.calibrated.get(key, labels[0])
        with_it = {name: 0.9 if name == label else 0.1 / (len(labels) - 1) for name in labels}
        without = {name: 1 / len(labels) for name in labels}
        return Explanation(variant, key, label, with_it, without, self.influence)

    def wait(self, cancel: threading.Event | None = None, every: float = 0.05) -> Iterator[Status]:
        while self.loading and not self.go.is_set() and not (cancel is not None and cancel.wait(every)):
            yield Status("loading", "Reading the weights", 3)
        yield from () if cancel is not None and cancel.is_set() else self._wait(cancel)
