"""`python -m train dataset`: asks a teacher eight questions about every labelled face and writes the training set.

The folder holds every answer as it came (`train.teachers.store`) and the data set made of the good ones
(`train.dataset.output`).
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from facellm.attributes import select
from facellm.errors import FaceLLMError
from train.dataset import options as dataset_options
from train.dataset import output as dataset_output
from train.dataset.merge import merge
from train.faces.label_rows import Labels, read_labels
from train.outputs import usable_place
from train.teachers import openai
from train.teachers.batch.batches import BatchRun
from train.teachers.batch.parts import Parts
from train.teachers.checks import REASONS
from train.teachers.online import Run
from train.teachers.openai import Settings
from train.teachers.plan import Outcome, Plan, estimate
from train.teachers.price import price_of
from train.teachers.prompt import OURS, published
from train.teachers.store import FILE, AnswerStore

parser = dataset_options.parser
_LISTED = 20  # faults and repairs that are shown; the rest is counted


def main(argv: list[str]) -> int:
    args = dataset_options.read(argv)
    if args.resume and not (args.out / FILE).exists():
        raise FaceLLMError(f"There is nothing to resume in {args.out}; check --out, or begin without --resume.")
    asks = not (args.dry_run or args.merge)
    price = price_of(args.model, args.price) if args.teacher == "openai" else None
    if args.max_cost is not None and price is None and args.teacher == "openai":
        raise FaceLLMError(f"The price of {args.model} is not known, so --max-cost cannot hold; give it with --price.")
    attributes = select(args.attributes)
    url = openai.base_url(args.base_url)
    if asks and args.teacher == "openai":
        openai.read_key(url)  # before the images are looked at, which takes a while
    if not args.dry_run:
        usable_place(args.out)
    labels = read_labels(args.images, args.labels, args.limit)
    _show(labels, args.skip_bad)
    plan, teacher = _plan(args, labels, attributes, url, price)
    with ExitStack() as stack:
        if args.dry_run and not (args.out / FILE).exists():
            store = None
        else:
            store = stack.enter_context(AnswerStore(args.out))
        if args.merge:
            _say(f"{merge(store, args.merge)} lines taken over from {len(args.merge)} folders.")
        else:
            _estimate(plan, store, args.batch)
        if args.dry_run:
            return 0
        if store.repaired:
            _say(f"The last line of {FILE} was not finished when the process ended; its request is asked again.")
        stopped = None
        if asks:
            run = _run(args, plan, store, teacher)
            try:
                asyncio.run(_until_stopped(run))
            except FaceLLMError as error:
                stopped = error  # what is there is written all the same
            _summary(run.outcome)
        if (stopped or args.batch) and not any(store.has(plan.request(r, a)) for r in plan.rows for a in attributes):
            if stopped:
                raise stopped
            _say("No answer is here yet; the same command goes on.")
            return 1
        manifest = dataset_output.write(args.out, plan, store, Path(labels.source).name, args.val)
        _say(
            f"{args.out}: {manifest['written']} of {manifest['wanted']} answers about "
            f"{sum(manifest['images'].values())} images, {manifest['set_aside']} set aside."
        )
        if stopped:
            raise stopped
        if not manifest["complete"]:
            _say("Not every question is answered; the same command goes on with the rest.")
        return 0 if manifest["complete"] else 1


def _plan(args: argparse.Namespace, labels: Labels, attributes: Any, url: str, price: Any) -> tuple[Plan, Any]:
    """The plan, and the teacher where it needs no server. A shard is every N-th line."""
    rows = labels.rows
    if args.shard:
        part, parts = args.shard
        rows = tuple(row for row in rows if row.line % parts == part - 1)
        if not rows:
            raise FaceLLMError(f"Shard {part}/{parts} holds none of the {len(labels.rows)} images; take fewer shards.")
    if args.teacher == "measured":
        from train.teachers.measured.teacher import MeasuredTeacher
        from train.teachers.measured.wording import WORDING_VERSION

        # All rows set the thresholds, so that shards agree on them.
        teacher = MeasuredTeacher(labels.rows, args.images, args.out, args.measurements, args.seed)
        plan = Plan(rows, attributes, teacher.settings, tries=args.reask + 1, prompt_version=WORDING_VERSION)
        return plan, teacher
    if args.teacher == "seen":
        from train.teachers.seen import seen_teacher

        teacher = seen_teacher.SeenTeacher(labels.rows, args.images, args.seen, args.seed)
        version = seen_teacher.WORDING_VERSION
        return Plan(rows, attributes, teacher.settings, tries=args.reask + 1, prompt_version=version), teacher
    settings = Settings(
        model=args.model,
        base_url=url,
        detail=args.detail,
        max_tokens=args.max_tokens,
        temperature=args.temperature,
        seed=args.seed,
        timeout=args.timeout,
        tries=args.tries,
    )
    said = published() if args.as_published else OURS
    return Plan(
        rows, attributes, settings, price, args.max_cost, args.concurrency, args.reask + 1, said.version, said
    ), None


def _run(args: argparse.Namespace, plan: Plan, store: AnswerStore, teacher: Any) -> Any:
    if teacher is not None:
        from train.teachers.measured.writer import MeasuredRun

        return MeasuredRun(plan, store, _say, teacher)
    if args.batch:
        return BatchRun(
            plan,
            store,
            _say,
            most=args.batch_requests,
            poll=args.poll,
            cancel=args.cancel,
            alternatives=args.alternatives,
        )
    if live := Parts(args.out).live:
        asked = sum(len(part.requests) for part in live)
        raise FaceLLMError(
            f"{asked} requests of {args.out} are on their way in {len(live)} batches; "
            "fetch them with --batch (or --batch --cancel) first, or they would be paid twice."
        )
    return Run(plan, store, _say, alternatives=args.alternatives)


async def _until_stopped(run: Any) -> Outcome:
    """The first Ctrl-C (or SIGTERM) waits for the answers on their way, which are paid for; a second one does not."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        _say(run.stopping)
        run.stop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
    except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread: Ctrl-C drops them
        pass
    return await run()


