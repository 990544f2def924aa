"""How a benchmark's questions get answered: in arms (variant, method, order of options), appended as they come.

One JSONL file for each arm, one line for each question, so that a run that was killed goes on. Which option is right is
not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from PIL import Image, ImageOps

from facellm.errors import FaceLLMError
from facellm.vision.images import load_image
from train import journal
from train.evaluate.facexbench import Question
from train.evaluate.prompts import LETTERS, published_prompt, setting_prompt
from train.faces.rewording import reworded

METHODS = ("generate", "likelihood")
NEW_TOKENS = {"zero-shot": 16, "in-context": 16, "chain-of-thought": 256}


@dataclass(frozen=True)
class Arm:
    """One way of asking all questions.

    Attributes:
        variant: "base" or "facellm".
        method: Of `METHODS`.
        rotation: By how many places the options are moved on.
        blind: Whether no image is shown.
        wording: Of `train.faces.rewording`, 0 for the question as it stands; those that are asked are then those of
            `other_words`.
    """

    variant: str
    method: str
    rotation: int = 0
    blind: bool = False
    wording: int = 0

    @property
    def name(self) -> str:
        return (
            f"{self.variant}-{self.method}"
            + (f"-rotated{self.rotation}" if self.rotation else "")
            + ("-blind" if self.blind else "")
            + (f"-wording{self.wording}" if self.wording else "")
        )


@dataclass(frozen=True)
class Reply:
    """What one question got.

    Attributes:
        key: The question's.
        text: The answer; by likelihood the best letter.
        tokens: Its length.
        seconds: Its share of the passes.
        scores: Nats per letter, by likelihood only.
        error: A clause, where the question could not be asked; such a reply is no answer.
    """

    key: str
    text: str
    tokens: int = 0
    seconds: float = 0.0
    scores: tuple[float, ...] | None = None
    error: str | None = None


class Answerer(Protocol):
    """Whatever answers questions: the model, or a stand-in."""

    variants: tuple[str, ...]

    def answer(self, questions: Sequence[Question], arm: Arm) -> Iterator[Reply]:
        """One Reply for each question, in any order."""
        ...


def rotated(question: Question, by: int) -> tuple[tuple[str, ...], str]:
    """(options, right letter) with every option `by` places further on."""
    n = len(question.options)
    options = tuple(question.options[(i - by) % n] for i in range(n))
    return options, LETTERS[(LETTERS.index(question.correct) + by) % n]


def other_words(question: Question, wording: int) -> Question | None:
    """The question in other words, under the same key; None where there are none, or it is about several images."""
    found = reworded(question.task, question.options, LETTERS.index(question.correct), wording)
    if found is None or question.num_images != "single":
        return None
    text, options = found
    return replace(question, text=text, options=options, answer=options[LETTERS.index(question.correct)])


class ModelAnswerer:
    """Answers with an opened model."""

    def __init__(
        self, loaded: Any, setting: str = "zero-shot", *, detect: bool = False, marks: bool = True,
        new_tokens: int | None = None, rows: int | None = None, tiles: int = 1, as_published: bool = False,
    ) -> None:  # fmt: skip
        """Encodes nothing yet.

        Args:
            loaded: The opened model.
            setting: Of `SETTINGS`.
            detect: Whether to look for the face and show its crop instead of the image as it is.
            marks: Whether "Image 1:" and so on stand before several images.
            new_tokens: The longest generated answer; None takes the setting's.
            rows: Questions in one forward pass; None takes the engine's.
            tiles: The most tiles of an image, the thumbnail not counted.
            as_published: Whether prompts and pixels are those of the published harness, to the character.
        """
        from facellm.engine.offline import ROWS, OfflineEngine

        self.setting, self.marks, self.detect, self.as_published = setting, marks, detect, as_published
        self.new_tokens = new_tokens or NEW_TOKENS[setting]
        self.variants: tuple[str, ...] = loaded.variants
        self._faults: dict[Path, str | None] = {}
        self._method: str | None = None
        self.batched = OfflineEngine(loaded, self._load, rows or ROWS, tiles)

    def _load(self, path: Path) -> Any:
        if self.as_published:
            return published_image(path)
        if not self.detect:
            return load_image(path, lenient=True)
        from facellm.vision.faces import view_face

        return view_face(load_image(path, lenient=True)).image

    def answer(self, questions: Sequence[Question], arm: Arm) -> Iterator[Reply]:
        from facellm.engine.offline import Ask

        if arm.method != self._method:  # both methods pay for encoding the images, so that their times compare
            self.batched.features.clear()
            self._method = arm.method
        asks, kept = [], []
        # An answer may end where the model's positions do; a question that leaves no room for one is not asked.
        new_tokens = min(self.new_tokens, NEW_TOKENS[self.setting]) if arm.method == "generate" else 8
        write = published_prompt if self.as_published else setting_prompt
        for question in questions:
            options, _ = rotated(question, arm.rotation)
            prompt = write(self.setting, question.text, options, dict(question.texts))
            images = () if arm.blind else question.images
            labels = tuple(LETTERS[: len(options)]) if arm.method == "likelihood" else ()
            ask = Ask(prompt, images, labels, self.marks, self.as_published)
            fault = self._unreadable(images) or self.batched.fault(ask, arm.variant, new_tokens)
            if fault:
                yield Reply(question.key, "", error=fault)
                continue
            asks.append(ask)
            kept.append(question.key)
        if arm.method == "likelihood":
            for index, scores, seconds in self.batched.score(asks, arm.variant):
                best = LETTERS[max(range(len(scores)), key=scores.__getitem__)]
                yield Reply(kept[index], best, 0, seconds, tuple(round(s, 5) for s in scores))
        else:
            for index, answer in self.batched.generate(asks, arm.variant, self.new_tokens):
                yield Reply(kept[index], answer.text, answer.tokens, answer.seconds)

    def _unreadable(self, images: Iterable[Path]) -> str | None:
        """Why an image that opens cannot be decoded, as a clause."""
        for path in images:
            if path not in self._faults:
                try:
                    published_image(path) if self.as_published else load_image(path, lenient=True)
                    self._faults[path] = None
                except FaceLLMError as error:
                    self._faults[path] = str(error).rstrip(".")
            if self._faults[path]:
                return self._faults[path]
        return None


def published_image(path: Path) -> Image.Image:
    """Returns a benchmark's image as transformers loads it for the published harness: upright, RGB, its own size.

    `load_image` would make one above 2,048 px smaller, which can change its tiles, and lay transparency on white.

    Raises:
        FaceLLMError: Where it cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise FaceLLMError(f"{path.name!r} is damaged or incomplete: save it again.") from None


