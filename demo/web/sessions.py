"""Forgetting a visitor: what the app holds for a session goes when the page closes, or after half an hour without use.

Gradio keeps the last value of every component for each session, a closed one too; the photo's preview and the report
with its crop are such values.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from demo.runtime.photos import FORGET_AFTER, Photos
from demo.web import uploads

if TYPE_CHECKING:
    from gradio.routes import App
    from gradio.state_holder import StateHolder

# Seconds between two looks for sessions and photos that were not used.
EVERY = 60


def drop(sessions: StateHolder, session: str) -> None:
    """Forgets a session's values. Call it in the app's event loop, where Gradio uses them without a lock."""
    with sessions.lock:
        sessions.session_data.pop(session, None)
        sessions.time_last_used.pop(session, None)


def sweep(sessions: StateHolder, photos: Photos) -> None:
    """Forgets photos and sessions that were not used for FORGET_AFTER seconds, and what pages hold of such photos.

    A page that asks after its server every few seconds is never idle itself: there the photo's own time counts.
    """
    limit = datetime.now() - timedelta(seconds=FORGET_AFTER)
    idle = {session for session, used in sessions.time_last_used.items() if used < limit}
    for session in idle | photos.sweep():
        drop(sessions, session)


def lifespan(photos: Photos) -> Callable[[App], contextlib.AbstractAsyncContextManager[None]]:
    """Returns the app's lifespan, which sweeps photos, sessions and uploads as long as the app serves."""

    async def sweeping(app: App) -> None:
        while True:
            await asyncio.sleep(EVERY)
            sweep(app.state_holder, photos)
            await asyncio.to_thread(uploads.sweep, uploads.folder_in_use())

    @contextlib.asynccontextmanager
    async def serving(app: App) -> AsyncIterator[None]:
        task = asyncio.create_task(sweeping(app))
        try:
            yield
        finally:
            task.cancel()

    return serving
