"""What comes out: rows that are asked, text as it grows, finished answers, comparisons and reports.

Frozen dataclasses with to_dict() that json.dumps accepts. What this file does not know: models, torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

VARIANTS = ("base", "facellm")


@dataclass(frozen=True)
class Row:
    """One question to one model.

    variant: "base" or "facellm".  history: earlier (question, answer) turns.  system: system prompt.
    key: the caller's name for it (an attribute's key), handed back with the answer.
    seed: of this row's random stream in place of the sampling's.
    """

    variant: str
    question: str
    history: tuple[tuple[str, str], ...] = ()
    system: str | None = None
    key: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Answer:
    """A finished answer.

    tokens: how many were written, the end mark not counted.  token_ids: their ids.  seconds: from the request to the last
    token; first_token_seconds: to the first.  tokens_per_second: tokens / seconds.
    finish_reason: "stop" (the model ended it), "length" (max_new_tokens) or "cancelled".
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

    def to_dict(self) -> dict[str, Any]:
        """As JSON; seconds rounded to 0.1 ms, token ids left out."""
        result = asdict(self)
        del result["token_ids"]
        for name in ("seconds", "first_token_seconds", "tokens_per_second"):
            result[name] = None if result[name] is None else round(result[name], 4)
        return result


@dataclass(frozen=True)
class Delta:
    """New text of one row; row: its index in the request.  answer: the whole of it, when done."""

    row: int
    text: str
    done: bool = False
    answer: Answer | None = None


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

    face: {"box": [left, top, right, bottom], "score": 0..1, "landmarks": [[x, y], ...], "image_size": [width, height]},
    or None where none was found or looked for. Landmarks: the eye on the image's left, the other eye, nose tip, the
    mouth corner on the left, the other corner. All in px of an image of `image_size`, which is the photo upright by its
    EXIF orientation and reduced to at most 2,048 px a side; None where a FaceView made by hand does not say it.
    notice: a sentence about the face (none found, several), or None.
    """

    variant: str
    answers: tuple[Answer, ...]
    face: dict[str, Any] | None = None
    notice: str | None = None

    def __getitem__(self, key: str) -> Answer:
        """The answer to the attribute of that key.  Raises KeyError."""
        for answer in self.answers:
            if answer.key == key:
                return answer
        raise KeyError(key)

    def to_dict(self) -> dict[str, Any]:
        return {
            "variant": self.variant,
            "face": self.face,
            "notice": self.notice,
            "answers": [a.to_dict() for a in self.answers],
        }
