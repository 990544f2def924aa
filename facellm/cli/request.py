"""What a command line asks and which model it opens: checked before anything heavy is imported."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facellm import policy
from facellm.attributes import select, sensitive_allowed
from facellm.errors import FaceLLMError
from facellm.model_options import ModelOptions
from facellm.typed.question import TypedQuestion, parse, read
from facellm.weights.registry import MODELS, split_revision

if TYPE_CHECKING:
    from facellm.interface import Questions

SAMPLING = ("max_new_tokens", "temperature", "top_p", "seed")


@dataclass(frozen=True)
class Asked:
    """What is asked about every photo.

    Attributes:
        questions: (attribute's key or None, question) of each; none for a profile.
        options: Which model.
        sensitive: Whether ethnicity and emotion may be asked about and shown.
        sampling: What was given of SAMPLING.
        tiles: At most so many tiles of a whole image.
        typed: Questions with options beside a profile; a text is the name of one that travels with the model.
    """

    questions: tuple[tuple[str | None, str], ...]
    options: ModelOptions
    sensitive: bool
    sampling: dict[str, Any]
    tiles: int
    typed: tuple[TypedQuestion | str, ...] = ()


def read_request(args: argparse.Namespace) -> Asked:
    """Reads what is asked from a command line.

    Raises:
        FaceLLMError: For what the user can mend.
    """
    sensitive = sensitive_allowed()
    questions = tuple(_questions(args))
    options = ModelOptions.read(args)
    tiles = getattr(args, "tiles", 1)
    if tiles != 1 and not args.whole_image:
        raise FaceLLMError(f"--tiles {tiles} is for the whole image; add --whole-image or leave out --tiles.")
    for _, question in questions:
        policy.check(question, sensitive)
    given = {n: getattr(args, n) for n in SAMPLING if getattr(args, n, None) is not None}
    typed = tuple(_typed(text, sensitive) for text in getattr(args, "ask", None) or ())
    return Asked(questions, options, sensitive, given, tiles, typed)


def open_chosen(args: argparse.Namespace, options: ModelOptions) -> Questions:
    """Opens the model that the arguments name: a server's where there is a URL, else one in this process.

    Raises:
        FaceLLMError: Where it cannot be opened or reached.
    """
    if options.backend_url and args.only_facellm:
        raise FaceLLMError("--only-facellm cannot be chosen for a server (--backend-url); leave it out.")
    spec = MODELS.get(split_revision(options.model)[0].lower())
    if args.command == "compare" and spec and not (options.adapter or spec.facellm or spec.adapter):
        raise FaceLLMError(f"No FaceLLM is known for {spec.name} to compare it with; give one with --adapter.")
    # Only who asks the base needs it beside a merged FaceLLM.
    both = True if args.command == "compare" or args.base else None
    return options.open(base=False if args.only_facellm else both)


def _typed(text: str, sensitive: bool) -> TypedQuestion | str:
    if "=" not in text and not Path(text).is_file():
        return text
    question = read(text) if Path(text).is_file() else parse(text)
    policy.check(question.question, sensitive)
    return question


def _questions(args: argparse.Namespace) -> list[tuple[str | None, str]]:
    if args.command in ("profile", "why"):
        return []
    question = getattr(args, "question", None)
    if question is not None:
        if not question.strip():
            raise FaceLLMError("The question is empty; write what you want to know about the face.")
        if getattr(args, "attributes", None):
            raise FaceLLMError("Give either a question or --attributes, not both.")
        return [(None, question)]
    return [(a.key, a.question) for a in select(args.attributes)]
