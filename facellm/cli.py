"""The command `facellm` (`python -m facellm`): describe, ask, compare, profile and serve.

Answers stream to the terminal, or are one JSON object. The exit code is 0, 2 for input that cannot be used (one
sentence on stderr), 130 when interrupted. With FACELLM_SENSITIVE=off no question about ethnicity or emotion is asked
and no sentence about them printed. Nothing heavy is imported before the arguments and the image are known to be good.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TextIO

from facellm import policy
from facellm.attributes import ATTRIBUTES, attribute, select, sensitive_allowed
from facellm.errors import FaceLLMError
from facellm.model_options import ModelOptions, add_model_options
from facellm.weights.registry import MODELS, split_revision

if TYPE_CHECKING:
    from facellm.api import Questions

BAR = 30  # characters of a probability of 1
TITLES = {"base": "Base", "facellm": "FaceLLM"}


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line; sampling has the defaults of `facellm.engine.sampling.Sampling`."""
    parser = argparse.ArgumentParser(prog="facellm", description="Ask FaceLLM about the face in a photo.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="describe|ask|compare|profile|serve")
    about = {
        "describe": "eight attributes of the face, in the paper's order",
        "ask": "one question about the face",
        "compare": "base model and FaceLLM on the same questions",
        "profile": "age group, gender, pose and so on, as probabilities",
    }
    for name, text in about.items():
        command = commands.add_parser(name, help=text, description=f"FaceLLM: {text}.")
        command.add_argument("image", metavar="IMAGE", help="a photo (JPEG, PNG, WebP, HEIC, first frame of GIF)")
        if name == "ask":
            command.add_argument("question", metavar="QUESTION")
        if name == "compare":
            command.add_argument("question", metavar="QUESTION", nargs="?", help="without it, --attributes are asked")
        _add_options(command, name)
    serve = commands.add_parser("serve", help="the model behind an OpenAI-compatible server", description=_SERVE)
    add_model_options(serve, backend=False).add_argument("--only-facellm", action="store_true", help=_ONLY)
    place = serve.add_argument_group("server")
    place.add_argument("--host", default="127.0.0.1", metavar="H", help="address to listen on (default 127.0.0.1)")
    place.add_argument("--port", type=int, default=8000, metavar="N", help="default 8000; 0 takes a free one")
    place.add_argument("--api-key-env", metavar="NAME", help="environment variable with the key that clients must send")
    for variant, title in TITLES.items():
        help_text = f"name under which {title} is served (default {variant})"
        place.add_argument(f"--served-{variant}", default=variant, metavar="NAME", help=help_text)
    serve.add_argument("--verbose", action="store_true", help="say on stderr what is opened and why")
    return parser


_ONLY = "do not open the base beside a merged FaceLLM"
_SERVE = "Serve base and FaceLLM at /v1/models, /v1/chat/completions and /v1/profiles (docs/serving.md)."


def _add_options(command: argparse.ArgumentParser, name: str) -> None:
    model = add_model_options(command)
    model.add_argument("--only-facellm", action="store_true", help=_ONLY)
    if name != "compare":
        model.add_argument("--base", action="store_true", help="ask the base model in place of FaceLLM")
    photo = command.add_argument_group("photo")
    photo.add_argument("--face", type=int, default=0, metavar="N", help="which face, 0 the largest (default)")
    photo.add_argument("--whole-image", action="store_true", help="show the model the whole image, not a face")
    if name != "profile":
        photo.add_argument("--tiles", type=int, default=1, metavar="N", help="with --whole-image: 1 (default) to 12")
        if name != "ask":
            keys = ",".join(a.key for a in ATTRIBUTES)
            command.add_argument("--attributes", metavar="a,b", help=f"which of {keys}; default all")
        words = command.add_argument_group("answers")
        words.add_argument("--system", metavar="TEXT", help="system prompt")
        words.add_argument("--max-new-tokens", type=int, metavar="N", help="longest answer in tokens (default 256)")
        words.add_argument("--temperature", type=float, metavar="T", help="0 (default): always the likeliest word")
        words.add_argument("--top-p", type=float, metavar="P", help="default 1: all words may be drawn")
        words.add_argument("--seed", type=int, metavar="N", help="of the random numbers (default 0)")
    command.add_argument("--json", action="store_true", help="print one JSON object at the end")
    command.add_argument("--verbose", action="store_true", help="say on stderr what is opened and why")


def main(arguments: Sequence[str] | None = None, out: TextIO | None = None) -> int:
    """Runs one command and returns the exit code.

    Args:
        arguments: The command line (default: the process's own).
        out: Where answers are written (default: stdout).
    """
    args = build_parser().parse_args(arguments)
    out = out or _stdout()
    try:
        _serve(args) if args.command == "serve" else _run(args, out)
    except FaceLLMError as error:
        print(f"facellm: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone; nothing more can be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def _serve(args: argparse.Namespace) -> None:
    if missing := [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]:
        raise FaceLLMError(f"serve needs {' and '.join(missing)}; install them with: pip install 'facellm[serve]'.")
    _quiet(args.verbose, notes=True)
    from facellm.server.run import run

    run(args)


def _run(args: argparse.Namespace, out: TextIO) -> None:
    """Checks, opens, answers, prints.  Raises FaceLLMError for what the user can mend."""
    sensitive = sensitive_allowed()
    asked = _questions(args)
    options = ModelOptions.read(args)
    if getattr(args, "tiles", 1) != 1 and not args.whole_image:
        raise FaceLLMError(f"--tiles {args.tiles} is for the whole image; add --whole-image or leave out --tiles.")
    for _, question in asked:
        policy.check(question, sensitive)
    from facellm.vision.images import load_image

    image = load_image(args.image)
    _quiet(args.verbose, notes=not args.json)
    from facellm.api import face_of, make_sampling

    names = ("max_new_tokens", "temperature", "top_p", "seed")
    given = {n: getattr(args, n) for n in names if getattr(args, n, None) is not None}
    sampling = make_sampling(None, given)
    model = _open(args, options)
    view = model.view(image, args.face, args.whole_image)
    result: dict[str, Any] = {
        "command": args.command,
        "model": model.report.to_dict(),
        "image": {"file": args.image, "width": image.width, "height": image.height},
        "face": face_of(view),
        "notice": view.notice,
    }
    if view.notice:
        print(f"facellm: {view.notice}", file=sys.stderr)
    if args.command == "profile":
        profile = model.profile(view, "base" if args.base else None)
        result["profile"] = profile.to_dict()
        if not args.json:
            out.writelines(f"{line}\n" for line in profile_lines(result["profile"]))
    else:
        from facellm.results import Row

        one = "base" if getattr(args, "base", False) else model.variants[-1]
        variants = ("base", "facellm") if args.command == "compare" else (one,)
        rows = [Row(v, question, system=args.system, key=key) for key, question in asked for v in variants]
        titles = [attribute(row.key).title if row.key else row.question for row in rows]
        if len(variants) > 1:
            titles = [f"{title} ({TITLES[row.variant]})" for title, row in zip(titles, rows, strict=True)]
        deltas = model.stream(view, rows, sampling, tiles=args.tiles if args.whole_image else 1)
        deltas = _screened(deltas, len(rows), sensitive)
        answers = show(deltas, titles, None if args.json else out, statistics=args.command == "compare")
        result["sampling"] = {n: getattr(sampling, n) for n in names}
        result["answers"] = [a.to_dict() for a in answers]
    if args.json:
        json.dump(result, out, ensure_ascii=False, indent=2, allow_nan=False)
        out.write("\n")
    out.flush()


def _open(args: argparse.Namespace, options: ModelOptions) -> Questions:
    """The model that the arguments name: a server's where there is a URL, else one opened here."""
    if options.backend_url and args.only_facellm:
        raise FaceLLMError("--only-facellm cannot be chosen for a server (--backend-url); leave it out.")
    spec = MODELS.get(split_revision(options.model)[0].lower())
    if args.command == "compare" and spec and not (options.adapter or spec.facellm or spec.adapter):
        raise FaceLLMError(f"No FaceLLM is known for {spec.name} to compare it with; give one with --adapter.")
    # Only who asks the base needs it beside a merged FaceLLM.
    both = True if args.command == "compare" or args.base else None
    return options.open(base=False if args.only_facellm else both)


def _screened(deltas: Iterator[Any], rows: int, sensitive: bool) -> Iterator[Any]:
    """Yields the deltas with the text that may be shown."""
    screens = [policy.Screen(sensitive) for _ in range(rows)]
    for delta in deltas:
        screen = screens[delta.row]
        text = screen.add(delta.text, delta.done)
        answer = replace(delta.answer, text=screen.text) if delta.answer and not sensitive else delta.answer
        yield replace(delta, text=text, answer=answer)


def _questions(args: argparse.Namespace) -> list[tuple[str | None, str]]:
    """The command's questions: [(attribute's key or None, question)]."""
    if args.command == "profile":
        return []
    question = getattr(args, "question", None)
    if question is not None:
        if not question.strip():
            raise FaceLLMError("The question is empty; write what you want to know about the face.")
        if getattr(args, "attributes", None):
            raise FaceLLMError("Give either a question or --attributes, not both.")
        return [(None, question)]
    return [(a.key, a.question) for a in select(args.attributes)]


def _stdout() -> TextIO:
    """sys.stdout, able to take every character: redirected, Windows would write in a code page of 256 characters."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=None if sys.stdout.isatty() else "utf-8", errors="replace")
    return sys.stdout


def _quiet(verbose: bool, notes: bool) -> None:
    """Only what concerns the user reaches the terminal.  notes: of loading, which --json has in its object."""
    import logging
    import warnings

    logging.basicConfig(format="%(name)s: %(message)s")
    logging.getLogger("facellm").setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("facellm.weights.load").setLevel(logging.NOTSET if notes or verbose else logging.ERROR)
    if not verbose:
        warnings.simplefilter("ignore", FutureWarning)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging as transformers_logging

    downloads = sys.stderr.isatty() and not are_progress_bars_disabled()
    transformers_logging.disable_progress_bar()
    if downloads:  # transformers has switched off the hub's as well
        enable_progress_bars()


def show(deltas: Iterator[Any], titles: Sequence[str], out: TextIO | None, statistics: bool = False) -> list[Any]:
    """Prints cards in order: the first unfinished one while it grows, the others when their turn comes.

    Args:
        deltas: Text of all rows as it grows.
        titles: The cards' titles, one a row.
        out: Where to print; None prints nothing.
        statistics: Whether tokens and seconds are printed under each card.

    Returns:
        The rows' Answers.
    """
    pending = ["" for _ in titles]
    answers: list[Any] = [None] * len(titles)
    current = -1

    def write(text: str) -> None:
        if out is not None:
            out.write(text)
            out.flush()

    def open_next() -> None:
        nonlocal current
        current += 1
        if current < len(titles):
            write(f"{titles[current]}\n{'-' * len(titles[current])}\n{pending[current].lstrip()}")

    open_next()
    for delta in deltas:
        if delta.row == current:
            write(delta.text)
        pending[delta.row] += delta.text
        if delta.done:
            answers[delta.row] = delta.answer
        while current < len(titles) and answers[current] is not None:
            a = answers[current]
            figures = f"[{a.tokens} tokens, {a.seconds:.2f} s, {a.tokens_per_second:.1f}/s]\n" if statistics else ""
            write(f"\n{figures}")
            if current + 1 < len(titles):
                write("\n")
            open_next()
    return answers


def profile_lines(profile: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of a `Profile.to_dict()`: one block a field, one bar a label."""
    from facellm.profile import FIELDS

    titles = {f.key: f.title for f in FIELDS}
    for key, field in profile["fields"].items():
        yield f"{titles.get(key, key)}: {field['label']} ({field['probability']:.0%})"
        width = max(map(len, field["probabilities"]))
        for label, p in field["probabilities"].items():
            yield f"  {label:<{width}}  {'█' * round(p * BAR):<{BAR}}  {p:6.1%}"
        yield ""
    if not profile["calibrated"]:
        yield "These probabilities are not calibrated: no calibration.json belongs to this model."
