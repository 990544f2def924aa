"""Which of a server's models is the base and which is FaceLLM, and whether the two really differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from PIL import Image, ImageDraw

from facellm.attributes import attribute
from facellm.errors import FaceLLMError
from facellm.interface import Questions, make_sampling
from facellm.results import VARIANTS, Row
from facellm.vision.faces import FaceView

VARIABLE = "FACELLM_BACKEND_MODELS"
CHECK_TOKENS = 24  # per answer of the check
_SHOWN = 8  # names listed in a sentence


def choose_names(listed: Sequence[Mapping[str, Any]], wanted: str, place: str) -> dict[str, str]:
    """Chooses the served names.

    "auto" takes what the server says itself (this project's), then adapters and what they stand on (vLLM lists an
    adapter with its `parent`), then a name with "facellm" in it.

    Args:
        listed: The entries of /v1/models.
        wanted: "auto", "base name,FaceLLM's name", or one name.
        place: The server, for sentences.

    Returns:
        {"base": name, "facellm": name}, or one of them.

    Raises:
        FaceLLMError: Where that leaves a doubt.
    """
    names = {str(entry.get("id")): entry for entry in listed}
    if wanted != "auto":
        return _named([part.strip() for part in wanted.split(",") if part.strip()], names, place)
    told = {e["facellm"]["variant"]: n for n, e in names.items() if isinstance(e.get("facellm"), Mapping)}
    if told:
        return {w: told[w] for w in ("base", "facellm") if w in told}
    adapters = [n for n, e in names.items() if e.get("parent")]
    plain = [n for n in names if n not in adapters]
    facellm = _only(adapters) or _only([n for n in adapters or plain if "facellm" in n.lower()])
    if facellm is None:
        if len(names) == 1:
            return {"base": plain[0]}
        raise FaceLLMError(_doubt(names, place))
    parent = names[facellm].get("parent")
    base = parent if parent in names else _only([n for n in plain if n != facellm])
    if base is None and len(names) > 1:
        raise FaceLLMError(_doubt(names, place))
    return {"facellm": facellm} if base is None else {"base": base, "facellm": facellm}


def _named(wanted: list[str], names: Mapping[str, Any], place: str) -> dict[str, str]:
    for name in wanted:
        if name not in names:
            raise FaceLLMError(f"The server {place} has no model {name!r}; it has {_list(names)}.")
    if len(wanted) == 2 and wanted[0] != wanted[1]:
        return dict(zip(("base", "facellm"), wanted, strict=True))
    if len(wanted) != 1:
        raise FaceLLMError(f"{','.join(wanted)!r} does not name two models; write the base's name, a comma, FaceLLM's.")
    entry = names[wanted[0]]
    own = entry.get("facellm") or {}
    tuned = own.get("variant") == "facellm" if own else bool(entry.get("parent")) or "facellm" in wanted[0].lower()
    return {"facellm" if tuned else "base": wanted[0]}


def _only(found: Sequence[str]) -> str | None:
    return found[0] if len(found) == 1 else None


def _doubt(names: Mapping[str, Any], place: str) -> str:
    return (
        f"Which of the models of {place} is the base and which FaceLLM cannot be told ({_list(names)}); say it with "
        f"{VARIABLE}=base,facellm, in that order."
    )


def _list(names: Mapping[str, Any]) -> str:
    shown = list(names)[:_SHOWN]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(shown)}{more}" if shown else "none"


class Checked(NamedTuple):
    """What the check of a server's models found.

    Attributes:
        warning: A sentence for people, or None where all is well.
        mixed: Whether the server mixes its models up where both are asked at once.
    """

    warning: str | None = None
    mixed: bool = False


def check_answers(model: Questions, *, apart: bool) -> Checked:
    """Asks both models of a server three questions about a drawn face.

    A server that finds no layer for an adapter's weights may serve the base under the adapter's name without a word
    (seen with vLLM where the adapter's keys were those of another class of the model). And it may compute with the
    adapter for all requests of a batch (vLLM's build for CPUs): then a model's answer is the other's to the letter
    where both are asked at once, and not where it is asked alone. That another batch rounds otherwise does not do that.

    Args:
        model: The server's models.
        apart: Also asks each model alone, for servers that may mix them up.

    Raises:
        FaceLLMError: Where the server does not answer.
    """
    if set(model.variants) != set(VARIANTS):
        return Checked()
    found = _check_answers(model, VARIANTS)
    mixed = False
    if apart:
        alone = {variant: _check_answers(model, [variant])[variant] for variant in VARIANTS}
        mixed = any(
            told == others != own
            for variant, other in (VARIANTS, VARIANTS[::-1])
            for told, own, others in zip(found[variant], alone[variant], alone[other], strict=True)
        )
        found = alone if mixed else found
    if found["base"] == found["facellm"]:
        return Checked(
            "Base and FaceLLM gave the same answers to three questions: the server may be serving the base under both "
            "names; see its log for adapter weights that it could not place."
        )
    if not mixed:
        return Checked()
    return Checked(
        "The server mixes base and FaceLLM up where both are asked at once, so they are asked one after the other; "
        "what other clients ask at the same time can still change the answers.",
        True,
    )


def _check_answers(model: Questions, variants: Sequence[str]) -> dict[str, list[str]]:
    """{variant: its greedy answers to the questions of the check}, all asked at once."""
    questions = ("Describe this image.", attribute("pose").question, attribute("lighting").question)
    rows = [Row(variant, question) for question in questions for variant in variants]
    sampling = make_sampling(None, {"max_new_tokens": CHECK_TOKENS})
    answers = {d.row: d.answer.text for d in model.stream(drawn_face(), rows, sampling) if d.answer}
    return {v: [answers[i] for i, row in enumerate(rows) if row.variant == v] for v in variants}


def drawn_face() -> FaceView:
    """Returns a face of a few strokes, 224 x 224 px: everybody has it, and it shows nobody."""
    image = Image.new("RGB", (224, 224), (150, 170, 190))
    pen = ImageDraw.Draw(image)
    pen.ellipse((42, 22, 182, 206), fill=(222, 184, 150), outline=(120, 90, 70), width=3)
    for x in (84, 140):
        pen.ellipse((x - 14, 84, x + 14, 102), fill=(250, 250, 250), outline=(60, 50, 40), width=2)
        pen.ellipse((x - 6, 86, x + 6, 100), fill=(60, 40, 30))
    pen.line((112, 104, 104, 138, 116, 140), fill=(160, 120, 95), width=3)
    pen.arc((80, 136, 144, 180), 15, 165, fill=(150, 60, 60), width=5)
    return FaceView(image, None)
