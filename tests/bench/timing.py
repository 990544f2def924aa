"""Two ways to do the same, measured side by side: interleaved, medians, so that a busy machine slows both alike.

What this file does not know: what is measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from facellm.engine import model_thread


@dataclass
class Result:
    """One line of the tables.

    ours, other: median seconds (or what `unit` says).  ratio: median over the repeats of other / ours (or ours /
    other, where `meaning` says so), with the smallest and largest.  target: of `ratio` ("" where there is none).
    """

    bench: str
    model: str
    what: str
    other_is: str
    ours: float
    other: float
    ratio: float
    spread: tuple[float, float]
    repeats: int
    unit: str = "s"
    target: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the ratio reaches its target; None where there is none."""
        if not self.target:
            return None
        sign, bound = self.target[0], float(self.target[1:].strip().rstrip("x"))
        return self.ratio >= bound if sign == "≥" else self.ratio <= bound

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


def wait() -> None:
    """Until the device has done what was asked of it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def in_model_thread(work: Callable[[], Any]) -> Any:
    """What `work` returns, run by the thread that runs the engine's models.

    As soon as two threads compute, GNU's OpenMP counts more threads than cores and lets both teams sleep between their
    loops: on two cores a small matrix product then takes 2.5 times as long (docs/performance.md).
    """
    return model_thread.submit(work).result()


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
_clock = time.perf_counter


def use_clock(name: str) -> None:
    """ "wall": seconds that pass.  "cpu": seconds of computing by all threads, for a machine that others use as well;
    with one thread it is what would pass on an idle one."""
    global _clock
    _clock = CLOCKS[name]


def seconds(work: Callable[[], Any]) -> float:
    wait()
    started = _clock()
    work()
    wait()
    return _clock() - started


def race(ours: Callable[[], Any], other: Callable[[], Any], repeats: int) -> list[tuple[float, float]]:
    """(seconds of ours, seconds of the other) per repeat. Who begins changes from repeat to repeat."""
    found = []
    for number in range(repeats):
        if number % 2:
            b, a = seconds(other), seconds(ours)
        else:
            a, b = seconds(ours), seconds(other)
        found.append((a, b))
    return found


def result(
    bench: str,
    model: str,
    what: str,
    other_is: str,
    pairs: list[tuple[float, float]],
    slower: bool = False,
    **more: Any,
) -> Result:
    """A Result of (ours, other) pairs. slower: the ratio is ours / other, and small is good."""
    ratios = [a / b if slower else b / a for a, b in pairs]
    ours, other = (statistics.median(p[side] for p in pairs) for side in (0, 1))
    spread = (min(ratios), max(ratios))
    return Result(bench, model, what, other_is, ours, other, statistics.median(ratios), spread, len(pairs), **more)


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
