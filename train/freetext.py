"""`python -m train freetext`: does what a model writes about a face contradict what is known of it?

Input: a model and labelled folders. Output: answers.jsonl, results.json, report.md and descriptions.md (for a person to
read). The eight attribute questions are asked about each face; words for gender, age, ethnicity, expression, pose,
mouth, eyes, light and sharpness are read from the answers and held against labels and measurements.

A claim is counted only where the text makes one and the truth is known; a hedge ("could be", "not clear", both values
named) makes none. What this file does not know: claims that no label covers (hair, glasses, background) - reading the
descriptions is for that.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from facellm.profile import POSES
from train import stats
from train.benchmark import open_sets
from train.labelled import Known, read_known

NEW_TOKENS = 160
# fact -> value -> pattern. Whole words, any case; a value is claimed when its pattern occurs in a sentence that does
# not hedge. Both values of a fact in one answer make no claim.
WORDS: Mapping[str, Mapping[str, str]] = {
    "gender": {
        "Male": r"(?:man|men|boy|male|gentleman|he|his|him)",
        "Female": r"(?:woman|women|girl|female|lady|she|her)",
    },
    "ethnicity": {
        "White": r"(?:(?<!and )(?<!and-)white(?!\W+(?:picture|image|and|shirt|background|light))|caucasian|european)",
        "Black": r"(?:black(?!\W+(?:and|picture|hair|shirt|background))|african(?:[- ]american)?)",
        "Asian": r"(?:(?<!south )(?:east |southeast )?asian)",
        "Indian": r"(?:indian|south asian)",
    },
    "expression": {
        "neutral": r"(?:neutral|expressionless)",
        "happiness": r"(?:happy|happiness|smil\w+|cheerful|joy\w*)",
        "surprise": r"surpris\w+",
        "sadness": r"(?:sad|sadness|sorrow\w*)",
        "anger": r"(?:angry|anger|annoyed)",
        "disgust": r"disgust\w*",
        "fear": r"(?:fear\w*|afraid|scared)",
        "contempt": r"contempt\w*",
    },
    "pose": {
        POSES[0]: r"(?:(?:is|a) frontal|faces? the camera|towards the camera|from the front|facing forward)",
        POSES[1]: r"(?:turned|turn|angled|rotated|facing)\b[^.]*\bviewer's left",
        POSES[2]: r"(?:turned|turn|angled|rotated|facing)\b[^.]*\bviewer's right",
    },
    "mouth": {
        "open": r"(?:mouth is (?:slightly |wide )?open|lips are (?:slightly )?parted|open mouth)",
        "closed": r"(?:mouth is closed|lips are closed|closed mouth|mouth and closed)",
    },
    "eyes": {"open": r"eyes are (?:wide )?open", "closed": r"eyes are closed"},
    "lighting": {
        "dark": r"(?:light\w*|exposure|face)\b[^.]*\b(?:dark|dim|underexposed)",
        "bright": r"(?:light\w*|face)\b[^.]*\b(?:bright|strong and bright)",
        "balanced": r"(?:light\w*|face)\b[^.]*\b(?:balanced|even and moderate)",
    },
    "sharpness": {
        "sharp": r"(?:(?:image|picture) is sharp|focus is good|good sharpness|sharp enough)",
        "blurred": r"(?:(?:image|picture) is (?:blurred|blurry|soft)|lack of sharpness|blur hides)",
    },
}  # fmt: skip
_PATTERNS = {
    fact: {value: re.compile(rf"(?<![\w-]){pattern}(?![\w-])", re.IGNORECASE) for value, pattern in values.items()}
    for fact, values in WORDS.items()
}
_HEDGE = re.compile(
    r"\b(?:could be|might be|may be|not clear|unclear|cannot|can't|hard to|nearly|almost|slightly|either|whether"
    r"|would both|neither|if |mild|outside|mixed|such as)\b|\bor as\b",
    re.IGNORECASE,
)
_YEARS = re.compile(
    r"(\d{1,3})\s*(?:and|to|-|\u2013)\s*(\d{1,3})"
    r"(?=\s*(?:years|-year)|[^.]*\bage)|(\d{1,3})[- ]years?[- ]old|(?:not older than|under)\s+(?:about\s+)?(four)",
    re.IGNORECASE,
)
_DECADE = re.compile(
    r"\b(?:in (?:his|her|their) )?(?:(early|mid|late)[- ])?(twenties|thirties|forties|fifties|sixties)\b", re.I
)
_TENS = {"twenties": 20, "thirties": 30, "forties": 40, "fifties": 50, "sixties": 60}
# Words for stages of life and the years they cover, generously.
STAGES = (
    (r"(?:baby|infant|toddler)", 0, 4),
    (r"(?:child|little (?:boy|girl))", 2, 14),
    (r"(?:teenager|teenage|adolescent)", 11, 21),
    (r"young (?:adult|man|woman)", 15, 40),
    (r"middle-aged", 35, 65),
    (r"(?:elderly|older (?:adult|man|woman)|senior)", 50, 120),
)
AGE_SLACK = 3  # years beyond a named range that are not yet called a contradiction


def claims(text: str) -> dict[str, str]:
    """fact -> the one value that the text claims; facts without a claim, or with two, are missing."""
    found: dict[str, set[str]] = {}
    for sentence in re.split(r"(?<=[.!?])\s+", text.replace("\u2019", "'")):
        hedged = bool(_HEDGE.search(sentence))
        for fact, values in _PATTERNS.items():
            for value, pattern in values.items():
                if pattern.search(sentence) and not (hedged and fact != "gender"):
                    found.setdefault(fact, set()).add(value)
    return {fact: values.pop() for fact, values in found.items() if len(values) == 1}


def age_claim(text: str) -> tuple[int, int] | None:
    """The range of years that the text names, in numbers, decades or stages of life; the narrowest wins; None: none."""
    ranges = []
    for match in _YEARS.finditer(text):
        if match[4]:
            ranges.append((0, 4))
        elif match[3]:
            ranges.append((int(match[3]), int(match[3])))
        elif int(match[1]) <= int(match[2]) <= 120:
            ranges.append((int(match[1]), int(match[2])))
    for match in _DECADE.finditer(text):
        low = _TENS[match[2].lower()]
        shift = {"early": (0, 4), "mid": (3, 7), "late": (6, 9)}.get((match[1] or "").lower(), (0, 9))
        ranges.append((low + shift[0], low + shift[1]))
    if not ranges:
        for pattern, low, high in STAGES:
            if re.search(rf"\b{pattern}\b", text, re.IGNORECASE):
                ranges.append((low, high))
    return min(ranges, key=lambda r: r[1] - r[0]) if ranges else None


def judge(text: str, known: Known) -> dict[str, bool]:
    """fact -> whether the text's claim contradicts what is known; facts without claim or truth are missing."""
    verdict = {f: v != known.labels[f] for f, v in claims(text).items() if f in known.labels}
    # "Others" of the data is no group that a text could name rightly or wrongly.
    if known.labels.get("ethnicity") == "Others":
        verdict.pop("ethnicity", None)
    span = age_claim(text)
    if span and known.years is not None:
        verdict["age"] = not span[0] - AGE_SLACK <= known.years <= span[1] + AGE_SLACK
    return verdict


