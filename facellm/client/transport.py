"""Talks to an OpenAI-compatible server: several requests at once, streams that can be cut off, tries where that helps.

Requests run on an event loop in a thread of its own: cancelling a task closes its connection at once, which is how a
server learns that nobody waits any more. A thread that is blocked in a read cannot be woken so.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import queue
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from facellm.client.proxies import proxy_for
from facellm.errors import FaceLLMError

TRIES = 4  # of a request that has brought nothing yet
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0  # seconds between them; doubled each time, or what Retry-After says
CONNECT_TIMEOUT = 10.0  # seconds
HEALTH_TIMEOUT = 5.0  # seconds: a page waits for it
PARALLEL = 32  # requests at once; further ones wait
POLL = 0.02  # seconds between two looks at `cancel` while nothing comes
AGAIN = (429, 502, 503, 504)  # statuses that pass by themselves

Headers = Mapping[str, str] | None


@dataclass(frozen=True)
class Health:
    """Whether a server answers, a sentence about it, and how many seconds the answer took."""

    ok: bool
    message: str
    seconds: float

    def __str__(self) -> str:
        return self.message


class Passing(Exception):
    """A failure that may have passed at the next try; its text is for when it has not, `wait` is in seconds."""

    def __init__(self, sentence: str, wait: float | None = None):
        super().__init__(sentence)
        self.wait = wait


class Rejected(FaceLLMError):
    """A request that the server does not understand: status 400 or 422; `said` is the server's own sentence."""

    def __init__(self, sentence: str, said: str):
        super().__init__(sentence)
        self.said = said


