"""`facellm why PHOTO FIELD`: which regions an answer hangs on, in words, as JSON and as a picture."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from facellm.cli.quiet import quiet
from facellm.cli.request import open_chosen, read_request
from facellm.cli.terms import TITLES
from facellm.errors import FaceLLMError
from facellm.storage.writable import usable_file

if TYPE_CHECKING:
    from PIL import Image

    from facellm.typed.explanation import Explanation

SHADES = " .:-=+*#%@"  # of a region in the terminal, by its share of the largest influence


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Explains one answer of each model that was opened.

    Args:
        args: The parsed command line.
        out: Where the explanation is printed.

    Returns:
        0.

    Raises:
        FaceLLMError: For what the user can mend.
    """
    asked = read_request(args)
    if args.out:
        usable_file(Path(args.out))
    from facellm.vision.images import load_image

    image = load_image(args.image)
    quiet(args.verbose, notes=not args.json)
    model = open_chosen(args, asked.options)
    view = model.view(image, args.face, args.whole_image)
    if view.notice:
        print(f"facellm: {view.notice}", file=sys.stderr)
    question = asked.typed[0]
    found = model.explain(view, question, args.label, ("base",) if args.base else None)
    if args.out:
        _write_map(Path(args.out), view.image, list(found.values()))
    if args.json:
        json.dump({v: one.to_dict() for v, one in found.items()}, out, ensure_ascii=False, indent=2)
        out.write("\n")
    else:
        for one in found.values():
            out.writelines(f"{line}\n" for line in _lines(one))
    out.flush()
    return 0


def _lines(one: Explanation) -> list[str]:
    largest = one.strongest or 1.0
    last = len(SHADES) - 1
    rows = ["".join(SHADES[round(max(0.0, value) / largest * last)] * 2 for value in row) for row in one.influence]
    frame = "+" + "-" * len(rows[0]) + "+"
    return [f"{TITLES[one.variant]}: {one.sentence}", frame, *(f"|{row}|" for row in rows), frame, ""]


def _write_map(path: Path, picture: Image.Image, found: list[Explanation]) -> None:
    """The models' maps beside each other, on one scale."""
    from PIL import Image as pillow

    from facellm.vision.heat_map import heat_map

    largest = max(one.strongest for one in found)
    maps = [heat_map(picture, one.influence, largest=largest) for one in found]
    sheet = pillow.new("RGB", (sum(m.width for m in maps) + 8 * (len(maps) - 1), maps[0].height), "white")
    for number, one in enumerate(maps):
        sheet.paste(one, (number * (one.width + 8), 0))
    try:
        sheet.save(path)
    except (OSError, ValueError) as error:
        raise FaceLLMError(f"The map cannot be written to {path} ({error}); give a file that ends in .png.") from None
    print(f"facellm: {path} shows {' and '.join(TITLES[one.variant] for one in found)}; orange speaks for the answer, "
          "blue against it.", file=sys.stderr)  # fmt: skip
