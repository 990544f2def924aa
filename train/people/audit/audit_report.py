"""From judgements to numbers: hallucination rates by attribute with two intervals, agreement, examples.

A sentence is hallucinated when it is marked wrong or not visible. Beside Wilson's interval, which takes sentences for
independent, stands one from a bootstrap over images, because sentences about one picture tend to be wrong together.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from train.outputs import csv_text, write_files
from train.people.audit.items import Item
from train.people.audit.judgements import AUTO, MAJORITY, MARKS, AuditStore, Mark, by_sentence
from train.people.kappa import clustered, cohen, fleiss
from train.reports import stats
from train.reports.pages import render

SUPPORTED, UNSEEN, WRONG = MARKS
EXAMPLES = 3  # of each attribute


def results(store: AuditStore) -> dict[str, Any]:
    """All numbers, as results.json has them.  Raises FaceLLMError where nobody has marked anything."""
    items = {item.key: item for item in store.items()}
    marks = store.marks()
    if not marks:
        raise FaceLLMError(f"{store.path} holds no mark yet; judge some pairs first, or give --auto.")
    table = by_sentence(marks)
    people = [name for name in store.annotators() if name != AUTO and any(m.annotator == name for m in marks)]
    judged: dict[str, dict[tuple[str, int], str]] = {
        name: {where: row[name] for where, row in table.items() if name in row} for name in [*people, AUTO]
    }
    if len(people) > 1:
        judged[MAJORITY] = {
            where: majority([row[name] for name in people if name in row])
            for where, row in table.items()
            if any(name in row for name in people)
        }
    shown = [MAJORITY] if len(people) > 1 else []
    rates = {name: of_annotator(items, judged[name]) for name in [*shown, *people] if judged[name]}
    about = store.about()
    return {
        "source": about.get("source"), "seed": about.get("seed"), "pairs": len(items), "of_pairs": about.get("pairs"),
        "images": len({item.image for item in items.values()}), "left_out": json.loads(about.get("left_out", "[]")),
        "sentences": sum(len(item.sentences) for item in items.values()),
        "people": people, "rates": rates,
        "agreement": among(items, {name: judged[name] for name in people}),
        "auto": against_auto(items, judged[AUTO], {name: judged[name] for name in people}) if judged[AUTO] else None,
        "written": dict(Counter(written.annotator for written in store.written())),
        "nothing_of": stats.rate(0, len(items)).to_dict(),
    }  # fmt: skip


def majority(marks: Sequence[str]) -> str:
    """The mark that most gave; of equally frequent ones the least favourable (wrong before not visible)."""
    counts = Counter(marks)
    return max(counts, key=lambda mark: (counts[mark], MARKS.index(mark)))


def of_annotator(items: Mapping[str, Item], judged: Mapping[tuple[str, int], str]) -> dict[str, Any]:
    """For "all" and each attribute: counts sentences, pairs, images; rates wrong, not visible, hallucinated, answers.

    hallucinated: rate of sentences (Wilson).  answers: rate of completely judged answers with at least one.
    clustered: (low, high) of `hallucinated` by a bootstrap over images; None where it cannot tell (no event, or fewer
    than two images).
    """
    order = [attribute.key for attribute in ATTRIBUTES]
    used = {items[key].attribute for key, _ in judged}
    groups: dict[str, dict[tuple[str, int], str]] = {"all": dict(judged)}
    for attribute in [*(key for key in order if key in used), *sorted(used - set(order))]:
        groups[attribute] = {where: mark for where, mark in judged.items() if items[where[0]].attribute == attribute}
    return {name: _rates(items, group) for name, group in groups.items()}


def _rates(items: Mapping[str, Item], judged: Mapping[tuple[str, int], str]) -> dict[str, Any]:
    counts = Counter(judged.values())
    bad = {where: mark != SUPPORTED for where, mark in judged.items()}
    by_pair: dict[str, list[bool]] = defaultdict(list)
    for (key, _), is_bad in bad.items():
        by_pair[key].append(is_bad)
    whole = [row for key, row in by_pair.items() if len(row) == len(items[key].sentences)]
    images = [items[key].image for key, _ in bad]
    return {
        "sentences": len(judged), "pairs": len(by_pair), "images": len(set(images)),
        WRONG: stats.rate(counts[WRONG], len(judged)).to_dict(),
        UNSEEN: stats.rate(counts[UNSEEN], len(judged)).to_dict(),
        "hallucinated": stats.rate(sum(bad.values()), len(judged)).to_dict(),
        "clustered": clustered(images, list(bad.values())),
        "answers": stats.rate(sum(any(row) for row in whole), len(whole)).to_dict(),
    }  # fmt: skip


def among(items: Mapping[str, Item], judged: Mapping[str, Mapping[tuple[str, int], str]]) -> list[dict[str, Any]]:
    """Cohen's kappa of every two people, and Fleiss' of all where they are three or more."""
    names, rows = list(judged), []
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            common = [where for where in judged[first] if where in judged[second]]
            rows.append(
                cohen(
                    (first, second), [judged[first][w] for w in common], [judged[second][w] for w in common],
                    [items[key].image for key, _ in common],
                ).to_dict()
            )  # fmt: skip
    if len(names) > 2:
        common = [where for where in judged[names[0]] if all(where in judged[name] for name in names)]
        table = [[judged[name][where] for name in names] for where in common]
        rows.append(fleiss(names, table, [items[key].image for key, _ in common]).to_dict())
    return rows


def against_auto(
    items: Mapping[str, Item], auto: Mapping[tuple[str, int], str], people: Mapping[str, Mapping[tuple[str, int], str]]
) -> dict[str, Any]:
    """The automatic marks' counts, and for each person agreement and a table of both where both marked."""
    found: dict[str, Any] = {"marks": dict(Counter(auto.values())), "people": {}}
    for name, judged in people.items():
        common = [where for where in auto if where in judged]
        mine, theirs = [auto[where] for where in common], [judged[where] for where in common]
        bad = [where for where, mark in judged.items() if mark != SUPPORTED]
        found["people"][name] = {
            "agreement": cohen((AUTO, name), mine, theirs, [items[key].image for key, _ in common]).to_dict(),
            "table": {f"{a} / {b}": n for (a, b), n in sorted(Counter(zip(mine, theirs, strict=True)).items())},
            # Of what the person called wrong or not visible, how much the automatic pass called wrong.
            "caught": stats.rate(sum(auto.get(where) == WRONG for where in bad), len(bad)).to_dict(),
        }
    return found


