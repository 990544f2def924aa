"""What goes into a model and comes out: rows that are asked, text as it grows, answers, comparisons and reports.

They are frozen dataclasses; what `to_dict()` returns can be written as JSON.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

VARIANTS = ("base", "facellm")


@dataclass(frozen=True)
class Row:
    """One question to one model.

    Attributes:
        variant: "base" or "facellm".
        question: This turn's text.
        history: Earlier (question, answer) turns, oldest first.
        system: A system prompt.
        key: The caller's name for the row (an attribute's key), handed back with the answer.
        seed: Seed of this row's random stream in place of the sampling's.
    """

    variant: str
    question: str
    history: tuple[tuple[str, str], ...] = ()
    system: str | None = None
    key: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class TokenLogprob:
    """How likely a token of an answer was to the model, before temperature, penalty and grammar had their say.

    Attributes:
        token: Its text; half a character reads "\ufffd".
        logprob: Natural logarithm of its probability.
        bytes: Of its text in UTF-8; None where they are not known.
        top: The likeliest tokens at its place, likeliest first, without `top` of their own.
        start: Characters of the answer before it.
    """

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: tuple[TokenLogprob, ...] = ()
    start: int = 0


@dataclass(frozen=True)
class Answer:
    """A finished answer.

    Attributes:
        variant, key, question: Of the row that was asked.
        text: The whole answer.
        tokens: How many tokens were written, without the EOS token; token_ids are their ids.
        seconds: From the request to the last token.
        first_token_seconds: From the request to the first token; None where there was none.
        tokens_per_second: tokens / seconds.
        finish_reason: "stop" (the model ended it), "length" (max_new_tokens) or "cancelled".
        seed: Seed of the row's random stream.
        logprobs: Of each token, where they were asked for.
    """

    variant: str
    key: str | None
    question: str
    text: str
    tokens: int
    seconds: float
    first_token_seconds: float | None
    tokens_per_second: float
    finish_reason: str
    seed: int
    token_ids: tuple[int, ...] = field(default=(), repr=False)
    logprobs: tuple[TokenLogprob, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Returns the answer for JSON; seconds are rounded to 0.1 ms, token ids and absent logprobs left out."""
        result = asdict(self)
        del result["token_ids"]
        if not self.logprobs:
            del result["logprobs"]
        for name in ("seconds", "first_token_seconds", "tokens_per_second"):
            result[name] = None if result[name] is None else round(result[name], 4)
        return result


@dataclass(frozen=True)
class Delta:
    """New text of the row with index `row` in the request; the last one is `done` and holds the whole answer.

    `logprobs` are those of the tokens since the delta before, where they were asked for.
    """

    row: int
    text: str
    done: bool = False
    answer: Answer | None = None
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """The same question to both models."""

    base: Answer
    facellm: Answer

    def to_dict(self) -> dict[str, Any]:
        return {"base": self.base.to_dict(), "facellm": self.facellm.to_dict()}


@dataclass(frozen=True)
class Report:
    """Answers about one image, in the order asked (the paper's, for attributes).

    Attributes:
        variant: The model that was asked.
        answers: One for each attribute.
        face: {"box": [left, top, right, bottom], "score": 0..1, "landmarks": [[x, y], ...], "image_size": [width,
            height]}, or None where no face was found or looked for. The landmarks are the eye on the image's left, the
            other eye, the nose tip, the mouth corner on the left and the other corner. All are in px of an image of
            `image_size`: the photo, upright by its EXIF orientation and reduced to at most 2,048 px a side. The size is
            None where a FaceView made by hand does not say it.
        notice: A sentence about the face (none found, several), or None.
    """

    variant: str
    answers: tuple[Answer, ...]
    face: dict[str, Any] | None = None
    notice: str | None = None

    def __getitem__(self, key: str) -> Answer:
        """Returns the answer to the attribute of that key.  Raises KeyError."""
        return {answer.key: answer for answer in self.answers}[key]

    def to_dict(self) -> dict[str, Any]:
        return {
            "variant": self.variant,
            "face": self.face,
            "notice": self.notice,
            "answers": [a.to_dict() for a in self.answers],
        }
