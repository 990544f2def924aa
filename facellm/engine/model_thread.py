"""The one thread that runs models.

OpenMP keeps a team of threads for every thread that computes. With the page's many threads taking turns at the model,
the teams of those that wait crowd the cores of the one that works; so all of them send their work here.
The thread begins with the first piece of work, never at import, and a forked process begins one of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_guard = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def submit(work: Callable[[], None]) -> Future:
    """Runs `work` after what was submitted before.

    Raises:
        RuntimeError: While the interpreter shuts down.
    """
    global _pool
    with _guard:
        if _pool is None:
            _pool = ThreadPoolExecutor(1, thread_name_prefix="facellm-model")
        return _pool.submit(work)


def _forget() -> None:
    """In a forked process: the thread was not forked with it, and the lock may have been held by another."""
    global _guard, _pool
    _guard, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
