"""`python -m train freetext`: does what a model writes about a face contradict what is known of it, or itself?

The eight attribute questions are asked about each face; what the answers claim (`facellm.claims`) is held against
labels and measurements, and against the rest of the same answer and of the same face's answers. A claim is counted only
where the text makes one and the truth is known; a hedge makes none. Claims that nothing measured covers (hair, glasses,
background) are for a person who reads descriptions.md.

Writes into --out: said.jsonl (resumable), answers.jsonl, results.json, report.md and descriptions.md.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from facellm.attributes import ATTRIBUTES, Attribute
from facellm.claims import AGE_SLACK, LABELLED, MEASURED, age_claim, claims, conflicts, is_cut, repeats
from facellm.errors import FaceLLMError
from facellm.labels import AGE_GROUPS, group_span
from train import journal
from train.evaluate.extraction import is_refusal
from train.faces.known import Known, read_known
from train.faces.sets import SPLIT_HELP, chosen_split, open_sets
from train.opening import about, add_options, check_positive, open_chosen
from train.outputs import progress, usable_folder, write_files
from train.reports import stats
from train.reports.pages import Table, percent, render

NEW_TOKENS = 160
CHECKED = (*LABELLED, *MEASURED)
FACTS = ("age", *CHECKED)
# Facts that an attribute's answers are expected to name: shown also where none of them does.
HOME = {"demographic": ("age", "gender", "ethnicity"), "structure": ("face shape", "jaw", "nose", "lips", "brows"),
        "expression": ("expression", "mouth"), "pose": ("pose", "chin"),
        "lighting": ("lighting", "sharpness", "light side", "colour"),
        "detail": ("age", "gender", "expression")}  # fmt: skip
# Measurements shown to the reader beside the labels, with their units.
SHOWN = {"yaw_deg": "degrees, > 0 to the viewer's left", "pitch_deg": "degrees", "mouth_open": "lip gap / mouth width",
         "eye_open_left": "", "eye_open_right": "lid gap / eye width", "smile_lift": "", "brow_raise": ""}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """One answer, as it is kept. key: variant, attribute and image."""

    key: str
    text: str
    tokens: int


def judge(text: str, known: Known) -> dict[str, bool]:
    """fact -> whether the text's claim contradicts what is known; facts without claim or truth are missing.

    Ages: the range that the text names must come within `AGE_SLACK` years of the years, or of the group, that is known.
    """
    truth = {**known.labels, **known.measured}
    verdict = {f: v != truth[f] for f, v in claims(text, CHECKED).items() if f in truth}
    # "Others" of the data is no group that a text could name rightly or wrongly.
    if known.labels.get("ethnicity") == "Others":
        verdict.pop("ethnicity", None)
    span, years = age_claim(text), None
    if known.years is not None:
        years = (known.years, known.years)
    elif known.labels.get("age_group") in AGE_GROUPS:
        years = group_span(known.labels["age_group"])
    if span and years:
        verdict["age"] = not (span[0] - AGE_SLACK <= years[1] and years[0] <= span[1] + AGE_SLACK)
    return verdict


def examine(text: str, known: Known) -> dict[str, Any]:
    """What is found in one answer: "verdict" (`judge`), "known" (facts known of the face), "self" (`conflicts`),
    "repeats", "cut", "age" (the range named, years)."""
    sure = {*known.labels, *known.measured} - ({"ethnicity"} if known.labels.get("ethnicity") == "Others" else set())
    aged = known.years is not None or "age_group" in sure
    facts = [fact for fact in FACTS if (aged if fact == "age" else fact in sure)]
    return {"verdict": judge(text, known), "known": facts, "self": conflicts(text), "repeats": repeats(text),
            "cut": is_cut(text), "age": age_claim(text)}  # fmt: skip


def tally(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rates by attribute: {key: {"asked", "claims", "answers", "self", "repeats", "cut", "facts": {fact: ...}, ...}}.

    claims: wrong of all claims.  answers: answers with at least one contradiction, of those with any claim.
    self: answers that contradict themselves; repeats: that say a sentence twice; cut: without an end; of all asked.
    known: answers about faces of which a fact is known.  different: number of different texts.  age_width: median
    width of the age ranges named, years.
    """
    result: dict[str, Any] = {}
    for attribute in ATTRIBUTES:
        mine = [row for row in rows if row["attribute"] == attribute.key]
        own = [row["verdict"] for row in mine]
        made, wrong = Counter(), Counter()
        for verdict in own:
            made.update(verdict.keys())
            wrong.update(fact for fact, bad in verdict.items() if bad)
        speaking = [verdict for verdict in own if verdict]
        result[attribute.key] = {
            "asked": len(own),
            "claims": stats.rate(sum(wrong.values()), sum(made.values())).to_dict(),
            "answers": stats.rate(sum(any(v.values()) for v in speaking), len(speaking)).to_dict(),
            "self": stats.rate(sum(bool(row["self"]) for row in mine), len(mine)).to_dict(),
            "repeats": stats.rate(sum(bool(row["repeats"]) for row in mine), len(mine)).to_dict(),
            "refused": stats.rate(sum(is_refusal(row["text"]) for row in mine), len(mine)).to_dict(),
            "cut": stats.rate(sum(row["cut"] for row in mine), len(mine)).to_dict(),
            "facts": {fact: stats.rate(wrong[fact], made[fact]).to_dict() for fact in FACTS if fact in made},
            "known": {fact: n for fact in FACTS if (n := sum(fact in row["known"] for row in mine))},
            "different": len({row["text"] for row in mine}),
            "age_width": median(b - a for a, b in spans) if (spans := [r["age"] for r in mine if r["age"]]) else None,
            "self_facts": dict(Counter(fact for row in mine for fact in row["self"]).most_common()),
        }
    return result


