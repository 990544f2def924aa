"""Asks a teacher everything that is still open: many requests at once, each answer checked and stored as it comes.

Input: label rows, attributes, an open AnswerStore, a Teacher's settings. Output: records in the store, an `Outcome`.
An answer that fails a check is asked for again, with another seed, up to a number of times over all runs; then the
request is set aside. What this file does not know: HTTP, label files, the data set's form.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from PIL import Image

from facellm.attributes import Attribute
from facellm.errors import FaceLLMError
from facellm.images import MAX_SIDE, load_image
from train import answer_checks, teacher_prompt
from train.answer_store import AnswerStore, identity
from train.labels import LabelRow
from train.openai_teacher import NoReply, Reply, Settings, Teacher
from train.teacher_price import ANSWER_TOKENS, Price, image_tokens, text_tokens

_SENT_AS_IS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Plan:
    """What is to be asked. tries: paid answers a request may take in all.  max_cost: USD of all runs, or None."""

    rows: Sequence[LabelRow]
    attributes: Sequence[Attribute]
    settings: Settings
    price: Price | None = None
    max_cost: float | None = None
    concurrency: int = 32
    tries: int = 3

    def request(self, row: LabelRow, attribute: Attribute) -> str:
        return identity(
            image=row.digest,
            attribute=attribute.key,
            system=teacher_prompt.PROMPT_VERSION,
            question=teacher_prompt.question(attribute, row),
            **self.settings.identity(),
        )

    def open_requests(self, store: AnswerStore) -> Iterator[tuple[LabelRow, list[tuple[Attribute, str]]]]:
        """Image by image: the attributes still to be asked, with their identities."""
        for row in self.rows:
            wanted = [(attribute, self.request(row, attribute)) for attribute in self.attributes]
            still = [(a, r) for a, r in wanted if not store.has(r) and store.tries(r) < self.tries]
            if still:
                yield row, still


@dataclass
class Outcome:
    """Counts of one run. failed: requests without an answer, left for the next run."""

    asked: int = 0
    kept: int = 0
    failed: int = 0
    faults: Counter = field(default_factory=Counter)  # kind -> tries that brought nothing
    reasons: Counter = field(default_factory=Counter)  # check -> answers that failed it
    seconds: float = 0.0
    stopped: bool = False  # by the user


def data_url(path: Path, digest: str) -> str:
    """The image as it is sent: the file itself where it holds nothing but upright pixels, else a new JPEG.

    Raises FaceLLMError if the file is no longer the one that was checked.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FaceLLMError(f"The image {path} cannot be read any more: {error.strerror}.") from None
    if hashlib.sha256(raw).hexdigest() != digest:
        raise FaceLLMError(f"The image {path} changed while the teacher was asked; run the same command again.")
    with Image.open(io.BytesIO(raw)) as image:
        kind = _SENT_AS_IS.get(image.format)
        plain = not image.getexif() and max(image.size) <= MAX_SIDE  # EXIF may tell a place or a name
    if kind is None or not plain:
        buffer = io.BytesIO()
        load_image(raw).save(buffer, "JPEG", quality=JPEG_QUALITY)
        raw, kind = buffer.getvalue(), "image/jpeg"
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"


def estimate(plan: Plan, store: AnswerStore | None) -> tuple[int, int, int]:
    """(requests that are open, tokens that they read, tokens that their answers take), without asking anything."""
    empty = AnswerStore(Path())
    system, requests, read = text_tokens(teacher_prompt.SYSTEM), 0, 0
    for row, still in plan.open_requests(store or empty):
        with Image.open(row.path) as image:
            seen = image_tokens(*image.size, plan.settings.detail)
        requests += len(still)
        read += sum(system + seen + text_tokens(teacher_prompt.question(a, row)) for a, _ in still)
    return requests, read, requests * ANSWER_TOKENS


