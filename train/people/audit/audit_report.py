"""From marks to numbers: hallucination rates by attribute with two intervals, agreement, examples; Markdown and CSV.

Input: the store. Output: a folder with report.md, rates.csv, marks.csv, results.json. What this file does not know: how
marks were made, pictures.

A sentence is hallucinated when it is marked wrong or not visible. Beside Wilson's interval, which takes sentences for
independent, stands one from a bootstrap over images, because sentences about one picture tend to be wrong together.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from train.people.audit.items import Item
from train.people.audit.judgements import AUTO, MAJORITY, MARKS, AuditStore, Mark, by_sentence
from train.people.kappa import clustered, cohen, fleiss
from train.reports import stats

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


def markdown(found: Mapping[str, Any], items: Mapping[str, Item], marks: Sequence[Mark]) -> str:
    lines = [
        f"# Audit of {found['source']}", "",
        f"{found['pairs']} of {found['of_pairs']} pairs, drawn at equal steps over attribute x gender x ethnic group "
        f"(seed {found['seed']}): {found['sentences']} sentences about {found['images']} images.",
        *found["left_out"], "",
        _caution(found), "",
    ]  # fmt: skip
    for name, rates in found["rates"].items():
        lines += [f"## {_heading(name, found['people'])}", "", *_rates_table(rates), ""]
    lines += _agreement_lines(found["agreement"], found["people"])
    if found["auto"]:
        lines += _auto_lines(found["auto"])
    lines += ["## Examples", "", *_examples(items, [m for m in marks if m.annotator != AUTO])]
    if found["written"]:
        said = ", ".join(f"{n} by {name}" for name, n in found["written"].items())
        lines += ["", f"Answers that people wrote themselves: {said} (`python -m train agreement` uses them)."]
    return "\n".join([*lines, ""])


def _caution(found: Mapping[str, Any]) -> str:
    high = stats.Rate(**found["nothing_of"]).high
    return (
        f"Nothing is claimed about a single group of people: {found['pairs']} pairs leave a handful for each, and even "
        f"none wrong of {found['pairs']} would still allow {100 * high:.1f} % (Wilson, 95 %). The same holds, less "
        "strongly, for each attribute: read the intervals."
    )


def _heading(name: str, people: Sequence[str]) -> str:
    if name != MAJORITY:
        return f"Marks of {name}"
    return f"Majority of {', '.join(people)} (of equally frequent marks the least favourable counts)"


def _rates_table(rates: Mapping[str, Any]) -> list[str]:
    titles = {attribute.key: attribute.title for attribute in ATTRIBUTES}
    lines = [
        "| attribute | pairs | sentences | wrong | not visible | hallucinated (Wilson 95 %) | by images "
        "(bootstrap 95 %) | answers with at least one |",
        "| --- " + "| ---: " * 4 + "| --- | --- | --- |",
    ]
    for key, row in rates.items():
        ends = row["clustered"]
        lines.append(
            f"| {'**all**' if key == 'all' else titles.get(key, key)} | {row['pairs']} | {row['sentences']} | "
            f"{row[WRONG]['count']} | {row[UNSEEN]['count']} | {stats.Rate(**row['hallucinated'])} | "
            + (f"[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]" if ends else "-")
            + f" | {row['answers']['count']} of {row['answers']['total']}: {stats.Rate(**row['answers'])} |"
        )
    return lines


def _agreement_lines(rows: Sequence[Mapping[str, Any]], people: Sequence[str]) -> list[str]:
    lines = ["## Agreement between annotators", ""]
    if not rows:
        return [*lines, f"Only {people[0] if people else 'the automatic pass'} has judged, so there is none.", ""]
    lines += _kappa_head()
    lines += [_kappa_row(row) for row in rows]
    return [
        *lines,
        "",
        "Kappa is agreement beyond chance: 1 at most, 0 also where one of the two gave only one mark, - where "
        "all marks are the same.",
        "",
    ]


def _kappa_head() -> list[str]:
    return [
        "| annotators | measure | sentences | same mark | kappa, three marks | kappa, supported or not |",
        "| --- | --- | ---: | --- | --- | --- |",
    ]


def _kappa_row(row: Mapping[str, Any]) -> str:
    def kappa(value: float | None, ends: Sequence[float] | None) -> str:
        if value is None:
            return "-"
        return f"{value:.2f}" + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "")

    return (
        f"| {', '.join(row['names'])} | {row['measure']} | {row['common']} | {stats.Rate(**row['same'])} | "
        f"{kappa(row['kappa'], row['kappa_ends'])} | {kappa(row['binary'], row['binary_ends'])} |"
    )


def _auto_lines(auto: Mapping[str, Any]) -> list[str]:
    said = ", ".join(f"{n} {mark}" for mark, n in auto["marks"].items())
    lines = [
        "## The automatic pass", "",
        f"It marked {sum(auto['marks'].values())} sentences ({said}); the others claim nothing that labels, mesh or "
        "pixels tell. Its marks are in no rate above.", "",
    ]  # fmt: skip
    if auto["people"]:
        lines += _kappa_head() + [_kappa_row(row["agreement"]) for row in auto["people"].values()] + [""]
    for name, row in auto["people"].items():
        pairs = ", ".join(f"{both}: {n}" for both, n in row["table"].items()) or "none"
        lines.append(f"{AUTO} / {name}: {pairs}.")
        lines.append(f"Of what {name} called wrong or not visible it caught {_count(row['caught'])}.")
    return [*lines, ""]


def _count(rate: Mapping[str, Any]) -> str:
    return f"{rate['count']} of {rate['total']}"


def _examples(items: Mapping[str, Item], marks: Sequence[Mark]) -> list[str]:
    """Up to EXAMPLES hallucinated sentences of each attribute, spread over the images."""
    lines, seen = [], set()
    for attribute in dict.fromkeys(items[mark.item].attribute for mark in marks):
        own = [m for m in marks if items[m.item].attribute == attribute and m.mark != SUPPORTED]
        for mark in own:
            item = items[mark.item]
            if sum(1 for a, _ in seen if a == attribute) >= EXAMPLES or (attribute, item.image) in seen:
                continue
            seen.add((attribute, item.image))
            note = f" ({mark.note})" if mark.note else ""
            lines.append(f"- {attribute}, `{item.image}`, {mark.mark} for {mark.annotator}: "
                         f"“{item.sentences[mark.sentence]}”{note}")  # fmt: skip
    return lines or ["Nobody called a sentence wrong or not visible."]


def write(store: AuditStore, out: Path) -> dict[str, Any]:
    """Writes the four files into `out` and returns the numbers.  Raises FaceLLMError where there is no mark yet."""
    found = results(store)
    items = {item.key: item for item in store.items()}
    marks = store.marks()
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("results.json", json.dumps(found, indent=2, ensure_ascii=False)),
        ("rates.csv", _rates_csv(found["rates"])),
        ("marks.csv", _marks_csv(items, marks)),
        ("report.md", markdown(found, items, marks)),
    ):
        part = out / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(out / name)
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
    return _csv(head, rows)


def _marks_csv(items: Mapping[str, Item], marks: Sequence[Mark]) -> str:
    head = ["item", "image", "attribute", "age", "gender", "race", "sentence", "text", "annotator", "mark", "note"]
    rows = []
    for mark in sorted(marks, key=lambda m: (m.item, m.sentence, m.annotator)):
        item = items[mark.item]
        labels = [item.labels.get(name, "") for name in ("age", "gender", "race")]
        rows.append([mark.item, item.image, item.attribute, *labels, mark.sentence + 1,
                     item.sentences[mark.sentence], mark.annotator, mark.mark, mark.note])  # fmt: skip
    return _csv(head, rows)


def _csv(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return out.getvalue()
