"""What a server's "no" means: try again, leave this request, or end the run with a sentence.

The openai client's own retries do not tell a used-up quota from a rate limit, cap Retry-After, and count no faults, so
they are switched off, and what is decided here takes their place. Batches report the same errors in files.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from facellm.errors import FaceLLMError

MOST_PATIENCE = 900.0  # seconds of Retry-After that are waited for; above it the run ends with a sentence
REFUSED = "refused"  # the fault of a request whose own picture or question the server refuses, now and later
# Words of a 400 that is about the request itself; other 400s, and these where nothing is answered, are the settings'.
_REFUSES = re.compile(r"image|content[ _-](?:policy|filter|management)|safety|moderation|responsible ?ai", re.I)
FINAL_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "account_deactivated"}


class NoReply(Exception):
    """This request brought no answer; `kind` is one of the kinds of fault, `wait` seconds that the server asked for."""

    def __init__(self, kind: str, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.kind, self.wait = kind, wait

    @property
    def again(self) -> bool:
        """Whether the same request may succeed later."""
        return self.kind not in ("rejected", REFUSED)


def fault_of(status: int, code: Any, kind: Any, text: str, headers: Mapping[str, str] | None, model: str) -> NoReply:
    """status, code and type of an error object, its text (free of secrets), the response's headers if there were any.

    Raises FaceLLMError where it holds for every request.
    """
    raise_if_final(status, code, kind, text, model)
    if status == 429 or status >= 500 or status in (408, 409):
        wait = retry_after(headers or {})
        if wait > MOST_PATIENCE:
            raise FaceLLMError(
                f"The server asks to wait {wait / 60:.0f} minutes; run the same command again after that."
            )
        return NoReply("rate limit" if status == 429 else f"status {status}", text, wait)
    refused = status == 400 and _REFUSES.search(f"{code} {kind} {text}")
    return NoReply(REFUSED if refused else "rejected", f"status {status}: {text}")


def raise_if_final(status: int, code: Any, kind: Any, text: str, model: str) -> None:
    if status == 402 or {code, kind} & FINAL_CODES:
        raise FaceLLMError(
            f"The account has no quota left ({text}); top it up, then run the same command again: every answer so "
            "far is kept."
        )
    if status in (401, 403):
        raise FaceLLMError(f"The server refuses the key in OPENAI_API_KEY ({text}); check the key and its rights.")
    if status == 404 and code == "model_not_found":
        raise FaceLLMError(f"The server has no model {model!r} ({text}); choose another with --model.")


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


def duration(text: str) -> float:
    """ "1m2.5s", "20ms", "7" -> seconds."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "": 1.0}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s|)", text))
