"""Asks everything that is still open, request by request: many at once, each answer checked and stored as it comes.

An answer that fails a check is asked for again, with another seed, up to a number of times over all runs; then the
request is set aside. A request that the server refuses is closed at the next answer, which shows that the settings are
not what it refuses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone

from facellm.attributes import Attribute
from facellm.errors import FaceLLMError
from train.faces.label_rows import LabelRow
from train.teachers.faults import REFUSED, NoReply
from train.teachers.openai import Teacher
from train.teachers.plan import (
    Outcome,
    Plan,
    answer_record,
    data_url,
    refusal_record,
    request_tokens,
    stopped_at_max_cost,
)
from train.teachers.price import ANSWER_TOKENS, text_tokens
from train.teachers.store import AnswerStore


class Run:
    """One run over everything open."""

    stopping = "Stopping: waiting for the answers on their way (once more to drop them)."

    def __init__(
        self,
        plan: Plan,
        store: AnswerStore,
        report: Callable[[str], None],
        every: float = 10.0,
        alternatives: tuple[str, ...] = (),
    ) -> None:
        """report: called with a line about the progress every `every` seconds.  alternatives: models to name when the
        plan's is gone."""
        self.plan, self.store, self._report, self._every = plan, store, report, every
        self._alternatives = alternatives
        self.outcome = Outcome()
        self.total = sum(len(still) for _, still in plan.open_requests(store))
        self._reserved = 0.0  # USD that requests on their way may cost
        # (row, attribute, identity, the server's words) of requests that were refused since the last answer
        self._refused: list[tuple[LabelRow, Attribute, str, str]] = []
        self._stopping = False

    def stop(self) -> None:
        """Sends nothing new; what is on its way is waited for and stored."""
        self._stopping = self.outcome.stopped = True

    async def __call__(self) -> Outcome:
        """Raises FaceLLMError where going on is pointless; requests on their way are waited for and stored first."""
        began = time.monotonic()
        answered = self.total < len(self.plan.rows) * len(self.plan.attributes)  # by an earlier run
        async with Teacher(self.plan.settings, self.plan.concurrency, self._fault, answered) as teacher:
            if remark := await teacher.check_model(self._alternatives):
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
        if teacher.answered and not errors and not self.outcome.stopped:
            self._close_refused()
        self.outcome.failed += len(self._refused)
        # A fault of ours must not hide behind a sentence for the user.
        errors.sort(key=lambda error: isinstance(error, FaceLLMError))
        if errors:
            raise errors[0]
        return self.outcome

    def _jobs(self) -> Iterator[tuple[LabelRow, Attribute, str, str, int, dict[str, str]]]:
        """(row, attribute, identity, data URL, tokens beside the question's, texts kept of the image); an image is
        encoded once for all its jobs."""
        for row, still in self.plan.open_requests(self.store):
            texts = self.plan.kept_texts(self.store, row) if len(still) < len(self.plan.attributes) else {}
            image, tokens = data_url(row.path, row.digest), request_tokens(row, self.plan, "")
            for attribute, request in still:
                yield row, attribute, request, image, tokens, texts

    async def _work(self, teacher: Teacher, jobs: Iterator) -> None:
        for job in jobs:
            if self._stopping:
                return
            try:
                await self._ask_until_good(teacher, *job)
            except NoReply as fault:
                if fault.kind == REFUSED:
                    row, attribute, request, *_ = job
                    self._refused.append((row, attribute, request, str(fault)))
                else:
                    self.outcome.failed += 1

    async def _ask_until_good(
        self,
        teacher: Teacher,
        row: LabelRow,
        attribute: Attribute,
        request: str,
        image: str,
        tokens: int,
        texts: dict[str, str],
    ) -> None:
        question = self.plan.prompt.question(attribute, row)
        # Servers count the longest answer that is allowed, not the one that comes.
        tokens += text_tokens(question) + (self.plan.settings.max_tokens or ANSWER_TOKENS)
        dear = self.plan.dearest(question)
        while not self._stopping and self.store.is_open(request, self.plan.tries):
            attempt, began = self.store.tries(request), time.monotonic()
            self._reserve(dear)
            try:
                reply = await teacher.ask(self.plan.prompt.system, question, image, attempt, tokens)
            finally:
                self._reserved -= dear
            checks, noted = self.plan.judge(reply, row, attribute.key, texts.values())
            record = answer_record(
                plan=self.plan,
                row=row,
                attribute=attribute.key,
                question=attribute.question,
                request=request,
                reply=reply,
                checks=checks,
                noted=noted,
                attempt=attempt,
                time=now(),
                seconds=time.monotonic() - began,
            )
            self.store.append(record)
            self.outcome.add(checks, self.plan.lacks_usage(reply.usage))
            self._close_refused()
            if not checks:
                texts[attribute.key] = record["answer"]

    def _close_refused(self) -> None:
        for row, attribute, request, text in self._refused:
            record = refusal_record(
                plan=self.plan,
                row=row,
                attribute=attribute.key,
                question=attribute.question,
                request=request,
                attempt=self.store.tries(request),
                text=text,
                time=now(),
            )
            self.store.append(record)
            self.outcome.reasons[REFUSED] += 1
        self._refused.clear()

    def _fault(self, kind: str, text: str) -> None:
        self.outcome.faults[kind] += 1
        self.store.append({"kind": "fault", "fault": kind, "text": text, "time": now()})

    def _reserve(self, dear: float) -> None:
        limit = self.plan.max_cost
        if limit is not None and self.store.spent + self._reserved + dear > limit:
            raise stopped_at_max_cost(self.store.spent, limit)
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


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
