"""Requests that cannot be answered get a sentence; pictures are read in every form that clients send."""

import base64
import http.client
import json
import re

import httpx
import pytest

from facellm.engine.sampling import Sampling
from facellm.server.schemas import ChatRequest, parse
from tests.facellm.server.asking import CLIENT, JSON, PORTRAIT, conversation, data_uri_of, form, post


def test_drawing_words(body):
    def sampling(**parameters):
        return parse(ChatRequest, json.dumps({**body, **parameters}).encode()).sampling

    assert len({sampling(temperature=1).seed for _ in range(8)}) > 1  # as elsewhere: no seed means new numbers
    assert sampling(temperature=1, seed=-5).seed == 2**63 - 5
    assert sampling(top_p=0.5, repetition_penalty=1.1) == Sampling(max_new_tokens=4, top_p=0.5, repetition_penalty=1.1)


def changed(body, **changes):
    return {**body, **changes}


TABLE = [
    (lambda b: changed(b, model="gpt-4o"), 404, "no model 'gpt-4o' here; choose base or facellm"),
    (lambda b: changed(b, model=None), 400, "model must be given"),
    (lambda b: changed(b, messages=None), 400, "messages must be given"),
    (lambda b: changed(b, messages=[]), 400, "at least one message"),
    (lambda b: changed(b, messages=["Hi"]), 400, "must be an object"),
    (lambda b: changed(b, messages=[{"role": "tool", "content": "x"}]), 400, "role 'tool' is not known"),
    (lambda b: changed(b, messages=[{"role": [], "content": "x"}]), 400, "role [] is not known"),
    (lambda b: changed(b, messages=conversation(data_uri_of(b), "Hi " * 70_000)), 400, "at most 200,000 are read"),
    (lambda b: changed(b, **{"x" * 9999: 1}), 400, "no parameter 'xxx"),
    (lambda b: changed(b, messages=[{"role": "user", "content": "Hi"}]), 400, "has 0 images; give exactly one"),
    (lambda b: changed(b, messages=[{"role": "user"}]), 400, "must be a text or a list of parts"),
    (lambda b: changed(b, messages=b["messages"] * 2), 400, "where one from assistant belongs"),
    (lambda b: changed(b, messages=[*b["messages"], {"role": "assistant", "content": "x"}]), 400, "last message"),
    (lambda b: changed(b, messages=[{"role": "user", "content": [{"type": "audio"}]}]), 400, "cannot be read"),
    (lambda b: changed(b, messages=b["messages"] * 200), 400, "at most 101"),
    (lambda b: changed(b, messages=conversation("https://example.com/face.jpg")), 400, "not fetched from addresses"),
    (lambda b: changed(b, messages=conversation("data:image/png;base64,@@@")), 400, "data URI is damaged"),
    (lambda b: changed(b, messages=conversation("data:image/png,abc")), 400, "data URI is damaged"),
    (lambda b: changed(b, messages=conversation("data:;base64,SGVsbG8=")), 400, "not an image that can be read"),
    (lambda b: changed(b, messages=conversation("data:image/png;base64,")), 400, "is empty"),
    (lambda b: changed(b, messages=conversation(data_uri_of(b), " ")), 400, "question is empty"),
    (lambda b: changed(b, temperature=3), 400, "temperature is 3.0; it must be between"),
    (lambda b: changed(b, temperature="hot"), 400, "temperature must be a number"),
    (lambda b: changed(b, max_tokens=True), 400, "max_tokens must be a whole number"),
    (lambda b: changed(b, max_tokens=0), 400, "max_tokens is 0"),
    (lambda b: changed(b, max_tokens=None, max_completion_tokens=5000), 400, "max_completion_tokens is 5000"),
    (lambda b: changed(b, max_tokens=4000), 400, "start a new conversation"),
    (lambda b: changed(b, top_p=0), 400, "top_p is 0"),
    (lambda b: changed(b, n=17), 400, "n must be a whole number between 1 and 16"),
    (lambda b: changed(b, n=0), 400, "n must be a whole number between 1 and 16"),
    (lambda b: changed(b, logprobs=5), 400, "logprobs must be true or false"),
    (lambda b: changed(b, top_logprobs=5), 400, "belongs to a request with logprobs"),
    (lambda b: changed(b, logprobs=True, top_logprobs=21), 400, "between 0 and 20"),
    (lambda b: changed(b, response_format="json"), 400, "response_format must be an object"),
    (lambda b: changed(b, response_format={"type": "xml"}), 400, "with the type text"),
    (lambda b: changed(b, response_format={"type": "json_schema"}), 400, "json_schema must be"),
    (lambda b: changed(b, response_format=form({"type": "zebra"})), 400, "cannot be used: Invalid type"),
    (lambda b: changed(b, tools=[{"type": "function"}]), 400, "tools is not offered here"),
    (lambda b: changed(b, max_new_tokens=3), 400, "no parameter 'max_new_tokens'"),
    (lambda b: changed(b, stop=["a"] * 5), 400, "stop must be up to 4 texts"),
    (lambda b: changed(b, stream="yes"), 400, "stream must be true or false"),
    (lambda b: changed(b, stream_options={"include_usage": True}), 400, "belongs to a request with stream"),
    (lambda b: changed(b, facellm={"zoom": 2}), 400, "no option 'zoom'; there are crop, face and tiles"),
    (lambda b: changed(b, facellm={"tiles": 6}), 400, "Tiles are for whole images"),
    (lambda b: changed(b, facellm={"crop": False, "tiles": 13}), 400, "between 1 and 12"),
    (lambda b: changed(b, facellm="no"), 400, "facellm must be an object"),
    (lambda b: [b], 400, "one JSON object"),
]


