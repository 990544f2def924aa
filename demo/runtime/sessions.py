"""Forgetting a visitor: what the app holds for a session goes when the page closes, or after half an hour without use.

Gradio keeps the last value of every component for each session, a closed one too; the photo's preview and the report
with its crop are such values. Input: the app's sessions, the visitors' photos. What this file does not know: the tabs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from demo.runtime.photos import FORGET_AFTER, Photos

if TYPE_CHECKING:
    from gradio.routes import App
    from gradio.state_holder import StateHolder

# Seconds between two looks for sessions and photos that were not used.
EVERY = 60


def drop(sessions: StateHolder, session: str) -> None:
    """Forget a session's values. Call it in the app's event loop, where Gradio uses them without a lock."""
    with sessions.lock:
        sessions.session_data.pop(session, None)
        sessions.time_last_used.pop(session, None)


def sweep(sessions: StateHolder, photos: Photos) -> None:
    """Forget photos and sessions that were not used for FORGET_AFTER seconds, and what pages hold of such photos.

    A page that asks after its server every few seconds is never idle itself: there the photo's own time counts.
    """
    limit = datetime.now() - timedelta(seconds=FORGET_AFTER)
    idle = {session for session, used in sessions.time_last_used.items() if used < limit}
    for session in idle | photos.sweep():
        drop(sessions, session)


def lifespan(photos: Photos) -> Callable[[App], contextlib.AbstractAsyncContextManager[None]]:
    """For the app's lifespan: sweeps as long as it serves."""

    async def sweeping(app: App) -> None:
        while True:
            await asyncio.sleep(EVERY)
            sweep(app.state_holder, photos)

    @contextlib.asynccontextmanager
    async def serving(app: App) -> AsyncIterator[None]:
        task = asyncio.create_task(sweeping(app))
        try:
            yield
        finally:
            task.cancel()

    return serving
