"""The named endpoints /faces, /chat, /attributes, /compare and /profile, for gradio_client, curl and MCP.

A photo comes with each call, and nothing is kept between calls. They wait in the page's own queue for the model.
"""

from __future__ import annotations

import contextlib
import inspect
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.page import texts
from demo.page.components import PhotoInput
from demo.runtime import parameters as settings
from demo.runtime.context import Context
from demo.runtime.jobs import MODEL, need_both
from demo.runtime.photos import Photo, read_photo
from demo.runtime.sentences import sentence
from demo.runtime.streaming import DRAW_EVERY, Cell, fill
from demo.runtime.tickets import Ticket
from demo.tabs import profile
from demo.tabs.rounds import questions
from facellm import policy
from facellm.attributes import Attribute, select
from facellm.errors import FaceLLMError

# Seconds between two partial results of an endpoint whose result is JSON.
REPORT_EVERY = 0.5
_MODELS = ("facellm", "base")


def history_of(value: Any) -> tuple[tuple[str, str], ...]:
    """Reads earlier turns from JSON: [[question, answer], ...].

    Raises:
        FaceLLMError: For anything else, and for too many.
    """
    turns = value or []
    good = isinstance(turns, list) and all(
        isinstance(t, (list, tuple)) and len(t) == 2 and all(isinstance(s, str) for s in t) for t in turns
    )
    if not good:
        raise FaceLLMError('The history is not a list of [question, answer] pairs, as in [["Who?", "A woman."]].')
    if len(turns) > settings.MAX_TURNS or sum(len(s) for t in turns for s in t) > 40_000:
        raise FaceLLMError(f"The history is too long: at most {settings.MAX_TURNS} turns and 40,000 characters.")
    return tuple((q, a) for q, a in turns)


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """Every failure reaches the caller as one sentence."""
    try:
        yield
    except (gr.Error, GeneratorExit):
        raise
    except Exception as error:  # as everywhere on the page: `sentence` logs what it does not know
        raise gr.Error(sentence(error), print_exception=False) from None


def _given(path: str | None) -> Photo:
    if not path:
        raise FaceLLMError("No photo was given: pass one as `photo`.")
    return read_photo(path)


def _json(cell: Cell) -> dict:
    """Returns one answer, finished or not, without what policy hides."""
    return {**cell.answer, "variant": cell.variant, "question": cell.question, "text": cell.text, "state": cell.state}


# What every generating endpoint takes beside its own: name, type, default, and a line of documentation.
_SETTINGS = (
    ("system", str, "", "system prompt; empty for the model's own."),
    ("max_new_tokens", int, 256, f"longest answer, 1 to {settings.MAX_NEW_TOKENS} tokens."),
    ("temperature", float, 0.0, "0 for the likeliest words, up to 2."),
    ("top_p", float, 1.0, "share of probability to draw from, above 0 up to 1."),
    ("seed", int, 0, f"for drawing, 0 to {settings.SEED_LIMIT}."),
    ("look", str, "face", "face for the largest face's crop, whole for the whole photo."),
    ("tiles", int, 1, f"at most so many tiles for a whole photo, 1 to {settings.MAX_TILES}."),
)