def tally(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Contradiction rates: {"attributes": {key: {"claims", "answers", "facts": {fact: ...}}}}.

    claims: wrong of all claims.  answers: answers with at least one contradiction, of those with any claim.
    """
    result: dict[str, Any] = {}
    for attribute in ATTRIBUTES:
        own = [row["verdict"] for row in rows if row["attribute"] == attribute.key]
        made, wrong = Counter(), Counter()
        for verdict in own:
            made.update(verdict.keys())
            wrong.update(fact for fact, bad in verdict.items() if bad)
        speaking = [verdict for verdict in own if verdict]
        result[attribute.key] = {
            "asked": len(own),
            "claims": stats.rate(sum(wrong.values()), sum(made.values())).to_dict(),
            "answers": stats.rate(sum(any(v.values()) for v in speaking), len(speaking)).to_dict(),
            "facts": {fact: stats.rate(wrong[fact], made[fact]).to_dict() for fact in sorted(made)},
        }
    return result


def markdown(results: Mapping[str, Any]) -> str:
    lines = [
        f"# What {results['model']} writes, held against labels and measurements",
        "",
        "Per cent of answers with a contradiction, of the answers that claim anything; Wilson 95 % intervals.",
        "",
        "| attribute | model | answers | contradicting, % | by fact (wrong of claims) |",
        "|" + " --- |" * 5,
    ]
    for attribute in ATTRIBUTES:
        for which, by in results["models"].items():
            row = by[attribute.key]
            facts = ", ".join(f"{fact} {r['count']} of {r['total']}" for fact, r in row["facts"].items()) or "-"
            rate = stats.Rate(**row["answers"])
            lines.append(f"| {attribute.key} | {which} | {row['asked']} | {rate} | {facts} |")
    return "\n".join([*lines, ""])


def descriptions(rows: Sequence[Mapping[str, Any]], known: Mapping[str, Known], count: int) -> str:
    """The first `count` faces' answers with what is known, for a person to read."""
    lines = ["# Descriptions to read", ""]
    for key in list(dict.fromkeys(row["image"] for row in rows))[:count]:
        face = known[key]
        years = f", {face.years:.0f} years" if face.years is not None else ""
        lines += [f"## {key}", "", "Known: " + ", ".join(f"{k} {v}" for k, v in face.labels.items()) + years, ""]
        for row in rows:
            if row["image"] == key:
                wrong = [fact for fact, bad in row["verdict"].items() if bad]
                mark = f" **[contradicts: {', '.join(wrong)}]**" if wrong else ""
                lines += [f"- {row['which']}, {row['attribute']}: {row['text']}{mark}"]
        lines.append("")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m train freetext", description=__doc__.split("\n")[0])
    p.add_argument("--model", default="nano")
    p.add_argument("--adapter")
    p.add_argument("--device")
    p.add_argument("--data", type=Path, action="append", required=True, help="labelled folder; may be repeated")
    p.add_argument("--split", default="val")
    p.add_argument("--faces", type=int, default=200, help="faces of each folder")
    p.add_argument("--read", type=int, default=40, help="faces whose answers are written out for a person")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--max-new-tokens", type=int, default=NEW_TOKENS)
    p.add_argument("--out", type=Path, required=True)
    args = p.parse_args(argv)
    for name in ("faces", "read", "max_new_tokens"):
        if getattr(args, name) < 1:
            raise FaceLLMError(f"--{name.replace('_', '-')} must be at least 1.")
    split = None if args.split == "all" else args.split
    faces = read_known(open_sets(args.data), split, args.faces, args.seed)
    if not faces:
        raise FaceLLMError(f"No labelled image of the split {args.split!r} was found; check --data and --split.")
    from facellm.loading import open_model
    from train.batched import Ask, Batched

    loaded = open_model(args.model, adapter=args.adapter, device=args.device)
    batched = Batched(loaded, lambda index: faces[index].image())
    pairs = [(index, attribute) for index in range(len(faces)) for attribute in ATTRIBUTES]
    asks = [Ask(attribute.question, (index,)) for index, attribute in pairs]
    rows: list[dict[str, Any]] = []
    for which in loaded.which:
        answers = {}
        for done, (place, found) in enumerate(batched.generate(asks, which, args.max_new_tokens), 1):
            answers[place] = found
            if done == len(asks) or done % 200 == 0:
                print(f"{which}: {done} of {len(asks)} answers", file=sys.stderr, flush=True)
        for place, (index, attribute) in enumerate(pairs):
            text = answers[place].text
            rows.append({"which": which, "image": faces[index].key, "attribute": attribute.key, "text": text,
                         "tokens": answers[place].tokens, "verdict": judge(text, faces[index])})  # fmt: skip
    results = {
        "model": loaded.report.name, "faces": len(faces), "seed": args.seed, "split": args.split,
        "models": {w: tally([row for row in rows if row["which"] == w]) for w in loaded.which},
    }  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    by_key = {face.key: face for face in faces}
    for name, text in (
        ("answers.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)),
        ("results.json", json.dumps(results, indent=2)),
        ("report.md", markdown(results)),
        ("descriptions.md", descriptions(rows, by_key, args.read)),
    ):
        part = args.out / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(args.out / name)
    print(markdown(results))
    return 0
