"""Asks a teacher everything that is still open by OpenAI's Batch API: half the price, within a day.

Open requests are written into files within the API's limits, uploaded and submitted; when a batch ends, however it
ends, what it brought is checked and stored, and what is still open goes into the next. Every step is on disk before the
next begins (`train.teachers.batch.parts`): a run that was stopped or killed goes on with the same command, and no batch
is paid twice.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from train.faces.label_rows import LabelRow
from train.teachers.batch.api import BatchApi
from train.teachers.batch.parts import (
    FETCHED,
    MOST_REQUESTS,
    SUBMITTED,
    SUBMITTING,
    UPLOADED,
    WRITTEN,
    Part,
    Parts,
    Request,
)
from train.teachers.faults import REFUSED, NoReply, fault_of
from train.teachers.online import now
from train.teachers.openai import HOPELESS_IN_A_ROW, Settings, Teacher, no_answer, reply_of
from train.teachers.plan import Outcome, Plan, answer_record, refusal_record, stopped_at_max_cost
from train.teachers.price import Price
from train.teachers.prompt import OURS, published
from train.teachers.store import AnswerStore

ENDED = {"completed", "failed", "expired", "cancelled"}
POLL_SECONDS = 60.0
RESULTS = {"output.jsonl": "output_file_id", "errors.jsonl": "error_file_id"}  # a part's file -> the server's name
SHORT_LOOKS = 10  # at a batch that ended but whose answers are not all there yet


class BatchRun:
    """One run. plan.price is the one-by-one price; batches cost half."""

    stopping = "Stopping: the batches go on at the server; the same command fetches them."

    def __init__(
        self,
        plan: Plan,
        store: AnswerStore,
        report: Callable[[str], None],
        *,
        most: int = MOST_REQUESTS,
        poll: float = POLL_SECONDS,
        cancel: bool = False,
        alternatives: tuple[str, ...] = (),
    ) -> None:
        """most: requests a file.  poll: seconds.  cancel: ask nothing new, cancel what is on its way, keep what it
        brought."""
        self.plan = dataclasses.replace(plan, price=plan.price and plan.price.by_batch())
        self.store, self._report, self._most, self._poll = store, report, min(most, MOST_REQUESTS), poll
        self._cancel, self._alternatives = cancel, alternatives
        self.outcome, self.parts = Outcome(), Parts(store.folder)
        self._tried: Counter = Counter()  # identity -> times that it brought no answer in this run
        self._given_up: set[str] = set()
        self._short: Counter = Counter()  # part's name -> looks at which paid answers were missing
        self._doubtful = {part.name for part in self.parts.live if part.stage == SUBMITTING}
        self._stop = asyncio.Event()
        self._crowded = False  # the server takes no further batch before another has ended

    def stop(self) -> None:
        self.outcome.stopped = True
        self._stop.set()

    async def __call__(self) -> Outcome:
        """Raises FaceLLMError where going on is pointless; what ended batches brought is stored first."""
        began = time.monotonic()
        try:
            async with Teacher(self.plan.settings, 4, self._fault) as teacher:
                if remark := await teacher.check_model(self._alternatives):
                    self._report(remark)
                await self._all(BatchApi(teacher))
        finally:
            self.outcome.seconds = time.monotonic() - began
        return self.outcome

    async def _all(self, api: BatchApi) -> None:
        if self._cancel:
            for part in [p for p in self._own() if p.stage in (WRITTEN, UPLOADED)]:
                self.parts.remove(part)
        for part in self.parts.live:
            if part not in self._own():
                self._report(f"Batch {part.batch} is at {part.settings['base_url']}; --base-url with that fetches it.")
            elif part.stage == FETCHED and self._is_torn(part):  # by a power cut; the server still has it
                self._at(part, SUBMITTED)
        first = True
        while not self._stop.is_set():
            if not self._cancel and (first or not self._own()):
                self._write_parts()
            first = False
            for part in self._own():
                if self._short[part.name] < SHORT_LOOKS:
                    await self._advance(api, part)
            if self._own() and all(self._short[part.name] >= SHORT_LOOKS for part in self._own()):
                raise self._never_whole(self._own()[0])
            if not self._own():
                if self._cancel or not any(True for _ in self._wanted()):
                    return
                continue
            if not any(part.stage != SUBMITTED for part in self._own()):
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), self._poll)

    def _own(self) -> list[Part]:
        """Live parts of the plan's server; others are left to a run that names theirs."""
        return [p for p in self.parts.live if p.settings["base_url"] == self.plan.settings.base_url]

    def _wanted(self) -> Iterator[tuple[LabelRow, list[tuple[Any, str, int]]]]:
        on_their_way = self.parts.on_their_way() | self._given_up
        for row, still in self.plan.open_requests(self.store):
            new = [(a, r, self.store.tries(r)) for a, r in still if r not in on_their_way]
            if new:
                yield row, new

    def _write_parts(self) -> None:
        while not self._crowded:
            limit = self.plan.max_cost
            reserved = sum(part.dear for part in self.parts.live)
            left = math.inf if limit is None else limit - self.store.spent - reserved
            part = self.parts.write(self.plan, self._wanted(), left, self._most)
            if part is None:
                if not self._own() and any(True for _ in self._wanted()):
                    raise stopped_at_max_cost(self.store.spent, limit)
                return
            self._report(f"Batch file of {len(part.requests)} requests written.")
        self._crowded = False

    async def _advance(self, api: BatchApi, part: Part) -> None:
        """As many steps as can be taken now."""
        if part.stage == WRITTEN:
            part.input_file = await api.upload(part, self.parts.path(part, "jsonl"))
            self._at(part, UPLOADED)
        if part.stage == UPLOADED:
            self._at(part, SUBMITTING)
        if part.stage == SUBMITTING:
            part.batch = await api.submit(part, part.name in self._doubtful)
            self._at(part, SUBMITTED)
            self.parts.path(part, "jsonl").unlink(missing_ok=True)
            self._report(f"Batch {part.batch} of {len(part.requests)} requests submitted.")
        if part.stage == SUBMITTED:
            seen = await api.look(part)
            if self._cancel and seen.get("status") not in ENDED and part.status != "cancelling":
                part.status = "cancelling"
                await api.cancel(part)
                seen = await api.look(part)
            if seen.get("status") not in ENDED:
                self._progress(part, seen)
                return
            if seen["status"] == "failed":
                self._refused(part, seen)
                return
            part.status = seen["status"]
            came = Counter()
            for suffix, name in RESULTS.items():
                if seen.get(name):
                    came[suffix] = await api.fetch(seen[name], self.parts.path(part, suffix))
            if not self._is_whole(part, seen, came["output.jsonl"]):
                return
            self._at(part, FETCHED)
        if part.stage == FETCHED:
            self._take_in(part)

    def _is_torn(self, part: Part) -> bool:
        """Whether a file that an earlier process fetched is not JSON lines."""
        try:
            lines = (line for suffix in RESULTS for line in _json_lines(self.parts.path(part, suffix)))
            return not all(isinstance(line, dict) for line in lines)
        except ValueError:
            return True

    def _is_whole(self, part: Part, seen: dict[str, Any], came: int) -> bool:
        """Whether every answer that the server counts as done, and bills, came. If not, the batch is looked at again:
        what is missing must not be asked, and paid, a second time. --cancel takes what there is in the end."""
        done = int((seen.get("request_counts") or {}).get("completed") or 0)
        if came >= done:
            return True
        self._short[part.name] += 1
        self._report(f"Batch {part.batch} ended with {done} answers, of which the server gives {came} so far.")
        return self._cancel and self._short[part.name] >= SHORT_LOOKS

    def _never_whole(self, part: Part) -> FaceLLMError:
        return FaceLLMError(
            f"Batch {part.batch} has answers that the server counts as done but does not give, after {SHORT_LOOKS} "
            "looks; nothing is lost or asked again: run the same command later, or take the others with --batch "
            "--cancel, after which the missing ones are asked, and paid, anew."
        )

    def _at(self, part: Part, stage: str) -> None:
        part.stage = stage
        self.parts.save(part)

    def _progress(self, part: Part, seen: dict[str, Any]) -> None:
        counts = seen.get("request_counts") or {}
        done = (counts.get("completed") or 0) + (counts.get("failed") or 0)
        status = seen.get("status") or "no word of it just now"
        self._report(f"Batch {part.batch}: {status}, {done} of {len(part.requests)} done.")

    def _refused(self, part: Part, seen: dict[str, Any]) -> None:
        """The server did not take the file. Nothing is billed; too much at once is tried again when others ended."""
        faults = [e for e in (seen.get("errors") or {}).get("data") or () if isinstance(e, dict)]
        text = "; ".join(str(e.get("message")) + (f" (line {e['line']})" if e.get("line") else "") for e in faults[:3])
        self._fault("batch refused", text or "no reason given")
        self.parts.remove(part)
        if not any(e.get("code") == "token_limit_exceeded" for e in faults):
            raise FaceLLMError(f"The server refused a batch: {text or 'it gives no reason'}. Nothing of it was billed.")
        if not any(other.stage == SUBMITTED for other in self._own()):
            raise FaceLLMError(
                f"The server's queue does not hold a batch of {len(part.requests)} requests ({text}); take smaller "
                "ones with --batch-requests."
            )
        for other in [p for p in self._own() if p.stage in (WRITTEN, UPLOADED)]:
            self.parts.remove(other)  # they would meet the same end
        self._crowded = True

    def _take_in(self, part: Part) -> None:
        """Checks and stores everything that a batch brought. Doing it again after a kill adds what is missing."""
        settings = Settings(**part.settings)
        price = Price(*part.price) if part.price else None
        said = next((p for p in (OURS, published()) if p.version == part.prompt_version), OURS)
        plan = Plan([], ATTRIBUTES, settings, price, prompt_version=part.prompt_version, prompt=said)
        open_ids = {request.custom_id: request for request in part.requests}
        final: FaceLLMError | None = None
        rejected, answered = [], False
        for suffix in RESULTS:
            for line in _json_lines(self.parts.path(part, suffix)):
                request = open_ids.pop(str(line.get("custom_id")), None)
                if request is None:
                    continue
                try:
                    self._take_answer(plan, part, request, line)
                    answered = True
                except NoReply as fault:
                    if fault.again:
                        self._batch_fault(part, request, fault)
                    else:
                        rejected.append((request, fault))
                except FaceLLMError as error:
                    final = error
                    self._batch_fault(part, request, NoReply("rate limit", str(error)))
        for request in open_ids.values():
            text = f"the batch ended as {part.status} without a word on it"
            self._batch_fault(part, request, NoReply("missing", text))
        # Where nothing is answered, a refusal may be the settings' fault and closes no request.
        answered = answered or (len(rejected) < HOPELESS_IN_A_ROW and self._has_answers())
        for request, fault in rejected:
            if fault.kind == REFUSED and answered:
                self._close(plan, part, request, fault)
            else:
                self._batch_fault(part, request, fault)
        if not answered and len(rejected) >= HOPELESS_IN_A_ROW:
            final = final or no_answer(len(rejected), False, str(rejected[-1][1]))
        self.parts.remove(part)
        if final:
            raise final

    def _take_answer(self, plan: Plan, part: Part, request: Request, line: dict[str, Any]) -> None:
        if self.store.tries(request.request) > request.attempt:
            return  # stored before a kill
        response, error = line.get("response") or {}, line.get("error") or {}
        body, status = response.get("body"), response.get("status_code")
        if status != 200:
            inner = (body.get("error") if isinstance(body, dict) else None) or error
            code, text = inner.get("code"), str(inner.get("message") or inner)[:300]
            if status is None:
                raise NoReply("expired" if code == "batch_expired" else "batch error", f"{code}: {text}")
            raise fault_of(int(status), code, inner.get("type"), text, None, plan.settings.model)
        reply, row = reply_of(body), part.label_row(request)
        others = plan.kept_texts(self.store, row)
        checks, noted = plan.judge(reply, row, request.attribute, others.values())
        record = answer_record(
            plan=plan,
            row=row,
            attribute=request.attribute,
            question=request.question,
            request=request.request,
            reply=reply,
            checks=checks,
            noted=noted,
            attempt=request.attempt,
            time=now(),
            seconds=0.0,
            more={"batch": part.batch, "custom_id": request.custom_id},
        )
        self.store.append(record)
        self.outcome.add(checks, plan.lacks_usage(reply.usage))

    def _has_answers(self) -> bool:
        """Whether one of the plan's requests has been answered."""
        wanted = len(self.plan.rows) * len(self.plan.attributes)
        return sum(len(still) for _, still in self.plan.open_requests(self.store)) < wanted

    def _close(self, plan: Plan, part: Part, request: Request, fault: NoReply) -> None:
        self._fault(fault.kind, str(fault), {"batch": part.batch, "custom_id": request.custom_id})
        record = refusal_record(
            plan=plan,
            row=part.label_row(request),
            attribute=request.attribute,
            question=request.question,
            request=request.request,
            attempt=request.attempt,
            text=str(fault),
            time=now(),
            more={"batch": part.batch, "custom_id": request.custom_id},
        )
        self.store.append(record)
        self.outcome.reasons[REFUSED] += 1

    def _batch_fault(self, part: Part, request: Request, fault: NoReply) -> None:
        self._fault(fault.kind, str(fault), {"batch": part.batch, "custom_id": request.custom_id})
        self._tried[request.request] += 1
        if not fault.again or self._tried[request.request] >= self.plan.settings.tries:
            self._given_up.add(request.request)
            self.outcome.failed += 1

    def _fault(self, kind: str, text: str, more: dict[str, Any] | None = None) -> None:
        record = {"kind": "fault", "fault": kind, "text": text, "time": now(), **(more or {})}
        if more is None or not self.store.has_fault(more["batch"], more["custom_id"]):
            self.outcome.faults[kind] += 1
            self.store.append(record)


def _json_lines(file: Path) -> Iterator[dict[str, Any]]:
    if file.exists():
        with file.open("rb") as lines:
            yield from (json.loads(line) for line in lines)
