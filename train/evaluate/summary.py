"""From replies to numbers: per sub-task and category, base vs FaceLLM, letters, refusals, tokens and time.

Rates are fractions of 1 with Wilson 95 % intervals.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from train.evaluate.answering import Arm, Reply, rotated
from train.evaluate.extraction import SCORERS, extract, extract_published
from train.evaluate.facexbench import CATEGORIES, Question
from train.evaluate.prompts import LETTERS
from train.reports import stats

Replies = Mapping[str, Reply]


def chosen(question: Question, reply: Reply, arm: Arm, scorer: str) -> str | None:
    """The letter that the reply chose, in the order in which the options were shown."""
    options, _ = rotated(question, arm.rotation)
    return SCORERS[scorer](reply.text, options)


def is_right(question: Question, reply: Reply, arm: Arm, scorer: str) -> bool:
    return chosen(question, reply, arm, scorer) == rotated(question, arm.rotation)[1]


def asked(questions: Sequence[Question], replies: Replies) -> list[Question]:
    """The questions that were put to the model (a reply without error)."""
    return [q for q in questions if q.key in replies and replies[q.key].error is None]


def of_arm(questions: Sequence[Question], replies: Replies, arm: Arm, scorer: str) -> dict[str, Any]:
    """All numbers of one arm."""
    questions = asked(questions, replies)
    right = {q.key: is_right(q, replies[q.key], arm, scorer) for q in questions}
    found = {q.key: chosen(q, replies[q.key], arm, scorer) for q in questions}
    refused = {q.key: extract(replies[q.key].text, rotated(q, arm.rotation)[0]).refused for q in questions}
    ours_theirs = [
        (extract(replies[q.key].text, options).letter, extract_published(replies[q.key].text, options))
        for q in questions
        for options in (rotated(q, arm.rotation)[0],)
    ]

    def figures(group: Sequence[Question]) -> dict[str, Any]:
        keys = [q.key for q in group]
        by_answer: dict[str, list[bool]] = defaultdict(list)
        for q in group:
            by_answer[q.right].append(right[q.key])
        macro = stats.macro_rate([(sum(rows), len(rows)) for rows in by_answer.values()])
        return {
            "accuracy": stats.rate(sum(right[k] for k in keys), len(keys)).to_dict(),
            # Mean over the right answers' texts, each weighing the same: what guessing the commonest cannot raise.
            "balanced": None if macro is None else dict(zip(("value", "low", "high"), macro, strict=True)),
            "by_answer": {a: stats.rate(sum(r), len(r)).to_dict() for a, r in sorted(by_answer.items())}
            if len(by_answer) <= 12 else None,
            "unparsed": sum(found[k] is None for k in keys),
            "refused": stats.rate(sum(refused[k] for k in keys), len(keys)).to_dict(),
        }  # fmt: skip

    def grouped(name: str, order: Sequence[str] = ()) -> dict[str, Any]:
        groups: dict[str, list[Question]] = defaultdict(list)
        for q in questions:
            groups[getattr(q, name)].append(q)
        keys = [k for k in order if k in groups] + sorted(k for k in groups if k not in order)
        return {k: figures(groups[k]) for k in keys}

    shown = Counter(rotated(q, arm.rotation)[1] for q in questions)
    picked = Counter(found[q.key] or "none" for q in questions)
    seconds = sum(replies[q.key].seconds for q in questions)
    return {
        "questions": len(questions),
        "overall": figures(questions),
        "tasks": grouped("task", [t for tasks in CATEGORIES.values() for t in tasks]),
        "categories": grouped("category", list(CATEGORIES)),
        "num_images": grouped("num_images", ("single", "multiple", "zero")),
        "letters": {
            "right": {k: shown[k] for k in sorted(shown)},
            "chosen": {k: picked[k] for k in sorted(picked, key=lambda k: (k == "none", k))},
        },
        "scorers_differ": sum(a != b for a, b in ours_theirs),
        "errors": sorted(f"{r.key}: {r.error}" for r in replies.values() if r.error),
        "tokens": sum(replies[q.key].tokens for q in questions),
        "seconds": round(seconds, 3),
        "questions_per_second": round(len(questions) / seconds, 3) if seconds else None,
    }


def compare(
    questions: Sequence[Question], first: Replies, second: Replies, arms: tuple[Arm, Arm], scorer: str
) -> dict[str, Any]:
    """`second` against `first` on the questions that both were asked: McNemar overall and per sub-task (Holm)."""
    both = [q for q in asked(questions, first) if second.get(q.key) and second[q.key].error is None]
    if not both:
        return {"overall": None, "tasks": {}}

    def test(group: Sequence[Question]) -> dict[str, Any]:
        a, b = (
            [is_right(q, r[q.key], arm, scorer) for q in group] for r, arm in zip((first, second), arms, strict=True)
        )
        return stats.paired(a, b).to_dict()

    groups: dict[str, list[Question]] = defaultdict(list)
    for q in both:
        groups[q.task].append(q)
    tasks = {task: test(group) for task, group in groups.items()}
    for row, p in zip(tasks.values(), stats.holm([row["p"] for row in tasks.values()]), strict=True):
        row["p_holm"] = p
    return {"overall": test(both), "tasks": tasks}


def agreement(
    questions: Sequence[Question], first: Replies, second: Replies, arms: tuple[Arm, Arm], scorer: str
) -> dict[str, Any]:
    """How often two methods choose the same letter, both's seconds for the same questions, and the second's speed-up.

    Seconds are those of the passes, image encoding included in both.
    """
    both = [q for q in asked(questions, first) if second.get(q.key) and second[q.key].error is None]
    same = sum(chosen(q, first[q.key], arms[0], scorer) == chosen(q, second[q.key], arms[1], scorer) for q in both)
    slow, fast = (sum(r[q.key].seconds for q in both) for r in (first, second))
    return {
        "same": stats.rate(same, len(both)).to_dict(), "seconds": {arms[0].method: slow, arms[1].method: fast},
        "speed_up": round(slow / fast, 2) if fast else None,
    }  # fmt: skip


def wordings(
    questions: Sequence[Question], runs: Mapping[int, tuple[Sequence[Question], Replies]], arm: Arm, scorer: str
) -> dict[str, Any]:
    """The same questions in other words against themselves as they stand, all of them and by sub-task.

    runs: wording -> (questions in these words, replies); 0 is the questions as they stand. Only what was asked in every
    wording counts. The largest drop is the largest of several, so its interval and those beside it are Bonferroni's:
    they hold together with 95 %.
    """
    shown = {number: {q.key: q for q in own} for number, (own, _) in runs.items()}
    answered = [{q.key for q in asked(own, replies)} for own, replies in runs.values()]
    both = [q for q in questions if all(q.key in keys for keys in answered)]
    right = {
        number: {q.key: is_right(shown[number][q.key], replies[q.key], arm, scorer) for q in both}
        for number, (_, replies) in runs.items()
    }
    others = [number for number in runs if number]

    def figures(group: Sequence[Question]) -> dict[str, Any]:
        rows = {number: [right[number][q.key] for q in group] for number in runs}
        level = 1 - (1 - stats.CONFIDENCE) / len(others)
        changes = {number: stats.paired(rows[0], rows[number], level).to_dict() for number in others}
        worst = min(others, key=lambda number: changes[number]["gain"])
        return {
            "questions": len(group),
            "as_asked": stats.rate(sum(rows[0]), len(group)).to_dict(),
            "worded": {str(number): stats.rate(sum(rows[number]), len(group)).to_dict() for number in others},
            "changes": {str(number): change for number, change in changes.items()},
            "largest_drop": {"wording": worst, **changes[worst]},
            "right_in_all": stats.rate(sum(map(all, zip(*rows.values(), strict=True))), len(group)).to_dict(),
        }

    groups: dict[str, list[Question]] = defaultdict(list)
    for q in both:
        groups[q.task].append(q)
    return {
        "overall": figures(both) if both else None,
        "tasks": {task: figures(group) for task, group in groups.items()},
        "without": len(questions) - len(both),
    }


def letter_bias(questions: Sequence[Question], runs: Mapping[Arm, Replies], scorer: str) -> dict[str, Any]:
    """The same questions with their options moved on: accuracy by the right option's place, and steadiness.

    recall_std: standard deviation over the letters of "chosen when right" (RStd of Zheng et al. 2023, arXiv
    2309.03882), 0 without letter bias.  steady: share of questions whose option stays the same in every order.
    voted: accuracy of the option that is chosen in most orders (ties: half a letter is not given; none counts).
    Both over the questions of which every order, one for each option, was asked.
    """
    hits: dict[str, list[bool]] = defaultdict(list)
    choices: dict[str, list[str | None]] = defaultdict(list)
    by_rotation = {}
    for arm, replies in sorted(runs.items(), key=lambda item: item[0].rotation):
        here = asked(questions, replies)
        for q in here:
            options, letter = rotated(q, arm.rotation)
            pick = chosen(q, replies[q.key], arm, scorer)
            hits[letter].append(pick == letter)
            choices[q.key].append(options[LETTERS.index(pick)] if pick else None)
        by_rotation[str(arm.rotation)] = stats.rate(
            sum(is_right(q, replies[q.key], arm, scorer) for q in here), len(here)
        ).to_dict()
    whole = [q for q in questions if len(choices[q.key]) == len(q.options)]  # all of its own orders were asked
    steady = sum(len(set(choices[q.key])) == 1 and choices[q.key][0] is not None for q in whole)
    voted = 0
    for q in whole:
        top = Counter(c for c in choices[q.key] if c is not None).most_common(2)
        voted += bool(top) and top[0][0] == q.right and (len(top) == 1 or top[0][1] > top[1][1])
    recalls = {letter: stats.rate(sum(rows), len(rows)) for letter, rows in sorted(hits.items())}
    values = [r.value for r in recalls.values() if r.value is not None]
    mean = sum(values) / len(values) if values else 0.0
    return {
        "by_rotation": by_rotation,
        "by_place": {letter: r.to_dict() for letter, r in recalls.items()},
        "recall_std": (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5 if values else None,
        "steady": stats.rate(steady, len(whole)).to_dict(),
        "voted": stats.rate(voted, len(whole)).to_dict(),
    }
