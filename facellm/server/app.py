"""The server as an ASGI application: OpenAI's API, this project's /v1/profiles, and what operators ask it.

/v1/models lists base and FaceLLM under their served names; /v1/chat/completions answers, streamed or whole;
/v1/profiles gives the probabilities of the profile's labels, /v1/choices the likelihoods of typed options,
/v1/explanations the regions of the picture that an answer hangs on. Every failure is OpenAI's error object with one
sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from facellm import __version__
from facellm.api import FaceLLM
from facellm.attributes import sensitive_allowed
from facellm.errors import FaceLLMError
from facellm.server.bodies import Bodies
from facellm.server.documents import (
    ChatChunk,
    ChatCompletion,
    ChoicesReply,
    ErrorReply,
    ExplanationsReply,
    ModelList,
    ProfilesReply,
    ServedModel,
)
from facellm.server.limits import Admission, Clients
from facellm.server.operators.metrics import Metrics, Watched
from facellm.server.operators.routes import operators_routes
from facellm.server.refusals import Refusal, short
from facellm.server.replies import completion, event_stream
from facellm.server.schemas import AnyRequest, ChatRequest, ChoicesRequest, ExplanationsRequest, ProfilesRequest
from facellm.server.service import End, Service, refusal_for
from facellm.server.unread import Unread

MAX_BODY = 32 * 2**20  # bytes of a request: a photo of 20 MB in Base64, and a conversation
BEARER = HTTPBearer(auto_error=False)
PATHS = (
    "/v1/models, /v1/chat/completions, /v1/profiles, /v1/choices, /v1/explanations, /health, /ready, /metrics and "
    "/openapi.json"
)
BODIES = (ChatRequest, ProfilesRequest, ChoicesRequest, ExplanationsRequest)
# FastAPI's pages fetch their scripts from a CDN, and this server is to work offline and to send nobody elsewhere.
PAGES = ("/docs", "/redoc")


def make_app(
    model: FaceLLM,
    *,
    names: dict[str, str] | None = None,
    api_key: str | None = None,
    max_body: int = MAX_BODY,
    client_rate: int = 0,
) -> FastAPI:
    """Makes the server over one opened model; FACELLM_SENSITIVE holds as it stands now.

    Args:
        model: The opened model.
        names: {"base": name to serve it under, "facellm": ...}; by default these very words.
        api_key: What clients must send as bearer token; None asks for nothing.
        max_body: Bytes of a request at most.
        client_rate: Requests of one client a minute at most; 0 counts none.

    Returns:
        The application; `app.state.service` counts what it does.

    Raises:
        FaceLLMError: Where two models would have one name, or a name is no text.
    """
    titles = {variant: (names or {}).get(variant) or variant for variant in model.variants}
    if len(set(titles.values())) < len(titles):
        raise FaceLLMError(f"Base and FaceLLM cannot both be served as {titles['base']!r}; give them two names.")
    for title in titles.values():
        if not title.isprintable():
            raise FaceLLMError(f"{title!r} cannot be a served name; use printable characters.")
    service, clients = Service(model, sensitive_allowed()), Clients(client_rate)
    metrics = Metrics(service)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    app = _App(title="FaceLLM", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.service, app.state.metrics = service, metrics
    for kind, handler in (
        (Refusal, _refused),
        (HTTPException, _http_error),
        (ClientDisconnect, _gone),
        (Exception, _unforeseen),
    ):
        app.add_exception_handler(kind, handler)
    guard = _guard(api_key)
    app.include_router(operators_routes(service, clients, metrics, list(titles.values()), guard))
    names_of = {title: variant for variant, title in titles.items()}
    app.include_router(_routes(service, clients, Bodies(max_body), names_of, guard))
    return app


def _guard(api_key: str | None) -> Any:
    """A dependency that asks for the key, where there is one."""

    async def guard(sent: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        token = sent.credentials.strip() if sent else ""
        if api_key is not None and not hmac.compare_digest(token.encode(), api_key.encode()):
            raise Refusal("The key is missing or wrong.", status=401, code="invalid_api_key")

    return guard


def _routes(service: Service, clients: Clients, bodies: Bodies, names: dict[str, str], guard: Any) -> APIRouter:
    """What clients ask for.  names: {served name: "base" or "facellm"}."""
    failure = {"model": ErrorReply, "description": "OpenAI's error object, with one sentence"}
    told: dict[int | str, Any] = {"4XX": failure, "5XX": failure}
    router = APIRouter(prefix="/v1", dependencies=[Depends(guard)], tags=["clients"], responses=told)
    report, started = service.model.report, int(time.time())

    def variant_of(name: str) -> str:
        if name not in names:
            sentence = f"There is no model {short(name)} here; choose {' or '.join(names)}."
            raise Refusal(sentence, "model", status=404, code="model_not_found")
        return names[name]

    def described(name: str) -> dict[str, Any]:
        about: dict[str, Any] = {"variant": variant_of(name), "model": report.name, "version": __version__}
        about |= {"profiles": True, "choices": True, "explanations": True, "weights": service.model.weights_digest}
        about |= {"dtype": report.dtype, "quantization": report.quantization, "sharing": report.sharing}
        about |= {"label_set": service.model.loaded.label_set, "fields": [field.key for field in service.model.fields]}
        about |= {"answers": list(service.model.answers)}
        return {"id": name, "object": "model", "created": started, "owned_by": "facellm", "facellm": about}

    def admitted(request: Request) -> contextlib.AbstractContextManager[Admission]:
        return clients.admitted(request.client.host if request.client else "")

    @router.get("/models", response_model=ModelList)
    async def models() -> dict[str, Any]:
        """The models that can be asked, by their served names."""
        return {"object": "list", "data": [described(name) for name in names]}

    @router.get("/models/{name:path}", response_model=ServedModel)
    async def one_model(name: str) -> dict[str, Any]:
        """One of the models."""
        return described(name)

    @router.post("/profiles", openapi_extra=_body_of(ProfilesRequest), response_model=ProfilesReply)
    async def profiles(request: Request) -> dict[str, Any]:
        """Probabilities of age group, gender, pose and so on, calibrated where the model is."""
        with admitted(request) as admission:
            asked = await bodies.read(request, ProfilesRequest, admission)
            found = await service.profiles(asked, {name: variant_of(name) for name in asked.model})
        return {"object": "facellm.profiles", "profiles": found}

    @router.post("/choices", openapi_extra=_body_of(ChoicesRequest), response_model=ChoicesReply)
    async def choices(request: Request) -> dict[str, Any]:
        """How likely the models find each option of questions of the client's own."""
        with admitted(request) as admission:
            asked = await bodies.read(request, ChoicesRequest, admission)
            found = await service.choices(asked, {name: variant_of(name) for name in asked.model})
        return {"object": "facellm.choices", "choices": found}

    @router.post("/explanations", openapi_extra=_body_of(ExplanationsRequest), response_model=ExplanationsReply)
    async def explanations(request: Request) -> dict[str, Any]:
        """Which regions of the picture an answer hangs on, and what would be said without the picture."""
        with admitted(request) as admission:
            asked = await bodies.read(request, ExplanationsRequest, admission)
            wanted = {name: variant_of(name) for name in asked.model}
            async with _watched(request) as cancel:
                found = await service.explanations(asked, wanted, cancel)
        return {"object": "facellm.explanations", "explanations": found}

    streamed = {"text/event-stream": {"schema": {"$ref": f"#/components/schemas/{ChatChunk.__name__}"}}}
    answers: dict[int | str, Any] = {200: {"model": ChatCompletion, "content": streamed}}

    @router.post("/chat/completions", openapi_extra=_body_of(ChatRequest), response_model=None, responses=answers)
    async def chat(request: Request) -> Response | dict[str, Any]:
        """One question about one image, answered once or n times, whole or as server-sent events."""
        with contextlib.ExitStack() as stack:
            asked = await bodies.read(request, ChatRequest, stack.enter_context(admitted(request)))
            async with _watched(request) as cancel:
                events = service.answer(asked, variant_of(asked.model), cancel)
                head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": asked.model}
                seen = await anext(events)
                if not asked.stream:
                    ends = [event async for event in events if isinstance(event, End)]
                    return completion(head, seen, ends, asked.logprobs)
            usage = asked.stream_options is not None and asked.stream_options.include_usage is True
            sent = event_stream(head, seen, events, choices=asked.n, scored=asked.logprobs, usage=usage)
            stack.callback(cancel.set)
            return _EventStream(sent, stack.pop_all())

    return router


