"""The requests of /v1/chat/completions, /v1/profiles, /v1/choices and /v1/explanations as pydantic models.

An option that would change the answer and is not understood is refused, never ignored.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from facellm.engine.sampling import MAX_TOP_LOGPROBS, Sampling
from facellm.errors import FaceLLMError, ParameterError
from facellm.grammars.response_format import schema_of
from facellm.messages import build_messages
from facellm.profile import KNOWN_FIELDS
from facellm.results import Row
from facellm.server.refusals import Refusal, refusal_of, short
from facellm.typed.question import TypedQuestion, make
from facellm.vision import data_uri

MAX_MESSAGES = 101  # a system prompt and fifty turns: far beyond any model's window
MAX_CHOICES = 16  # of one request: half of what is decoded at once
MAX_QUESTIONS = 32  # with options, in one request
MAX_SIDE = 8  # regions a side of an explanation's map: each region is a prompt that is read anew
MAX_CHARACTERS = 200_000  # of all messages together, likewise; more is not even tokenised

# Parameters that are accepted with the values that change nothing; null means the same as leaving them out.
_NEUTRAL: dict[str, tuple] = {
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "top_k": (-1, 0),
    "min_p": (0,),
}
# These never concern the answer's words.
_IGNORED = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"}
_LISTED = BeforeValidator(lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=Any)
_PARTS = BeforeValidator(lambda value: [{"type": "text", "text": value}] if isinstance(value, str) else value)


class FaceOptions(BaseModel):
    """What the model is shown of the image: the extension "facellm"."""

    model_config = ConfigDict(strict=True, extra="forbid")
    crop: bool = Field(default=True, description="Search for a face and show the model its crop.")
    face: int = Field(default=0, description="Which of the faces; 0 is the largest.")
    tiles: int = Field(default=1, ge=1, le=12, description="At most so many tiles of a whole image.")

    @model_validator(mode="after")
    def _check(self) -> FaceOptions:
        if self.crop and self.tiles > 1:
            raise Refusal('Tiles are for whole images; a face is one tile: add "crop": false.', "facellm.tiles")
        return self


class AnyRequest(BaseModel):
    """What both requests share: nulls are left out, and the picture's file is decoded."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    facellm: FaceOptions = FaceOptions()

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            raise Refusal("The body must be one JSON object.")
        return {key: value for key, value in body.items() if value is not None}

    @property
    @abstractmethod
    def file(self) -> bytes:
        """The bytes of the picture's file."""


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class ImageURL(BaseModel):
    url: str = Field(description="The file itself as data:image/jpeg;base64,...; addresses are not fetched.")


class ImagePart(BaseModel):
    type: Literal["image_url"]
    image_url: ImageURL | str

    @property
    def url(self) -> str:
        return self.image_url if isinstance(self.image_url, str) else self.image_url.url


