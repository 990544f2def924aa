"""What other people's clients expect of an OpenAI server, against `facellm serve --model nano` as a process."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from tests.facellm.server.asking import PORTRAIT, conversation, form

pytestmark = pytest.mark.slow  # a process that opens a model
ADDRESS = f"data:image/jpeg;base64,{base64.b64encode(PORTRAIT.read_bytes()).decode()}"
QUESTION = "Describe the face pose of the image based on the visual information."


class Face(BaseModel):
    """What is seen of a face."""

    pose: Literal["frontal", "left profile", "right profile"]
    mouth_open: bool
    age: int = Field(ge=0, le=120, description="In years.")
    remarks: list[Annotated[str, Field(max_length=8)]] = Field(max_length=1)


@pytest.fixture(scope="module")
def nano():
    """The address of the served embedded model."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "facellm", "serve", "--model", "nano", "--device", "cpu", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process.stdout.readline().split(" is served at ")[1].split()[0]
        process.terminate()


@pytest.fixture(scope="module")
def openai(nano):
    from openai import OpenAI

    with OpenAI(base_url=nano, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module", params=["base", "facellm"])
def chat(request, nano):
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(base_url=nano, api_key="none", model=request.param, max_retries=0, max_tokens=96, temperature=0)


def test_openai_parses_an_answer(openai):
    for model in ("base", "facellm"):
        told = openai.chat.completions.parse(
            model=model, messages=conversation(ADDRESS, QUESTION), response_format=Face, max_tokens=200
        )
        assert isinstance(told.choices[0].message.parsed, Face) and told.choices[0].finish_reason == "stop"


def test_openai_streams_a_form(openai):
    schema = form(Face.model_json_schema())
    asked = {
        "model": "facellm",
        "messages": conversation(ADDRESS, QUESTION),
        "response_format": schema,
        "max_tokens": 96,
    }
    whole = openai.chat.completions.create(**asked)
    stream = openai.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content and chunks[-1].usage == whole.usage
    Face.model_validate_json(text)
    with openai.chat.completions.stream(
        model="facellm", messages=conversation(ADDRESS, QUESTION), response_format=Face, max_tokens=200
    ) as events:
        assert isinstance(events.get_final_completion().choices[0].message.parsed, Face)


def test_openai_is_told_of_a_bad_schema(openai):
    from openai import BadRequestError

    with pytest.raises(BadRequestError) as told:
        openai.chat.completions.create(
            model="facellm", messages=conversation(ADDRESS), response_format=form({"type": "zebra"})
        )
    assert told.value.param == "response_format" and "Invalid type" in told.value.message


def test_openai_gets_choices_and_log_probabilities(openai):
    told = openai.chat.completions.create(
        model="facellm",
        messages=conversation(ADDRESS, QUESTION),
        n=3,
        temperature=1.5,
        seed=1,
        max_tokens=12,
        logprobs=True,
        top_logprobs=5,
    )
    assert [c.index for c in told.choices] == [0, 1, 2]
    assert len({c.message.content for c in told.choices}) > 1
    for choice in told.choices:
        assert "".join(t.token for t in choice.logprobs.content) == choice.message.content
        assert all(len(t.top_logprobs) == 5 for t in choice.logprobs.content)


def test_langchain_whole_and_streamed(chat):
    messages = conversation(ADDRESS, QUESTION)
    whole = chat.invoke(messages)
    assert whole.content and whole.response_metadata["finish_reason"] in ("stop", "length")
    assert "".join(chunk.content for chunk in chat.stream(messages)) == whole.content
    assert whole.usage_metadata["output_tokens"] > 0


def test_langchain_structured_output(chat):
    from openai import LengthFinishReasonError

    messages = conversation(ADDRESS, QUESTION)
    wide = chat.model_copy(update={"max_tokens": 200})
    assert isinstance(wide.with_structured_output(Face).invoke(messages), Face)
    parts = list(wide.with_structured_output(Face).stream(messages))
    assert isinstance(parts[-1], Face)
    plain = wide.with_structured_output(Face.model_json_schema(), method="json_schema").invoke(messages)
    assert Face.model_validate(plain)
    short = chat.model_copy(update={"max_tokens": 40})
    try:
        assert isinstance(short.with_structured_output(None, method="json_mode").invoke(messages), dict)
    except LengthFinishReasonError as error:  # the clients refuse what was cut short, though it parses
        assert isinstance(json.loads(error.completion.choices[0].message.content), dict)


def test_langchain_batches_and_scores(chat):
    scored = chat.bind(logprobs=True, top_logprobs=2, max_tokens=8, n=2)
    told = scored.batch([conversation(ADDRESS, QUESTION)] * 2)
    assert told[0].content == told[1].content
    assert len(told[0].response_metadata["logprobs"]["content"]) <= 8
    assert json.dumps(told[0].response_metadata)
