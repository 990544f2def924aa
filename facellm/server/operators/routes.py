"""The routes for whoever runs the server: whether it lives, whether it takes requests, and its numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from facellm import __version__
from facellm.server.documents import Health, Ready
from facellm.server.limits import Clients
from facellm.server.operators.metrics import Metrics
from facellm.server.service import Service


def operators_routes(service: Service, clients: Clients, metrics: Metrics, names: list[str], guard: Any) -> APIRouter:
    """Makes the routes.

    Args:
        service: What answers.
        clients: What is admitted.
        metrics: The numbers.
        names: The served names.
        guard: A dependency that asks for the key; it guards the numbers, which tell how busy the server is.
    """
    router = APIRouter(tags=["operators"])

    @router.get("/health", response_model=Health)
    async def health() -> dict[str, Any]:
        """Whether the process is alive, and what it has done: requests under way, answered, cancelled, failed."""
        return {"status": "ok", "version": __version__, "models": names, **asdict(service.counts)}

    @router.get("/ready", response_model=Ready)
    async def ready() -> dict[str, Any]:
        """Whether a request would be taken now; 503 where too many are under way or the server is being stopped."""
        service.check_ready()
        clients.check_ready()
        return {"status": "ready", "active": service.counts.active}

    @router.get("/metrics", dependencies=[Depends(guard)], response_class=PlainTextResponse)
    async def numbers() -> Response:
        """The numbers in Prometheus' form: requests, seconds, tokens, what runs and waits, refusals."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router
