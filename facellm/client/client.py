"""A FaceLLM behind an OpenAI-compatible server: connect() to one, then ask as if it were here.

Input: the server's address. Output: a RemoteFaceLLM with FaceLLM's methods. Faces are found and cropped here, so that
the server sees what a model here would see. What this file does not know: HTTP (remote_http), which kinds of server
there are beyond what /v1/models tells (remote_names).
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from facellm.api import ImageSource, Questions, face_of
from facellm.client import likelihoods
from facellm.client import names as remote_names
from facellm.client.answers import Growing, data_uri
from facellm.client.transport import Backend, Health
from facellm.errors import FaceLLMError
from facellm.labels import LABEL_SETS
from facellm.messages import build_messages
from facellm.profile import Profile, fields_for, softmax
from facellm.results import VARIANTS, Delta, Row

if TYPE_CHECKING:
    from facellm.engine.sampling import Sampling

log = logging.getLogger("facellm.client.client")

KEY = "FACELLM_BACKEND_KEY"


def connect(
    url: str, model: str = "auto", *, key: str | None = None, timeout: float = 120.0, check: bool = True
) -> RemoteFaceLLM:
    """Use the server at `url` (http://host:port, with or without /v1).

    model: "base name,FaceLLM's name" there, or one name; "auto" takes FACELLM_BACKEND_MODELS, else what /v1/models
    tells.  key: sent as bearer token (default: FACELLM_BACKEND_KEY).  timeout: seconds without a byte after which an
    answer is given up.  check: ask both models and warn (log, report.notes) where their answers are the same.
    Raises FaceLLMError where the server cannot be reached or used.
    """
    started = time.perf_counter()
    backend = Backend(url, key or os.environ.get(KEY, "").strip() or None, timeout)
    wanted = model.strip() or "auto"
    if wanted == "auto":
        wanted = os.environ.get(remote_names.VARIABLE, "").strip() or "auto"
    try:
        found = _opened(backend, wanted, check)
    except BaseException:  # a page tries again every few seconds, and each try has a thread and connections of its own
        backend.close()
        raise
    found.seconds = time.perf_counter() - started
    return found


def _opened(backend: Backend, wanted: str, check: bool) -> RemoteFaceLLM:
    """The models of the server, their names settled.  Raises FaceLLMError, the backend left open."""
    listed = backend.get("/models").get("data")
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise FaceLLMError(f"The server {backend.place} lists no models in OpenAI's form; check its address.")
    names = remote_names.choose_names(listed, wanted, backend.place)
    first = next(entry for entry in listed if entry.get("id") in names.values())
    about = first.get("facellm")
    found = RemoteFaceLLM(backend, names, about if isinstance(about, dict) else {}, first.get("owned_by") == "vllm")
    if check and (warning := remote_names.same_answers(found)):
        log.warning("%s", warning)
        found.notes = (warning,)
    return found


@dataclass(frozen=True)
class RemoteReport:
    """What is served where, in the form of facellm.weights.load.LoadReport.

    dtype, quantization, sharing: as the server tells ("not told" where it does not).  memory_bytes: None, not told.
    """

    name: str
    base: str | None
    facellm: str | None
    reason: str
    seconds: float
    notes: tuple[str, ...] = ()
    device: str = "remote"
    dtype: str = "not told"
    quantization: str = "not told"
    memory_bytes: int | None = None
    revision: str | None = None
    sharing: str = "not told"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 3), "notes": list(self.notes)}

    def __str__(self) -> str:
        return f"{self.name}, {self.dtype}, quantization {self.quantization}; {self.reason}"


class RemoteFaceLLM(Questions):
    """A server's models; what can be asked: see Questions. Made by connect().

    names: {"base": name, "facellm": name}, or one.  about: what this project's server tells of itself, else empty.
    vllm: whether it is a vLLM, which has its own words for tiles and likelihoods. A server that is away makes a call
    fail with a sentence; the next call works once it is back.
    """

    def __init__(self, backend: Backend, names: dict[str, str], about: dict[str, Any], vllm: bool = False):
        self.backend, self.names, self.about, self.vllm = backend, names, about, vllm
        self.seconds, self.notes = 0.0, ()

    @property
    def variants(self) -> tuple[str, ...]:
        """("base", "facellm"), or the one that the server has."""
        return tuple(w for w in VARIANTS if w in self.names)

    @property
    def report(self) -> RemoteReport:
        """What is used, and what the server tells about it."""
        told = {k: str(self.about[k]) for k in ("dtype", "quantization", "sharing") if k in self.about}
        title = self.about.get("model") or " and ".join(self.names.values())
        reason = f"it is served at {self.backend.api}"
        names = {w: self.names.get(w) for w in VARIANTS}
        return RemoteReport(
            f"{title} at {self.backend.place}", **names, reason=reason, seconds=self.seconds, notes=self.notes, **told
        )

    def health(self) -> Health:
        """Whether the server answers now, with a sentence for the page; takes up to five seconds where it does not."""
        return self.backend.health()

    def close(self) -> None:
        """Close the connections, which ends open answers with a FaceLLMError; a later call opens them again."""
        self.backend.close()

    def stream(
        self,
        image: ImageSource,
        rows: Sequence[Row],
        sampling: Sampling | None = None,
        cancel: threading.Event | None = None,
        tiles: int = 1,
    ) -> Iterator[Delta]:
        """Text of all rows as it grows, each row a request of its own, side by side; as Engine.stream.

        Once `cancel` is set or the iterator is closed, the connections are closed, which stops the server. token_ids
        stay empty; tokens are as the server counts them. Raises FaceLLMError: for a row that cannot be asked (at
        once), or where the server fails; before an answer's first word it is asked again a few times.
        """
        from facellm.api import make_sampling

        if not rows:
            raise FaceLLMError("There is no question to answer.")
        if not 1 <= tiles <= 12:
            raise FaceLLMError(f"tiles is {tiles}; it must be between 1 and 12.")
        sampling = make_sampling(sampling, {})
        address = data_uri(self.view(image).image, tiles)
        bodies = [self._body(row, address, sampling, tiles) for row in rows]
        cancel = cancel or threading.Event()
        stream = self.backend.stream("/chat/completions", bodies, cancel, _image_header(address))
        return self._run(rows, stream, sampling, cancel)

    def profiles(
        self, image: ImageSource, variants: Sequence[str] = VARIANTS, *, face: int = 0, whole: bool = False
    ) -> dict[str, Profile]:
        """{which: Profile}. This project's server measures and calibrates them itself; from others the labels' raw
        likelihoods are asked for one by one (calibrated: False).  Raises FaceLLMError where a server tells none."""
        view = self.view(image, face, whole)
        address = data_uri(view.image, 1)
        for w in variants:
            self._name(w)
        if self.about.get("profiles"):
            names = {self.names[w]: w for w in variants}
            body = {"model": list(names), "image": address, "facellm": {"crop": False}}
            told = self.backend.post_all("/profiles", [body], _image_header(address))[0]["profiles"]
            return {
                w: Profile(
                    w,
                    {key: dict(field["probabilities"]) for key, field in told[name]["fields"].items()},
                    told[name]["calibrated"],
                    face_of(view),
                    view.notice,
                )
                for name, w in names.items()
            }
        return {w: Profile(w, self._scored(w, address), False, face_of(view), view.notice) for w in variants}

    def _scored(self, variant: str, address: str) -> dict[str, dict[str, float]]:
        if not self.vllm:
            raise FaceLLMError(
                f"The server {self.backend.place} does not tell how likely a label is, so it gives no profile; "
                "`python -m facellm serve` and vLLM do."
            )
        fields = fields_for(LABEL_SETS[0])
        asked = [(f, label) for f in fields for label in f.labels]
        bodies = [likelihoods.scoring_body(self._question(Row(variant, f.question), address, 1), x) for f, x in asked]
        told = self.backend.post_all("/chat/completions", bodies, _image_header(address))
        replies = dict(zip(asked, told, strict=True))
        found = {}
        for f in fields:
            own = [replies[f, label] for label in f.labels]
            scores = likelihoods.label_scores(own, f.labels, self.backend.place)
            found[f.key] = dict(zip(f.labels, softmax(scores), strict=True))
        return found

    def _name(self, variant: str) -> str:
        if variant not in self.names:
            have = " and ".join(self.variants)
            raise FaceLLMError(f"{variant!r} is not served; {self.backend.place} answers as {have} only.")
        return self.names[variant]

    def _question(self, row: Row, address: str, tiles: int) -> dict[str, Any]:
        """Model and messages of a request."""
        messages = build_messages(row.question, row.history, row.system)
        for message in messages:
            parts = message["content"]
            if parts[0]["type"] == "image":
                parts[0] = {"type": "image_url", "image_url": {"url": address}}
            else:
                message["content"] = parts[0]["text"]
        body: dict[str, Any] = {"model": self._name(row.variant), "messages": messages}
        if self.about:
            body["facellm"] = {"crop": False, "tiles": tiles}
        elif self.vllm:  # InternVL's processor makes up to 13 tiles of one photo by itself
            patches = {"min_patches": 1, "max_patches": tiles} if tiles > 1 else {}
            body["mm_processor_kwargs"] = {"crop_to_patches": tiles > 1, **patches}
        return body

    def _body(self, row: Row, address: str, sampling: Sampling, tiles: int) -> dict[str, Any]:
        penalty = sampling.repetition_penalty
        return {
            **self._question(row, address, tiles),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed if row.seed is None else row.seed,
            **({"repetition_penalty": penalty} if penalty != 1 else {}),
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def _run(
        self, rows: Sequence[Row], stream: Iterator[tuple[int, dict]], sampling: Sampling, cancel: threading.Event
    ) -> Iterator[Delta]:
        started = time.perf_counter()
        lives = [Growing(i, row, sampling, started) for i, row in enumerate(rows)]
        try:
            for number, event in stream:
                live = lives[number]
                if text := live.read(event):
                    yield Delta(number, text)
                if live.complete:
                    yield live.finish()
        finally:
            stream.close()
        for live in lives:
            if live.done:
                continue
            if cancel.is_set():
                yield live.finish("cancelled")
            elif live.reason:  # a server that sends no counts
                yield live.finish()
            else:
                raise FaceLLMError(
                    f"The server {self.backend.place} broke off in mid-answer; ask again when it is back."
                )


def _image_header(address: str) -> dict[str, str]:
    """A digest of the image, by which a proxy can send all questions about it to the same replica."""
    return {"X-FaceLLM-Image": hashlib.blake2b(address.encode(), digest_size=16).hexdigest()}