class Backend:
    """A server; safe to use from several threads.

    Attributes:
        place: Its host and port, for sentences.
        api: Its address, up to /v1.
    """

    def __init__(self, url: str, key: str | None = None, timeout: float = 120.0):
        """Takes http(s)://host[:port], with or without /v1; nothing is sent yet.

        Args:
            url: The address.
            key: Sent as bearer token where given.
            timeout: Seconds without a byte after which a request is given up.

        Raises:
            FaceLLMError: For what is no address of a server, or a proxy that cannot be used.
        """
        parts = urlsplit(url.strip())
        try:
            host, port = parts.hostname or "", parts.port
        except ValueError:  # a port that is no number
            host, port = "", None
        if parts.scheme not in ("http", "https") or not host or port == 0:
            raise FaceLLMError(f"{url!r} is not a server's address; write http://host:port or http://host:port/v1.")
        # Credentials in the address would end up in sentences and logs.
        self.place = f"[{host}]" if ":" in host else host
        if port is not None:
            self.place += f":{port}"
        path = parts.path.rstrip("/") or "/v1"
        self.api = f"{parts.scheme}://{self.place}{path}"
        self._health = self.api.removesuffix("/v1") + "/health"
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._proxy = proxy_for(self.api)
        self._timeout = httpx.Timeout(timeout, connect=CONNECT_TIMEOUT)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: httpx.AsyncClient  # of the loop that runs
        self._lock = threading.Lock()  # work is handed to the loop under it, so that close() ends whatever came before

    # -- for any thread ---------------------------------------------------------------------------------------------

    def get(self, path: str) -> Any:
        """Returns the decoded JSON of GET api + path.  Raises FaceLLMError."""
        return self._wait(self._patiently(lambda: self._json("GET", self.api + path)))

    def post_all(self, path: str, bodies: Sequence[dict], headers: Headers = None) -> list[Any]:
        """Returns the decoded JSON of several POSTs, in their order, PARALLEL at a time.  Raises FaceLLMError."""
        return self._wait(self._post_all(path, bodies, headers))

    def stream(
        self, path: str, bodies: Sequence[dict], cancel: threading.Event, headers: Headers = None
    ) -> Generator[tuple[int, dict], None, None]:
        """Yields (number of the body, decoded event) of all streams as they come.

        It ends when all have ended, or soon after `cancel` is set. However it ends, also by being closed, the
        connections of unfinished streams are closed before it returns.

        Raises:
            FaceLLMError: At the first stream that fails.
        """
        events: queue.SimpleQueue = queue.SimpleQueue()
        over = threading.Event()
        tasks: list[asyncio.Task] = []

        def begin() -> None:
            tasks.append(loop.create_task(self._stream_all(path, bodies, headers, events.put)))
            tasks[0].add_done_callback(lambda _: over.set())  # also where it is cancelled before its first step

        with self._lock:
            loop = self._running()
            loop.call_soon_threadsafe(begin)
        try:
            while not cancel.is_set():
                try:
                    event = events.get(timeout=POLL)
                except queue.Empty:
                    if over.is_set() and events.empty():  # nothing can come any more
                        raise self._closed() from None
                    continue
                if event is None:
                    return
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and all its tasks are over
                loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            over.wait(CONNECT_TIMEOUT)

    def health(self) -> Health:
        """Whether the server answers now. Never raises."""
        started = time.perf_counter()
        try:
            self._wait(self._ask_health())
        except FaceLLMError as error:
            return Health(False, str(error), time.perf_counter() - started)
        seconds = time.perf_counter() - started
        return Health(True, f"The server {self.place} answers in {seconds * 1000:.0f} ms.", seconds)

    def close(self) -> None:
        """Close all connections and end the thread; open requests fail with a sentence, a later call opens anew."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
            if loop is not None:
                loop.call_soon_threadsafe(loop.stop)
        if thread is not None:
            thread.join()

    def _running(self) -> asyncio.AbstractEventLoop:
        """The loop, begun where there is none. Call with the lock held."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=PARALLEL)
            transport = httpx.AsyncHTTPTransport(limits=limits, proxy=self._proxy)
            self._client = httpx.AsyncClient(headers=self._headers, timeout=self._timeout, transport=transport)
            work = (self._loop, self._client)
            self._thread = threading.Thread(target=_run, args=work, name="facellm-remote", daemon=True)
            self._thread.start()
        return self._loop

    def _wait(self, work: Coroutine) -> Any:
        with self._lock:
            future = asyncio.run_coroutine_threadsafe(work, self._running())
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise self._closed() from None

    def _closed(self) -> FaceLLMError:
        return FaceLLMError(f"The connection to the server {self.place} was closed before it had answered; ask again.")

    # -- on the loop ------------------------------------------------------------------------------------------------

    async def _ask_health(self) -> None:
        """Some servers have no /health: their list of models will do."""
        try:
            response = await self._client.get(self._health, timeout=HEALTH_TIMEOUT)
            if response.status_code == 404:
                response = await self._client.get(f"{self.api}/models", timeout=HEALTH_TIMEOUT)
        except httpx.HTTPError as error:
            raise FaceLLMError(self._unreachable(error)) from None
        if response.status_code >= 400:
            raise FaceLLMError(f"The server {self.place} is not well: it answers with status {response.status_code}.")

    async def _post_all(self, path: str, bodies: Sequence[dict], headers: Headers) -> list[Any]:
        places = asyncio.Semaphore(PARALLEL)

        async def one(body: dict) -> Any:
            async with places:
                return await self._patiently(lambda: self._json("POST", self.api + path, body, headers))

        return await _together([one(body) for body in bodies])

    async def _stream_all(self, path: str, bodies: Sequence[dict], headers: Headers, put: Any) -> None:
        places = asyncio.Semaphore(PARALLEL)

        async def one(number: int, body: dict) -> None:
            async with places:
                await self._stream(path, number, body, headers, put)

        try:
            await _together([one(number, body) for number, body in enumerate(bodies)])
            put(None)
        except Exception as error:  # carried to the thread that reads, and raised there
            put(error)

    async def _stream(self, path: str, number: int, body: dict, headers: Headers, put: Any) -> None:
        begun = ended = False  # whether a word came, and whether the last one did

        async def once() -> None:
            nonlocal begun, ended
            async with self._client.stream("POST", self.api + path, json=body, headers=headers) as response:
                if response.status_code >= 400:
                    await response.aread()
                    raise self._fault(response)
                async for data in _events(response.aiter_lines()):
                    if data == "[DONE]":
                        return
                    event = self._decoded(data)
                    if "error" in event:
                        raise FaceLLMError(f"The server {self.place} says: {_message(event) or 'an error occurred'}")
                    for choice in event.get("choices") or ():
                        begun = begun or bool((choice.get("delta") or {}).get("content"))
                        ended = ended or bool(choice.get("finish_reason"))
                    put((number, event))
            if not ended:
                raise httpx.RemoteProtocolError("the stream has no end")

        try:
            await self._patiently(once, lambda: not begun and not ended)
        except httpx.HTTPError as error:
            if not ended:  # in mid-answer: what came is on the screen already, so no second try
                raise FaceLLMError(
                    f"The server {self.place} broke off in mid-answer ({_reason(error)}); ask again when it is back."
                ) from None

    async def _patiently(
        self, once: Callable[[], Coroutine[Any, Any, Any]], may_repeat: Callable[[], bool] = lambda: True
    ) -> Any:
        """Awaits once() until it succeeds, TRIES times.

        Raises FaceLLMError, or httpx.HTTPError where it may not be repeated.
        """
        for number in range(TRIES):
            try:
                return await once()
            except httpx.HTTPError as error:
                if not may_repeat():
                    raise
                if isinstance(error, httpx.ReadTimeout):
                    sentence = f"The server {self.place} took longer than {self._timeout.read:g} s; ask again later."
                    raise FaceLLMError(sentence) from None
                fault = Passing(self._unreachable(error))
            except Passing as error:
                fault = error
            if number == TRIES - 1:
                raise FaceLLMError(str(fault))
            wait = FIRST_WAIT * 2**number * random.uniform(0.75, 1.25)
            await asyncio.sleep(min(LONGEST_WAIT, fault.wait if fault.wait is not None else wait))
        raise AssertionError("TRIES is at least 1")

    async def _json(self, method: str, url: str, body: dict | None = None, headers: Headers = None) -> Any:
        response = await self._client.request(method, url, json=body, headers=headers)
        if response.status_code >= 400:
            raise self._fault(response)
        return self._decoded(response.text)

    def _decoded(self, text: str) -> Any:
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise FaceLLMError(f"What the server {self.place} sends is not OpenAI's JSON; check its address.")
        return found

    def _fault(self, response: httpx.Response) -> Exception:
        """What a status of 400 or more means."""
        status = response.status_code
        try:
            said = _message(response.json())
        except ValueError:
            said = ""
        if status in (401, 403):
            return FaceLLMError(f"The server {self.place} refuses the key; put the right one into FACELLM_BACKEND_KEY.")
        sentence = f"The server {self.place} answers with status {status}{f': {said}' if said else ''}"
        if status in AGAIN:
            try:
                wait = max(0.0, float(response.headers.get("retry-after", "")))
            except ValueError:  # none, or a date
                wait = None
            return Passing(f"{sentence.rstrip('.')}; ask again later.", wait)
        if status in (400, 422) and said:
            return Rejected(sentence, said)
        return FaceLLMError(sentence if said else f"{sentence}; check its address and its log.")

    def _unreachable(self, error: Exception) -> str:
        return f"The server {self.place} cannot be reached ({_reason(error)}); ask again when it is back."


