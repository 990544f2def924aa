"""`python -m train evaluate`: multiple-choice questions in FaceXBench's form, put to base and FaceLLM and scored.

Writes into --out: replies/*.jsonl (a line a question, resumable), predictions/*/ (FaceXBench's own results format),
results.json, report.md and report.html.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from train import journal
from train.evaluate import evaluation_report, facexbench, published, summary
from train.evaluate.answering import METHODS, Answerer, Arm, ModelAnswerer, Reply, other_words, run_arm
from train.evaluate.extraction import SCORERS
from train.evaluate.overlap import hashes, report_overlap
from train.evaluate.prompts import SETTINGS
from train.evaluate.sharding import NoOne, Shard, read_parts, write_merged
from train.faces.rewording import WORDINGS
from train.opening import about, add_options, check_positive, open_chosen
from train.outputs import progress, usable_folder, write_files
from train.probes.probe import add_probes, probe
from train.reports.pages import html, markdown

MOST_TILES = published.TILES  # InternVLProcessor's own limit


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m train evaluate", description=__doc__.split("\n")[0])
    p.add_argument(
        "benchmark", type=Path, nargs="?", help="folder of FaceXBench's JSON files, or one that `benchmark` made"
    )
    add_probes(p)
    add_options(p)
    p.add_argument("--setting", choices=SETTINGS, default="zero-shot")
    p.add_argument(
        "--method", choices=(*METHODS, "both"),
        help="generate an answer and read its letter (default); or compare the letters' likelihoods; or both",
    )  # fmt: skip
    p.add_argument("--scorer", choices=tuple(SCORERS), help="how a letter is read from an answer (ours)")
    p.add_argument(
        "--as-published", action="store_true",
        help="FaceXBench's and FaceLLM's own protocol: prompt, 12 tiles, 2,048 new tokens, their scorer",
    )  # fmt: skip
    p.add_argument("--tiles", type=int, help="cut an image into at most so many tiles and a thumbnail, 1 to 12 (1)")
    p.add_argument("--limit", type=int, help="at most so many questions of each file, the first ones")
    p.add_argument("--permute", action="store_true", help="also ask with the options moved on, to find letter bias")
    p.add_argument(
        "--paraphrase", action="store_true",
        help=f"also ask in {WORDINGS} other wordings, kept out of training, of question, options and distractors",
    )  # fmt: skip
    p.add_argument("--blind", action="store_true", help="also ask without any image: what the text alone gives away")
    p.add_argument("--detect", action="store_true", help="show the largest face's crop instead of the image as it is")
    p.add_argument("--no-marks", action="store_true", help='no "Image 1:" before the images of multi-image questions')
    p.add_argument("--max-new-tokens", type=int, help="of generated answers (16; 256 with chain-of-thought)")
    p.add_argument("--rows", type=int, help="questions in one forward pass (48)")
    p.add_argument("--overlap", type=Path, help="folder or zip of training images to look for near copies in")
    p.add_argument("--shard", help="ask only part i of n, such as 2/4; the parts may run on different machines")
    p.add_argument("--merge", type=Path, nargs="+", help="--out folders of all parts: report on them, without a model")
    p.add_argument("--out", type=Path, required=True)
    return p


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    check_positive(args, "limit", "max_new_tokens", "rows", "tiles")
    if args.as_published:
        published.adopt(args)
    if args.tiles is not None and args.tiles > MOST_TILES:
        raise FaceLLMError(f"--tiles is {args.tiles}; it must be between 1 and {MOST_TILES}.")
    if args.detect and (args.tiles or 1) > 1:
        raise FaceLLMError("--tiles are for whole images, and --detect shows one face's crop; leave out one of them.")
    method, tiles = args.method or "generate", args.tiles or 1
    if args.pope or args.general:
        return _probed(args)
    if args.benchmark is None:
        raise FaceLLMError("There is nothing to ask: give a benchmark's folder, --pope or --general.")
    shard = Shard.parse(args.shard) if args.shard else None
    benchmark = facexbench.read(args.benchmark)
    if args.merge:
        return _merged(args, benchmark)
    usable_folder(args.out)
    loaded, variants = open_chosen(args)
    answerer = ModelAnswerer(
        loaded, args.setting, detect=args.detect, marks=not args.no_marks, new_tokens=args.max_new_tokens,
        rows=args.rows, tiles=tiles, as_published=args.as_published,
    )  # fmt: skip
    settings = {  # what is as it always was is not named, so that runs of earlier releases go on
        **about(loaded, args), "setting": args.setting, "detect": args.detect, "marks": not args.no_marks,
        "max_new_tokens": answerer.new_tokens, "benchmark": benchmark.digest,
        **({"tiles": tiles} if tiles > 1 else {}), **({"as_published": True} if args.as_published else {}),
    }  # fmt: skip
    evaluate(
        benchmark, answerer, args.out, settings, variants=variants,
        methods=METHODS if method == "both" else (method,), scorer=args.scorer or "ours", limit=args.limit,
        permute=args.permute, blind=args.blind, paraphrase=args.paraphrase, overlap=args.overlap, shard=shard,
        progress=progress("questions"),
    )  # fmt: skip
    return _told(args)


def _probed(args: argparse.Namespace) -> int:
    """Asks the probes instead of a benchmark."""
    if args.benchmark is not None:
        raise FaceLLMError("--pope and --general ask questions of their own; leave them out, or the benchmark.")
    for name in ("as_published", "paraphrase", "permute", "blind", "detect", "no_marks"):
        if getattr(args, name):
            raise FaceLLMError(f"--{name.replace('_', '-')} is about a benchmark's questions; leave it out.")
    for name in ("shard", "merge", "overlap", "method", "scorer", "tiles"):
        if getattr(args, name) is not None:
            raise FaceLLMError(f"--{name} is about a benchmark's questions; leave it out.")
    return probe(args)


def _told(args: argparse.Namespace) -> int:
    print((args.out / "report.md").read_text(encoding="utf-8"))
    print(f"Written: {args.out / 'report.html'}, report.md, results.json and the predictions.", file=sys.stderr)
    return 0


def _merged(args: argparse.Namespace, benchmark: facexbench.Benchmark) -> int:
    """Reports on the parts' replies as one run; every arm that they answered is in it."""
    if args.shard:
        raise FaceLLMError("--merge puts parts together and --shard asks one; give one of them.")
    merged = read_parts(args.merge, args.out)
    if merged.settings.get("benchmark") != benchmark.digest:
        raise FaceLLMError(f"The parts were asked about another benchmark than {args.benchmark}; give theirs.")
    journal.claim(usable_folder(args.out), merged.settings)
    write_merged(merged, args.out)
    arms = merged.replies
    evaluate(
        benchmark, NoOne(), args.out, merged.settings,
        variants=[v for v in ("base", "facellm") if any(arm.variant == v for arm in arms)],
        methods=[m for m in METHODS if any(arm.method == m for arm in arms)],
        scorer=args.scorer or ("published" if merged.settings.get("as_published") else "ours"), limit=args.limit,
        permute=any(arm.rotation for arm in arms), blind=any(arm.blind for arm in arms),
        paraphrase=any(arm.wording for arm in arms), overlap=args.overlap, retry=False,
    )  # fmt: skip
    return _told(args)


