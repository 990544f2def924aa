"""What answering and training cost on one GPU: `python -m tests.bench.gpu [--docs docs/performance.md]`.

Random weights in the shapes of 1B, 8B and 38B, made on the card, in bfloat16 and NF4: time to open, memory, first
token, tokens a second of 1, 8 and 16 rows beside one `generate` call after another, and a LoRA step packed and plain.
It ends within ten minutes: what does not fit the time or the card is left out and said. Without a GPU it says so.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from facellm.engine.sampling import Sampling
from facellm.errors import out_of_memory
from tests import tiny
from tests.bench import report
from tests.bench.inference import EIGHT, SIXTEEN, published
from tests.bench.models import Subject, endless, random_shape
from tests.bench.timing import in_model_thread, seconds, wait
from tests.bench.training import Steps

BEGIN, END = "<!-- gpu: written by python -m tests.bench.gpu -->", "<!-- end of gpu -->"
SIZES = (("1b", "none"), ("8b", "none"), ("8b", "nf4"), ("38b", "nf4"), ("38b", "none"))  # the first are for everybody
BUDGET = 540.0  # seconds
TOY = {"toy": ((1, 64, 64, 2, 1), (1, 16, 32, 2))}
GIB = 2**30
ROWS = {1: EIGHT[:1], 8: EIGHT, 16: SIXTEEN}


@dataclass
class Measured:
    """One size in one precision; a figure that is missing could not be taken, and `notes` say why."""

    name: str
    precision: str
    figures: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__.splitlines()[0])
    made.add_argument("--docs", type=Path, metavar="FILE", help="write the table between its marks in FILE")
    made.add_argument("--tokens", type=int, default=64, help="length of an answer (default 64)")
    made.add_argument("--repeats", type=int, default=3, help="of each measurement (default 3)")
    made.add_argument("--seconds", type=float, default=BUDGET, help="begin no size after so many (default 540)")
    made.add_argument("--toy", action="store_true", help="a tiny shape on the CPU: tries the script, measures nothing")
    args = made.parse_args(arguments)
    if not args.toy and not torch.cuda.is_available():
        print("There is no CUDA GPU here, so nothing was measured.")
        return 0
    sizes = [("toy", "none"), ("toy", "nf4")] if args.toy else list(SIZES)
    began, found = time.monotonic(), []
    for name, precision in sizes:
        if time.monotonic() - began > args.seconds:
            found.append(Measured(name, precision, notes=["left out: the time was up"]))
            continue
        print(f"{name} {precision} ...", file=sys.stderr, flush=True)
        found.append(measure(name, precision, args.tokens, args.repeats, args.toy))
        print(table(found[-1:]).splitlines()[-1], flush=True)  # what is done is not lost to a later fault
    text = table(found)
    print(text)
    if args.docs:
        write(args.docs, text)
    return 0


def measure(name: str, precision: str, tokens: int, repeats: int, toy: bool = False) -> Measured:
    """All figures of one size; each part that the card has no memory for is left out and said."""
    found = Measured(name, precision)
    device = "cpu" if toy else "cuda"
    loaded: list[Any] = []

    def build() -> None:
        more = {"shapes": TOY, "vocabulary": 1728} if toy else {}
        loaded.append(endless(random_shape(name, precision, device, **more)))

    def tried(part: str, work: Callable[[], None]) -> bool:
        try:
            work()
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            found.notes.append(f"{part} does not fit the card")
            return False
        finally:
            gc.collect()
            if not toy:
                torch.cuda.empty_cache()
        return True

    if not toy:
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    if not tried("the model", lambda: in_model_thread(build)):
        return found
    found.figures["open_s"] = time.perf_counter() - started
    found.figures["weights_gib"] = loaded[0].report.memory_bytes / GIB
    if precision == "nf4":
        _check_nf4(loaded[0].model)
    subject = Subject(name, loaded[0])
    tried("answering", lambda: _answers(subject, tokens, repeats, found.figures))
    if not toy:
        found.figures["peak_gib"] = torch.cuda.max_memory_allocated() / GIB
    for way in ("packed", "plain"):
        tried(
            f"a {way} LoRA step", lambda way=way: in_model_thread(lambda: _lora(subject, way, repeats, found.figures))
        )
    return found


def _check_nf4(model: torch.nn.Module) -> None:
    """Raises SystemExit unless the decoder's seven linear layers a block, and no others, are in four bits."""
    import bitsandbytes as bnb

    found = [name for name, module in model.named_modules() if isinstance(module, bnb.nn.Linear4bit)]
    layers = model.get_base_model().config.text_config.num_hidden_layers
    if len(found) != 7 * layers or not all(".language_model." in name for name in found):
        raise SystemExit(f"{len(found)} layers are in four bits, where the decoder has {7 * layers} linear ones")


