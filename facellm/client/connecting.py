"""Connects to an OpenAI-compatible server: which of its models are base and FaceLLM, and whether the two differ."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from facellm.client import knowledge, names
from facellm.client.client import RemoteFaceLLM
from facellm.client.transport import Backend
from facellm.errors import FaceLLMError

log = logging.getLogger("facellm.client")

KEY = "FACELLM_BACKEND_KEY"


def connect(
    url: str,
    model: str = "auto",
    *,
    key: str | None = None,
    timeout: float = 120.0,
    check: bool = True,
    folder: str | Path | None = None,
) -> RemoteFaceLLM:
    """Uses the server at `url`.

    Args:
        url: http://host:port, with or without /v1.
        model: "base name,FaceLLM's name" there, or one name; "auto" takes FACELLM_BACKEND_MODELS, else what /v1/models
            tells.
        key: Sent as bearer token (default: FACELLM_BACKEND_KEY).
        timeout: Seconds without a byte after which an answer is given up.
        check: Asks both models and warns (log, report.notes) where their answers are the same, or where the server
            mixes the two up when both are asked at once; it is then asked one model at a time.
        folder: For profiles from a vLLM: the model's folder on this machine, or a file like its calibration.json, with
            label set, fields and temperatures (default: FACELLM_BACKEND_FOLDER, else the folder that vLLM tells, where
            it is on this machine).

    Returns:
        The server's models.

    Raises:
        FaceLLMError: Where the server cannot be reached or used.
    """
    started = time.perf_counter()
    backend = Backend(url, key or os.environ.get(KEY, "").strip() or None, timeout)
    named = os.environ.get(names.VARIABLE, "").strip() or "auto"
    wanted = model.strip() if model.strip() not in ("", "auto") else named
    try:
        listed = backend.get("/models").get("data")
        if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
            raise FaceLLMError(f"The server {backend.place} lists no models in OpenAI's form; check its address.")
        chosen = names.choose_names(listed, wanted, backend.place)
        first = next(entry for entry in listed if entry.get("id") in chosen.values())
        about = first.get("facellm")
        found = RemoteFaceLLM(
            backend, chosen, about if isinstance(about, dict) else {}, first.get("owned_by") == "vllm"
        )
        place = folder or os.environ.get(knowledge.VARIABLE, "").strip()
        served = {v: next(e for e in listed if e.get("id") == name) for v, name in chosen.items()}
        found.known = knowledge.knowledge_in(place) if place else knowledge.knowledge_of(served)
        if check:
            checked = names.check_answers(found, apart=not found.about)
            found.apart = checked.mixed
            if checked.warning:
                log.warning("%s", checked.warning)
                found.notes = (checked.warning,)
    except BaseException:  # a page tries again every few seconds, and each try has a thread and connections of its own
        backend.close()
        raise
    found.seconds = time.perf_counter() - started
    return found
