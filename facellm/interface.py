"""What can be asked of a FaceLLM, be it in this process (`facellm.api`) or behind a server (`facellm.client`).

Neither torch nor transformers is imported, so that a server's clients do without both.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from facellm.attributes import Attribute, select
from facellm.errors import FaceLLMError
from facellm.profile import Field, Profile
from facellm.results import VARIANTS, Answer, Comparison, Delta, Report, Row
from facellm.typed.explanation import Explanation
from facellm.typed.question import Choice, TypedQuestion, parse
from facellm.vision.faces import FaceView, view_face
from facellm.vision.images import load_image

if TYPE_CHECKING:
    from PIL import Image

    from facellm.engine.sampling import Sampling

REMOTE_CALLS = 8  # requests to a server side by side
BLANK = (124, 116, 104)  # ImageNet's mean colour
ImageSource = Any  # path, bytes, PIL image, numpy array, binary file, or a FaceView


class Questions(ABC):
    """The methods that a model here and one behind a server share. They are safe to use from several threads.

    All of them take these arguments and raise `FaceLLMError` (`ImageError` for an image that cannot be used):

    - image: A path, bytes, PIL image, numpy array (h, w, 3) uint8 or binary file, which is searched for faces, or a
      `FaceView` from `view()`.
    - variant: "base" or "facellm". None means FaceLLM, or the base where no FaceLLM was opened.
    - face: Which of the faces is shown to the model; 0 is the largest.
    - whole: Shows the model the whole image.
    - tiles: At most so many tiles (1 to 12) of a whole image.
    - system: A system prompt.
    - sampling: How answers are chosen, greedily by default; its fields can be given by keyword instead
      (max_new_tokens=64, temperature=0.7, ...).

    Attributes:
        variants: The models that can be asked: ("base", "facellm"), or the one that there is.
    """

    variants: Any  # tuple[str, ...]; a property of both classes

    @property
    @abstractmethod
    def report(self) -> Any:
        """What was opened, where and how; `to_dict()` gives it as JSON."""

    @abstractmethod
    def stream(
        self,
        image: ImageSource,
        rows: Sequence[Row],
        sampling: Sampling | None = None,
        cancel: threading.Event | None = None,
        tiles: int = 1,
    ) -> Iterator[Delta]:
        """Answers several questions together, to both models where that is asked for.

        Args:
            image: As in the class.
            rows: The questions.
            sampling: As in the class.
            cancel: Ends all answers soon after it is set.
            tiles: As in the class.

        Yields:
            Text of all rows as it grows. Each row ends with a `Delta` that is `done` and holds the `Answer`.
        """

    @abstractmethod
    def profiles(
        self, image: ImageSource, variants: Sequence[str] = VARIANTS, *, face: int = 0, whole: bool = False
    ) -> dict[str, Profile]:
        """Returns {variant: profile} of several models, measured together."""

    def view(self, image: ImageSource, face: int = 0, whole: bool = False) -> FaceView:
        """Returns what the model will be shown: the upright crop of a face, its box in the photo, and a notice."""
        return image if isinstance(image, FaceView) else view_face(load_image(image), face, detect=not whole)

    def describe(
        self,
        image: ImageSource,
        attributes: str | Iterable[str | Attribute] | None = None,
        variant: str | None = None,
        *,
        system: str | None = None,
        face: int = 0,
        whole: bool = False,
        tiles: int = 1,
        sampling: Sampling | None = None,
        **settings: Any,
    ) -> Report:
        """Describes the attributes (all eight by default) in the paper's order, asked together."""
        view = self.view(image, face, whole)
        variant = self._one(variant)
        rows = [Row(variant, a.question, system=system, key=a.key) for a in select(attributes)]
        answers = self._answers(view, rows, make_sampling(sampling, settings), tiles)
        return Report(variant, tuple(answers), face_of(view), view.notice)

    def ask(
        self,
        image: ImageSource,
        question: str,
        history: Sequence[tuple[str, str]] = (),
        variant: str | None = None,
        *,
        system: str | None = None,
        face: int = 0,
        whole: bool = False,
        tiles: int = 1,
        sampling: Sampling | None = None,
        **settings: Any,
    ) -> Answer:
        """Answers one question; `history` holds earlier (question, answer) turns about the same image."""
        view = self.view(image, face, whole)
        row = Row(self._one(variant), question, tuple((q, a) for q, a in history), system)
        return self._answers(view, [row], make_sampling(sampling, settings), tiles)[0]

    def compare(
        self,
        image: ImageSource,
        question: str,
        history: Sequence[tuple[str, str]] = (),
        *,
        system: str | None = None,
        face: int = 0,
        whole: bool = False,
        tiles: int = 1,
        sampling: Sampling | None = None,
        **settings: Any,
    ) -> Comparison:
        """Asks base and FaceLLM the same question together."""
        view = self.view(image, face, whole)
        rows = [Row(v, question, tuple((q, a) for q, a in history), system) for v in VARIANTS]
        return Comparison(*self._answers(view, rows, make_sampling(sampling, settings), tiles))

    def profile(self, image: ImageSource, variant: str | None = None, *, face: int = 0, whole: bool = False) -> Profile:
        """Returns probabilities of age group, gender, ethnicity, expression, pose, mouth, eyes, light and sharpness."""
        variant = self._one(variant)
        return self.profiles(image, (variant,), face=face, whole=whole)[variant]

    def profile_many(
        self, images: Sequence[ImageSource], variant: str | None = None, *, face: int = 0, whole: bool = False
    ) -> list[Profile]:
        """Returns the profile of each image, measured together: far quicker than one by one. All images are held in
        memory, so give a long list in parts."""
        variant = self._one(variant)
        with ThreadPoolExecutor(REMOTE_CALLS) as pool:
            return list(pool.map(lambda image: self.profile(image, variant, face=face, whole=whole), images))

    @property
    @abstractmethod
    def fields(self) -> tuple[Field, ...]:
        """The profile's fields that the model tells, without those that the operator switched off."""

    @property
    @abstractmethod
    def answers(self) -> tuple[str, ...]:
        """Intents of `python -m train chat` that the model was measured to answer well; none where it tells none."""

    @property
    @abstractmethod
    def questions(self) -> tuple[TypedQuestion, ...]:
        """The calibrated questions that travel with the model; see `choose`."""

    @abstractmethod
    def option_scores(
        self, view: FaceView, questions: Sequence[TypedQuestion], variants: Sequence[str], blank: bool = False
    ) -> dict[str, list[list[float]]]:
        """Returns for each variant, question and option the log-likelihood in nats.

        Args:
            view: What the model is shown.
            questions: What is asked.
            variants: Who is asked.
            blank: Shows a blank picture of the same size in place of the photo.

        Raises:
            FaceLLMError: Where a server tells no likelihoods.
        """

    @property
    def weights_digest(self) -> str | None:
        """What a question's fit is bound to; None where it cannot be known, and every fit is then taken on trust."""
        return None

    def choose(
        self,
        image: ImageSource,
        questions: str | TypedQuestion | Iterable[str | TypedQuestion],
        variants: Sequence[str] | None = None,
        *,
        face: int = 0,
        whole: bool = False,
        without_picture: bool = False,
    ) -> dict[str, list[Choice]]:
        """Answers questions of your own by how likely the model finds each of the options.

        Args:
            image: As in the class.
            questions: "Wears a tie?=yes,no", a `TypedQuestion`, the name of one of `self.questions`, or several.
            variants: Who is asked; None asks all that there are.
            face: As in the class.
            whole: As in the class.
            without_picture: Asks about a blank picture as well, to tell how much of an answer comes from the photo.

        Returns:
            {variant: answers in the order of the questions}.
        """
        given = [questions] if isinstance(questions, (str, TypedQuestion)) else list(questions)
        asked = [self._asked(q) for q in given]
        if not asked:
            raise FaceLLMError("There is no question to answer.")
        chosen = tuple(self.variants if variants is None else [self._one(v) for v in variants])
        view = self.view(image, face, whole)
        scores = self.option_scores(view, asked, chosen)
        blind = self.option_scores(view, asked, chosen, blank=True) if without_picture else None

        def answer(variant: str, number: int) -> Choice:
            question = asked[number]

            def read(found: dict[str, list[list[float]]]) -> tuple[dict[str, float], bool]:
                values, fitted = question.probabilities(variant, found[variant][number], self.weights_digest)
                return dict(zip(question.options, values, strict=True)), fitted

            probabilities, calibrated = read(scores)
            anyway = read(blind)[0] if blind else None
            return Choice(variant, question.name, question.ask, probabilities, calibrated, anyway)

        return {variant: [answer(variant, i) for i in range(len(asked))] for variant in chosen}

    @abstractmethod
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
        """Says which regions of the picture an answer hangs on, and what would be said without the picture.

        Args:
            image: As in the class.
            question: Key of a profile field ("expression"), or a question as in `choose`.
            label: The label to explain; None explains each model's own likeliest.
            variants: Who is asked; None asks all that there are.
            side: Regions a side; None takes at most 6.
            face: As in the class.
            whole: As in the class.
            cancel: Ends the work soon after it is set; behind a server, before the request alone.

        Returns:
            {variant: explanation}.

        Raises:
            FaceLLMError: Behind a server that is not this project's: others hand out no image features.
            StoppedError: Once `cancel` is set.
        """

    def _asked(self, question: str | TypedQuestion) -> TypedQuestion:
        """What was typed, or the question of that name."""
        if isinstance(question, TypedQuestion):
            return question
        named = next((known for known in self.questions if known.name == question), None)
        return named or parse(question)

    def _answers(self, view: FaceView, rows: Sequence[Row], sampling: Sampling, tiles: int) -> list[Answer]:
        answers = {d.row: d.answer for d in self.stream(view, rows, sampling, tiles=tiles) if d.answer}
        return [answers[i] for i in range(len(rows))]

    def _one(self, variant: str | None) -> str:
        if variant is None:
            return self.variants[-1]
        if variant not in VARIANTS:
            raise FaceLLMError(f"There is no model {variant!r}; choose {' or '.join(VARIANTS)}.")
        return variant


def make_sampling(sampling: Sampling | None, settings: dict[str, Any]) -> Sampling:
    """Returns `sampling`, or greedy decoding, with `settings` in place of its fields.

    Raises:
        FaceLLMError: For an unknown setting or a value out of range.
    """
    from facellm.engine.sampling import Sampling

    known = Sampling.__dataclass_fields__
    for name in settings:
        if name not in known:
            raise FaceLLMError(f"There is no setting {name!r}; choose from {', '.join(known)}.")
    return replace(sampling or Sampling(), **settings)


def face_of(view: FaceView) -> dict[str, Any] | None:
    """Returns the view's face in the form of `Report.face`."""
    if view.face is None:
        return None
    return {**view.face.to_dict(), "image_size": None if view.image_size is None else list(view.image_size)}


def blank_of(view: FaceView) -> Image.Image:
    """Returns a picture of the view's size in one colour: ImageNet's mean, which the encoder sees as zeros."""
    from PIL import Image

    return Image.new("RGB", view.image.size, BLANK)