def _show(labels: Labels, skip_bad: bool) -> None:
    for what, notes in (("repaired", labels.repairs), ("at fault", labels.faults)):
        if notes:
            shown = [f"  {note}" for note in notes[:_LISTED]]
            more = [f"  and {len(notes) - _LISTED} more"] if len(notes) > _LISTED else []
            _say("\n".join([f"{labels.source}: {len(notes)} rows {what}:", *shown, *more]))
    if labels.faults and not skip_bad:
        raise FaceLLMError(
            f"{len(labels.faults)} rows of {labels.source} are at fault (first: {labels.faults[0]}); mend them, or go "
            "on without them with --skip-bad."
        )
    if not labels.rows:
        raise FaceLLMError(f"No row of {labels.source} is good, so there is nothing to ask about.")


def _estimate(plan: Plan, store: AnswerStore | None, batch: bool) -> None:
    wanted = len(plan.rows) * len(plan.attributes)
    if plan.settings.teacher != "openai":
        _say(f"{len(plan.rows)} images, {wanted} answers by the {plan.settings.teacher} teacher, nothing to pay.")
        return
    if batch:
        plan = dataclasses.replace(plan, price=plan.price and plan.price.by_batch())
    requests, read, written = estimate(plan, store)
    cost = "price not known (see --price)"
    if plan.price:
        cost = f"about {plan.price.estimate(read, written):.2f} USD" + (" by batch" if batch else "")
    _say(
        f"{len(plan.rows)} images, {wanted} questions, {requests} to ask: about {read / 1e6:.2f} million tokens to "
        f"read and {written / 1e6:.2f} to write, {cost}."
    )


def _summary(outcome: Outcome) -> None:
    _say(f"{outcome.asked} answers in {outcome.seconds:.0f} s, {outcome.kept} kept, {outcome.failed} requests failed.")
    if outcome.unpriced:
        _say(f"  {outcome.unpriced:>6}  answers came without usage; each is charged as the dearest that it can be")
    for reason, count in sorted(outcome.reasons.items()):
        _say(f"  {count:>6}  answers not kept: {REASONS[reason]}")
    for fault, count in sorted(outcome.faults.items()):
        _say(f"  {count:>6}  tries without an answer: {fault}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
