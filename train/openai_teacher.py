"""Asks a model behind any OpenAI-compatible server about an image; waits and tries again where that can help.

Input: texts and an image as a data URL. Output: a `Reply` with the whole response, or `NoReply` where this request
cannot be answered now, or `FaceLLMError` where going on is pointless (no quota, wrong key, no such model). The client's
own retries are off: they give up early, cap Retry-After and take a used-up quota for a rate limit.

The key comes from the environment (OPENAI_API_KEY) and is taken out of every message. What this file does not know:
prompts, labels, files, prices.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from facellm.errors import FaceLLMError

OPENAI_URL = "https://api.openai.com/v1"
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds, between tries when the server names none
MOST_PATIENCE = 900.0  # seconds of Retry-After that are waited for; above it the run ends with a sentence
FINAL_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "account_deactivated"}
_HOPELESS_IN_A_ROW = 20  # requests that failed for good with none answered between: the server is down
_SHOWN = 8  # models that are named when the wanted one is gone


class NoReply(Exception):
    """This request brought no answer and is not tried again in this run; `kind` is one of the kinds of fault."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True)
class Settings:
    """What the server is told. max_tokens: of an answer. timeout: seconds for a whole response. tries: per request."""

    model: str
    base_url: str = OPENAI_URL
    detail: str = "high"
    max_tokens: int = 700
    temperature: float | None = None  # None: the server's default
    seed: int = 0
    timeout: float = 120.0
    tries: int = 8

    def identity(self) -> dict[str, Any]:
        """What of these shapes an answer."""
        names = ("model", "base_url", "detail", "max_tokens", "temperature", "seed")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Reply:
    text: str | None
    refusal: str | None
    finish_reason: str | None
    model: str | None  # as the server names it
    usage: Mapping[str, Any] | None
    raw: Mapping[str, Any]  # the whole response


def base_url(given: str | None) -> str:
    return (given or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL).rstrip("/")


def read_key(url: str) -> str:
    """The key from the environment. Servers other than OpenAI's may do without.  Raises FaceLLMError."""
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key and url == OPENAI_URL:
        raise FaceLLMError(
            "No key is set: put your key into the environment variable OPENAI_API_KEY, or name another server with "
            "--base-url."
        )
    return key or "none"


