"""`python -m train chat`: asks a model what people ask about faces, in wordings that training never saw, and scores it.

The faces are the reference data's, or any folder's that has tags in the form of `seen.csv`. The output folder holds
every question and reply as it came, results.json and report.html; the same command goes on where a run stopped.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from facellm.storage.files import text_digest, write_json, write_text
from train import journal, opening
from train.chat import chat_report, tallies
from train.chat.conversing import NEW_TOKENS, ask_all
from train.chat.selection import Question, choose
from train.faces.measures import measure_pixels
from train.outputs import progress, usable_folder
from train.seen.claims.disputes import truth_of
from train.seen.known.face_record import Face, read_faces, read_tagged
from train.seen.known.pictures import Pictures
from train.seen.known.truth import Truth
from train.seen.typed import wordings

FACES, QUESTIONS = 300, 3000
SET = "utkface"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m train chat", description=__doc__.split("\n\n")[0])
    add = made.add_argument_group("what is asked about").add_argument
    add(
        "--data",
        type=Path,
        required=True,
        help="the reference data (with utkface/ and seen/), or a folder of pictures for --tags",
    )
    add("--tags", type=Path, help="folder with a seen.csv of other faces; their files lie in --data")
    add(
        "--split",
        choices=("val", "test"),
        default="val",
        help="of the reference data; test is for one last look (default: val)",
    )
    add("--faces", type=int, default=FACES, help=f"at most so many, chosen by the seed (default {FACES})")
    add(
        "--questions",
        type=int,
        default=QUESTIONS,
        help=f"about so many in all; rare answers give fewer (default {QUESTIONS})",
    )
    add("--intents", help="only these, separated by commas")
    add(
        "--trained-wordings",
        action="store_true",
        help="the wordings that training saw, to tell learning from repeating",
    )
    add("--seed", type=int, default=0)
    opening.add_options(made)
    add = made.add_argument_group("how").add_argument
    add("--rows", type=int, default=48, help="questions in one batch (default 48)")
    add("--max-new-tokens", type=int, default=NEW_TOKENS, help=f"longest answer (default {NEW_TOKENS})")
    add("--no-pictures", action="store_true", help="leave faces out of the report")
    add("--out", type=Path, required=True, help="folder for replies, results.json and report.html")
    return made


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    opening.check_positive(args, "faces", "questions", "rows", "max_new_tokens")
    pictures = Pictures(args.data)
    truths = chosen_truths(args, pictures)
    intents = tuple(name.strip() for name in (args.intents or "").split(",") if name.strip())
    if unknown := [name for name in intents if name not in wordings.intents()]:
        raise FaceLLMError(f"There is no intent {unknown[0]!r}; choose from {', '.join(wordings.intents())}.")
    cut = "trained" if args.trained_wordings else "kept_out"
    asked = choose(truths, args.questions, args.seed, cut, intents)
    if not asked:
        raise FaceLLMError(
            "Nothing firm is known of these faces that could be asked; give more of them, or other intents."
        )
    usable_folder(args.out)
    loaded, variants = opening.open_chosen(args)
    journal.claim(args.out, settings(args, asked, loaded))
    write_json(args.out / "questions.json", [asdict(question) for question in asked])
    judged: dict[str, list[tallies.Judged]] = {}
    for variant in variants:
        replies = ask_all(
            asked,
            loaded,
            pictures.load,
            variant,
            args.out / f"replies-{variant}.jsonl",
            partial(progress("questions"), variant),
            args.rows,
            args.max_new_tokens,
        )
        judged[variant] = tallies.judge_all(asked, replies, truths)
    finish(args, judged, pictures)
    return 0


def finish(args: argparse.Namespace, judged: dict[str, list[tallies.Judged]], pictures: Pictures) -> None:
    """Writes results.json, verdicts and report.html, and says the figures."""
    summaries = {variant: tallies.summarise(rows) for variant, rows in judged.items()}
    write_json(args.out / "results.json", {"split": None if args.tags else args.split, "models": summaries})
    for variant, rows in judged.items():
        write_json(
            args.out / f"verdicts-{variant}.json",
            [
                {
                    "key": row.question.key,
                    "question": row.question.text,
                    "answer": row.reply.text,
                    **asdict(row.verdict),
                }
                for row in rows
            ],
        )
    first = next(iter(judged.values()))
    faces = len({row.question.file for row in first})
    lead = (
        f"{len(first)} questions of {len({row.question.intent for row in first})} intents about {faces} faces, "
        f"in wordings that "
        f"training {'saw' if args.trained_wordings else 'did not see'}; model {args.model}. Intervals are "
        f"Wilson's, 95 %."
    )
    page = chat_report.html(
        "What people ask, answered", lead, summaries, judged, None if args.no_pictures else pictures.thumbnail
    )
    write_text(args.out / "report.html", page)
    for line in chat_report.lines(summaries):
        print(line)
    print(args.out / "report.html")


def chosen_truths(args: argparse.Namespace, pictures: Pictures) -> dict[str, Truth]:
    """file -> Truth of the faces that are asked about, pixels measured."""
    faces = read_tagged(args.tags) if args.tags else _of_split(args.data, args.split)
    names = sorted(faces)
    random.Random(f"chat:{args.seed}").shuffle(names)
    if not names:
        raise FaceLLMError(f"{args.tags or args.data} has no tagged faces to ask about; check --data and --tags.")
    found = {}
    for name in sorted(names[: args.faces]):
        face: Face = faces[name]
        found[name] = truth_of(replace(face, pixels=measure_pixels(pictures.load(name))))
    return found


def _of_split(data: Path, split: str) -> dict[str, Face]:
    """Tagged faces of UTKFace's `val`, or of the test cut."""
    faces = read_faces(data, tagged=True, splits=(split,))
    return {file: face for file, face in faces.items() if file.startswith(f"{SET}/")}


def settings(args: argparse.Namespace, asked: list[Question], loaded: Any) -> dict[str, Any]:
    """What decides the replies in a folder."""
    digest = text_digest(json.dumps([asdict(q) for q in asked], sort_keys=True), length=16)
    return {"questions": digest, "new_tokens": args.max_new_tokens, **opening.about(loaded, args)}