def _run(loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient) -> None:
    """The thread's life: the loop until it is stopped; then what is under way is cancelled, and both are closed.

    A loop that is only stopped keeps its descriptors until the garbage collector finds it.
    """
    try:
        loop.run_forever()
        loop.run_until_complete(_end(client))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def _end(client: httpx.AsyncClient) -> None:
    """Cancels everything else on this loop and waits until it is gone; then closes the client."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.aclose()


async def _together(work: list[Coroutine]) -> list[Any]:
    """Results in order. The first failure, or being cancelled, cancels the others and waits until they are gone."""
    tasks = [asyncio.ensure_future(w) for w in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The data of server-sent events (HTML standard, 9.2.6): lines `data: ...` up to an empty line."""
    data: list[str] = []
    async for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []
    if data:
        yield "\n".join(data)


def _message(body: Any) -> str:
    """The message of OpenAI's error object, or of what other servers send in its place."""
    error = body.get("error", body) if isinstance(body, dict) else ""
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or ""
    return " ".join(str(error).split())[:500]


def _reason(error: Exception) -> str:
    known = {
        httpx.ConnectError: "no connection",
        httpx.ConnectTimeout: f"no connection within {CONNECT_TIMEOUT:g} s",
        httpx.ReadTimeout: "nothing came for too long",
        httpx.RemoteProtocolError: "it closed the connection",
        httpx.ReadError: "the connection was lost",
    }
    text = next((text for kind, text in known.items() if isinstance(error, kind)), str(error))
    return text or type(error).__name__
