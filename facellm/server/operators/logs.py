"""Request ids, and the log as JSON: one object a line for each request, and for whatever else is logged."""

from __future__ import annotations

import json
import logging
import re
import sys
import uuid
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any

HEADER = "x-request-id"
_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")  # of what proxies send; anything else is answered with an id of our own
REQUEST_ID: ContextVar[str] = ContextVar("facellm_request_id", default="")  # of the request that is being answered

access = logging.getLogger("facellm.access")


def request_id(sent: str | None) -> str:
    """Returns the id that a client or proxy sent, where it is one; else a new one."""
    return sent if sent and _ID.fullmatch(sent) else uuid.uuid4().hex


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON; what is in its `fields` stands beside time, level and message."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if found := REQUEST_ID.get():
            told["request_id"] = found
        told |= getattr(record, "fields", {})
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told)


def log_as_json() -> None:
    """Sends every record of this process to stderr as JSON, and one for each request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().handlers[:] = [handler]
    access.setLevel(logging.INFO)
