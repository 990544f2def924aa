"""How far a long command is: a bar on a terminal, a line every so often elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

EVERY = 30.0  # seconds between two lines where there is no terminal


class Progress:
    """Tells on stderr how many photos are done; a context manager."""

    def __init__(self, total: int, done: int = 0, every: float = EVERY) -> None:
        """Starts counting.

        Args:
            total: Photos in all.
            done: Those that an earlier run has done.
            every: Seconds between two lines where there is no terminal.
        """
        self.total, self.done, self.failed, self._every = total, done, 0, every
        self._told = time.monotonic()

    def __enter__(self) -> Progress:
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=self.total, initial=self.done, unit="photo", dynamic_ncols=True, smoothing=0.1)
        elif self.done:
            self._tell()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        else:
            self._tell()

    def add(self, failed: bool) -> None:
        """Counts one more photo."""
        self.done += 1
        self.failed += failed
        if self._bar is not None:
            if failed:
                self._bar.set_postfix(failed=self.failed, refresh=False)
            self._bar.update()
        elif time.monotonic() - self._told >= self._every:
            self._tell()

    def _tell(self) -> None:
        failed = f", {self.failed} of them could not be used" if self.failed else ""
        print(f"facellm: {self.done} of {self.total} photos{failed}", file=sys.stderr, flush=True)
        self._told = time.monotonic()