class Run:
    """One run over everything open. `report` is called with a line about the progress every few seconds."""

    def __init__(self, plan: Plan, store: AnswerStore, report: Callable[[str], None], every: float = 10.0) -> None:
        self.plan, self.store, self._report, self._every = plan, store, report, every
        self.outcome = Outcome()
        self.total = sum(len(still) for _, still in plan.open_requests(store))
        self._reserved = 0.0  # USD that requests on their way may cost
        self._stopping = False

    def stop(self) -> None:
        """Sends nothing new; what is on its way is waited for and stored."""
        self._stopping = self.outcome.stopped = True

    async def __call__(self) -> Outcome:
        """Raises FaceLLMError where going on is pointless; requests on their way are waited for and stored first."""
        began = time.monotonic()
        async with Teacher(self.plan.settings, self.plan.concurrency, self._fault) as teacher:
            if remark := await teacher.check_model():
                self._report(remark)
            jobs = self._jobs()
            workers = [asyncio.create_task(self._work(teacher, jobs)) for _ in range(self.plan.concurrency)]
            ticker = asyncio.create_task(self._tick(began))
            try:
                done, pending = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
                self._stopping = True
                if pending:  # one failed: the others' answers are paid for
                    more, _ = await asyncio.wait(pending, timeout=self.plan.settings.timeout)
                    done |= more
            finally:
                for task in (*workers, ticker):
                    task.cancel()
                await asyncio.gather(*workers, ticker, return_exceptions=True)
                self.outcome.seconds = time.monotonic() - began
        errors = [task.exception() for task in workers if not task.cancelled() and task.exception()]
        # A fault of ours must not hide behind a sentence for the user.
        errors.sort(key=lambda error: isinstance(error, FaceLLMError))
        if errors:
            raise errors[0]
        return self.outcome

    def _jobs(self) -> Iterator[tuple[LabelRow, Attribute, str, str, dict[str, str]]]:
        """(row, attribute, identity, data URL, texts kept of the image); an image is encoded once for all its jobs."""
        for row, still in self.plan.open_requests(self.store):
            open_keys = {attribute.key for attribute, _ in still}
            texts = {}
            for attribute in self.plan.attributes:
                if attribute.key not in open_keys:
                    record = self.store.kept(self.plan.request(row, attribute))
                    if record:
                        texts[attribute.key] = record["answer"]
            image = data_url(row.path, row.digest)
            for attribute, request in still:
                yield row, attribute, request, image, texts

    async def _work(self, teacher: Teacher, jobs: Iterator) -> None:
        for row, attribute, request, image, texts in jobs:
            if self._stopping:
                return
            try:
                await self._ask_until_good(teacher, row, attribute, request, image, texts)
            except NoReply:
                self.outcome.failed += 1

    async def _ask_until_good(
        self, teacher: Teacher, row: LabelRow, attribute: Attribute, request: str, image: str, texts: dict[str, str]
    ) -> None:
        question = teacher_prompt.question(attribute, row)
        while not self._stopping and self.store.tries(request) < self.plan.tries:
            attempt, began = self.store.tries(request), time.monotonic()
            # The dearest that it may become: a 2,048 px image, every token of the answer used.
            dear = self._dearest(question)
            self._reserve(dear)
            try:
                reply = await teacher.ask(teacher_prompt.SYSTEM, question, image, attempt)
            finally:
                self._reserved -= dear
            checks = answer_checks.check(
                reply.text,
                row,
                attribute.key,
                refusal=reply.refusal,
                finish_reason=reply.finish_reason,
                others=texts.values(),
            )
            self._keep(row, attribute, request, reply, checks, attempt, time.monotonic() - began)
            if not checks:
                texts[attribute.key] = reply.text.strip()
                return

    def _keep(
        self,
        row: LabelRow,
        attribute: Attribute,
        request: str,
        reply: Reply,
        checks: list[str],
        attempt: int,
        seconds: float,
    ) -> None:
        settings = self.plan.settings
        self.store.append(
            {
                "kind": "answer",
                "id": request,
                "image": row.file,
                "digest": row.digest,
                "attribute": attribute.key,
                "question": attribute.question,
                "answer": (reply.text or "").strip(),
                "teacher": "openai",
                "model": settings.model,
                "served_model": reply.model,
                "base_url": settings.base_url,
                "prompt_version": teacher_prompt.PROMPT_VERSION,
                "usage": reply.usage,
                "cost": self.plan.price.cost(reply.usage) if self.plan.price else None,
                "finish_reason": reply.finish_reason,
                "refusal": reply.refusal,
                "checks": checks,
                "kept": not checks,
                "attempt": attempt,
                "time": _now(),
                "seconds": round(seconds, 3),
                "raw": reply.raw,
            }
        )
        self.outcome.asked += 1
        self.outcome.kept += not checks
        self.outcome.reasons.update(checks)

    def _fault(self, kind: str, text: str) -> None:
        self.outcome.faults[kind] += 1
        self.store.append({"kind": "fault", "fault": kind, "text": text, "time": _now()})

    def _dearest(self, question: str) -> float:
        plan = self.plan
        if plan.price is None:
            return 0.0
        read = text_tokens(teacher_prompt.SYSTEM + question) + image_tokens(MAX_SIDE, MAX_SIDE, plan.settings.detail)
        return plan.price.estimate(read, plan.settings.max_tokens)

    def _reserve(self, dear: float) -> None:
        limit = self.plan.max_cost
        if limit is not None and self.store.spent + self._reserved + dear > limit:
            raise FaceLLMError(
                f"Stopped at --max-cost: {self.store.spent:.2f} USD are spent and the next answers could pass "
                f"{limit:.2f} USD; every answer so far is kept: raise --max-cost to go on."
            )
        self._reserved += dear

    async def _tick(self, began: float) -> None:
        while True:
            await asyncio.sleep(self._every)
            done, seconds = self.outcome.kept, time.monotonic() - began
            rate = done / seconds
            left = f", {(self.total - done) / rate / 60:.0f} min left" if rate else ""
            cost = f", {self.store.spent:.2f} USD" if self.plan.price else ""
            faults = sum(self.outcome.faults.values())
            self._report(f"{done} of {self.total} answers, {rate:.1f} a second, {faults} faults{cost}{left}")


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
