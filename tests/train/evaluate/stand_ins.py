"""Models of known skill that stand in for real ones."""

from __future__ import annotations

from collections import Counter

from train.evaluate.answering import Reply, rotated

SETTINGS = {"model": "stand-in", "setting": "zero-shot"}


class StandIn:
    """Answers by a rule; counts what it was asked, and dies after `alive` replies."""

    variants = ("base", "facellm")

    def __init__(self, rule, alive: int | None = None):
        self.rule, self.alive, self.asked = rule, alive, Counter()

    def answer(self, questions, arm):
        for question in questions:
            if self.alive is not None and sum(self.asked.values()) >= self.alive:
                raise KeyboardInterrupt
            self.asked[arm.name, question.key] += 1
            yield Reply(question.key, self.rule(question, arm), 1, 0.01)


def oracle(question, arm):
    return rotated(question, arm.rotation)[1]


def constant(letter):
    return lambda question, arm: letter


def halting(*_):
    raise AssertionError("this is not to be called")


class Faulty(StandIn):
    """Cannot ask the questions whose keys it is given."""

    def __init__(self, faults):
        super().__init__(oracle)
        self.faults = set(faults)

    def answer(self, questions, arm):
        for reply in super().answer(questions, arm):
            yield Reply(reply.key, "", error="its image is broken") if reply.key in self.faults else reply