def _body_of(schema: type[AnyRequest]) -> dict[str, Any]:
    """The request's body in the OpenAPI document; the routes read it themselves, to bound its size."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}}
    return {"requestBody": {"required": True, "content": content}}


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, with the bodies that the routes read themselves and the events that they stream."""
        document = super().openapi()
        kinds: Any = [(kind, "validation") for kind in BODIES]
        kinds.append((ChatChunk, "serialization"))
        _, bodies = models_json_schema(kinds, ref_template="#/components/schemas/{model}")
        document.setdefault("components", {}).setdefault("schemas", {}).update(bodies["$defs"])
        return document

    def build_middleware_stack(self) -> Any:
        """Everything, failures included, with ids, numbers and a line in the log."""
        return Watched(super().build_middleware_stack(), self.state.metrics)


@contextlib.asynccontextmanager
async def _watched(request: Request) -> AsyncIterator[threading.Event]:
    """Yields an event that is set when the client closes the connection within the block."""
    cancel = threading.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        cancel.set()

    task = asyncio.create_task(watch())
    try:
        yield cancel
    finally:
        task.cancel()


class _EventStream(StreamingResponse):
    """Server-sent events; however the response ends, what was held for it is let go."""

    def __init__(self, chunks: AsyncIterator[str], held: contextlib.ExitStack):
        super().__init__(chunks, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._held = held

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._held.close()


# -- failures ---------------------------------------------------------------------------------------------------------


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    request.app.state.metrics.refused(error.code or str(error.status))
    headers = {"Retry-After": str(error.wait)} if error.status in (429, 503) else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    # Sentences quote what the client sent, so nothing is left that UTF-8 could not carry.
    whole = error.status not in (408, 413, 429, 503) or Bodies.whole(request)
    kind = Response if whole else Unread
    return kind(json.dumps(error.to_dict()), error.status, headers, "application/json")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    missing = f"There is nothing at {request.url.path}; there are {PATHS}."
    if request.url.path in PAGES:
        missing = "There is no page here, as its scripts would come from another host; /openapi.json is the document."
    told = {
        404: missing,
        405: "Use GET or POST as documented.",
    }
    refusal = Refusal(told.get(error.status_code, str(error.detail)), status=error.status_code)
    return JSONResponse(refusal.to_dict(), error.status_code, error.headers)


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _unforeseen(request: Request, error: Exception) -> Response:
    return await _refused(request, refusal_for(error))
