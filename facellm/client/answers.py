"""What travels between here and a server: the image as a data URI there, an answer's events back."""

from __future__ import annotations

import base64
import hashlib
import io
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from facellm.results import Answer, Delta, Row, TokenLogprob

if TYPE_CHECKING:
    from PIL import Image

    from facellm.engine.sampling import Sampling

ONE_TILE_SIDE = 896  # px: twice a tile's side; a larger crop only costs time on the way
JPEG_QUALITY = 95  # of whole images for several tiles, which would be tens of megabytes as PNG


class GrowingAnswer:
    """One row of a request: what was asked, and what came so far."""

    def __init__(self, index: int, row: Row, sampling: Sampling, started: float):
        self.index, self.row, self.started = index, row, started
        self.seed = sampling.seed if row.seed is None else row.seed
        self.text, self.tokens, self.counted, self.done = "", 0, False, False
        self._start = 0  # characters of the tokens that came
        self.reason: str | None = None
        self.first: float | None = None
        self.logprobs: list[TokenLogprob] = []

    @property
    def complete(self) -> bool:
        """Whether all is known: the reason comes with the last text, the counts after it."""
        return self.reason is not None and self.counted and not self.done

    def read(self, event: dict[str, Any]) -> tuple[str, tuple[TokenLogprob, ...]]:
        """Takes one event of the stream and returns its new text and its tokens' log-probabilities."""
        new, tokens = "", len(self.logprobs)
        for choice in event.get("choices") or ():
            new += (choice.get("delta") or {}).get("content") or ""
            for told in (choice.get("logprobs") or {}).get("content") or ():
                top = tuple(_token(other) for other in told.get("top_logprobs") or ())
                self.logprobs.append(replace(_token(told), top=top, start=self._start))
                self._start += len(self.logprobs[-1].token)
            self.reason = choice.get("finish_reason") or self.reason
        if new:
            self.first = self.first or time.perf_counter()
            self.text += new
            self.tokens += not self.counted  # a guess, one per event, until the server counts
        if usage := event.get("usage"):
            self.tokens, self.counted = int(usage.get("completion_tokens") or 0), True
        return new, tuple(self.logprobs[tokens:])

    def finish(self, reason: str | None = None) -> Delta:
        """Returns the last delta, which holds the answer; `reason` takes the place of the server's."""
        self.done = True
        seconds = time.perf_counter() - self.started
        answer = Answer(
            variant=self.row.variant,
            key=self.row.key,
            question=self.row.question,
            text=self.text,
            tokens=self.tokens,
            seconds=seconds,
            first_token_seconds=None if self.first is None else self.first - self.started,
            tokens_per_second=self.tokens / seconds if seconds > 0 else 0.0,
            finish_reason=reason or ("length" if self.reason == "length" else "stop"),
            seed=self.seed,
            logprobs=tuple(self.logprobs),
        )
        return Delta(self.index, "", True, answer)


def _token(told: dict[str, Any]) -> TokenLogprob:
    raw = told.get("bytes")
    return TokenLogprob(str(told.get("token")), float(told.get("logprob") or 0), None if raw is None else tuple(raw))


def data_uri(image: Image.Image, tiles: int = 1) -> str:
    """Returns the image for a request: PNG, reduced to what one tile can use; JPEG for several tiles of a large one."""
    file = io.BytesIO()
    if tiles > 1:
        image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        if max(image.size) > ONE_TILE_SIDE:
            image = image.copy()
            image.thumbnail((ONE_TILE_SIDE, ONE_TILE_SIDE), reducing_gap=3.0)
        image.save(file, "PNG", compress_level=1)
    kind = "jpeg" if tiles > 1 else "png"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def image_header(address: str) -> dict[str, str]:
    """Returns a header with a digest of the image, by which a proxy sends all questions about it to one replica."""
    return {"X-FaceLLM-Image": hashlib.blake2b(address.encode(), digest_size=16).hexdigest()}