class Teacher:
    """An open connection to the server; an async context manager.

    on_fault: called with (kind, text) for every try that failed, also where a later one succeeds.
    """

    def __init__(self, settings: Settings, connections: int, on_fault: Callable[[str, str], None]) -> None:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        try:
            from httpx2 import Limits  # openai 3
        except ImportError:
            from httpx import Limits  # openai 2

        self.settings, self._on_fault = settings, on_fault
        self._key = read_key(settings.base_url)
        limits = Limits(max_connections=connections, max_keepalive_connections=connections)
        self._client = AsyncOpenAI(
            api_key=self._key,
            base_url=settings.base_url,
            max_retries=0,
            timeout=settings.timeout,
            http_client=DefaultAsyncHttpxClient(limits=limits),
        )
        self._open_at = 0.0  # monotonic seconds before which nobody sends: a rate limit holds for all
        self._hopeless = 0
        self._random = random.Random()  # jitter only

    async def __aenter__(self) -> Teacher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def check_model(self) -> str | None:
        """A remark where the server lists no models.  Raises FaceLLMError where it lists them and ours is missing."""
        import openai

        wanted = self.settings.model
        try:
            listed = (await self._client.with_raw_response.models.list()).content
            names = sorted(str(entry["id"]) for entry in json.loads(listed)["data"])
        except openai.APIConnectionError as error:
            reason = self._clean(error.__cause__ or error)
            raise FaceLLMError(
                f"The server {self.settings.base_url} cannot be reached ({reason}); check --base-url and the network."
            ) from None
        except openai.APIStatusError as error:
            self._raise_if_final(error)
            return f"The server does not list its models (status {error.status_code}); {wanted} is used unchecked."
        except (ValueError, KeyError, TypeError):
            return f"The server's list of models cannot be read; {wanted} is used unchecked."
        if wanted not in names:
            family = wanted.split("-20")[0].split("-")[0]
            near = [name for name in names if name.startswith(family)] or names
            more = f" and {len(near) - _SHOWN} more" if len(near) > _SHOWN else ""
            raise FaceLLMError(
                f"The server {self.settings.base_url} has no model {wanted!r} (retired, or not open to this key); "
                f"choose another with --model: {', '.join(near[:_SHOWN]) or 'it lists none'}{more}."
            )
        return None

    async def ask(self, system: str, question: str, image: str, attempt: int = 0) -> Reply:
        """image: a data URL.  attempt: added to the seed, so that asking again brings another answer.

        Raises NoReply for this request, FaceLLMError for all.
        """
        for number in range(1, self.settings.tries + 1):
            await self._wait_for_turn()
            try:
                reply = await self._once(system, question, image, attempt)
            except NoReply as fault:
                self._on_fault(fault.kind, self._clean(fault))
                if fault.kind == "rejected" or number == self.settings.tries:
                    self._count_hopeless(fault)
                    raise
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (number - 1)) * self._random.uniform(0.5, 1.5)
                await asyncio.sleep(max(wait, getattr(fault, "wait", 0.0)))
            else:
                self._hopeless = 0
                return reply
        raise AssertionError("tries is at least 1")

    async def _once(self, system: str, question: str, image: str, attempt: int) -> Reply:
        import openai

        s = self.settings
        # OpenAI's newer models refuse `max_tokens`; other servers may know nothing else.
        options: dict[str, Any] = {
            "max_completion_tokens" if s.base_url == OPENAI_URL else "max_tokens": s.max_tokens,
            "seed": s.seed + attempt,
        }
        if s.temperature is not None:
            options["temperature"] = s.temperature
        content = [
            {"type": "text", "text": question},
            {"type": "image_url", "image_url": {"url": image, "detail": s.detail}},
        ]
        messages = [{"role": "system", "content": system}, {"role": "user", "content": content}]
        try:
            # The client's timeout is for each piece of a response, this one for the whole.
            response = await asyncio.wait_for(
                self._client.chat.completions.with_raw_response.create(model=s.model, messages=messages, **options),
                s.timeout,
            )
        except (asyncio.TimeoutError, openai.APITimeoutError):  # two classes before Python 3.11
            raise NoReply("timeout", f"no response within {s.timeout:g} s") from None
        except openai.APIConnectionError as error:
            raise NoReply("connection", str(error.__cause__ or error)) from None
        except openai.APIStatusError as error:
            raise self._fault_of(error) from None
        self._pace(response.headers)
        try:
            return _reply(json.loads(response.content))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            raise NoReply("malformed", f"not a chat completion: {response.content[:80]!r}") from None

    def _fault_of(self, error: Any) -> NoReply:
        """What an error status means.  Raises FaceLLMError where it holds for every request."""
        self._raise_if_final(error)
        status, text = error.status_code, self._clean(error)
        if status == 429 or status >= 500 or status in (408, 409):
            fault = NoReply("rate limit" if status == 429 else f"status {status}", text)
            fault.wait = retry_after(error.response.headers)
            if fault.wait > MOST_PATIENCE:
                raise FaceLLMError(
                    f"The server asks to wait {fault.wait / 60:.0f} minutes; run the same command again after that."
                )
            if status in (429, 503):
                self._open_at = max(self._open_at, time.monotonic() + fault.wait)
            return fault
        return NoReply("rejected", f"status {status}: {text}")

    def _raise_if_final(self, error: Any) -> None:
        text = self._clean(error)
        if error.status_code == 402 or {error.code, error.type} & FINAL_CODES:
            raise FaceLLMError(
                f"The account has no quota left ({text}); top it up, then run the same command again: every answer so "
                "far is kept."
            )
        if error.status_code in (401, 403):
            raise FaceLLMError(f"The server refuses the key in OPENAI_API_KEY ({text}); check the key and its rights.")
        if error.status_code == 404 and error.code == "model_not_found":
            raise FaceLLMError(
                f"The server has no model {self.settings.model!r} ({text}); choose another with --model."
            )

    def _count_hopeless(self, fault: NoReply) -> None:
        self._hopeless += 1
        if self._hopeless >= _HOPELESS_IN_A_ROW:
            raise FaceLLMError(
                f"{self._hopeless} requests in a row brought no answer (the last: {self._clean(fault)}); every answer "
                "so far is kept: run the same command again when the server is well."
            ) from None

    def _pace(self, headers: Mapping[str, str]) -> None:
        """Where the server says that this minute's requests or tokens are used up, wait until it renews them."""
        for what in ("requests", "tokens"):
            left, reset = headers.get(f"x-ratelimit-remaining-{what}"), headers.get(f"x-ratelimit-reset-{what}")
            if left is not None and left.strip() == "0" and reset:
                self._open_at = max(self._open_at, time.monotonic() + min(_duration(reset), LONGEST_WAIT))

    async def _wait_for_turn(self) -> None:
        while (wait := self._open_at - time.monotonic()) > 0:
            await asyncio.sleep(wait + self._random.uniform(0, 0.1 * wait))  # not all at the same moment

    def _clean(self, error: BaseException) -> str:
        text = str(error) or type(error).__name__
        return (text.replace(self._key, "***") if len(self._key) > 4 else text)[:300]


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a server asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date; 0 for none."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        return max(0.0, float(headers.get("retry-after", 0)))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (ValueError, TypeError, KeyError):
        return 0.0


def _duration(text: str) -> float:
    """ "1m2.5s", "20ms", "7" -> seconds."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "": 1.0}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s|)", text))


def _reply(data: Mapping[str, Any]) -> Reply:
    choice = data["choices"][0]
    message = choice["message"]
    text = message.get("content")
    if text is not None and not isinstance(text, str):
        raise TypeError("content is not text")
    return Reply(text, message.get("refusal"), choice.get("finish_reason"), data.get("model"), data.get("usage"), data)
