"""One photo: answers stream to the terminal as cards, or are one JSON object."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from facellm import policy
from facellm.attributes import attribute
from facellm.cli.cards import choice_lines, profile_lines, show
from facellm.cli.quiet import quiet
from facellm.cli.request import SAMPLING, open_chosen, read_request
from facellm.cli.terms import TITLES
from facellm.errors import FaceLLMError


def run_one(args: argparse.Namespace, out: TextIO) -> None:
    """Checks, opens, answers and prints.

    Args:
        args: The parsed command line.
        out: Where answers are written.

    Raises:
        FaceLLMError: For what the user can mend.
    """
    asked = read_request(args)
    file = _only_photo(args)
    from facellm.vision.images import load_image

    image = load_image(file)
    quiet(args.verbose, notes=not args.json)
    from facellm.interface import face_of, make_sampling

    sampling = make_sampling(None, asked.sampling)
    model = open_chosen(args, asked.options)
    view = model.view(image, args.face, args.whole_image)
    result: dict[str, Any] = {
        "command": args.command,
        "model": model.report.to_dict(),
        "image": {"file": file, "width": image.width, "height": image.height},
        "face": face_of(view),
        "notice": view.notice,
    }
    if view.notice:
        print(f"facellm: {view.notice}", file=sys.stderr)
    if args.command == "profile":
        profile = model.profile(view, "base" if args.base else None)
        result["profile"] = profile.to_dict()
        if asked.typed:
            choices = model.choose(view, asked.typed, (profile.variant,), without_picture=True)[profile.variant]
            result["choices"] = [choice.to_dict() for choice in choices]
        if not args.json:
            lines = [*profile_lines(result["profile"]), *choice_lines(result.get("choices", []))]
            out.writelines(f"{line}\n" for line in lines)
    else:
        from facellm.results import Row

        one = "base" if getattr(args, "base", False) else model.variants[-1]
        variants = ("base", "facellm") if args.command == "compare" else (one,)
        rows = [Row(v, question, system=args.system, key=key) for key, question in asked.questions for v in variants]
        titles = [attribute(row.key).title if row.key else row.question for row in rows]
        if len(variants) > 1:
            titles = [f"{title} ({TITLES[row.variant]})" for title, row in zip(titles, rows, strict=True)]
        deltas = model.stream(view, rows, sampling, tiles=args.tiles if args.whole_image else 1)
        deltas = _screened(deltas, len(rows), asked.sensitive)
        answers = show(deltas, titles, None if args.json else out, statistics=args.command == "compare")
        result["sampling"] = {n: getattr(sampling, n) for n in SAMPLING}
        result["answers"] = [a.to_dict() for a in answers]
    if args.json:
        json.dump(result, out, ensure_ascii=False, indent=2, allow_nan=False)
        out.write("\n")
    out.flush()


def _only_photo(args: argparse.Namespace) -> str:
    """The one photo's path.  Raises FaceLLMError where there are more, which go into a table."""
    given = [args.image] if isinstance(args.image, str) else args.image
    if len(given) > 1 or (hasattr(args, "out") and given[0] and Path(given[0]).is_dir()):
        what = f"{len(given)} photos" if len(given) > 1 else f"the photos in the folder {given[0]!r}"
        raise FaceLLMError(f"Answers about {what} go into a table: add --out results.csv (or .jsonl, .parquet).")
    return given[0]


def _screened(deltas: Iterator[Any], rows: int, sensitive: bool) -> Iterator[Any]:
    """Yields the deltas with the text that may be shown."""
    screens = [policy.Screen(sensitive) for _ in range(rows)]
    for delta in deltas:
        screen = screens[delta.row]
        text = screen.add(delta.text, delta.done)
        answer = replace(delta.answer, text=screen.text) if delta.answer and not sensitive else delta.answer
        yield replace(delta, text=text, answer=answer)
