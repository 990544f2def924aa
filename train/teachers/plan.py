"""What is to be asked of a teacher, what that may cost, how an image is sent, and what is stored of an answer.

The same for every teacher and every way of asking; it touches no server.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from facellm import attributes
from facellm.attributes import Attribute
from facellm.errors import FaceLLMError
from facellm.vision.images import MAX_SIDE, load_image
from train.faces.label_rows import LabelRow
from train.teachers import checks as answer_checks
from train.teachers import prompt
from train.teachers.faults import REFUSED
from train.teachers.openai import Reply
from train.teachers.price import ANSWER_TOKENS, DEAREST_IMAGE, LONGEST_ANSWER, Price, image_tokens, text_tokens
from train.teachers.prompt import Prompt
from train.teachers.store import AnswerStore, identity

_SENT_AS_IS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Plan:
    """What is to be asked.

    Attributes:
        rows: The faces.
        attributes: What is asked about each.
        settings: Of a teacher: its name (`teacher`), a `model`, and `identity()`, the JSON values that shape an answer.
        price: USD per token; None where it is not known.
        max_cost: USD that all runs together may cost; None for no limit.
        concurrency: Requests at once.
        tries: Paid answers that a request may take in all.
        prompt_version: Of the wording.
        prompt: What a server is told.
    """

    rows: Sequence[LabelRow]
    attributes: Sequence[Attribute]
    settings: Any
    price: Price | None = None
    max_cost: float | None = None
    concurrency: int = 32
    tries: int = 3
    prompt_version: str = prompt.PROMPT_VERSION
    prompt: Prompt = prompt.OURS

    def request(self, row: LabelRow, attribute: Attribute) -> str:
        """Returns the request's identity, a digest of everything that shapes its answer."""
        return identity(
            image=row.digest,
            attribute=attribute.key,
            system=self.prompt_version,
            question=self.prompt.question(attribute, row),
            **self.settings.identity(),
        )

    def open_requests(self, store: AnswerStore) -> Iterator[tuple[LabelRow, list[tuple[Attribute, str]]]]:
        """Yields, image by image, the attributes still to be asked with their identities."""
        for row in self.rows:
            wanted = [(attribute, self.request(row, attribute)) for attribute in self.attributes]
            if still := [(a, r) for a, r in wanted if store.is_open(r, self.tries)]:
                yield row, still

    def kept_texts(self, store: AnswerStore, row: LabelRow) -> dict[str, str]:
        """Returns the answers about one image that are kept, by attribute key."""
        found = {a.key: store.kept(self.request(row, a)) for a in self.attributes}
        return {key: record["answer"] for key, record in found.items() if record}

    def judge(self, reply: Reply, row: LabelRow, attribute: str, others: Iterable[str]) -> tuple[list[str], list[str]]:
        """Looks at an answer.

        Args:
            reply: The answer.
            row: The face.
            attribute: Key of what was asked.
            others: Answers about the same image that are kept.

        Returns:
            Keys of the checks for which it is not kept, and of those that are only noted with it.
        """
        refusal, finish = reply.refusal, reply.finish_reason
        found = answer_checks.check(reply.text, row, attribute, refusal=refusal, finish_reason=finish, others=others)
        if self.prompt.checked or not (reply.text or "").strip():
            return found, []
        return [], found

    def dearest(self, question: str) -> float:
        """Returns the most USD that a request may cost: the dearest image, every token of the answer used."""
        if self.price is None:
            return 0.0
        seen = image_tokens(*DEAREST_IMAGE, self.settings.detail, self.settings.model)
        read = text_tokens(self.prompt.system + question) + seen
        return self.price.estimate(read, self.settings.max_tokens or LONGEST_ANSWER)

    def lacks_usage(self, usage: Mapping[str, Any] | None) -> bool:
        """Returns whether an answer has a price, but its server does not say what was used."""
        return self.price is not None and self.price.cost(usage) is None

    def cost(self, usage: Mapping[str, Any] | None, question: str) -> float | None:
        """Returns an answer's USD; None where no price is known.

        Without usage it is charged as the dearest that it can be, so that max_cost binds all the same.
        """
        if self.price is None:
            return None
        cost = self.price.cost(usage)
        return self.dearest(question) if cost is None else cost


def stopped_at_max_cost(spent: float, limit: float) -> FaceLLMError:
    return FaceLLMError(
        f"Stopped at --max-cost: {spent:.2f} USD are spent and the next answers could pass {limit:.2f} USD; every "
        "answer so far is kept: raise --max-cost to go on."
    )