def _answers(subject: Subject, tokens: int, repeats: int, figures: dict[str, float]) -> None:
    picture, engine, sampling = tiny.picture(1, 224), subject.engine(), Sampling(max_new_tokens=tokens)

    def median(work: Callable[[], Any]) -> float:
        work()  # kernels are chosen and memory is taken
        return statistics.median(seconds(work) for _ in range(repeats))

    def ask(rows: Sequence[Any], length: Sampling) -> None:
        engine.clear()
        engine.answer(picture, rows, length)

    one = Sampling(max_new_tokens=1)
    figures["first_ms"] = 1000 * median(lambda: ask(ROWS[8], one))
    for count, rows in ROWS.items():
        figures[f"tokens_{count}"] = count * tokens / median(lambda rows=rows: ask(rows, sampling))
    alone = median(lambda: published(subject, picture, ROWS[1][0], sampling))
    figures["tokens_generate"] = tokens / alone
    for count in (8, 16):
        figures[f"gain_{count}"] = figures[f"tokens_{count}"] / figures["tokens_generate"]
    engine.clear()


def _lora(subject: Subject, way: str, repeats: int, figures: dict[str, float]) -> None:
    model = subject.loaded.model.train()
    for key, weight in model.named_parameters():
        weight.requires_grad_("lora_" in key)
    try:
        steps = Steps(model, subject.loaded.processor, "attributes")
        work: Callable[[], None] = getattr(steps, way)
        work()
        wait()
        figures[f"lora_{way}_ms"] = 1000 * statistics.median(seconds(work) for _ in range(repeats)) / len(steps.pairs)
    finally:
        model.eval().requires_grad_(False)
        model.zero_grad(set_to_none=True)
    if {"lora_packed_ms", "lora_plain_ms"} <= figures.keys():
        figures["lora_gain"] = figures["lora_plain_ms"] / figures["lora_packed_ms"]


COLUMNS = {
    "open_s": "open, s", "weights_gib": "weights, GiB", "peak_gib": "peak, GiB", "first_ms": "first tokens of 8, ms",
    "tokens_1": "1 row, tokens/s", "tokens_8": "8 rows", "tokens_16": "16 rows",
    "tokens_generate": "generate, tokens/s",
    "gain_8": "8 rows x", "gain_16": "16 rows x", "lora_packed_ms": "LoRA pair packed, ms",
    "lora_plain_ms": "plain, ms",
    "lora_gain": "x",
}  # fmt: skip


def table(found: Sequence[Measured]) -> str:
    """The figures as Markdown; "-" for what could not be taken."""
    lines = ["| size | precision | " + " | ".join(COLUMNS.values()) + " |", "|" + "---|" * (len(COLUMNS) + 2)]
    for one in found:
        cells = [f"{one.figures[key]:.3g}" if key in one.figures else "-" for key in COLUMNS]
        lines.append(f"| {one.name} | {'bf16' if one.precision == 'none' else one.precision} | {' | '.join(cells)} |")
    notes = [f"- {one.name} {one.precision}: {'; '.join(one.notes)}." for one in found if one.notes]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def write(path: Path, text: str) -> None:
    """Puts the table between its marks.  Raises SystemExit where they are missing."""
    whole = path.read_text(encoding="utf-8")
    if BEGIN not in whole or END not in whole:
        raise SystemExit(f"{path} has no place for the table: it must hold {BEGIN} and {END}")
    about = report.machine()
    said = f"`python -m tests.bench.gpu`, {about['date']}: {about['gpu']}; torch {about['torch']}, transformers " \
           f"{about['transformers']}. Random weights; a LoRA of rank 16 on both variants."  # fmt: skip
    head, rest = whole.split(BEGIN)
    path.write_text(f"{head}{BEGIN}\n{said}\n\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
