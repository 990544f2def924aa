"""Servers for tests: ours in a thread of this process, one that talks as vLLM does, one that misbehaves on order."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

from facellm.server.app import make_app
from facellm.server.schemas import ChatRequest, parse


def free_socket(port: int = 0) -> socket.socket:
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind(("127.0.0.1", port))
    return place


class InThread:
    """An ASGI application on a free port (or the one given) until stop(); a context manager."""

    def __init__(self, app, port: int = 0):
        place = free_socket(port)
        self.app, self.port = app, place.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        # A slow machine's client may be idle for minutes; the server must not be who closes the connection.
        options = {"log_level": "error", "timeout_graceful_shutdown": 1, "timeout_keep_alive": 600}
        self._server = uvicorn.Server(uvicorn.Config(app, **options))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [place]}, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def __enter__(self) -> InThread:
        return self

    def __exit__(self, *_) -> None:
        self.stop()


def wait_until(true: Callable[[], object], seconds: float = 120.0) -> None:
    """Generous: how long it takes is no concern of a test's."""
    pause, deadline = threading.Event(), seconds
    while not true():
        assert deadline > 0, "it never came to that"
        pause.wait(0.02)
        deadline -= 0.02


class VLLM:
    """Our server's answers in vLLM's words: models with `parent`, its own parameters, `prompt_logprobs`.

    broken: serves the base under the adapter's name, as vLLM does where an adapter's keys match no layer.
    tiles: whether it takes mm_processor_kwargs.  root: the base's folder, as it tells it.  mixing: answers the base
    with the adapter while the adapter is asked too, as vLLM's build for CPUs does.
    """

    def __init__(self, model, broken: bool = False, tiles: bool = True, root: str | None = None, mixing=False):
        self.model, self.broken, self.tiles, self.root, self.mixing = model, broken, tiles, root, mixing
        self.mixed = 0  # answers of the base that were the adapter's
        self._waiting: list[str] = []
        self.words: list[dict | None] = []  # mm_processor_kwargs of each request
        self.asked: list[str] = []  # the last question of each
        self.names = {"InternVL3-tiny": "base", "face": "facellm"}
        self.inner = make_app(model, names={variant: name for name, variant in self.names.items()})

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await self.inner(scope, receive, send)
        elif scope["path"] == "/health":
            await PlainTextResponse("")(scope, receive, send)
        elif scope["path"] == "/v1/models":
            parents = {"InternVL3-tiny": None, "face": "InternVL3-tiny"}
            entry = {"object": "model", "owned_by": "vllm", "root": self.root}
            data = [{**entry, "id": n, "parent": p} for n, p in parents.items()]
            await JSONResponse({"object": "list", "data": data})(scope, receive, send)
        else:
            body = json.loads(await Request(scope, receive).body())
            assert "facellm" not in body
            if self.mixing:
                await self._mix(body)
            self.words.append(body.pop("mm_processor_kwargs", None))
            if self.words[-1] is not None and not self.tiles:
                error = {"message": "Extra inputs are not permitted: mm_processor_kwargs", "type": "BadRequestError"}
                await JSONResponse({"error": error}, 400)(scope, receive, send)
                return
            self.asked.append(body["messages"][0]["content"][-1]["text"])
            body["facellm"] = {"crop": False}
            if self.broken:
                body["model"] = "InternVL3-tiny"
            if "prompt_logprobs" in body:
                found = await asyncio.to_thread(self._prompt_logprobs, body)
                await JSONResponse({"choices": [], "prompt_logprobs": found})(scope, receive, send)
                return
            sent = False

            async def changed():
                nonlocal sent
                if sent:
                    return await receive()
                sent = True
                return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

            await self.inner(scope, changed, send)

    async def _mix(self, body: dict) -> None:
        """Turns a request for the base into one for the adapter where both are waiting."""
        mine = body["model"]
        self._waiting.append(mine)
        await asyncio.sleep(0.3)  # until all that was sent at once is here
        if "face" in self._waiting and mine != "face":
            body["model"] = "face"
            self.mixed += 1
        await asyncio.sleep(0.1)  # all have looked
        self._waiting.remove(mine)

    def _prompt_logprobs(self, body: dict) -> list:
        """Of the whole prompt as vLLM lists it; the label's likelihood stands at its end mark."""
        assert body["add_generation_prompt"] is False and body["prompt_logprobs"] == 0
        *messages, answer = body["messages"]
        question = {**{k: body[k] for k in ("model", "facellm")}, "messages": messages}
        asked = parse(ChatRequest, json.dumps(question).encode())
        row = asked.row(self.names[asked.model])
        view = self.model.view(asked.file, whole=True)
        score = self.model.engine.score(view.image, row.question, [answer["content"]], row.variant)[0]
        tokenizer = self.model.loaded.processor.tokenizer
        ids = tokenizer(answer["content"], add_special_tokens=False)["input_ids"]
        label = [({str(i): {"logprob": 0.0, "rank": 1, "decoded_token": tokenizer.decode([i])}}) for i in ids]
        before = {"7": {"logprob": -9.0, "rank": 9, "decoded_token": "assistant\n"}}
        end = {"8": {"logprob": score, "rank": 1, "decoded_token": "<|im_end|>"}}
        return [None, before, *label, end, {"9": {"logprob": -1.0, "rank": 2, "decoded_token": "\n"}}]


class Moody:
    """Answers each POST with the next of `moods`: a status, "cut" (after a word), "empty", "garbage" or a text."""

    def __init__(self, *moods):
        self.moods, self.asked = list(moods), 0
        self.images: set[bytes] = set()  # digests that came in the header

    async def __call__(self, scope, receive, send) -> None:
        assert scope["type"] == "http" or scope["type"] == "lifespan"
        if scope["type"] == "lifespan":
            return
        if scope["path"] == "/v1/models":
            await JSONResponse({"data": [{"id": "facellm"}]})(scope, receive, send)
            return
        await Request(scope, receive).body()
        self.images |= {value for name, value in scope["headers"] if name == b"x-facellm-image"}
        mood = self.moods[min(self.asked, len(self.moods) - 1)]
        self.asked += 1
        if isinstance(mood, int):
            error = {"error": {"message": f"mood {mood}"}}
            await JSONResponse(error, mood, {"Retry-After": "0"})(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})

        async def say(text: str, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": more})

        def event(delta: dict, reason=None) -> str:
            return f"data: {json.dumps({'choices': [{'delta': delta, 'finish_reason': reason}]})}\n\n"

        await say(": a comment\n\n" + event({"role": "assistant"}))
        if mood == "cut":
            await say(event({"content": "Half"}))
        elif mood == "garbage":
            await say("data: {not json\n\n")
        elif mood == "error":
            await say('data: {"error": {"message": "out of memory"}}\n\n')
        elif mood != "empty":
            await say(event({"content": mood}) + event({}, "stop") + "data: [DONE]\n\n")
        await say("", more=False)
