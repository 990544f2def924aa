"""Turns for a server that mixes its models up where both are asked at once: one model at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_POLL = 0.1  # s between looks at whether a waiting call was stopped


class Turns:
    """Lets calls about one model run side by side, and those about the other wait; for all threads of this process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._variant = ""
        self._calls = 0

    @contextlib.contextmanager
    def of(self, variant: str, cancel: threading.Event | None = None) -> Iterator[None]:
        """Waits until only `variant` is being asked, or until `cancel` is set, and holds that while the context lasts.

        Args:
            variant: "base" or "facellm".
            cancel: Ends the wait; the call, which is stopped then, goes on without a turn.
        """
        with self._changed:
            while not self._fits(variant) and not (cancel is not None and cancel.is_set()):
                self._changed.wait(_POLL)
            held = self._fits(variant)
            if held:
                self._variant = variant
                self._calls += 1
        try:
            yield
        finally:
            if held:
                with self._changed:
                    self._calls -= 1
                    self._changed.notify_all()

    def _fits(self, variant: str) -> bool:
        return self._calls == 0 or self._variant == variant