class Message(BaseModel):
    """One message; whatever else it holds (name, refusal, ...) is ignored."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[Annotated[TextPart | ImagePart, Field(discriminator="type")]], _PARTS] = Field(
        validate_default=True, default=None, description="A text, or a list of parts."
    )

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))


class StreamOptions(BaseModel):
    include_usage: bool | None = Field(default=False, description="Whether the stream ends with the counts of tokens.")


class ChatRequest(AnyRequest):
    """One question about one image, after earlier turns where there are any.

    After an optional system message, user and assistant take turns, beginning and ending with user; the first user
    message holds the image. Parameters of OpenAI's that are not listed here are accepted with the values that change
    nothing (tools: [], presence_penalty: 0, ...) and refused with any other.
    """

    model: str = Field(description="The served name of the base or of FaceLLM, as /v1/models lists it.")
    messages: list[Message]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int = Field(default=Sampling.max_new_tokens, description="Longest answer in tokens.")
    max_completion_tokens: int | None = Field(default=None, description="OpenAI's newer name of max_tokens.")
    temperature: float = Field(default=Sampling.temperature, description="0 takes the likeliest token each time.")
    top_p: float = Sampling.top_p
    seed: int | None = Field(default=None, description="Of the random numbers; by default each answer has its own.")
    repetition_penalty: float = Sampling.repetition_penalty
    stop: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], _LISTED] = Field(
        default=[], max_length=4, description="A text, or several, at the first of which the answer ends."
    )
    n: int = Field(default=1, ge=1, le=MAX_CHOICES, description="How many answers; the i-th one has the seed + i.")
    logprobs: bool = Field(default=False, description="Whether each token's log-probability is told.")
    top_logprobs: int = Field(
        default=0, ge=0, le=MAX_TOP_LOGPROBS, description="Of how many likeliest tokens at each place; needs logprobs."
    )
    response_format: dict[str, Any] | None = Field(
        default=None,
        description="{type: text}, {type: json_object}, or {type: json_schema, json_schema: {name, schema}}.",
    )

    @model_validator(mode="before")
    @classmethod
    def _known(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        for key, value in body.items():
            if key in _NEUTRAL and value is not None and value not in _NEUTRAL[key]:
                raise Refusal(f"{key} is not offered here; leave it out.", key, code="unsupported_value")
        return {key: value for key, value in body.items() if key not in _NEUTRAL and key not in _IGNORED}

    @field_validator("max_tokens", "max_completion_tokens", "temperature", "top_p", "repetition_penalty")
    @classmethod
    def _in_range(cls, value: Any, info: ValidationInfo) -> Any:
        sent = str(info.field_name)
        name = "max_new_tokens" if sent.startswith("max_") else sent
        try:
            Sampling(**{name: value})
        except FaceLLMError as error:
            raise Refusal(str(error).replace(name, sent, 1), sent) from None
        return value

    @field_validator("response_format")
    @classmethod
    def _format(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            schema_of(value)
        except ParameterError as error:
            raise Refusal(str(error), error.parameter) from None
        return value

    @model_validator(mode="after")
    def _conversation(self) -> ChatRequest:
        if self.top_logprobs and not self.logprobs:
            raise Refusal("top_logprobs belongs to a request with logprobs: true.", "top_logprobs")
        if self.stream_options and not self.stream:
            raise Refusal("stream_options belongs to a request with stream: true.", "stream_options")
        if not 1 <= (count := len(self.messages)) <= MAX_MESSAGES:
            sentence = f"There are {count} messages; give at least one message and at most {MAX_MESSAGES}."
            raise Refusal(sentence, "messages")
        if (characters := sum(len(message.text) for message in self.messages)) > MAX_CHARACTERS:
            sentence = f"The messages have {characters:,} characters; at most {MAX_CHARACTERS:,} are read."
            raise Refusal(sentence, "messages", code="string_above_max_length")
        for i, message in enumerate(self._turns):
            wanted = ("user", "assistant")[i % 2]
            if message.role != wanted:
                raise Refusal(
                    f"The message is from {message.role}, where one from {wanted} belongs: after a system message, "
                    "user and assistant take turns, beginning and ending with user.",
                    f"messages[{count - len(self._turns) + i}].role",
                )
        if len(self._turns) % 2 == 0:
            raise Refusal("The last message must be the user's question.", "messages")
        try:
            row = self.row("base")
            build_messages(row.question, row.history, row.system)  # blank texts are refused before any work
        except FaceLLMError as error:
            raise Refusal(str(error), "messages") from None
        _ = self.file
        return self

    @property
    def _turns(self) -> list[Message]:
        return self.messages[self.messages[0].role in ("system", "developer") :]

    @cached_property
    def file(self) -> bytes:
        images = [
            (message is self._turns[0], f"messages[{i}].content[{j}].image_url", part.url)
            for i, message in enumerate(self.messages)
            for j, part in enumerate(message.content)
            if isinstance(part, ImagePart)
        ]
        if len(images) != 1 or not images[0][0]:
            raise Refusal(
                f"The conversation has {len(images)} images; give exactly one, in the first user message, as "
                '{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,..."}}.',
                "messages",
            )
        file = decode_data_uri(images[0][2], images[0][1])
        for message in self.messages:  # the picture is held once, not as text too
            message.content = [part for part in message.content if not isinstance(part, ImagePart)]
        return file

    def row(self, variant: str) -> Row:
        """Returns the question to "base" or "facellm" in the form that models take."""
        *earlier, question = [message.text for message in self._turns]
        system = self.messages[0].text if len(self._turns) < len(self.messages) else None
        return Row(variant, question, tuple(zip(earlier[::2], earlier[1::2], strict=True)), system)

    @property
    def sampling(self) -> Sampling:
        """How the answer is chosen. Without a seed each call draws a new one, unless the answer is greedy."""
        seed = self.seed if self.seed is not None else random.getrandbits(31) if self.temperature else 0
        return Sampling(
            max_new_tokens=self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=seed % 2**63,  # clients may send negative ones
            repetition_penalty=self.repetition_penalty,
            response_format=self.response_format,
            top_logprobs=self.top_logprobs if self.logprobs else None,
        )

    @property
    def as_json(self) -> bool:
        """Whether the answer is held to a form in JSON."""
        return schema_of(self.response_format) is not None

    def refusal(self, error: ParameterError) -> Refusal:
        """Returns what the client is told of a setting that cannot be used, by the name that the client gave it."""
        if error.parameter != "max_new_tokens":
            return Refusal(str(error), error.parameter)
        sent = [name for name in ("max_completion_tokens", "max_tokens") if name in self.model_fields_set]
        name = sent[0] if sent else "max_tokens"
        sentence = str(error).replace("max_new_tokens", name)
        return Refusal(sentence, name if sent else "messages", code="context_length_exceeded")


class ProfilesRequest(AnyRequest):
    """The profile of one image by one or more models: probabilities of the labels of all fields."""

    model: Annotated[list[str], _LISTED] = Field(description="A served name, or several.")
    image: str = Field(description="The file itself as data:image/jpeg;base64,...")

    @model_validator(mode="after")
    def _check(self) -> ProfilesRequest:
        if not self.model:
            raise Refusal("model must be a name or a list of names, as /v1/models lists them.", "model")
        _ = self.file
        return self

    @cached_property
    def file(self) -> bytes:
        return decode_data_uri(self.image, "image")


class TypedAsk(BaseModel):
    """A question with the answers to choose from."""

    model_config = ConfigDict(strict=True, extra="forbid")
    ask: str = Field(description="The question without its options.")
    options: list[str] = Field(description="2 to 12 answers.")


class ChoicesRequest(ProfilesRequest):
    """How likely one or more models find the options of typed questions about one image."""

    questions: list[TypedAsk] = Field(min_length=1, max_length=MAX_QUESTIONS, description="What is asked.")
    blank: bool = Field(default=False, description="Show a blank picture of the same size in place of the image.")

    @cached_property
    def typed(self) -> list[TypedQuestion]:
        """The questions as the model is asked them.  Raises Refusal."""
        try:
            return [make(question.ask, question.options) for question in self.questions]
        except FaceLLMError as error:
            raise Refusal(str(error), "questions") from None

    @model_validator(mode="after")
    def _check_questions(self) -> ChoicesRequest:
        _ = self.typed
        return self


class ExplanationsRequest(ProfilesRequest):
    """Which regions of one image the answers of one or more models to one question hang on."""

    field: str | None = Field(default=None, description="Key of a field of the profile; or give a question.")
    question: TypedAsk | None = Field(default=None, description="A question of the client's own in place of a field.")
    label: str | None = Field(default=None, description="The answer to explain; by default each model's likeliest.")
    side: int | None = Field(default=None, ge=1, le=MAX_SIDE, description="Regions a side; by default at most 6.")

    @cached_property
    def asked(self) -> str | TypedQuestion:
        """The field's key, or the question as the model is asked it.  Raises Refusal."""
        if (self.field is None) == (self.question is None):
            raise Refusal("Give either a field of the profile or a question with options.", "field")
        if self.question is None:
            if self.field not in (keys := [f.key for f in KNOWN_FIELDS]):
                raise Refusal(f"There is no field {short(str(self.field))}; choose from {', '.join(keys)}.", "field")
            return str(self.field)
        try:
            return make(self.question.ask, self.question.options)
        except FaceLLMError as error:
            raise Refusal(str(error), "question") from None

    @model_validator(mode="after")
    def _check_asked(self) -> ExplanationsRequest:
        _ = self.asked
        return self


Kind = TypeVar("Kind", bound=AnyRequest)


def parse(kind: type[Kind], body: bytes) -> Kind:
    """Reads a request of that kind from JSON.

    pydantic's parser bounds the depth of the JSON and refuses lone surrogates, which no answer could carry.

    Raises:
        Refusal: For whatever is wrong with it, naming the parameter that the client sent.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise refusal_of(error) from None


def decode_data_uri(uri: str, param: str) -> bytes:
    """Returns the bytes of a data URI, as `facellm.vision.data_uri` reads it.

    Args:
        uri: "data:image/jpeg;base64,...".
        param: Where it stood in the request, for the error.

    Raises:
        Refusal: For an address, or where the Base64 is damaged.
    """
    if not data_uri.is_data_uri(uri):
        sentence = "Images are not fetched from addresses; send the file itself as data:image/jpeg;base64,..."
        raise Refusal(sentence, param, code="invalid_image_url")
    try:
        return data_uri.decode_data_uri(uri)
    except FaceLLMError as error:
        raise Refusal(str(error), param, code="invalid_image_url") from None
