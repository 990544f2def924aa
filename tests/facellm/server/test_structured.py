"""Answers in JSON, several answers, log-probabilities: as OpenAI's clients and ours get them, whole and streamed."""

import json

import pytest

from facellm.api import FaceLLM
from facellm.client.connecting import connect
from facellm.results import VARIANTS, Answer, Delta
from facellm.server.app import make_app
from tests.facellm.server.asking import CLIENT, conversation, data_uri_of, form, post
from tests.served import InThread

FACE = {
    "type": "object",
    "properties": {"pose": {"enum": ["frontal", "profile"]}, "open": {"type": "boolean"}, "words": {"type": "string"}},
    "required": ["pose", "open", "words"],
    "additionalProperties": False,
}


def chunks_of(server, body):
    with CLIENT.stream("POST", server.url + "/chat/completions", json={**body, "stream": True}) as response:
        return [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: {")]


def told_by(chunks, index=0):
    """Text, finish reason and tokens of one streamed choice."""
    own = [c for chunk in chunks for c in chunk["choices"] if c["index"] == index]
    text = "".join(c["delta"].get("content") or "" for c in own)
    return text, own[-1]["finish_reason"], [t for c in own for t in (c["logprobs"] or {}).get("content", ())]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("temperature", [0, 1])
def test_an_answer_in_the_form_of_a_schema(server, body, variant, temperature):
    body |= {"model": variant, "max_tokens": 80, "response_format": form(FACE), "temperature": temperature, "seed": 4}
    whole = post(server, body).json()["choices"][0]
    told = json.loads(whole["message"]["content"])
    assert list(told) == ["pose", "open", "words"] and told["pose"] in ("frontal", "profile")
    assert told_by(chunks_of(server, body))[:2] == (whole["message"]["content"], whole["finish_reason"])


@pytest.mark.parametrize("budget", [2, 5, 60])
def test_the_end_of_the_budget_is_told(server, body, budget):
    body |= {"max_tokens": budget, "response_format": {"type": "json_object"}, "temperature": 1, "seed": 1}
    choice = post(server, body).json()["choices"][0]
    assert isinstance(json.loads(choice["message"]["content"]), dict)
    schema = post(server, {**body, "response_format": form(FACE), "max_tokens": 3}).json()["choices"][0]
    assert schema["finish_reason"] == "length"  # shorter than any answer of that form


def test_several_answers_have_seeds_of_their_own(server, here, photo, body):
    body |= {"n": 3, "temperature": 1.2, "seed": 5, "max_tokens": 12}
    told = post(server, body).json()
    texts = [c["message"]["content"] for c in told["choices"]]
    settings = {"temperature": 1.2, "max_new_tokens": 12, "whole": True}
    assert texts == [here.ask(photo, "Hi", seed=5 + i, **settings).text for i in range(3)]
    assert [c["index"] for c in told["choices"]] == [0, 1, 2] and len(set(texts)) == 3
    assert told["usage"]["completion_tokens"] > 12
    chunks = chunks_of(server, body)
    assert [told_by(chunks, i)[0] for i in range(3)] == texts
    assert all(told_by(chunks, i)[1] == c["finish_reason"] for i, c in enumerate(told["choices"]))


def test_one_of_several_answers_meets_its_stop_text(server, body):
    body |= {"n": 2, "temperature": 1.2, "seed": 5, "max_tokens": 24}
    first, second = (c["message"]["content"] for c in post(server, body).json()["choices"])
    stop = next(first[i : i + 3] for i in range(4, len(first)) if first[i : i + 3] not in second)
    told = post(server, {**body, "stop": stop}).json()["choices"]
    assert [c["message"]["content"] for c in told] == [first[: first.index(stop)], second]
    assert told[0]["finish_reason"] == "stop"


def test_log_probabilities_whole_and_streamed(server, body):
    body |= {"logprobs": True, "top_logprobs": 2, "max_tokens": 10}
    whole = post(server, body).json()["choices"][0]
    tokens = whole["logprobs"]["content"]
    assert len(tokens) == 10 and all(len(t["top_logprobs"]) == 2 and t["logprob"] <= 0 for t in tokens)
    raw = bytes(b for t in tokens for b in t["bytes"])
    assert raw.decode(errors="ignore") == whole["message"]["content"]
    assert all(t["token"] == t["top_logprobs"][0]["token"] for t in tokens)  # greedy
    assert told_by(chunks_of(server, body))[2] == tokens
    assert post(server, {**body, "logprobs": False, "top_logprobs": 0}).json()["choices"][0]["logprobs"] is None
    stop = whole["message"]["content"][6:9]
    cut = post(server, {**body, "stop": stop}).json()["choices"][0]
    assert cut["logprobs"]["content"] == tokens[: len(cut["logprobs"]["content"])]
    assert len(cut["logprobs"]["content"]) < len(tokens)


def test_our_client_has_them_too(server, here, photo):
    remote = connect(server.url, check=False)
    settings = {"whole": True, "max_new_tokens": 70, "response_format": form(FACE), "top_logprobs": 3}
    for variant in VARIANTS:
        mine, theirs = (m.ask(photo, "Hi", variant=variant, **settings) for m in (here, remote))
        assert (theirs.text, theirs.finish_reason) == (mine.text, mine.finish_reason)
        assert [(t.token, t.bytes) for t in theirs.logprobs] == [(t.token, t.bytes) for t in mine.logprobs]
        assert [len(t.top) for t in theirs.logprobs] == [3] * mine.tokens
    remote.close()


class Json(FaceLLM):
    """Says this, whatever it is asked."""

    says = '{"mood": "sad", "light": "Soft. She looks happy. It is even.", "parts": ["Asian", "nose"], "x": 1}'

    def stream(self, image, rows, sampling=None, cancel=None, tiles=1):
        yield Delta(0, self.says[:30])
        answer = Answer("facellm", None, "Hi", self.says, 9, 1.0, 0.1, 9.0, "stop", 0)
        yield Delta(0, self.says[30:], True, answer)


def test_what_the_operator_switched_off_is_left_out_of_json(loaded, body, monkeypatch):
    monkeypatch.setenv("FACELLM_SENSITIVE", "off")
    body["response_format"] = {"type": "json_object"}
    with InThread(make_app(Json(loaded))) as server:
        told = post(server, body).json()["choices"][0]["message"]["content"]
        assert "Soft." in told and not any(word in told for word in ("mood", "happy", "Asian"))
        assert json.loads(told)["x"] == 1 and json.loads(told)["parts"][1] == "nose"
        assert told_by(chunks_of(server, body))[0] == told
        asks = form({"type": "object", "properties": {"ethnicity": {"type": "string"}}})
        refused = post(server, {**body, "response_format": asks}).json()["error"]
        assert (refused["param"], refused["code"]) == ("response_format", "sensitive_off")
        refused = post(server, {**body, "logprobs": True, "messages": conversation(data_uri_of(body))}).json()["error"]
        assert (refused["param"], refused["code"]) == ("logprobs", "sensitive_off")