@pytest.mark.parametrize(("change", "status", "says"), TABLE, ids=[says[:28] for _, _, says in TABLE])
@pytest.mark.parametrize("streamed", [False, True])
def test_malformed_requests_get_a_sentence(server, body, change, status, says, streamed):
    asked = change(body)
    if streamed and isinstance(asked, dict) and "stream" not in asked and "stream_options" not in asked:
        asked["stream"] = True
    told = post(server, asked)
    error = told.json()["error"]
    assert told.status_code == status and says in error["message"]
    assert set(error) == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"
    assert "\n" not in error["message"] and "Traceback" not in error["message"]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None, "max_completion_tokens": 0}, "max_completion_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"n": 17}, "n"),
        ({"max_tokens": 4000}, "max_tokens"),
        ({"max_tokens": None, "max_completion_tokens": 4000}, "max_completion_tokens"),
        ({"max_tokens": None, "messages": conversation("", "Hi " * 6000)}, "messages"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": form({"type": "zebra"})}, "response_format"),
        ({"response_format": form({"type": "string", "pattern": "("})}, "response_format"),
        ({"facellm": {"zoom": 2}}, "facellm.zoom"),
        ({"messages": [{"role": [], "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "messages[0].content[0]"),
        ({"messages": conversation("http://x/y")}, "messages[0].content[0].image_url"),
    ],
)
def test_errors_name_the_parameter_that_was_sent(server, body, changes, param):
    for message in changes.get("messages", []):
        for part in message["content"]:
            if isinstance(part, dict) and part.get("image_url") == {"url": ""}:
                part["image_url"] = {"url": data_uri_of(body)}
    error = post(server, {**body, **changes}).json()["error"]
    assert error["param"] == param and "max_new_tokens" not in error["message"]


def test_pictures_in_every_form_of_base64(server, body):
    raw = PORTRAIT.read_bytes()
    raw += b"\0" * ((1 - len(raw)) % 3)  # so that it needs padding
    plain = base64.b64encode(raw).decode()
    forms = {
        "plain": plain,
        "unpadded": plain.rstrip("="),
        "wrapped": base64.encodebytes(raw).decode(),
        "percent": plain.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
        "url-safe": base64.urlsafe_b64encode(raw).decode(),
    }
    texts = set()
    for data in forms.values():
        told = post(server, {**body, "messages": conversation(f"data:image/jpeg;base64,{data}")})
        texts.add(told.json()["choices"][0]["message"]["content"])
    assert len(texts) == 1


@pytest.mark.parametrize("name", ["/v1/models/%ff%fe", "/v1/models/a%0Ab", "/v1/%ed%a0%80"])
def test_names_that_no_text_holds(server, name):
    told = CLIENT.get(server.url.removesuffix("/v1") + name)
    assert told.status_code == 404 and told.json()["error"]["message"].count("\n") == 0


def test_the_connection_outlives_what_cannot_be_read(server, body):
    url = httpx.URL(server.url)
    texts = [
        json.dumps({**body, "model": "\ud800"}),
        json.dumps({**body, "\udfff": 1}),
        json.dumps({**body, "messages": conversation(data_uri_of(body), "\ud83d")}),
        json.dumps({**body, "seed": 1}).replace('"seed": 1', '"seed": NaN'),
        '{"facellm": ' * 5000 + "1" + "}" * 5000,
    ]
    connection = http.client.HTTPConnection(url.host, url.port)
    try:
        for text in texts:
            connection.request("POST", "/v1/chat/completions", text.encode(), JSON)
            with connection.getresponse() as told:
                assert told.status == 400 and set(json.load(told)["error"]) == {"message", "type", "param", "code"}
            used = connection.sock
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200 and connection.sock is used
    finally:
        connection.close()


def test_what_operators_and_clients_read_of_it(server):
    root = server.url.removesuffix("/v1")
    assert CLIENT.get(f"{root}/ready").json() == {"status": "ready", "active": 0}
    document = CLIENT.get(f"{root}/openapi.json").json()
    assert {"/health", "/ready", "/v1/models", "/v1/chat/completions", "/v1/profiles"} <= set(document["paths"])
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert {"ChatRequest", "ProfilesRequest", "Message"} <= named <= set(document["components"]["schemas"])
    assert CLIENT.get(f"{root}/docs").status_code == 404  # the usual page fetches its scripts from elsewhere


@pytest.mark.parametrize(
    ("path", "options", "status", "says"),
    [
        (
            "/chat/completions",
            {"content": b"{", "headers": {"content-type": "application/json"}},
            400,
            "not valid JSON",
        ),
        (
            "/chat/completions",
            {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}},
            400,
            "JSON",
        ),
        ("/chat/completions", {"data": {"model": "base"}}, 415, "Content-Type: application/json"),
        ("/profiles", {"json": {"model": "base"}}, 400, "image must be given"),
        ("/profiles", {"json": {"model": [], "image": "data:"}}, 400, "a name or a list of names"),
        ("/profiles", {"json": {"model": "base", "image": "data:", "n": 1}}, 400, "no parameter 'n'"),
        ("/completions", {"json": {}}, 404, "there are /v1/models"),
        ("/models", {"json": {}}, 405, "as documented"),
    ],
)
def test_what_no_handler_takes(server, path, options, status, says):
    told = CLIENT.post(server.url + path, **options)
    assert told.status_code == status and says in told.json()["error"]["message"]
