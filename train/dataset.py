"""`python -m train dataset`: asks a teacher eight questions about every labelled face and writes the training set.

Input: images with labels for age, gender and ethnicity; a model behind an OpenAI-compatible server. Output: a folder
with every answer as it came (answers.jsonl) and the data set made of the good ones (train.dataset_output).
What this file does not know: how a label is read, how a server is asked, what makes an answer good.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from facellm.attributes import ATTRIBUTES, select
from facellm.errors import FaceLLMError
from train import dataset_output, openai_teacher
from train.answer_checks import REASONS
from train.answer_store import FILE, AnswerStore
from train.labels import Labels, read_labels
from train.openai_teacher import Settings
from train.teacher_price import price_of
from train.teacher_run import Outcome, Plan, Run, estimate

# The paper's teacher; OpenAI announced its shutdown for 2027-01-14. The server is asked whether it still has it.
MODEL = "gpt-4o-2024-11-20"
_LISTED = 20  # faults and repairs that are shown; the rest is counted
_EPILOG = """\
The key is read from the environment variable OPENAI_API_KEY and nowhere else; other servers may do without one.
Every answer is stored as it comes: stop or kill the process at any moment and run the same command again, nothing that
was answered is asked twice. The same holds after raising --max-cost or --limit. --dry-run asks and pays nothing.
"""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m train dataset",
        description="Ask a teacher eight questions about every labelled face and write the training set. The teacher "
        "is any model that sees images behind a server with OpenAI's chat completions, asked one question a request.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--images", type=Path, required=True, help="folder of the images")
    add("--labels", type=Path, help="FairFace's label file or a CSV with file, age, gender, race (default: the one "
        "fairface_label_*.csv in or beside the images, else UTKFace's file names)")  # fmt: skip
    add("--out", type=Path, required=True, help="folder for the answers and the data set")
    add("--skip-bad", action="store_true", help="go on without the rows that are at fault")
    add("--limit", type=int, metavar="N", help="only the label file's first N rows")
    add("--attributes", metavar="A,B", help=f"of {', '.join(a.key for a in ATTRIBUTES)} (default: all)")
    add("--val", type=float, default=0.05, metavar="F", help="fraction of the images held out (default 0.05)")
    add("--model", default=MODEL, help=f"the teacher (default {MODEL})")
    add("--base-url", help=f"server (default: OPENAI_BASE_URL, else {openai_teacher.OPENAI_URL})")
    add("--detail", choices=("low", "high", "auto"), default="high", help="resolution at which the teacher sees")
    add("--temperature", type=float, help="of the teacher (default: the server's)")
    add("--seed", type=int, default=0)
    add("--max-tokens", type=int, default=Settings.max_tokens, metavar="N", help="longest answer (default 700)")
    add("--concurrency", type=int, default=32, metavar="N", help="requests at once (default 32)")
    add("--timeout", type=float, default=Settings.timeout, metavar="S", help="seconds for a response (default 120)")
    add("--tries", type=int, default=Settings.tries, metavar="N", help="sends of a request until the server answers "
        "(default 8)")  # fmt: skip
    add("--reask", type=int, default=2, metavar="N", help="new answers after one that failed a check (default 2)")
    add("--price", metavar="IN,OUT", help="USD per million tokens, where the model's price is not known here")
    add("--max-cost", type=float, metavar="USD", help="stop before all runs into --out together cost more")
    add("--dry-run", action="store_true", help="check everything and estimate the cost")
    return made


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    _check_numbers(args)
    plan_price = price_of(args.model, args.price)
    if args.max_cost is not None and plan_price is None:
        raise FaceLLMError(f"The price of {args.model} is not known, so --max-cost cannot hold; give it with --price.")
    attributes = select(args.attributes)
    url = openai_teacher.base_url(args.base_url)
    if not args.dry_run:
        openai_teacher.read_key(url)  # before the images are looked at, which takes a while
    labels = read_labels(args.images, args.labels, args.limit)
    _show(labels, args.skip_bad)
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
    plan = Plan(labels.rows, attributes, settings, plan_price, args.max_cost, args.concurrency, args.reask + 1)
    with ExitStack() as stack:
        if args.dry_run and not (args.out / FILE).exists():
            store = None
        else:
            store = stack.enter_context(AnswerStore(args.out))
        _estimate(plan, store)
        if args.dry_run:
            return 0
        if store.repaired:
            _say(f"The last line of {FILE} was not finished when the process ended; its request is asked again.")
        run, stopped = Run(plan, store, _say), None
        try:
            asyncio.run(_until_stopped(run))
        except FaceLLMError as error:
            stopped = error  # what is there is written all the same
        _summary(run.outcome)
        if stopped and not any(store.has(plan.request(row, a)) for row in plan.rows for a in attributes):
            raise stopped
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


async def _until_stopped(run: Run) -> Outcome:
    """The first Ctrl-C (or SIGTERM) waits for the answers on their way, which are paid for; a second one does not."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        _say("Stopping: waiting for the answers on their way (once more to drop them).")
        run.stop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
    except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread: Ctrl-C drops them
        pass
    return await run()


def _check_numbers(args: argparse.Namespace) -> None:
    least = {"limit": 1, "concurrency": 1, "tries": 1, "reask": 0, "max_tokens": 16, "timeout": 0.1, "max_cost": 0}
    for name, low in least.items():
        value = getattr(args, name)
        if value is not None and not low <= value < math.inf:
            raise FaceLLMError(f"--{name.replace('_', '-')} is {value}; it must be {low} or more.")
    if not 0 <= args.val < 1:
        raise FaceLLMError(f"--val is {args.val}; it is a fraction, from 0 to below 1.")


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


def _estimate(plan: Plan, store: AnswerStore | None) -> None:
    requests, read, written = estimate(plan, store)
    wanted = len(plan.rows) * len(plan.attributes)
    cost = f"about {plan.price.estimate(read, written):.2f} USD" if plan.price else "price not known (see --price)"
    _say(
        f"{len(plan.rows)} images, {wanted} questions, {requests} to ask: about {read / 1e6:.2f} million tokens to "
        f"read and {written / 1e6:.2f} to write, {cost}."
    )


def _summary(outcome: Outcome) -> None:
    _say(f"{outcome.asked} answers in {outcome.seconds:.0f} s, {outcome.kept} kept, {outcome.failed} requests failed.")
    for reason, count in sorted(outcome.reasons.items()):
        _say(f"  {count:>6}  answers not kept: {REASONS[reason]}")
    for fault, count in sorted(outcome.faults.items()):
        _say(f"  {count:>6}  tries without an answer: {fault}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
