"""Asks a model behind any OpenAI-compatible server about an image; waits and tries again where that can help.

The key comes from the environment (OPENAI_API_KEY) and is taken out of every message. What an error means is decided in
`train.teachers.faults`, when to send in `train.teachers.rate_limits`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from facellm.errors import FaceLLMError
from train.teachers.faults import REFUSED, NoReply, fault_of, raise_if_final
from train.teachers.rate_limits import Limits

OPENAI_URL = "https://api.openai.com/v1"
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds, between tries when the server names none
HOPELESS_IN_A_ROW = 20  # requests that failed for good with none answered between: the server is down
# Of a server that did answer: an image is refused with all its questions, and several may follow each other.
REFUSED_IN_A_ROW = 100
_SHOWN = 8  # models that are named when the wanted one is gone


@dataclass(frozen=True)
class Settings:
    """What the server is told.

    Attributes:
        model: The model's name there.
        base_url: The server.
        detail: Resolution at which the model sees: low, high or auto; None leaves it to the server.
        max_tokens: Longest answer; None for the server's own.
        temperature: None for the server's default.
        seed: The first try's; each further one adds 1. None sends none.
        timeout: Seconds for a whole response.
        tries: Sends of a request until the server answers.
    """

    model: str
    base_url: str = OPENAI_URL
    detail: str | None = "high"
    max_tokens: int | None = 700
    temperature: float | None = None
    seed: int | None = 0
    timeout: float = 120.0
    tries: int = 8

    teacher: ClassVar[str] = "openai"

    def identity(self) -> dict[str, Any]:
        """Returns what of these shapes an answer."""
        names = ("model", "base_url", "detail", "max_tokens", "temperature", "seed")
        return {name: getattr(self, name) for name in names}

    def body(self, system: str, question: str, image: str, attempt: int) -> dict[str, Any]:
        """Returns the request's JSON; `attempt` is added to the seed, so that asking again brings another answer."""
        seen = {"url": image} if self.detail is None else {"url": image, "detail": self.detail}
        content = [{"type": "text", "text": question}, {"type": "image_url", "image_url": seen}]
        made: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": content}],
        }
        # OpenAI's newer models refuse `max_tokens`; other servers may know nothing else.
        longest = "max_completion_tokens" if self.base_url == OPENAI_URL else "max_tokens"
        seed = None if self.seed is None else self.seed + attempt
        chosen = {longest: self.max_tokens, "seed": seed, "temperature": self.temperature}
        return made | {name: value for name, value in chosen.items() if value is not None}


@dataclass(frozen=True)
class Reply:
    text: str | None
    refusal: str | None
    finish_reason: str | None
    model: str | None  # as the server names it
    usage: Mapping[str, Any] | None
    raw: Mapping[str, Any]  # the whole response


