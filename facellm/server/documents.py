"""What the server answers, as pydantic models: the responses of the OpenAPI document. Tests hold replies to them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorBody(Document):
    message: str = Field(description="One sentence: what is wrong, where, and what to do.")
    type: str
    param: str | None = Field(description="The parameter, by the name that was sent.")
    code: str | None


class ErrorReply(Document):
    """OpenAI's error object."""

    error: ErrorBody


class Variant(Document):
    variant: Literal["base", "facellm"]
    model: str
    version: str
    profiles: bool
    choices: bool
    explanations: bool
    weights: str = Field(description="Digest of the weights, to which calibrated questions are bound.")
    dtype: str
    quantization: str
    sharing: str
    label_set: str
    fields: list[str] = Field(description="Keys of the profile's fields.")
    answers: list[str] = Field(description="Intents that the model was measured to answer well.")


class ServedModel(Document):
    """One model, by its served name."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    facellm: Variant


class ModelList(Document):
    object: Literal["list"]
    data: list[ServedModel]


class Face(Document):
    """A face that was found, in px of an image of `image_size`."""

    box: tuple[float, float, float, float] = Field(description="Left, top, right, bottom.")
    score: float
    landmarks: list[tuple[float, float]] | None = Field(
        description="The eye on the image's left, the other eye, nose tip, mouth corner on the left, the other corner."
    )
    image_size: tuple[int, int] | None = Field(description="Width and height.")


class Seen(Document):
    face: Face | None
    notice: str | None = Field(description="A sentence about the face: none found, several.")


class Likely(Document):
    token: str
    logprob: float = Field(description="Natural logarithm; before temperature, penalty and response_format.")
    bytes: list[int] | None


class Scored(Likely):
    top_logprobs: list[Likely]


class Logprobs(Document):
    content: list[Scored]
    refusal: None = None


class Message(Document):
    role: Literal["assistant"]
    content: str
    refusal: None = None


class Choice(Document):
    index: int
    message: Message
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length", "cancelled"]


class Usage(Document):
    prompt_tokens: int
    completion_tokens: int = Field(description="Of all choices.")
    total_tokens: int


class ChatCompletion(Document):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    facellm: Seen


class ChunkDelta(Document):
    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(Document):
    index: int
    delta: ChunkDelta
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length", "cancelled"] | None


class ChatChunk(Document):
    """One event of a streamed answer; the last one's data is [DONE]."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    facellm: Seen | None = None


class MeasuredField(Document):
    label: str
    probability: float
    probabilities: dict[str, float]


class Profile(Document):
    variant: Literal["base", "facellm"]
    calibrated: bool
    face: Face | None
    notice: str | None
    fields: dict[str, MeasuredField]


class ProfilesReply(Document):
    object: Literal["facellm.profiles"]
    profiles: dict[str, Profile] = Field(description="By served names.")


class ScoredQuestion(Document):
    ask: str
    scores: dict[str, float] = Field(description="Log-likelihood in nats of each option as the whole answer.")


class ChoicesReply(Document):
    object: Literal["facellm.choices"]
    choices: dict[str, list[ScoredQuestion]] = Field(description="By served names, in the order of the questions.")


class Explanation(Document):
    variant: Literal["base", "facellm"]
    question: str
    label: str
    probabilities: dict[str, float]
    without_picture: dict[str, float] = Field(description="The same for a blank picture.")
    influence: list[list[float]] = Field(
        description="From the top left: nats that the label's log-odds lose when that region is hidden."
    )
    flat: bool = Field(description="Whether no region matters.")
    sentence: str = Field(description="All of it in words.")


class ExplanationsReply(Document):
    object: Literal["facellm.explanations"]
    explanations: dict[str, Explanation] = Field(description="By served names.")


class Health(Document):
    status: Literal["ok"]
    version: str
    models: list[str]
    active: int = Field(description="Requests under way.")
    answered: int
    cancelled: int
    failed: int
    prompt_tokens: int = Field(description="Read for all requests.")
    tokens: int = Field(description="Written for all requests.")


class Ready(Document):
    status: Literal["ready"]
    active: int
