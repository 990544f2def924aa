"""Multiple choice by likelihood against generating: `python -m tests.bench.by_hand.bench_evaluate BENCHMARK [options]`.

The same questions, image encoding included, in four ways, interleaved, medians over the repeats:
  one by one   generate, a question at a time, its image encoded for each, as the published harness does
  generate     `evaluate --method generate`: batched, each image encoded once
  alone        the letters' likelihoods, batched, every question in a row of its own
  likelihood   `evaluate --method likelihood`: all questions about an image in one row behind one prefix
Prints JSON and a Markdown table with ratios, agreement of the letters, and the decoder's tokens of each way.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

WAYS = ("one by one", "generate", "alone", "likelihood")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("benchmark", type=Path, help="folder that `python -m train benchmark` made, or FaceXBench's")
    p.add_argument("--model", default="nano")
    p.add_argument(
        "--dtype", choices=("float32", "bfloat16"), help="of the weights, for all ways (default: the model's)"
    )
    p.add_argument("--variant", choices=("base", "facellm"), default="facellm")
    p.add_argument("--setting", default="zero-shot", help="zero-shot, in-context or chain-of-thought")
    p.add_argument("--images", type=int, default=32, help="images with at least --each questions (32)")
    p.add_argument("--each", type=int, default=3, help="questions of an image (3)")
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--json", type=Path)
    args = p.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before torch
    import torch

    from facellm.engine.offline import Ask, OfflineEngine
    from facellm.vision.images import load_image
    from facellm.weights.load import open_model
    from train.evaluate import facexbench
    from train.evaluate.answering import NEW_TOKENS
    from train.evaluate.extraction import extract
    from train.evaluate.prompts import LETTERS, setting_prompt

    class Alone(OfflineEngine):
        """Without the shared prefix: every question in a row of its own."""

        def groups(self, asks, prompts):
            return ([i] for i in range(len(asks)))

    torch.set_num_threads(args.threads)
    loaded = open_model(args.model, dtype=args.dtype)
    by_image = defaultdict(list)
    for question in facexbench.read(args.benchmark).questions:
        by_image[question.images].append(question)
    chosen = [qs[: args.each] for qs in by_image.values() if len(qs) >= args.each][: args.images]
    questions = [question for qs in chosen for question in qs]
    if not questions:
        sys.exit(f"No image of {args.benchmark} has {args.each} questions; lower --each.")
    new_tokens = NEW_TOKENS[args.setting]
    prompts = [setting_prompt(args.setting, q.text, q.options, dict(q.texts)) for q in questions]
    plain = [Ask(text, q.images) for text, q in zip(prompts, questions, strict=True)]
    scored = [Ask(a.prompt, a.images, tuple(LETTERS[: len(q.options)])) for a, q in zip(plain, questions, strict=True)]

    def one_by_one():
        return [next(OfflineEngine(loaded, load_image).generate([ask], args.variant, new_tokens))[1] for ask in plain]

    def generate():
        found = dict(OfflineEngine(loaded, load_image).generate(plain, args.variant, new_tokens))
        return [found[i] for i in range(len(plain))]

    def likelihood(kind=OfflineEngine):
        found = {i: scores for i, scores, _ in kind(loaded, load_image).score(scored, args.variant)}
        return [LETTERS[max(range(len(found[i])), key=found[i].__getitem__)] for i in range(len(scored))]

    work = dict(zip(WAYS, (one_by_one, generate, lambda: likelihood(Alone), likelihood), strict=True))
    likelihood()  # the first pass of a process is slower
    seconds, said = {way: [] for way in WAYS}, {}
    for _ in range(args.repeats):
        for way in WAYS:
            started = time.perf_counter()
            said[way] = work[way]()
            seconds[way].append(time.perf_counter() - started)
    letters = {
        way: answers if isinstance(answers[0], str)
        else [extract(a.text, q.options).letter for a, q in zip(answers, questions, strict=True)]
        for way, answers in said.items()
    }  # fmt: skip
    alone, packed = Alone(loaded, load_image), OfflineEngine(loaded, load_image)
    ids = [packed.ids(ask) for ask in plain]
    grown = sum(answer.tokens for answer in said["generate"])
    generated = sum(map(len, ids)) + grown
    rows = (sum(len(row.ids) for _, row in way.pack(scored)) for way in (alone, packed))
    read = dict(zip(WAYS, (generated, generated, *rows), strict=True))
    median = {way: statistics.median(values) for way, values in seconds.items()}
    ratios, same = {}, {}
    for way in WAYS[:-1]:
        ratios[way] = statistics.median(o / t for o, t in zip(seconds[way], seconds["likelihood"], strict=True))
        pairs = zip(letters[way], letters["likelihood"], strict=True)
        same[way] = sum(a == b for a, b in pairs) / len(questions)
    result = {
        "model": args.model, "dtype": loaded.report.dtype, "variant": args.variant, "setting": args.setting,
        "questions": len(questions),
        "images": len(chosen), "repeats": args.repeats, "threads": args.threads,
        "new_tokens_an_answer": grown / len(questions), "seconds": median, "decoder_tokens": read,
        "times_faster": ratios, "same_letter": same,
    }  # fmt: skip
    print(json.dumps(result, indent=2))
    print("\n| way | seconds | decoder tokens | likelihood is faster | same letter as likelihood |\n|" + " --- |" * 5)
    for way in WAYS:
        faster, agreed = (f"{ratios[way]:.1f} x", f"{100 * same[way]:.1f} %") if way in ratios else ("1", "-")
        print(f"| {way} | {median[way]:.2f} | {read[way]:,} | {faster} | {agreed} |")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
