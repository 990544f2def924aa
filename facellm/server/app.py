"""`python -m facellm serve`: an OpenAI-compatible server over one opened model.

Input: HTTP. Output: /v1/models (base and FaceLLM under their served names), /v1/chat/completions (streamed or whole),
/v1/profiles (this project's own: probabilities of the profile's labels), /health. Every failure is OpenAI's error
object with one sentence. What this file does not know: how requests are read (serve_request) or answered (serve_run,
serve_format).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from facellm import __version__
from facellm.api import FaceLLM
from facellm.attributes import sensitive_allowed
from facellm.errors import FaceLLMError
from facellm.model_options import ModelOptions
from facellm.server.replies import Stream, completion
from facellm.server.requests import Refusal, read_chat, read_profiles
from facellm.server.run import Served

MAX_BODY = 32 * 2**20  # bytes of a request: a photo of 20 MB in Base64, with room for a conversation
GRACE = 5  # seconds that open answers get when the server is stopped
# Seconds. Longer than proxies and clients keep an idle connection (60 s in nginx): who closes first must not be the
# server, or a request that is on its way meets a closed connection.
KEEP_ALIVE = 75


def make_app(
    model: FaceLLM,
    *,
    names: dict[str, str] | None = None,
    api_key: str | None = None,
    max_body: int = MAX_BODY,
) -> Starlette:
    """The server as an ASGI application; `app.state.served` counts what it does.

    names: {"base": name to serve it under, "facellm": ...}.  api_key: what clients must send; None: nothing.
    max_body: bytes of a request. The operator's switch FACELLM_SENSITIVE holds as it stands now.
    Raises FaceLLMError where two models would have one name.
    """
    titles = {w: (names or {}).get(w) or w for w in model.variants}
    if len(set(titles.values())) < len(titles):
        raise FaceLLMError(f"Base and FaceLLM cannot both be served as {titles['base']!r}; give them two names.")
    served = Served(model, sensitive_allowed())
    routes = _Routes(served, {title: w for w, title in titles.items()}, max_body)
    guard = _guard(api_key)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(served.close)

    app = Starlette(
        routes=[
            Route("/health", routes.health),
            Route("/v1/models", guard(routes.models)),
            Route("/v1/models/{name:path}", guard(routes.one_model)),
            Route("/v1/chat/completions", guard(routes.chat), methods=["POST"]),
            Route("/v1/profiles", guard(routes.profiles), methods=["POST"]),
        ],
        exception_handlers={Refusal: _refused, HTTPException: _http_error, ClientDisconnect: _gone},
        lifespan=lifespan,
    )
    app.state.served = served
    return app


def run(args: Any) -> None:
    """The command: open the model, serve it until interrupted.  Raises FaceLLMError for what the user can mend.

    args: model, adapter, quantization, device, dtype, only_facellm, host, port, api_key_env, served_base,
    served_facellm.
    """
    import uvicorn

    options = ModelOptions.read(args)
    key = _key(args.api_key_env)
    sensitive_allowed()  # a mistyped switch ends here
    with _listening(args.host, args.port) as place:  # a taken port is found before the model is opened
        model = FaceLLM(options.open_weights(base=not args.only_facellm))
        names = {"base": args.served_base, "facellm": args.served_facellm}
        app = make_app(model, names=names, api_key=key)
        host, port = place.getsockname()[:2]
        if key is None and host not in ("127.0.0.1", "::1"):
            print("facellm: everybody who reaches this address may ask; --api-key-env sets a key.", file=sys.stderr)
        place.listen()  # from here on clients wait rather than being refused
        served = ", ".join(names[w] for w in model.variants)
        print(f"{model.report.name} is served at http://{_url_host(host)}:{port}/v1 as {served}", flush=True)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GRACE,
            timeout_keep_alive=KEEP_ALIVE,
        )
        uvicorn.Server(config).run(sockets=[place])


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise FaceLLMError(f"The environment variable {variable} holds no key; set it, or leave out --api-key-env.")
    return key


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port < 65536:  # getaddrinfo would take the number modulo 65536
        raise FaceLLMError(f"{port} is not a port; give a number from 1 to 65535 with --port.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        place = socket.socket(family, kind, protocol)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
    except OSError as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FaceLLMError(
            f"{host}:{port} cannot be listened on ({reason}); choose another --host or --port."
        ) from None
    return place


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


# -- what every route shares --------------------------------------------------------------------------------------

Handler = Callable[[Request], Awaitable[Response]]


def _guard(api_key: str | None) -> Callable[[Handler], Handler]:
    """Only requests with the key go through; all do where there is none."""

    def wrap(handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            if api_key is not None:
                sent = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
                if not hmac.compare_digest(sent.encode(), api_key.encode()):
                    raise Refusal("The key is missing or wrong.", status=401, code="invalid_api_key")
            return await handler(request)

        return guarded

    return wrap


async def _refused(_: Request, error: Refusal) -> Response:
    headers = {"Retry-After": "1"} if error.status == 503 else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error.to_dict(), error.status, headers)


async def _http_error(request: Request, error: HTTPException) -> Response:
    paths = "/v1/models, /v1/chat/completions, /v1/profiles and /health"
    what = {404: f"There is nothing at {request.url.path}; there are {paths}.", 405: "Use GET or POST as documented."}
    refusal = Refusal(what.get(error.status_code, error.detail), status=error.status_code)
    return JSONResponse(refusal.to_dict(), error.status_code, error.headers)


async def _gone(_: Request, __: ClientDisconnect) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _watch(receive: Callable[[], Awaitable[dict]], cancel: threading.Event) -> None:
    """Sets `cancel` when the client closes the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
    cancel.set()


