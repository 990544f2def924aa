"""FaceXBench and FaceLLM as published: their protocol for `--as-published`, their rows, and how a run departs from it.

The protocol is that of FaceXBench's evaluate.py and aggregate_results.py, and of the model file that FaceLLM adds to
VLMEvalKit (github.com/idiap/facellm): InternVLProcessor's own tiles, no marks before images, bfloat16, and `generate`
with 2,048 new tokens.
"""

from __future__ import annotations

import argparse
from typing import Any

from facellm.errors import FaceLLMError

QUESTIONS = 5_000
TILES, NEW_TOKENS, DTYPE = 12, 2048, "bfloat16"
PROTOCOL = {"tiles": TILES, "max_new_tokens": NEW_TOKENS, "scorer": "published", "method": "generate"}

# FaceXBench, zero-shot, per cent: FaceLLM paper (arXiv 2507.10300); "random" from FaceXBench (arXiv 2501.10360).
# Only what is known to us stands here; the images are FaceXBench's own, so other benchmarks compare in form only.
ROWS: dict[str, dict[str, float]] = {
    "FaceLLM-38B": {
        "overall": 60.52, "age": 54.4, "gender": 90.2, "race": 69.6, "expression": 67.0, "headpose": 36.8,
    },
    "FaceLLM-8B": {"overall": 56.14, "age": 46.0, "gender": 86.2, "race": 63.4, "expression": 65.8, "headpose": 33.8},
    "FaceLLM-1B": {"overall": 38.86},
    "GPT-4o": {"overall": 50.50},
    "random": {"overall": 25.10},
}  # fmt: skip
COLUMNS = ("overall", "age", "gender", "race", "expression", "headpose")


def adopt(args: argparse.Namespace) -> None:
    """Sets what was not given on the command line to the published protocol.

    Raises:
        FaceLLMError: Where an option says otherwise.
    """
    for name, theirs in PROTOCOL.items():
        given = getattr(args, name)
        if given not in (None, theirs):
            option = f"--{name.replace('_', '-')}"
            raise FaceLLMError(f"--as-published means {option} {theirs}; leave out {option} {given} or --as-published.")
        setattr(args, name, theirs)
    if args.detect:
        raise FaceLLMError("--as-published shows every image whole; leave out --detect or --as-published.")
    if args.setting == "chain-of-thought":
        raise FaceLLMError(
            "FaceXBench publishes no wording for chain-of-thought; with --as-published choose --setting zero-shot or "
            "in-context."
        )
    args.no_marks = True


def used(results: dict[str, Any]) -> str:
    """Returns a sentence on the protocol that a run used."""
    settings = results["settings"]
    tiles = settings.get("tiles", 1)
    return (
        f"Used: {'the published prompt to the character' if settings.get('as_published') else 'our prompt'}, "
        f"{f'up to {tiles} tiles and a thumbnail' if tiles > 1 else 'one tile'} an image, answers of at most "
        f"{settings.get('max_new_tokens', '?')} new tokens, greedy, scorer {results['scorer']}."
    )


def departures(results: dict[str, Any]) -> list[str]:
    """Returns clauses on each way in which a run is not the one that the published FaceLLM rows come from."""
    settings, found = results["settings"], []
    tiles, longest = settings.get("tiles", 1), settings.get("max_new_tokens")
    if settings.get("setting", "zero-shot") != "zero-shot":
        found.append(f"the rows are zero-shot, this is {settings['setting']}")
    if not settings.get("as_published"):
        found.append("prompt and images are not to the character and pixel the published ones (`--as-published`)")
    if tiles != TILES:
        found.append(f"an image is {tiles} tile{'s' if tiles > 1 else ''} here and up to {TILES} and a thumbnail there")
    if longest != NEW_TOKENS:
        found.append(f"answers end after {longest} tokens here and {NEW_TOKENS:,} there")
    if results["scorer"] != "published":
        found.append("letters are read by our rules (`--scorer published` reads as theirs)")
    quantization = settings.get("quantization") or "none"
    weights = str(settings.get("dtype")) if quantization == "none" else quantization
    if weights != DTYPE:
        found.append(f"weights are {weights} here and {DTYPE} there")
    asked = max((n["questions"] for by in results["models"].values() for n in by.values()), default=0)
    if asked != QUESTIONS:
        found.append(f"{asked:,} questions were asked here and {QUESTIONS:,} there")
    return found


def comparable(results: dict[str, Any]) -> str:
    """Returns a sentence on what of the published rows may be held against a run."""
    methods = {method for by in results["models"].values() for method in by}
    found = departures(results)
    if "generate" not in methods:
        return "Nothing here is comparable with the published rows: they come from generated answers."
    if found:
        return f"Not like with like beside the published rows: {'; '.join(found)}."
    return (
        "The generated answers are comparable with the published rows of FaceLLM, all columns, if these are "
        "FaceXBench's own files; the other rows share questions and scorer, but each model's own way of preparing "
        "images. The published harness decodes as the checkpoint's generation_config.json says, here always greedily."
    )
