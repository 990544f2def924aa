"""What only this project's own server is asked: the bodies of requests, and replies as a model here would answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from facellm.typed.explanation import Explanation
from facellm.typed.question import TypedQuestion


def body_of(names: Sequence[str], address: str, **more: Any) -> dict[str, Any]:
    """Returns the body of a request about a picture that was cropped here.

    Args:
        names: Served names of the models.
        address: The picture as a data: address.
        more: What else is asked; what is None is left out.
    """
    body = {"model": list(names), "image": address, "facellm": {"crop": False}, **more}
    return {key: value for key, value in body.items() if value is not None}


def ask_of(question: TypedQuestion) -> dict[str, Any]:
    """Returns a typed question as the server takes it."""
    return {"ask": question.ask, "options": list(question.options)}


def scores_of(told: Sequence[Mapping[str, Any]], questions: Sequence[TypedQuestion]) -> list[list[float]]:
    """Returns the log-likelihoods in nats of each question's options, in their order, from one model's reply."""
    return [
        [float(one["scores"][option]) for option in question.options]
        for one, question in zip(told, questions, strict=True)
    ]


def explanation_of(told: Mapping[str, Any]) -> Explanation:
    """Returns one model's explanation from its reply."""
    return Explanation(
        told["variant"],
        told["question"],
        told["label"],
        dict(told["probabilities"]),
        dict(told["without_picture"]),
        tuple(tuple(float(value) for value in row) for row in told["influence"]),
    )