class _Routes:
    """The handlers.  names: {served name: "base" or "facellm"}."""

    def __init__(self, served: Served, names: dict[str, str], max_body: int):
        self.served, self.names, self.max_body = served, names, max_body
        self.started = int(time.time())

    async def health(self, _: Request) -> Response:
        counts = asdict(self.served.counts)
        return JSONResponse({"status": "ok", "version": __version__, "models": list(self.names), **counts})

    async def models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._model(name) for name in self.names]})

    async def one_model(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self.names:
            raise Refusal(f"There is no model {name!r} here.", "model", status=404, code="model_not_found")
        return JSONResponse(self._model(name))

    def _model(self, name: str) -> dict[str, Any]:
        report = self.served.model.report
        about = {"variant": self.names[name], "model": report.name, "version": __version__, "profiles": True}
        about |= {"dtype": report.dtype, "quantization": report.quantization, "sharing": report.sharing}
        return {"id": name, "object": "model", "created": self.started, "owned_by": "facellm", "facellm": about}

    async def profiles(self, request: Request) -> Response:
        asked = read_profiles(await self._body(request), self.names)
        found = await self.served.profiles(asked, threading.Event())
        return JSONResponse({"object": "facellm.profiles", "profiles": found})

    async def chat(self, request: Request) -> Response:
        asked = read_chat(await self._body(request), self.names)
        cancel = threading.Event()
        events = self.served.answer(asked, cancel)
        watch = asyncio.create_task(_watch(request.receive, cancel))
        try:
            seen = await anext(events)
            head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": asked.model}
            if asked.stream:
                stream = Stream(head, seen, events, watch, asked.usage)
                watch = None  # the stream's from here on
                return stream
            end = [event async for event in events][-1]
        finally:
            if watch is not None:
                watch.cancel()
        return JSONResponse(completion(head, seen, end))

    async def _body(self, request: Request) -> Any:
        """The decoded JSON.  Raises Refusal."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # also keeps other web sites' forms from asking through a visitor's browser
            raise Refusal("Send JSON, with Content-Type: application/json.", status=415)
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self.max_body:
                megabytes = self.max_body / 2**20
                raise Refusal(f"The request is larger than {megabytes:g} MB; send a smaller image.", status=413)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise Refusal("The body is not valid JSON.") from None
