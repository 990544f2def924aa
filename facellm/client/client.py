"""A FaceLLM behind an OpenAI-compatible server, asked as if it were here.

Faces are found and cropped here, so that the server sees what a model here would see.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from facellm.client import knowledge, likelihoods, own_requests
from facellm.client.answers import GrowingAnswer, data_uri, image_header
from facellm.client.remote_report import RemoteReport
from facellm.client.transport import Backend, Health, Rejected
from facellm.client.turns import Turns
from facellm.errors import FaceLLMError, StoppedError
from facellm.interface import ImageSource, Questions, blank_of, face_of, make_sampling
from facellm.messages import build_messages
from facellm.profile import KNOWN_FIELDS, Field, Profile, fields_for, softmax
from facellm.results import VARIANTS, Delta, Row
from facellm.weights.registry import METADATA, Declared, read_declared

if TYPE_CHECKING:
    from facellm.engine.sampling import Sampling
    from facellm.typed.explanation import Explanation
    from facellm.typed.question import TypedQuestion
    from facellm.vision.faces import FaceView

log = logging.getLogger("facellm.client")

TILE_SIDE = 448  # px, of InternVL3's tiles
_TILE_WORDS = "mm_processor_kwargs"  # of vLLM's requests


class RemoteFaceLLM(Questions):
    """A server's models, made by `facellm.client.connecting.connect`; see `Questions` for what can be asked.

    A server that is away makes a call fail with a sentence; the next call works once it is back.

    Attributes:
        names: {"base": served name, "facellm": served name}, or one of them.
        about: What this project's server tells of itself, else empty.
        vllm: Whether it is a vLLM, which has its own words for tiles and likelihoods.
        known: What was read of a vLLM's models; our own server knows its own.
        apart: Whether only one model is asked at a time, for a server that mixes them up otherwise.
    """

    def __init__(self, backend: Backend, names: dict[str, str], about: dict[str, Any], vllm: bool = False):
        self.backend, self.names, self.about, self.vllm = backend, names, about, vllm
        self.seconds = 0.0
        self.notes: tuple[str, ...] = ()
        self.known = knowledge.Knowledge()
        self.apart = False
        self._turns = Turns()
        self._tile_words = True  # until the server refuses them

    @property
    def variants(self) -> tuple[str, ...]:
        return tuple(v for v in VARIANTS if v in self.names)

    @property
    def report(self) -> RemoteReport:
        """What is used, and what the server tells about it."""
        told: dict[str, Any] = {k: str(self.about[k]) for k in ("dtype", "quantization", "sharing") if k in self.about}
        title = self.about.get("model") or " and ".join(self.names.values())
        return RemoteReport(
            f"{title} at {self.backend.place}",
            base=self.names.get("base"),
            facellm=self.names.get("facellm"),
            reason=f"it is served at {self.backend.api}",
            seconds=self.seconds,
            notes=self.notes,
            **told,
        )

    def health(self) -> Health:
        """Whether the server answers now, with a sentence for the page; takes up to five seconds where it does not."""
        return self.backend.health()

    def close(self) -> None:
        """Closes the connections, which ends open answers with a FaceLLMError; a later call opens them again."""
        self.backend.close()

    def stream(
        self,
        image: ImageSource,
        rows: Sequence[Row],
        sampling: Sampling | None = None,
        cancel: threading.Event | None = None,
        tiles: int = 1,
    ) -> Iterator[Delta]:
        """Sends each row as a request of its own, side by side; see `Questions.stream`.

        Once `cancel` is set or the iterator is closed, the connections are closed, which stops the server. Before an
        answer's first word a request is repeated a few times. Answers have no token_ids, and tokens are as the server
        counts them.

        Raises:
            FaceLLMError: At once for a row that cannot be asked; later, where the server fails.
        """
        if not rows:
            raise FaceLLMError("There is no question to answer.")
        if not 1 <= tiles <= 12:
            raise FaceLLMError(f"tiles is {tiles}; it must be between 1 and 12.")
        sampling = make_sampling(sampling, {})
        shown = self.view(image).image
        address = data_uri(shown, tiles)
        settings = _settings(sampling)
        bodies = [
            {
                **self._question(row, address, tiles, shown.size),
                **settings,
                "seed": sampling.seed if row.seed is None else row.seed,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
            for row in rows
        ]
        ask = self._one_model_at_a_time if self.apart else self._answers_of
        return ask(rows, bodies, address, sampling, cancel or threading.Event())

    def _one_model_at_a_time(
        self, rows: Sequence[Row], bodies: list[dict], address: str, sampling: Sampling, cancel: threading.Event
    ) -> Iterator[Delta]:
        for variant in dict.fromkeys(row.variant for row in rows):
            numbers = [i for i, row in enumerate(rows) if row.variant == variant]
            own = [rows[i] for i in numbers], [bodies[i] for i in numbers]
            with self._turns.of(variant, cancel):
                for delta in self._answers_of(*own, address, sampling, cancel):
                    yield replace(delta, row=numbers[delta.row])

    def _answers_of(
        self, rows: Sequence[Row], bodies: list[dict], address: str, sampling: Sampling, cancel: threading.Event
    ) -> Iterator[Delta]:
        started = time.perf_counter()
        answers = [GrowingAnswer(i, row, sampling, started) for i, row in enumerate(rows)]
        begun = False
        stream = self.backend.stream("/chat/completions", bodies, cancel, image_header(address))
        try:
            for number, event in stream:
                answer, begun = answers[number], True
                text, logprobs = answer.read(event)
                if text or logprobs:
                    yield Delta(number, text, logprobs=logprobs)
                if answer.complete:
                    yield answer.finish()
        except Rejected as error:
            if begun or not self._unlearn(error, bodies):
                raise
            yield from self._answers_of(rows, bodies, address, sampling, cancel)
            return
        finally:
            stream.close()
        for answer in answers:
            if answer.done:
                continue
            if not cancel.is_set() and not answer.reason:
                raise FaceLLMError(
                    f"The server {self.backend.place} broke off in mid-answer; ask again when it is back."
                )
            yield answer.finish("cancelled" if cancel.is_set() else None)  # some servers send no counts

    def profiles(
        self, image: ImageSource, variants: Sequence[str] = VARIANTS, *, face: int = 0, whole: bool = False
    ) -> dict[str, Profile]:
        """Returns {variant: profile}.

        This project's server measures and calibrates them itself; vLLM is asked for the labels' likelihoods one by one,
        of the fields that `known` names, and calibrated where it has temperatures.

        Raises:
            FaceLLMError: Where a server tells no likelihoods.
        """
        view = self.view(image, face, whole)
        address = data_uri(view.image)
        served = {self._name(variant): variant for variant in variants}
        found = {}
        if self.about.get("profiles"):
            told = self._own("/profiles", own_requests.body_of(list(served), address))["profiles"]
            for name, variant in served.items():
                fields = {key: dict(field["probabilities"]) for key, field in told[name]["fields"].items()}
                found[variant] = Profile(variant, fields, told[name]["calibrated"], face_of(view), view.notice)
            return found
        for variant in variants:
            calibrated = bool(self.known.temperatures.get(variant))
            fields = self._scored(variant, address, view.image.size)
            found[variant] = Profile(variant, fields, calibrated, face_of(view), view.notice)
        return found

    def _scored(self, variant: str, address: str, size: tuple[int, int]) -> dict[str, dict[str, float]]:
        fields = self.fields
        temperatures = self.known.temperatures.get(variant, {})
        scores = self._label_scores(variant, [(f.question, f.labels) for f in fields], address, size)
        return {
            f.key: dict(zip(f.labels, softmax(own, temperatures.get(f.key, 1.0)), strict=True))
            for f, own in zip(fields, scores, strict=True)
        }

    @property
    def fields(self) -> tuple[Field, ...]:
        """As this project's server tells them, elsewhere as `known` does."""
        return fields_for(self._declared.label_set, self._declared.fields)

    @property
    def answers(self) -> tuple[str, ...]:
        return self._declared.answers

    @property
    def _declared(self) -> Declared:
        return read_declared({METADATA: self.about}, self.backend.place) if self.about else self.known.declared

    @property
    def questions(self) -> tuple[TypedQuestion, ...]:
        return ()

    @property
    def weights_digest(self) -> str | None:
        told = self.about.get("weights")
        return str(told) if told else None

    def option_scores(
        self, view: FaceView, questions: Sequence[TypedQuestion], variants: Sequence[str], blank: bool = False
    ) -> dict[str, list[list[float]]]:
        shown = blank_of(view) if blank else view.image
        address = data_uri(shown)
        if self.about.get("choices"):
            return self._choices(address, questions, variants)
        items = [(question.question, question.options) for question in questions]
        return {variant: self._label_scores(variant, items, address, shown.size) for variant in variants}

    def _choices(
        self, address: str, questions: Sequence[TypedQuestion], variants: Sequence[str]
    ) -> dict[str, list[list[float]]]:
        """What this project's server tells, for all models behind one image prefix."""
        served = {self._name(variant): variant for variant in variants}
        asked = [own_requests.ask_of(question) for question in questions]
        told = self._own("/choices", own_requests.body_of(list(served), address, questions=asked))["choices"]
        return {variant: own_requests.scores_of(told[name], questions) for name, variant in served.items()}

    def explain(
        self,
        image: ImageSource,
        question: str | TypedQuestion,
        label: str | None = None,
        variants: Sequence[str] | None = None,
        *,
        side: int | None = None,
        face: int = 0,
        whole: bool = False,
        cancel: threading.Event | None = None,
    ) -> dict[str, Explanation]:
        if not self.about.get("explanations"):
            raise FaceLLMError(
                f"The server {self.backend.place} cannot be asked why, as it hands out nothing of what its model sees; "
                "`python -m facellm serve` can."
            )
        field = question if isinstance(question, str) and question in {f.key for f in KNOWN_FIELDS} else None
        typed = None if field else own_requests.ask_of(self._asked(question))
        served = {self._name(self._one(variant)): variant for variant in variants or self.variants}
        address = data_uri(self.view(image, face, whole).image)
        body = own_requests.body_of(list(served), address, field=field, question=typed, label=label, side=side)
        if cancel is not None and cancel.is_set():
            raise StoppedError("The explanation was stopped.")
        told = self._own("/explanations", body)["explanations"]
        return {variant: own_requests.explanation_of(told[name]) for name, variant in served.items()}

    def _own(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Asks this project's server something that others do not know."""
        return self.backend.post_all(path, [body], image_header(body["image"]))[0]

    def _label_scores(
        self, variant: str, items: Sequence[tuple[str, Sequence[str]]], address: str, size: tuple[int, int]
    ) -> list[list[float]]:
        """Log-likelihoods (nats) of the labels of each question, asked one by one."""
        if not self.vllm:
            raise FaceLLMError(
                f"The server {self.backend.place} does not tell how likely a label is, so it gives no probabilities; "
                "`python -m facellm serve` and vLLM do."
            )
        asked = [(number, question, label) for number, (question, labels) in enumerate(items) for label in labels]
        bodies = [
            likelihoods.scoring_body(self._question(Row(variant, question), address, 1, size), label)
            for _, question, label in asked
        ]
        with self._turns.of(variant) if self.apart else contextlib.nullcontext():
            try:
                told = self.backend.post_all("/chat/completions", bodies, image_header(address))
            except Rejected as error:
                if not self._unlearn(error, bodies):
                    raise
                told = self.backend.post_all("/chat/completions", bodies, image_header(address))
        scores: list[list[float]] = [[] for _ in items]
        for (number, _, label), reply in zip(asked, told, strict=True):
            scores[number].append(likelihoods.label_score(reply, label, self.backend.place))
        return scores

    def _name(self, variant: str) -> str:
        if variant not in self.names:
            have = " and ".join(self.variants)
            raise FaceLLMError(f"{variant!r} is not served; {self.backend.place} answers as {have} only.")
        return self.names[variant]

    def _unlearn(self, error: Rejected, bodies: Sequence[dict[str, Any]]) -> bool:
        """Takes the words for tiles out of requests that a server refuses for them, now and from now on.

        Returns:
            Whether anything was taken out, so that another try makes sense. Questions about several tiles are left as
            they are: without these words they would be answered about one.
        """
        with_words = [body for body in bodies if _TILE_WORDS in body]
        if (
            _TILE_WORDS not in error.said
            or not with_words
            or any(b[_TILE_WORDS]["crop_to_patches"] for b in with_words)
        ):
            return False
        self._tile_words = False
        for body in with_words:
            del body[_TILE_WORDS]
        log.info("The server %s does not take %s; start it with one tile.", self.backend.place, _TILE_WORDS)
        return True

    def _question(self, row: Row, address: str, tiles: int, size: tuple[int, int]) -> dict[str, Any]:
        """Model and messages of a request.  size: Width and height of the image in px."""
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
        elif self.vllm and tiles > 1:
            body[_TILE_WORDS] = {"crop_to_patches": True, "min_patches": 1, "max_patches": tiles}
        elif self.vllm and self._tile_words and not _one_tile(size):
            body[_TILE_WORDS] = {"crop_to_patches": False}
        return body


def _one_tile(size: tuple[int, int]) -> bool:
    """Whether InternVL's processor makes one tile of an image by itself, rather than up to twelve and a thumbnail.

    It takes the grid whose shape is nearest to the image's, and of grids of one shape a larger one only where the image
    has more than half of that grid's pixels (`find_closest_aspect_ratio`); the next square grid is 2 x 2.
    """
    width, height = size
    return width == height and width * height <= 2 * TILE_SIDE**2


def _settings(sampling: Sampling) -> dict[str, Any]:
    """What a request says of how its answer is chosen; what is as usual is left out where servers may not know it."""
    body: dict[str, Any] = {
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if sampling.repetition_penalty != 1:
        body["repetition_penalty"] = sampling.repetition_penalty
    if sampling.response_format is not None:
        body["response_format"] = dict(sampling.response_format)
    if sampling.top_logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": sampling.top_logprobs}
    return body
