"""`python -m train evaluate --pope` and `--general`: asks the probes of base, FaceLLM or both, and reports on them.

Writes into --out: answers/*.jsonl (a line an answer, resumable), results.json, report.md and report.html.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from facellm.storage.files import text_digest
from train import journal
from train.opening import about, open_chosen
from train.outputs import progress, usable_folder, write_files
from train.probes import presence
from train.probes.asking import ask_all
from train.probes.probe_report import report
from train.probes.text_checks import KINDS, Check, checks
from train.reports import stats
from train.reports.pages import html, markdown
from train.seen.known.pictures import Pictures
from train.seen.known.tags import Seen, read_seen

FACES, CHECKS = 300, 120  # asked where --limit says nothing
SHORT, LONG = 16, 160  # new tokens of a yes or no, and of everything else
BOTH = ("base", "facellm")


def add_probes(p: argparse.ArgumentParser) -> None:
    """Adds the options of the probes."""
    p.add_argument(
        "--pope", type=Path, metavar="TAGS",
        help="instead of a benchmark: ask about things that are there and are not, and count what descriptions make "
        "up; TAGS holds seen.csv",
    )  # fmt: skip
    p.add_argument("--images", type=Path, help="with --pope: the folder in which seen.csv names files (TAGS's parent)")
    p.add_argument(
        "--general", action="store_true",
        help="instead of a benchmark: arithmetic, JSON, instructions and the choice of a tool, without a picture",
    )  # fmt: skip
    p.add_argument("--seed", type=int, default=0, help="of what --pope and --general draw (0)")


def probe(args: argparse.Namespace) -> int:
    """Runs the probes that were asked for.

    Raises:
        FaceLLMError: Where nothing can be asked, a picture is missing, or the folder holds answers of other settings.
    """
    faces = _faces(args) if args.pope else []
    tests = checks(args.limit or CHECKS, args.seed) if args.general else []
    out = usable_folder(args.out)
    loaded, variants = open_chosen(args)
    asked = json.dumps([[face.file, face.tags] for face in faces] + [check.prompt for check in tests], sort_keys=True)
    journal.claim(
        out,
        {**about(loaded, args), "probes": text_digest(asked), "seed": args.seed, "max_new_tokens": args.max_new_tokens},
    )
    results: dict[str, Any] = {"model": loaded.report.name, "seed": args.seed, "variants": list(variants)}
    if faces:
        results |= _see(args, faces, loaded, variants)
    if tests:
        results["general"] = _know(args, tests, loaded, variants)
    shown = report(results, journal.settings_of(out) or {})
    write_files(
        out,
        {
            "results.json": json.dumps(results, indent=2, ensure_ascii=False),
            "report.md": markdown(shown),
            "report.html": html(shown, []),
        },
    )
    print((out / "report.md").read_text(encoding="utf-8"))
    print(f"Written: {out / 'report.html'}, report.md, results.json and the answers.", file=sys.stderr)
    return 0


def _faces(args: argparse.Namespace) -> list[Seen]:
    """The tagged faces that are asked about, drawn by the seed, in the tags' order."""
    if not (args.pope / "seen.csv").is_file():
        raise FaceLLMError(f"There is no seen.csv in {args.pope}; give the folder that holds the tags.")
    usable = [face for face in read_seen(args.pope).values() if not face.doubtful]
    order = list(range(len(usable)))
    random.Random(args.seed).shuffle(order)
    faces = [usable[place] for place in sorted(order[: args.limit or FACES])]
    if not presence.choose(faces, args.seed)["random"]:
        raise FaceLLMError(
            f"No face of {args.pope / 'seen.csv'} has one of {', '.join(presence.THINGS)}; there is nothing to ask."
        )
    return faces


def _see(args: argparse.Namespace, faces: Sequence[Seen], loaded: Any, variants: Sequence[str]) -> dict[str, Any]:
    from facellm.engine.offline import ROWS, Ask, OfflineEngine

    chosen = presence.choose(faces, args.seed)
    pictures = Pictures(args.images or args.pope.resolve().parent)
    engine = OfflineEngine(loaded, pictures.load, args.rows or ROWS)
    yes_no = {
        one.key: Ask(f"{presence.THINGS[one.thing].question} {presence.ANSWER}", (one.file,))
        for probes in chosen.values() for one in probes
    }  # fmt: skip
    told = {
        f"{face.file}#describe{number}": Ask(prompt, (face.file,))
        for face in faces
        for number, prompt in enumerate(presence.DESCRIBE)
    }
    for face in faces:
        pictures.raw(face.file)  # one that is missing is told before anything is asked
    found: dict[str, Any] = {"faces": len(faces), "pope": {}, "chair": {}, "pope_paired": {}}
    said, tell = {}, progress("answers")
    for variant in variants:
        folder = args.out / "answers"
        said[variant] = ask_all(
            yes_no, engine, variant, folder / f"{variant}-pope.jsonl", args.max_new_tokens or SHORT, tell
        )
        texts = ask_all(told, engine, variant, folder / f"{variant}-chair.jsonl", args.max_new_tokens or LONG, tell)
        found["pope"][variant] = {name: presence.scores(probes, said[variant]) for name, probes in chosen.items()}
        by_file = {
            face.file: [texts[f"{face.file}#describe{number}"] for number in range(len(presence.DESCRIBE))]
            for face in faces
        }
        found["chair"][variant] = presence.descriptions(faces, by_file)
    if set(BOTH) <= set(variants):
        for name, probes in chosen.items():
            rows = [presence.right(probes, said[variant]) for variant in BOTH]
            found["pope_paired"][name] = stats.paired(*rows).to_dict()
    return found


def _know(args: argparse.Namespace, tests: Sequence[Check], loaded: Any, variants: Sequence[str]) -> dict[str, Any]:
    from facellm.engine.offline import ROWS, Ask, OfflineEngine

    engine = OfflineEngine(loaded, lambda key: key, args.rows or ROWS)
    asks = {check.prompt: Ask(check.prompt) for check in tests}
    passed: dict[str, dict[str, bool]] = {}
    for variant in variants:
        path = args.out / "answers" / f"{variant}-general.jsonl"
        said = ask_all(asks, engine, variant, path, args.max_new_tokens or LONG, progress("answers"))
        passed[variant] = {check.prompt: check.passes(said[check.prompt]) for check in tests}
    groups = {kind: [check.prompt for check in tests if check.kind == kind] for kind in KINDS}
    groups = {kind: prompts for kind, prompts in groups.items() if prompts} | {"overall": list(asks)}
    return {kind: _compared(prompts, passed) for kind, prompts in groups.items()}


def _compared(prompts: Sequence[str], passed: Mapping[str, Mapping[str, bool]]) -> dict[str, Any]:
    rows = {variant: [own[prompt] for prompt in prompts] for variant, own in passed.items()}
    models = {variant: stats.rate(sum(own), len(own)).to_dict() for variant, own in rows.items()}
    paired = stats.paired(*(rows[v] for v in BOTH)).to_dict() if set(BOTH) <= set(rows) else None
    return {"models": models, "paired": paired}