def disagreements(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """fact -> share of faces whose answers claim different values of it, of the faces with two claims or more."""
    by_face: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for fact, value in claims(row["text"], CHECKED).items():
            by_face.setdefault(row["image"], {}).setdefault(fact, []).append(value)
    result = {}
    for fact in CHECKED:
        told = [values[fact] for values in by_face.values() if len(values.get(fact, ())) > 1]
        result[fact] = stats.rate(sum(len(set(values)) > 1 for values in told), len(told)).to_dict()
    return result


def _count(rate: Mapping[str, Any]) -> str:
    return f"{rate['count']} of {rate['total']}" if rate["total"] else "-"


def _fact(row: Mapping[str, Any], attribute: str, fact: str) -> str:
    if fact not in row["facts"] and not (fact in row["known"] and fact in HOME.get(attribute, ())):
        return "-"
    made = row["facts"].get(fact, {"count": 0, "total": 0})
    return f"{made['count']} of {made['total']} / {row['known'][fact]}"


def tables(results: Mapping[str, Any]) -> list[Table]:
    """Arranges the figures; a table without a title belongs to the one before."""
    every = [(attribute.key, variant, by[attribute.key]) for attribute in ATTRIBUTES
             for variant, by in results["models"].items()]  # fmt: skip
    return [
        Table(
            "", ("attribute", "model", "answers", "different", "contradicting", "%", "contradicts itself",
                 "repeats itself", "cut off"),
            [(key, variant, row["asked"], row["different"], _count(row["answers"]), percent(row["answers"]),
              *(_count(row[name]) for name in ("self", "repeats", "cut"))) for key, variant, row in every],
        ),
        Table(
            "By fact: wrong of the claims made / answers about faces of which it is known",
            ("attribute", "model", *FACTS, "width of the age range, years"),
            [(key, variant, *(_fact(row, key, f) for f in FACTS),
              "-" if row["age_width"] is None else f"{row['age_width']:g}") for key, variant, row in every],
        ),
        Table(
            "Contradictions inside one answer, and between the answers about one face",
            ("attribute", "model", "facts with two values in one answer (answers)"),
            [(key, variant, ", ".join(f"{f} {n}" for f, n in row["self_facts"].items()) or "-")
             for key, variant, row in every],
        ),
        Table(
            "", ("model", *CHECKED),
            [(variant, *(_count(rates[f]) for f in CHECKED)) for variant, rates in results["disagreements"].items()],
        ),
    ]  # fmt: skip


def descriptions(rows: Sequence[Mapping[str, Any]], known: Mapping[str, Known], count: int) -> str:
    """Returns, for a person to read, the first `count` faces of each set with what is known and every answer."""
    seen: Counter[str] = Counter()
    faces = []
    for key in dict.fromkeys(row["image"] for row in rows):
        face = known[key]
        seen[face.source.name] += 1
        if seen[face.source.name] <= count:
            mesh = face.source.measurements.get(face.name, {})
            measured = ", ".join(f"{k} {mesh[k]:g}" for k in SHOWN if k in mesh)
            faces.append((face, measured, [(row, faults(row)) for row in rows if row["image"] == key]))
    return render("descriptions.md.jinja", units=SHOWN, faces=faces)


def faults(row: Mapping[str, Any]) -> list[str]:
    """Returns what was found wrong in an answer."""
    found = [f"contradicts {fact}" for fact, bad in row["verdict"].items() if bad]
    found += [f"says {' and '.join(values)} of {fact}" for fact, values in row["self"].items()]
    found += [f'repeats "{text}"' for text in row["repeats"]]
    return found + (["cut off"] if row["cut"] else [])


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m train freetext", description=__doc__.split("\n")[0])
    add_options(p)
    p.add_argument("--data", type=Path, action="append", required=True, help="labelled folder; may be repeated")
    p.add_argument("--split", help=SPLIT_HELP)
    p.add_argument("--faces", type=int, default=40, help="faces of each folder (40)")
    p.add_argument("--read", type=int, help="faces of each folder written out for a person (all of them)")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--max-new-tokens", type=int, default=NEW_TOKENS)
    p.add_argument("--out", type=Path, required=True)
    return p


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    check_positive(args, "faces", "read", "max_new_tokens")
    sets = open_sets(args.data)
    split = chosen_split(sets, args.split)
    faces = read_known(sets, split, args.faces, args.seed)
    if not faces:
        raise FaceLLMError(f"No labelled image of the split {split or 'all'!r} was found; check --data and --split.")
    from facellm.engine.offline import Ask, OfflineEngine

    out = usable_folder(args.out)
    loaded, variants = open_chosen(args)
    journal.claim(out, {**about(loaded, args), "max_new_tokens": args.max_new_tokens})
    engine = OfflineEngine(loaded, lambda index: faces[index].image())
    pairs = [(index, attribute) for index in range(len(faces)) for attribute in ATTRIBUTES]
    said = {key: Said(**row) for key, row in journal.read(out / "said.jsonl", "an answer").items()}

    def key(variant: str, index: int, attribute: Attribute) -> str:
        return f"{variant} {attribute.key} {faces[index].key}"

    def answer(variant: str, asked: Sequence[tuple[int, Attribute]]) -> Iterator[Said]:
        asks = [Ask(attribute.question, (index,)) for index, attribute in asked]
        for place, found in engine.generate(asks, variant, args.max_new_tokens):
            yield Said(key(variant, *asked[place]), found.text, found.tokens)

    rows: list[dict[str, Any]] = []
    tell = progress("answers")
    for variant in variants:
        missing = [pair for pair in pairs if key(variant, *pair) not in said]
        journal.complete(out / "said.jsonl", said, missing, partial(answer, variant), partial(tell, variant))
        for index, attribute in pairs:
            own = said[key(variant, index, attribute)]
            rows.append({"variant": variant, "image": faces[index].key, "attribute": attribute.key, "text": own.text,
                         "tokens": own.tokens, **examine(own.text, faces[index])})  # fmt: skip
    by_model = {v: [row for row in rows if row["variant"] == v] for v in variants}
    results = {
        "model": loaded.report.name, "faces": len(faces), "seed": args.seed, "split": split or "all",
        "sets": dict(Counter(face.source.name for face in faces)),
        "models": {v: tally(own) for v, own in by_model.items()},
        "disagreements": {v: disagreements(own) for v, own in by_model.items()},
    }  # fmt: skip
    report = render("freetext.md.jinja", results=results, tables=tables(results))
    write_files(
        out,
        {
            "answers.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
            "results.json": json.dumps(results, indent=2),
            "report.md": report,
            "descriptions.md": descriptions(rows, {face.key: face for face in faces}, args.read or args.faces),
        },
    )
    print(report)
    return 0