def _examples(items: Mapping[str, Item], marks: Sequence[Mark]) -> list[dict[str, Any]]:
    """Up to EXAMPLES hallucinated sentences of each attribute, each about another image."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for mark in marks:
        item = items[mark.item]
        own = found.setdefault(item.attribute, {})
        if mark.annotator != AUTO and mark.mark != SUPPORTED and len(own) < EXAMPLES:
            own.setdefault(item.image, {"item": item, "mark": mark})
    return [one for own in found.values() for one in own.values()]


def write(store: AuditStore, out: Path) -> dict[str, Any]:
    """Writes report.md, rates.csv, marks.csv and results.json.

    Args:
        store: The judgements.
        out: The folder to write into.

    Returns:
        The numbers, the content of results.json.

    Raises:
        FaceLLMError: Where there is no mark yet, or the folder cannot be written into.
    """
    found = results(store)
    items = {item.key: item for item in store.items()}
    marks = store.marks()
    text = render(
        "audit/report.md.jinja", found=found, examples=_examples(items, marks), majority=MAJORITY, auto=AUTO,
        titles={attribute.key: attribute.title for attribute in ATTRIBUTES},
    )  # fmt: skip
    write_files(
        out,
        {
            "results.json": json.dumps(found, indent=2, ensure_ascii=False),
            "rates.csv": _rates_csv(found["rates"]),
            "marks.csv": _marks_csv(items, marks),
            "report.md": text,
        },
        "--report",
    )
    return found


def _rates_csv(rates: Mapping[str, Any]) -> str:
    head = ["annotator", "attribute", "pairs", "sentences", "wrong", "not_visible", "rate", "low", "high",
            "clustered_low", "clustered_high", "answers_with_one", "answers"]  # fmt: skip
    rows = []
    for name, table in rates.items():
        for attribute, row in table.items():
            rate, ends = row["hallucinated"], row["clustered"] or ("", "")
            rows.append([name, attribute, row["pairs"], row["sentences"], row[WRONG]["count"], row[UNSEEN]["count"],
                         rate["value"], rate["low"], rate["high"], *ends,
                         row["answers"]["count"], row["answers"]["total"]])  # fmt: skip
    return csv_text(head, rows)


def _marks_csv(items: Mapping[str, Item], marks: Sequence[Mark]) -> str:
    head = ["item", "image", "attribute", "age", "gender", "race", "sentence", "text", "annotator", "mark", "note"]
    rows = []
    for mark in sorted(marks, key=lambda m: (m.item, m.sentence, m.annotator)):
        item = items[mark.item]
        labels = [item.labels.get(name, "") for name in ("age", "gender", "race")]
        rows.append([mark.item, item.image, item.attribute, *labels, mark.sentence + 1,
                     item.sentences[mark.sentence], mark.annotator, mark.mark, mark.note])  # fmt: skip
    return csv_text(head, rows)
