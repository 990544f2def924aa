"""Prints what would be taught about some faces, beside what is known of them: for reading before anything is trained.

`python -m train.mini.language.show DATA [--faces N] [--seed S] [--file NAME ...] [--eight]`
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from train.mini.language import face_conversations
from train.mini.language.balance import Balance
from train.seen.claims.disputes import truth_of
from train.seen.descriptions import eight
from train.seen.known.face_record import Face, read_faces
from train.seen.known.pixel_cache import load
from train.seen.known.truth import Truth
from train.seen.words.lexicon import Voice

COUNTED = 2000  # faces over which answers are balanced here


def shown(face: Face, balance: Balance, seed: int, only_eight: bool) -> str:
    """One face: its sources, then its pairs."""
    words = " ".join(f"{name}={word}" for name, word in face.raw.items() if word not in ("none", "no", "unclear"))
    lines = [
        f"== {face.file}: {face.years:g} years, {face.gender}" if face.years else f"== {face.file}",
        words,
        face.caption,
    ]
    if only_eight:
        truth = truth_of(face)
        rng = random.Random(f"{seed}:{face.file}")
        found = eight.write(truth, Voice(truth, rng), rng, composed=True)
        return "\n".join([*lines, *(f"  {key}: {text}" for key, text in found.items())])
    for turns in face_conversations.pairs_of(face, balance, seed):
        lines += [
            f"  {'Q' if first else 'then'}: {q}\n     A: {a}"
            for first, (q, a) in ((i == 0, t) for i, t in enumerate(turns))
        ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m train.mini.language.show", description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path, help="folder with utkface/, expressions/ and seen/")
    parser.add_argument("--faces", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", nargs="*", default=(), help='only these, as "utkface/train/7.jpg"')
    parser.add_argument("--pixels", type=Path, help="cache made by python -m train.seen.known.pixel_cache")
    parser.add_argument("--eight", action="store_true", help="only the eight answers, composed")
    args = parser.parse_args(argv)
    faces = read_faces(args.data, pixels=load(args.pixels) if args.pixels else None, tagged=True)
    train = [face for name, face in faces.items() if "/train/" in name]
    rng = random.Random(args.seed)
    balance = Balance.of(Truth(face) for face in rng.sample(train, min(COUNTED, len(train))))
    names = args.file or rng.sample(sorted(faces), args.faces)
    for name in names:
        print(shown(faces[name], balance, args.seed, args.eight), end="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