def reply_of(data: Mapping[str, Any]) -> Reply:
    """Reads a chat completion's JSON.  Raises NoReply ("malformed") where it is none."""
    try:
        choice = data["choices"][0]
        message = choice["message"]
        text = message.get("content")
        if text is not None and not isinstance(text, str):
            raise TypeError("content is not text")
        return Reply(
            text, message.get("refusal"), choice.get("finish_reason"), data.get("model"), data.get("usage"), data
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise NoReply("malformed", f"not a chat completion: {str(data)[:80]}") from None


def base_url(given: str | None) -> str:
    return (given or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL).rstrip("/")


def read_key(url: str) -> str:
    """Reads the key from the environment; servers other than OpenAI's may do without.

    Raises:
        FaceLLMError: Where OpenAI's own server is to be asked without a key.
    """
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key and url == OPENAI_URL:
        raise FaceLLMError(
            "No key is set: put your key into the environment variable OPENAI_API_KEY, name another server with "
            "--base-url, or take --teacher measured, which needs none."
        )
    return key or "none"


def no_answer(count: int, again: bool, last: str) -> FaceLLMError:
    """Returns the error that ends a run after `count` requests without an answer in a row.

    Args:
        count: How many.
        again: Whether they may succeed later.
        last: The last fault, in words.
    """
    advice = (
        "run the same command again when the server is well"
        if again
        else "check --model, --base-url and --detail, or take these images out of the labels, and run it again"
    )
    return FaceLLMError(
        f"{count} requests in a row brought no answer (the last: {last}); every answer so far is kept: {advice}."
    )


def transport_errors() -> type[Exception]:
    """Returns what the client's HTTP library raises while a response is read piece by piece."""
    try:
        from httpx2 import HTTPError  # openai 3
    except ImportError:
        from httpx import HTTPError  # openai 2
    return HTTPError


class Teacher:
    """An open connection to the server; an async context manager.

    Attributes:
        answered: Whether a question was ever answered with these settings; until then a refusal may be their fault.
        limits: When the next request may be sent.
    """

    def __init__(
        self, settings: Settings, connections: int, on_fault: Callable[[str, str], None], answered: bool = False
    ) -> None:
        """Opens the client; `on_fault` is called with (kind, text) for every try that failed."""
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        try:
            from httpx2 import Limits as Connections  # openai 3
            from httpx2 import Response
        except ImportError:
            from httpx import Limits as Connections  # openai 2
            from httpx import Response

        self.settings, self._on_fault, self.answered = settings, on_fault, answered
        self._key = read_key(settings.base_url)
        self.client = AsyncOpenAI(
            api_key=self._key,
            base_url=settings.base_url,
            max_retries=0,
            timeout=settings.timeout,
            http_client=DefaultAsyncHttpxClient(
                limits=Connections(max_connections=connections, max_keepalive_connections=connections)
            ),
        )
        self._response = Response
        self.limits = Limits()
        self._hopeless = self._refused = 0  # in a row
        self._random = random.Random()  # jitter only

    async def __aenter__(self) -> Teacher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def check_model(self, alternatives: tuple[str, ...] = ()) -> str | None:
        """Looks for the model in the server's list.

        Args:
            alternatives: Models to name when ours is gone and the server has them.

        Returns:
            A remark where the server lists no models, or says that ours is going to be shut down; else None.

        Raises:
            FaceLLMError: Where the server lists its models and ours is missing.
        """
        import openai

        wanted = self.settings.model
        try:
            listed = json.loads((await self.client.with_raw_response.models.list()).content)["data"]
            names = {str(entry["id"]): entry for entry in listed}
        except openai.APIConnectionError as error:
            reason = self.clean(error.__cause__ or error)
            raise FaceLLMError(
                f"The server {self.settings.base_url} cannot be reached ({reason}); check --base-url and the network."
            ) from None
        except openai.APIStatusError as error:
            raise_if_final(error.status_code, error.code, error.type, self.clean(error), wanted)
            return f"The server does not list its models (status {error.status_code}); {wanted} is used unchecked."
        except (ValueError, KeyError, TypeError):
            return f"The server's list of models cannot be read; {wanted} is used unchecked."
        if wanted not in names:
            family = wanted.split("-20")[0].split("-")[0]
            near = [name for name in alternatives if name in names]
            near += sorted(name for name in names if name.startswith(family) and name not in near)
            near = near or sorted(names)
            more = f" and {len(near) - _SHOWN} more" if len(near) > _SHOWN else ""
            raise FaceLLMError(
                f"The server {self.settings.base_url} has no model {wanted!r} (retired, or not open to this key"
                f"{await self._last_word(wanted)}); "
                f"choose another with --model: {', '.join(near[:_SHOWN]) or 'it lists none'}{more}."
            )
        if date := names[wanted].get("shutdown_date"):
            near = ", ".join(name for name in alternatives if name in names)
            return f"The server will shut {wanted} down on {date}" + (f"; it also has {near}." if near else ".")
        return None

    async def _last_word(self, model: str) -> str:
        """What the server says of a model that it does not list, such as when it was shut down."""
        import openai

        try:
            await self.client.models.retrieve(model)
        except openai.APIStatusError as error:
            said = error.body.get("message") if isinstance(error.body, dict) else None
            return f"; it says: {self.clean(ValueError(said))}" if isinstance(said, str) and said else ""
        except openai.OpenAIError:
            pass
        return ""

    async def ask(self, system: str, question: str, image: str, attempt: int = 0, tokens: int = 0) -> Reply:
        """Asks one question about an image.

        Args:
            system: The system prompt.
            question: The question.
            image: A data URL.
            attempt: As in `Settings.body`.
            tokens: What the request counts against the minute's limit.

        Raises:
            NoReply: Where this request brings no answer.
            FaceLLMError: Where none will.
        """
        body = self.settings.body(system, question, image, attempt)
        reply = await self.patiently(lambda: self._once(body, tokens))
        self.answered = True
        return reply

    async def patiently(self, once: Callable[[], Any]) -> Any:
        """Returns the result of `once()`, tried again after each NoReply that may pass, up to the settings' tries."""
        for number in range(1, self.settings.tries + 1):
            try:
                made = await once()
            except NoReply as fault:
                self._on_fault(fault.kind, self.clean(fault))
                if not fault.again or number == self.settings.tries:
                    self._count_hopeless(fault)
                    raise
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (number - 1)) * self._random.uniform(0.5, 1.5)
                await asyncio.sleep(max(wait, fault.wait))
            else:
                self._hopeless = self._refused = 0
                return made
        raise AssertionError("tries is at least 1")

    async def _once(self, body: Mapping[str, Any], tokens: int) -> Reply:
        await self.limits.turn(tokens)
        # By path: the typed method walks the whole body against its types, most of a request's processor time.
        response = await self.call(self.client.post("/chat/completions", cast_to=self._response, body=body))
        self.limits.update(response.headers)
        try:
            data = json.loads(response.content)
        except ValueError:
            raise NoReply("malformed", f"not a chat completion: {response.content[:80]!r}") from None
        return reply_of(data)

    async def call(self, awaitable: Any, timeout: float | None = None) -> Any:
        """Awaits a call of the client for `timeout` seconds at most; its errors become NoReply or FaceLLMError."""
        import openai

        timeout = timeout or self.settings.timeout
        try:
            # The client's timeout is for each piece of a response, this one for the whole.
            return await asyncio.wait_for(awaitable, timeout)
        except (asyncio.TimeoutError, openai.APITimeoutError):  # two classes before Python 3.11
            raise NoReply("timeout", f"no response within {timeout:g} s") from None
        except openai.APIConnectionError as error:
            raise NoReply("connection", str(error.__cause__ or error)) from None
        except openai.APIStatusError as error:
            text, headers = self.clean(error), error.response.headers
            fault = fault_of(error.status_code, error.code, error.type, text, headers, self.settings.model)
            if error.status_code in (429, 503):
                self.limits.pause(fault.wait)
            raise fault from None
        except openai.OpenAIError as error:  # such as a body that is not JSON where the client parses it
            raise NoReply("malformed", self.clean(error)) from None

    def _count_hopeless(self, fault: NoReply) -> None:
        if fault.kind == REFUSED and self.answered:
            self._refused += 1
            count, most = self._refused, REFUSED_IN_A_ROW
        else:
            self._hopeless += 1
            count, most = self._hopeless, HOPELESS_IN_A_ROW
        if count >= most:
            raise no_answer(count, fault.again, self.clean(fault)) from None

    def clean(self, error: BaseException) -> str:
        text = str(error) or type(error).__name__
        return (text.replace(self._key, "***") if len(self._key) > 4 else text)[:300]
