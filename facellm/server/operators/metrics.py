"""What the server does, in numbers for Prometheus, and the wrapper around the application that counts and logs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from facellm.server.operators.logs import HEADER, REQUEST_ID, access, request_id
from facellm.server.service import Service

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)  # bounds of the latencies that are told apart
OTHER = "other"  # stands for every path that is not the server's, or scanners would fill the memory with theirs


class Metrics:
    """The numbers of one server."""

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry()
        self._service = service
        self._requests = Counter(
            "facellm_requests", "Requests that were answered or refused", ["path", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "facellm_request_seconds",
            "Seconds from a request's head to the last byte of its answer",
            ["path"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._refusals = Counter(
            "facellm_refusals", "Requests that were refused, by reason", ["code"], registry=self._registry
        )
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """What the service and the engine know at this moment."""
        counts = self._service.counts
        scheduler = self._service.model.engine.scheduler
        answers = CounterMetricFamily("facellm_answers", "Questions and profiles by their outcome", labels=["outcome"])
        for outcome in ("answered", "cancelled", "failed"):
            answers.add_metric([outcome], getattr(counts, outcome))
        yield answers
        tokens = CounterMetricFamily("facellm_tokens", "Tokens that were read and written", labels=["kind"])
        tokens.add_metric(["prompt"], counts.prompt_tokens)
        tokens.add_metric(["completion"], counts.tokens)
        yield tokens
        yield GaugeMetricFamily("facellm_requests_in_flight", "Requests whose answer is under way", counts.active)
        yield GaugeMetricFamily("facellm_sequences_running", "Answers that are decoded now", scheduler.running)
        yield GaugeMetricFamily("facellm_sequences_waiting", "Answers that wait to join a batch", scheduler.waiting)

    def refused(self, code: str) -> None:
        """Counts a refusal."""
        self._refusals.labels(code).inc()

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Counts a request that has ended."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """Returns everything in Prometheus' text form (version 0.0.4)."""
        return generate_latest(self._registry)


class Watched:
    """An ASGI application whose requests have ids, are counted and logged."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = dict(scope["headers"]).get(HEADER.encode(), b"").decode("latin-1")
        name, started = request_id(sent), time.perf_counter()
        status, read, written = 500, 0, 0

        async def counted() -> Any:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            return message

        async def told(message: Any) -> None:
            nonlocal status, written
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (HEADER.encode(), name.encode())]}
            written += len(message.get("body", b""))
            await send(message)

        token = REQUEST_ID.set(name)
        try:
            await self._app(scope, counted, told)
        finally:
            seconds = time.perf_counter() - started
            route = scope.get("route")
            self._metrics.answered(getattr(route, "path", OTHER), status, seconds)
            access.info(
                "%s %s %d",
                scope["method"],
                scope["path"],
                status,
                extra={
                    "fields": {
                        "request_id": name,
                        "method": scope["method"],
                        "path": scope["path"],
                        "status": status,
                        "seconds": round(seconds, 4),
                        "bytes_in": read,
                        "bytes_out": written,
                        "client": scope["client"][0] if scope.get("client") else None,
                    }
                },
            )
            REQUEST_ID.reset(token)
