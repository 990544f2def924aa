"""When the next request may be sent: the server's limits of requests and tokens a minute, and pauses that it asked for.

Two token buckets are filled at the limit's rate and never fuller than the server's `x-ratelimit-*` headers say;
without such headers they do not bind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from train.teachers.faults import duration

LONGEST_WAIT = 60.0  # seconds: both limits are of a minute


class Bucket:
    """Level and limit of one quantity a minute; unbounded until the server named a limit."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._level, self._at = clock, 0.0, clock()
        self.limit: float | None = None  # a minute

    def update(self, limit: str | None, remaining: str | None) -> None:
        """What a response's headers say, as they come; text that is no number says nothing."""
        try:
            new = float(limit) if limit is not None else self.limit
            left = float(remaining) if remaining is not None else None
        except ValueError:
            return
        if new is None or new <= 0:
            return
        self._fill()
        if self.limit is None:
            self._level = new
        self.limit = new
        # Requests on their way are counted here but not there, so the lower of the two is the truth or below it.
        self._level = min(self._level, new if left is None else left)

    def _fill(self) -> None:
        now = self._clock()
        if self.limit is not None:
            self._level = min(self.limit, self._level + (now - self._at) * self.limit / 60)
        self._at = now

    def wait(self, amount: float) -> float:
        """Seconds until `amount` may be taken. More than a minute's worth may be taken from a full bucket."""
        if self.limit is None:
            return 0.0
        self._fill()
        return max(0.0, (min(amount, self.limit) - self._level) / self.limit * 60)

    def take(self, amount: float) -> None:
        if self.limit is not None:
            self._level -= amount


class Limits:
    """Shared by all requests of a run. `turn` returns when a request of so many tokens may be sent."""

    def __init__(self) -> None:
        self.buckets = {"requests": Bucket(), "tokens": Bucket()}
        self._line = asyncio.Lock()
        self.open_at = 0.0  # monotonic seconds before which nobody sends

    def pause(self, seconds: float) -> None:
        self.open_at = max(self.open_at, time.monotonic() + seconds)

    def update(self, headers: Mapping[str, str]) -> None:
        for what, bucket in self.buckets.items():
            left, reset = headers.get(f"x-ratelimit-remaining-{what}"), headers.get(f"x-ratelimit-reset-{what}")
            bucket.update(headers.get(f"x-ratelimit-limit-{what}"), left)
            if left is not None and left.strip() == "0" and reset:  # the server's own word for when
                self.pause(min(duration(reset), LONGEST_WAIT))

    async def turn(self, tokens: float) -> None:
        amounts = {"requests": 1.0, "tokens": tokens}
        async with self._line:  # one waits for all, in the order in which they came
            while (wait := self._wait(amounts)) > 0:
                await asyncio.sleep(wait)
            for what, bucket in self.buckets.items():
                bucket.take(amounts[what])

    def _wait(self, amounts: Mapping[str, float]) -> float:
        return max(
            self.open_at - time.monotonic(), *(bucket.wait(amounts[what]) for what, bucket in self.buckets.items())
        )
