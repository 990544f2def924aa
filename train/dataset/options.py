"""The flags of `python -m train dataset`, laid over the recipe's part for it, and checked."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from train.lora import recipe as recipes
from train.teachers.batch.batches import POLL_SECONDS
from train.teachers.batch.parts import MOST_REQUESTS
from train.teachers.openai import OPENAI_URL, Settings

TEACHERS = ("openai", "measured", "seen")
_EPILOG = """\
Teachers: `openai` is any model that sees images behind a server with OpenAI's chat completions, asked one question a
request, told each face's labels. `measured` needs no server: it writes from the labels and from what can be measured of
the picture, and leaves out what was not measured. `seen` needs none either: it composes answers from the tags and
captions that a vision-language model wrote at one look at each picture (--seen).
Without --teacher it is `openai` where OPENAI_API_KEY or a base URL
is set, else `measured`; every row says which it was.

The key is read from the environment variable OPENAI_API_KEY and nowhere else; other servers may do without one.
Every answer is stored as it comes: stop or kill the process at any moment and run the same command again, nothing that
was answered is asked twice. The same holds after raising --max-cost or --limit. That needs no flag; --resume only makes
sure that there is something to go on with, so that a mistyped --out does not begin anew. --dry-run asks and pays
nothing. --batch costs half and takes up to a day: run the same command again to fetch what was submitted.
"""


@dataclass(frozen=True)
class DatasetRecipe:
    """The part `dataset` of a recipe. price: as --price, of this model; "" where the known one holds."""

    model: str = ""
    alternatives: tuple[str, ...] = ()
    detail: str = "high"
    max_tokens: int = Settings.max_tokens
    seed: int = 0
    price: str = ""


def load(name: str) -> DatasetRecipe:
    """Raises FaceLLMError for an unknown recipe, setting or type of value."""
    part = recipes.read_file(name).get(recipes.DATASET)
    if not isinstance(part, dict):
        raise FaceLLMError(f"The recipe {name} has no part `{recipes.DATASET}:`, so it names no teacher; take paper.")
    fields = {field.name: field for field in dataclasses.fields(DatasetRecipe)}
    for key, value in part.items():
        if key not in fields:
            raise FaceLLMError(f"Unknown setting {key!r} of `dataset` in {name}; there are {', '.join(fields)}.")
        kind = type(fields[key].default)
        if type(value) is not (list if kind is tuple else kind):
            raise FaceLLMError(f"{key} of `dataset` in {name} must be of type {kind.__name__}, not {value!r}.")
    return DatasetRecipe(**{key: tuple(map(str, v)) if isinstance(v, list) else v for key, v in part.items()})


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m train dataset",
        description="Ask a teacher eight questions about every labelled face and write the training set.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument_group("what is asked about").add_argument
    add("--images", type=Path, required=True, help="folder of the images")
    add("--labels", type=Path, help="FairFace's label file or a CSV with file, age, gender, race (default: the one "
        "fairface_label_*.csv in or beside the images, else UTKFace's file names)")  # fmt: skip
    add("--skip-bad", action="store_true", help="go on without the rows that are at fault")
    add("--limit", type=int, metavar="N", help="only the label file's first N rows")
    add("--shard", metavar="I/N", help="only every N-th image, from the I-th on, for several machines; see --merge")
    add("--attributes", metavar="A,B", help=f"of {', '.join(a.key for a in ATTRIBUTES)} (default: all)")
    add = made.add_argument_group("what is written").add_argument
    add("--out", type=Path, required=True, help="folder for the answers and the data set")
    add("--resume", action="store_true", help="refuse to begin: there must be answers in --out to go on with")
    add("--merge", type=Path, nargs="+", metavar="DIR", help="ask nothing; take over all answers of these folders, "
        "which other runs wrote with --shard, and write the data set")  # fmt: skip
    add("--val", type=float, default=0.05, metavar="F", help="fraction of the images held out (default 0.05)")
    add = made.add_argument_group("the teacher").add_argument
    add("--teacher", choices=TEACHERS, help="see below")
    add("--as-published", action="store_true", help="FairFaceGPT's own prompt with the API's defaults: no detail, "
        "seed, length or temperature is sent, and every answer is kept")  # fmt: skip
    add("--recipe", default="paper", help="recipe whose part `dataset` holds the settings that no flag gives")
    add("--model", help="the teacher (default: the recipe's)")
    add("--base-url", help=f"server (default: OPENAI_BASE_URL, else {OPENAI_URL})")
    add("--detail", choices=("low", "high", "auto"), help="resolution at which the teacher sees (default: the "
        "recipe's)")  # fmt: skip
    add("--temperature", type=float, help="of the teacher (default: the server's)")
    add("--seed", type=int, help="default: the recipe's")
    add("--max-tokens", type=int, metavar="N", help="longest answer (default: the recipe's)")
    add("--reask", type=int, default=2, metavar="N", help="new answers after one that failed a check (default 2)")
    add("--measurements", type=Path, help="face-mesh measurements for the measured teacher (default: measurements.csv "
        "in or beside the images, if there is one)")  # fmt: skip
    add("--seen", type=Path, help="folder with seen.csv for the teacher `seen` (default: the images' folder, or seen/ "
        "in or beside it)")  # fmt: skip
    add = made.add_argument_group("how it is asked").add_argument
    add("--concurrency", type=int, default=32, metavar="N", help="requests at once (default 32)")
    add("--timeout", type=float, default=Settings.timeout, metavar="S", help="seconds for a response (default 120)")
    add("--tries", type=int, default=Settings.tries, metavar="N", help="sends of a request until the server answers "
        "(default 8)")  # fmt: skip
    add("--batch", action="store_true", help="by OpenAI's Batch API: half the price, within a day")
    add("--batch-requests", type=int, default=MOST_REQUESTS, metavar="N", help="requests a batch at most (default "
        f"{MOST_REQUESTS:,})")  # fmt: skip
    add("--poll", type=float, default=POLL_SECONDS, metavar="S", help="seconds between looks at a batch (default 60)")
    add("--cancel", action="store_true", help="with --batch: cancel what is on its way and keep what it brought")
    add = made.add_argument_group("what it may cost").add_argument
    add("--price", metavar="IN,OUT", help="USD per million tokens (or IN,CACHED,OUT), where the model's price is not "
        "known here")  # fmt: skip
    add("--max-cost", type=float, metavar="USD", help="stop before all runs into --out together cost more")
    add("--dry-run", action="store_true", help="check everything and estimate the cost")
    return made


def read(argv: list[str]) -> argparse.Namespace:
    """The flags, with `shard` as (i, n) or None, `alternatives` from the recipe, and nothing left open but
    temperature, price and the optional paths.  Raises FaceLLMError for what cannot be."""
    args = parser().parse_args(argv)
    _check_numbers(args)
    args.shard = _shard(args.shard)
    if args.cancel and not args.batch:
        raise FaceLLMError("--cancel is for batches that are on their way; give it with --batch.")
    if args.merge and args.dry_run:
        raise FaceLLMError("--merge writes what it takes over, so it does not go with --dry-run: leave out one.")
    if args.merge and args.batch:
        raise FaceLLMError("--merge asks nothing, so it does not go with --batch.")
    if args.teacher is None:
        known = os.environ.get("OPENAI_API_KEY", "").strip() or args.base_url or os.environ.get("OPENAI_BASE_URL")
        args.teacher = "openai" if known else "measured"
    if args.teacher != "openai" and args.batch:
        raise FaceLLMError(f"--batch is for a server; the {args.teacher} teacher needs none: leave out one of the two.")
    if args.as_published:
        _check_published(args)
    part = load(args.recipe)
    if args.model in (None, part.model):
        args.price = args.price or part.price or None
    for name in ("model",) if args.as_published else ("model", "detail", "seed", "max_tokens"):
        if getattr(args, name) is None:
            setattr(args, name, getattr(part, name))
    args.alternatives = part.alternatives
    return args


def _check_published(args: argparse.Namespace) -> None:
    if args.teacher != "openai":
        raise FaceLLMError(f"--as-published asks a server; the {args.teacher} teacher is none: add --teacher openai.")
    for name in ("detail", "seed", "max_tokens", "temperature"):
        if (value := getattr(args, name)) is not None:
            option = f"--{name.replace('_', '-')}"
            raise FaceLLMError(
                f"--as-published sends the API's defaults; leave out {option} {value} or --as-published."
            )


def _check_numbers(args: argparse.Namespace) -> None:
    least = {"limit": 1, "concurrency": 1, "tries": 1, "reask": 0, "max_tokens": 16, "timeout": 0.1, "max_cost": 0,
             "batch_requests": 1, "poll": 0.01}  # fmt: skip
    for name, low in least.items():
        value = getattr(args, name)
        if value is not None and not low <= value < math.inf:
            raise FaceLLMError(f"--{name.replace('_', '-')} is {value}; it must be {low} or more.")
    if not 0 <= args.val < 1:
        raise FaceLLMError(f"--val is {args.val}; it is a fraction, from 0 to below 1.")
    if args.batch_requests > MOST_REQUESTS:
        raise FaceLLMError(f"--batch-requests is {args.batch_requests}; a batch holds {MOST_REQUESTS} at most.")


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise FaceLLMError(f"--shard is {text!r}; it is a part and the number of parts, such as 1/4 to 4/4.")
    return int(found[1]), int(found[2])
