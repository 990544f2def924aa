"""Writes everything that is still open with the measured teacher: the same store, checks and outcome as for a paid one.

A request for which nothing was measured is closed at once; an answer that fails a check is worded anew, up to the
plan's number of tries.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from train.teachers import checks as answer_checks
from train.teachers.measured.teacher import LEAST_WORDS, MeasuredTeacher
from train.teachers.online import now
from train.teachers.plan import Outcome, Plan, answer_record
from train.teachers.store import AnswerStore


class MeasuredRun:
    """One run over everything open."""

    stopping = "Stopping after this image."

    def __init__(
        self,
        plan: Plan,
        store: AnswerStore,
        report: Callable[[str], None],
        teacher: MeasuredTeacher,
        every: float = 10.0,
    ) -> None:
        self.plan, self.store, self._report, self._teacher, self._every = plan, store, report, teacher, every
        self.outcome = Outcome()

    def stop(self) -> None:
        self.outcome.stopped = True

    async def __call__(self) -> Outcome:
        began = told = time.monotonic()
        self._teacher.save()
        for done, (row, still) in enumerate(self.plan.open_requests(self.store), 1):
            read, mesh = self._teacher.facts_of(row)
            texts = self.plan.kept_texts(self.store, row) if len(still) < len(self.plan.attributes) else {}
            for attribute, request in still:
                while self.store.is_open(request, self.plan.tries):
                    attempt = self.store.tries(request)
                    reply = self._teacher.answer(row, read, mesh, attribute.key, request, attempt)
                    if reply.text is None:
                        checks = ["unmeasured"]
                    else:
                        checks = answer_checks.check(
                            reply.text, row, attribute.key, others=texts.values(), least=LEAST_WORDS
                        )
                    record = answer_record(
                        plan=self.plan,
                        row=row,
                        attribute=attribute.key,
                        question=attribute.question,
                        request=request,
                        reply=reply,
                        checks=checks,
                        attempt=attempt,
                        time=now(),
                        seconds=0.0,
                        more={"closed": True} if reply.text is None else {},
                    )
                    self.store.append(record)
                    self.outcome.add(checks)
                    if not checks:
                        texts[attribute.key] = reply.text
            if time.monotonic() - told > self._every:
                told = time.monotonic()
                self._report(f"{done} images, {self.outcome.kept} answers")
            await asyncio.sleep(0)  # a signal is heard between images
            if self.outcome.stopped:
                break
        self.outcome.seconds = time.monotonic() - began
        return self.outcome
