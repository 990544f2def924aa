"""Counts verdicts for all questions, each group and each intent, with Wilson intervals; yes and no apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from train.chat.conversing import Reply
from train.chat.judge import EVASIVE, KINDS, OFF_TOPIC, RIGHT, WRONG, Verdict, judge
from train.chat.selection import FOLLOW_UPS, Question
from train.reports.stats import rate
from train.seen.known.truth import PROPOSITIONS, WITH_ARGUMENT, Truth
from train.seen.typed import typed_answers

FLAGS = ("broken", "contradicts", "ethnicity")
GROUPS = ("yes or no", "name it", "in a form", "cannot be told", "small talk", "follow-up")


@dataclass(frozen=True)
class Judged:
    """One question, its reply and the verdict on it."""

    question: Question
    reply: Reply
    verdict: Verdict


def group_of(intent: str) -> str:
    """The group of `GROUPS` that an intent belongs to."""
    if intent in FOLLOW_UPS:
        return "follow-up"
    if intent in typed_answers.LIMITS:
        return "cannot be told"
    if intent in typed_answers.TALK:
        return "small talk"
    if intent in typed_answers.FORMATS:
        return "in a form"
    return "yes or no" if intent in PROPOSITIONS or intent in WITH_ARGUMENT else "name it"


def judge_all(questions: Sequence[Question], replies: Mapping[str, Reply], truths: Mapping[str, Truth]) -> list[Judged]:
    """The verdicts on every question that has a reply."""
    return [
        Judged(q, replies[q.key], judge(q.judged, truths[q.file], replies[q.key].text, q.argument))
        for q in questions
        if q.key in replies
    ]


def summarise(rows: Sequence[Judged]) -> dict[str, Any]:
    """Counts and rates: "all", "groups" and "intents" by name, "mean" (of the intents' shares that are right)."""
    intents = {name: _counts(own) for name, own in _by(rows, lambda row: row.question.intent).items()}
    shares = [counts["right"]["value"] for counts in intents.values()]
    return {
        "all": _counts(rows),
        "mean": sum(shares) / len(shares) if shares else None,
        "groups": {name: _counts(own) for name, own in _by(rows, lambda row: group_of(row.question.intent)).items()},
        "intents": intents,
        "tokens": sum(row.reply.tokens for row in rows) / max(1, len(rows)),
        "seconds": sum(row.reply.seconds for row in rows),
    }


def _by(rows: Iterable[Judged], key: Any) -> dict[str, list[Judged]]:
    found: dict[str, list[Judged]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return dict(sorted(found.items()))


def _counts(rows: Sequence[Judged]) -> dict[str, Any]:
    """Rates of each kind and flag; `yes` and `no`: shares right of the questions whose true answer is that."""
    total, kinds = len(rows), Counter(row.verdict.kind for row in rows)
    found: dict[str, Any] = {"total": total}
    for kind in KINDS:
        found[kind] = rate(kinds[kind], total).to_dict()
    for flag in FLAGS:
        found[flag] = rate(sum(bool(getattr(row.verdict, flag)) for row in rows), total).to_dict()
    for word, sign in (("yes", "+"), ("no", "-")):
        own = [row for row in rows if row.question.key.endswith(sign)]
        if own:
            found[word] = rate(sum(row.verdict.kind == RIGHT for row in own), len(own)).to_dict()
    return found


def examples(rows: Sequence[Judged], each: int = 2) -> dict[str, list[Judged]]:
    """intent -> a few rows, the worst verdicts first and at least one that is right where there is one."""
    rank = {WRONG: 0, OFF_TOPIC: 1, EVASIVE: 2, RIGHT: 3}
    found: dict[str, list[Judged]] = {}
    for intent, own in _by(rows, lambda row: row.question.intent).items():
        worst = sorted(
            own,
            key=lambda row: (
                not row.verdict.broken and not row.verdict.contradicts,
                rank[row.verdict.kind],
                row.question.key,
            ),
        )
        right = [row for row in own if row.verdict.kind == RIGHT]
        chosen = [row for row in worst if row.verdict.kind != RIGHT][:each]
        found[intent] = chosen + right[: max(1, each + 1 - len(chosen))]
    return found
