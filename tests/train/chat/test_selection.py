"""Which questions are chosen: kept-out wordings, yes as often as no, faces evenly, the same for the same seed."""

from __future__ import annotations

import re
from collections import Counter

from tests.train.seen.made_faces import varied
from train.chat import selection
from train.seen.claims.disputes import truth_of
from train.seen.typed import wordings

TRUTHS = {face.file: truth_of(face) for face in varied()}


def shape(wording: str) -> re.Pattern[str]:
    """A wording as a pattern: its placeholders stand for any words."""
    return re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(wording)), re.IGNORECASE)


def test_wordings_are_those_kept_out_and_placeholders_are_filled():
    chosen = selection.choose(TRUTHS, 600)
    assert len(chosen) > 300
    for question in chosen:
        assert not set(question.text) & set("{}")
        assert any(shape(w).fullmatch(question.text) for w in wordings.wordings()[question.intent]["kept_out"]), (
            question
        )


def test_trained_wordings_on_request():
    for question in selection.choose(TRUTHS, 100, cut="trained", intents=("glasses", "age")):
        assert question.intent in ("glasses", "age")


def test_yes_and_no_are_asked_alike_and_only_where_known():
    for question in selection.choose(TRUTHS, 600):
        truth = TRUTHS[question.file]
        if (
            question.key[-1] in "+-"
            and question.judged == question.intent
            and question.intent not in selection.FOLLOW_UPS
        ):
            assert truth.holds(question.intent, question.argument) is (question.key[-1] == "+"), question
    signs = Counter(q.key[-1] for q in selection.choose(TRUTHS, 600) if q.key[-1] in "+-")
    assert 0.6 < signs["+"] / signs["-"] < 1.7


def test_follow_ups_bring_the_turn_before():
    chosen = selection.choose(TRUTHS, 600, intents=tuple(selection.FOLLOW_UPS))
    assert {q.intent for q in chosen} == set(selection.FOLLOW_UPS)
    assert all(len(q.history) == 1 and all(q.history[0]) for q in chosen)


def test_the_same_seed_asks_the_same_and_keys_are_unique():
    one, other = selection.choose(TRUTHS, 400, seed=3), selection.choose(TRUTHS, 400, seed=3)
    assert one == other != selection.choose(TRUTHS, 400, seed=4)
    assert len({q.key for q in one}) == len(one)