@dataclass
class Endpoints:
    """The functions behind the endpoints. All raise gr.Error with one sentence."""

    ctx: Context

    def generating(self, ask: Callable[..., Iterator]) -> Callable[..., Iterator]:
        """Turns ask(..., parameters, ticket) into an endpoint that takes the settings one by one, and documents them.

        The ticket is open from the beginning, so that the end of the server ends what has not reached the model too.
        """
        own = list(inspect.signature(ask).parameters.values())[:-2]
        more = [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)
            for name, kind, default, _ in _SETTINGS
        ]

        def endpoint(*values: Any) -> Iterator:
            ticket = self.ctx.runs.take(f"api-{uuid.uuid4().hex}", "api")
            try:
                with _sentences():
                    raw = dict(zip((p.name for p in more), values[len(own) :], strict=False))
                    yield from ask(*values[: len(own)], settings.read(**raw), ticket)
            finally:
                self.ctx.runs.done(ticket)

        endpoint.__name__ = ask.__name__
        endpoint.__signature__ = inspect.Signature([*own, *more])  # type: ignore[attr-defined]
        lines = "\n".join(f"    {name}: {what}" for name, _, _, what in _SETTINGS)
        endpoint.__doc__ = (inspect.getdoc(ask) or "").replace("    (settings)", lines)
        return endpoint

    def _there(self, ticket: Ticket | None = None) -> tuple[str, ...]:
        """Waits for the models; returns those that can be asked, FaceLLM first. Raises FaceLLMError where none can."""
        for _ in self.ctx.host.wait(ticket.cancel if ticket else None):
            pass
        return self.ctx.host.variants

    def _variant(self, model: str | None, ticket: Ticket | None = None) -> str:
        """Returns the model to ask, once it is there: the one named, for "" FaceLLM or the only one."""
        name = str(model or "").strip()
        if name not in ("", *_MODELS):
            raise FaceLLMError(f"There is no model {model!r} here: choose facellm or base.")
        there = self._there(ticket)
        if name and name not in there:
            raise FaceLLMError(f"Only {there[0]} is loaded here, not {name}: leave the model out.")
        return name or there[0]

    def _fill(
        self, photo: Photo, cells: Sequence[Cell], parameters: settings.Parameters, ticket: Ticket, every: float
    ) -> Iterator[Sequence[Cell]]:
        view = photo.seen(parameters.whole)
        return fill(self.ctx.host, view, cells, parameters, ticket, self.ctx.sensitive, every)

    def faces(self, photo: str) -> dict:
        """Find the faces in a photo.

        Args:
            photo: the photo, a file (JPEG, PNG, WebP, HEIC, GIF).
        Returns:
            width and height in px, and per face, largest first, its box (left, top, right, bottom in px) and score.
        """
        with _sentences():
            seen = _given(photo)
            return {
                "width": seen.size[0],
                "height": seen.size[1],
                "faces": [f.to_dict() for f in seen.view.faces],
                "notice": seen.view.notice,
            }

    def chat(
        self,
        photo: str,
        question: str,
        history: list | None,
        model: str,
        parameters: settings.Parameters,
        ticket: Ticket,
    ):
        """Ask one question about the face in a photo; the answer streams.

        Args:
            photo: the photo, a file.
            question: what to ask.
            history: earlier turns as [[question, answer], ...].
            model: facellm or base; empty for FaceLLM, or for the only one there is.
            (settings)
        Returns:
            The answer's text, and its details (tokens, seconds, finish_reason).
        """
        text = settings.question(question, texts.QUESTION_FIRST)
        policy.check(text, self.ctx.sensitive)
        earlier, seen = history_of(history), _given(photo)
        cell = Cell(self._variant(model, ticket), text, history=earlier)
        for _ in self._fill(seen, [cell], parameters, ticket, DRAW_EVERY):
            yield cell.text, _json(cell)

    def attributes(self, photo: str, attributes: str, model: str, parameters: settings.Parameters, ticket: Ticket):
        """Describe the attributes of the face in a photo, all at the same time.

        Args:
            photo: the photo, a file.
            attributes: keys separated by commas (demographic, structure, skin, expression, lighting, pose, forensic,
                detail); empty for all.
            model: facellm or base; empty for FaceLLM, or for the only one there is.
            (settings)
        Returns:
            One entry per key: title, question, text, tokens, seconds, state.
        """
        chosen = _permitted(attributes, self.ctx.sensitive)
        seen = _given(photo)
        variant = self._variant(model, ticket)
        cells = [Cell(variant, a.question, a.key) for a in chosen]
        for _ in self._fill(seen, cells, parameters, ticket, REPORT_EVERY):
            yield {a.key: {"title": a.title, **_json(c)} for a, c in zip(chosen, cells, strict=True)}

    def compare(self, photo: str, question: str, parameters: settings.Parameters, ticket: Ticket):
        """Ask the base model and FaceLLM the same, at the same time.

        Args:
            photo: the photo, a file.
            question: an attribute's key, "all" for all attributes, or a question in your own words.
            (settings)
        Returns:
            A list with one entry per question: key, question, base (its answer), facellm (its answer).
        """
        known = {a.key for a in select()} | {"all"}
        text = settings.question(question, texts.QUESTION_FIRST)
        asked = questions(text if text in known else "own", text, self.ctx.sensitive)
        cells = [Cell(w, q, key) for key, q in asked for w in ("base", "facellm")]
        seen = _given(photo)
        need_both(self._there(ticket))
        for _ in self._fill(seen, cells, parameters, ticket, REPORT_EVERY):
            yield [
                {"key": k, "question": q, "base": _json(cells[2 * i]), "facellm": _json(cells[2 * i + 1])}
                for i, (k, q) in enumerate(asked)
            ]

    def profile(self, photo: str, model: str = "", look: str = "face") -> dict:
        """Score every label of the profile's fields (age group, gender, pose and others) for the face in a photo.

        Args:
            photo: the photo, a file.
            model: facellm or base; empty for FaceLLM, or for the only one there is.
            look: face for the largest face's crop, whole for the whole photo.
        Returns:
            fields: per field, label -> probability; calibrated: whether the probabilities are calibrated (never for a
            whole photo).
        """
        with _sentences():
            whole = settings.read(look=look).whole
            seen = _given(photo).seen(whole)
            variant = self._variant(model)
            return profile.allowed(self.ctx.host.profiles(seen, (variant,))[variant], self.ctx.sensitive)


def build(ctx: Context) -> None:
    """Registers the endpoints; their components are never shown."""
    with gr.Column(visible=False):
        photo = PhotoInput(label="photo", type="filepath", image_mode=None)
        question = gr.Textbox(label="question")
        both = gr.Textbox("all", label="question")
        keys = gr.Textbox("", label="attributes")
        history = gr.JSON([], label="history")
        model = gr.Textbox("", label="model")
        kinds: dict[type, Callable[..., Any]] = {
            str: gr.Textbox,
            int: lambda value, label: gr.Number(value, label=label, precision=0),
            float: gr.Number,
        }
        common = {name: kinds[kind](default, label=name) for name, kind, default, _ in _SETTINGS}
        text = gr.Textbox(label="text")
        result = gr.JSON(label="result")
        press = gr.Button()

    def endpoint(fn: Callable, inputs: list, outputs: list, **queue: Any) -> None:
        press.click(fn, inputs, outputs, api_name=fn.__name__, show_progress="hidden", **queue)

    made, raw = Endpoints(ctx), list(common.values())
    endpoint(made.faces, [photo], [result], concurrency_id="photo", concurrency_limit=2)
    endpoint(made.generating(made.chat), [photo, question, history, model, *raw], [text, result], **MODEL)
    endpoint(made.generating(made.attributes), [photo, keys, model, *raw], [result], **MODEL)
    endpoint(made.generating(made.compare), [photo, both, *raw], [result], **MODEL)
    endpoint(made.profile, [photo, model, common["look"]], [result], **MODEL)


def _permitted(keys: str, sensitive: bool) -> tuple[Attribute, ...]:
    """Returns the attributes asked for; all that are allowed for an empty choice."""
    allowed = policy.attributes(sensitive)
    if not str(keys or "").strip():
        return allowed
    chosen = select(keys)
    if any(a not in allowed for a in chosen):
        raise FaceLLMError(policy.REFUSED)
    return chosen