@dataclass
class Outcome:
    """Counts of one run.

    Attributes:
        asked: Answers that came.
        kept: Answers that passed the checks.
        unpriced: Answers that came without usage.
        failed: Requests without an answer, left for the next run.
        faults: Kind -> tries that brought nothing.
        reasons: Check -> answers that failed it.
        seconds: How long the run took.
        stopped: Whether the user stopped it.
    """

    asked: int = 0
    kept: int = 0
    unpriced: int = 0
    failed: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    stopped: bool = False

    def add(self, checks: Sequence[str], lacks_usage: bool = False) -> None:
        self.asked += 1
        self.kept += not checks
        self.unpriced += lacks_usage
        self.reasons.update(checks)


def data_url(path: Path, digest: str) -> str:
    """Returns the image as it is sent: the file itself where it holds nothing but upright pixels, else a new JPEG.

    Raises:
        FaceLLMError: If the file is no longer the one that was checked.
    """
    raw = read_image(path, digest)
    with Image.open(io.BytesIO(raw)) as image:
        kind = _SENT_AS_IS.get(image.format)
        plain = not image.getexif() and max(image.size) <= MAX_SIDE  # EXIF may tell a place or a name
    if kind is None or not plain:
        buffer = io.BytesIO()
        load_image(raw).save(buffer, "JPEG", quality=JPEG_QUALITY)
        raw, kind = buffer.getvalue(), "image/jpeg"
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"


def read_image(path: Path, digest: str) -> bytes:
    """Returns the file's bytes.  Raises FaceLLMError if they are no longer those that were checked."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FaceLLMError(f"The image {path} cannot be read any more: {error.strerror}.") from None
    if hashlib.sha256(raw).hexdigest() != digest:
        raise FaceLLMError(f"The image {path} changed while the teacher was asked; run the same command again.")
    return raw


def request_tokens(row: LabelRow, plan: Plan, question: str) -> int:
    """Estimates the tokens that one request reads; the image's size is read from its file's head."""
    with Image.open(row.path) as image:
        seen = image_tokens(*image.size, plan.settings.detail, plan.settings.model)
    return text_tokens(plan.prompt.system) + seen + text_tokens(question)


def estimate(plan: Plan, store: AnswerStore | None) -> tuple[int, int, int]:
    """Returns the number of open requests, the tokens that they read, and those that their answers take."""
    requests = read = 0
    for row, still in plan.open_requests(store or AnswerStore(Path())):
        first = plan.prompt.question(still[0][0], row)
        shared = request_tokens(row, plan, first) - text_tokens(first)
        requests += len(still)
        read += sum(shared + text_tokens(plan.prompt.question(a, row)) for a, _ in still)
    return requests, read, requests * ANSWER_TOKENS


def answer_record(
    *,
    plan: Plan,
    row: LabelRow,
    attribute: str,
    question: str,
    request: str,
    reply: Reply,
    checks: Sequence[str],
    attempt: int,
    time: str,
    seconds: float,
    noted: Sequence[str] = (),
    more: Mapping[str, Any] = {},
) -> dict[str, Any]:
    """Returns the line that is stored for one answer, whichever way it came; `seconds` is 0 where not known.

    checks: why it is not kept.  noted: checks that it fails and is kept all the same.
    """
    settings = plan.settings
    return {
        "kind": "answer",
        "id": request,
        "image": row.file,
        "digest": row.digest,
        "attribute": attribute,
        "question": question,
        "answer": (reply.text or "").strip(),
        "teacher": settings.teacher,
        "model": settings.model,
        "served_model": reply.model,
        "base_url": settings.identity().get("base_url"),
        "prompt_version": plan.prompt_version,
        "usage": reply.usage,
        "cost": plan.cost(reply.usage, plan.prompt.question(attributes.attribute(attribute), row)),
        "finish_reason": reply.finish_reason,
        "refusal": reply.refusal,
        "checks": list(checks),
        **({"noted": list(noted)} if noted else {}),
        "kept": not checks,
        "attempt": attempt,
        "time": time,
        "seconds": round(seconds, 3),
        "raw": reply.raw,
        **more,
    }


def refusal_record(
    *,
    plan: Plan,
    row: LabelRow,
    attribute: str,
    question: str,
    request: str,
    attempt: int,
    text: str,
    time: str,
    more: Mapping[str, Any] = {},
) -> dict[str, Any]:
    """Returns the line that closes a request which the server refuses, saying `text`. It costs nothing."""
    return answer_record(
        plan=plan,
        row=row,
        attribute=attribute,
        question=question,
        request=request,
        reply=Reply(None, None, None, None, None, {"error": text}),
        checks=[REFUSED],
        attempt=attempt,
        time=time,
        seconds=0.0,
        more={"cost": 0.0, "closed": True, **more},
    )