def read_replies(path: Path) -> dict[str, Reply]:
    """The replies of an arm's file by key; a last line that a kill cut short is forgotten.

    Raises FaceLLMError for a broken line anywhere else.
    """
    try:
        return {
            key: Reply(**{**row, "scores": None if row.get("scores") is None else tuple(row["scores"])})
            for key, row in journal.read(path, "a reply").items()
        }
    except TypeError as error:
        raise FaceLLMError(f"{path} holds something else than replies ({error}); remove it and run again.") from None


def run_arm(
    questions: Sequence[Question], answerer: Answerer, arm: Arm, path: Path,
    progress: Callable[[int, int], None] | None = None, retry: bool = True,
) -> dict[str, Reply]:  # fmt: skip
    """Asks what `path` does not hold yet, appends each reply at once, and returns the replies to `questions` by key.

    retry: ask again what could not be asked before: the fault may be mended.
    """
    replies = read_replies(path)
    missing = [q for q in questions if q.key not in replies or (retry and replies[q.key].error is not None)]

    def news(asked: Sequence[Question]) -> Iterator[Reply]:
        """The same fault as before is not written once more."""
        return (reply for reply in answerer.answer(asked, arm) if reply != replies.get(reply.key))

    journal.complete(path, replies, missing, news, progress)
    return {q.key: replies[q.key] for q in questions if q.key in replies}