def evaluate(
    benchmark: facexbench.Benchmark, answerer: Answerer, out: Path, settings: dict[str, Any], *,
    variants: Sequence[str], methods: Sequence[str] = ("generate",), scorer: str = "ours", limit: int | None = None,
    permute: bool = False, blind: bool = False, paraphrase: bool = False, overlap: Path | None = None,
    shard: Shard | None = None, retry: bool = True, progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Asks, scores and writes everything into a folder.

    Args:
        benchmark: The questions.
        answerer: Who is asked.
        out: The folder; what it holds already is not asked again.
        settings: Whatever decides the answers.
        variants: "base", "facellm" or both.
        methods: Of `METHODS`.
        scorer: Of `SCORERS`: how a letter is read from an answer.
        limit: At most so many questions of each benchmark file.
        permute: Whether to ask also with the options moved on.
        blind: Whether to ask also without images.
        paraphrase: Whether to ask also in other words.
        overlap: Folder or archive of training images to look for near copies in.
        shard: The part of the questions to ask and to report on; None asks all.
        retry: Whether to ask again what could not be asked before.
        progress: Told (arm, done, total) after every reply.

    Returns:
        The content of results.json.

    Raises:
        FaceLLMError: Where `out` holds answers of other settings or cannot be written into, or a part is empty.
    """
    journal.claim(usable_folder(out), settings)
    questions = limited(benchmark.questions, limit)
    if shard is not None:
        questions = shard.share(questions, benchmark.folder)
        if not questions:
            raise FaceLLMError(f"Part {shard.number} of {shard.count} holds no question; make fewer parts.")
    # Before anything is asked: a folder that cannot be read is told at once, not after hours.
    training = hashes(overlap) if overlap is not None else None
    started = time.time()
    runs: dict[Arm, dict[str, Reply]] = {}
    worded = [[o for q in questions if (o := other_words(q, number))] for number in range(1, WORDINGS + 1)]
    worded.insert(0, questions)
    if paraphrase and not worded[1]:
        raise FaceLLMError("None of these questions has other words: --paraphrase knows age, gender, race, expression "
                           "and headpose about one image; leave it out.")  # fmt: skip
    for name in variants:
        for method in methods:
            arms = [Arm(name, method)]
            if permute:
                most = max(len(q.options) for q in questions)
                arms += [Arm(name, method, rotation=r) for r in range(1, most)]
            if blind:
                arms.append(Arm(name, method, blind=True))
            if paraphrase:
                arms += [Arm(name, method, wording=number) for number in range(1, WORDINGS + 1)]
            for arm in arms:
                # A question of two options has only two orders.
                own = worded[arm.wording] if arm.wording else [q for q in questions if arm.rotation < len(q.options)]
                told = None if progress is None else partial(progress, arm.name)
                runs[arm] = run_arm(own, answerer, arm, out / "replies" / f"{arm.name}.jsonl", told, retry)
    results: dict[str, Any] = {
        "settings": settings, "shard": str(shard) if shard else None, "scorer": scorer,
        "benchmark": str(benchmark.folder), "asked": len(questions),
        "problems": list(benchmark.problems), "notes": list(benchmark.notes), "models": {}, "paired": {}, "methods": {},
        "blind": {}, "permuted": {}, "wordings": {}, "wall_seconds": round(time.time() - started, 1),
    }  # fmt: skip
    for arm, replies in runs.items():
        if arm.rotation or arm.wording:
            continue
        numbers = summary.of_arm(questions, replies, arm, scorer)
        results["blind" if arm.blind else "models"].setdefault(arm.variant, {})[arm.method] = numbers
        if not arm.blind:
            texts = {key: reply.text for key, reply in replies.items() if reply.error is None}
            facexbench.write_predictions(benchmark, texts, out / "predictions" / arm.name)
    for method in methods:
        if {"base", "facellm"} <= set(variants):
            arms = Arm("base", method), Arm("facellm", method)
            results["paired"][method] = summary.compare(questions, runs[arms[0]], runs[arms[1]], arms, scorer)
        if paraphrase:
            for name in variants:
                plain = Arm(name, method)
                by_words = {n: (own, runs[replace(plain, wording=n)]) for n, own in enumerate(worded)}
                results["wordings"].setdefault(name, {})[method] = summary.wordings(questions, by_words, plain, scorer)
        if permute:
            for name in variants:
                turned = {
                    a: r
                    for a, r in runs.items()
                    if (a.variant, a.method, a.blind, a.wording) == (name, method, False, 0)
                }
                bias = summary.letter_bias([q for q in questions if len(q.options) > 1], turned, scorer)
                results["permuted"].setdefault(name, {})[method] = bias
    if len(methods) == 2:
        for name in variants:
            arms = Arm(name, methods[0]), Arm(name, methods[1])
            results["methods"][name] = summary.agreement(questions, runs[arms[0]], runs[arms[1]], arms, scorer)
    if training is not None:
        unchanged = {arm: replies for arm, replies in runs.items() if arm == Arm(arm.variant, arm.method)}
        results["overlap"] = report_overlap(questions, overlap, training, unchanged, scorer)
    shown = evaluation_report.report(results)
    write_files(
        out,
        {
            "results.json": json.dumps(results, indent=2, ensure_ascii=False),
            "report.md": markdown(shown),
            "report.html": html(shown, evaluation_report.figures(results)),
        },
    )
    return results


def limited(questions: Sequence[facexbench.Question], limit: int | None) -> list[facexbench.Question]:
    """At most `limit` questions of each benchmark file, the first ones (None: all)."""
    if limit is None:
        return list(questions)
    kept, counts = [], {}
    for question in questions:
        counts[question.file] = counts.get(question.file, 0) + 1
        if counts[question.file] <= limit:
            kept.append(question)
    return kept
