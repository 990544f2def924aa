"""What whoever runs the server sees: numbers, readiness, ids of requests, the log, the OpenAPI document."""

import json
import logging
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from facellm.server import documents
from facellm.server.app import make_app
from facellm.server.operators.logs import JsonFormatter
from tests.facellm.server.asking import CLIENT, data_uri_of, post
from tests.served import InThread


def numbers(server):
    told = CLIENT.get(root(server) + "/metrics")
    assert told.status_code == 200 and told.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(told.text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def root(server):
    return server.url.removesuffix("/v1")


def test_numbers_for_prometheus(here, body):
    with InThread(make_app(here)) as server:
        told = post(server, body).json()["usage"]
        assert post(server, {**body, "model": "none"}).status_code == 404
        for path in ("/wp-admin.php", "/.env"):
            CLIENT.get(root(server) + path)
        found = numbers(server)
        chat = ("path", "/v1/chat/completions")
        assert found["facellm_requests_total", (chat, ("status", "200"))] == 1
        assert found["facellm_requests_total", (("path", "other"), ("status", "404"))] == 2
        assert found["facellm_request_seconds_count", (chat,)] == 2
        assert found["facellm_refusals_total", (("code", "model_not_found"),)] == 1
        assert found["facellm_tokens_total", (("kind", "prompt"),)] == told["prompt_tokens"]
        assert found["facellm_tokens_total", (("kind", "completion"),)] == told["completion_tokens"]
        assert found["facellm_answers_total", (("outcome", "answered"),)] == 1
        for gauge in ("requests_in_flight", "sequences_running", "sequences_waiting"):
            assert found[f"facellm_{gauge}", ()] == 0


def test_numbers_while_answers_are_under_way(here, body):
    with InThread(make_app(here)) as server:
        asked = {**body, "max_tokens": 1500, "stream": True, "n": 16}
        streams = [CLIENT.stream("POST", server.url + "/chat/completions", json=asked) for _ in range(3)]
        lines = [stream.__enter__().iter_lines() for stream in streams]
        for line in lines:
            next(line)
        found = numbers(server)
        for stream in streams:
            stream.__exit__(None, None, None)
    assert found["facellm_requests_in_flight", ()] == 3
    assert found["facellm_sequences_running", ()] + found["facellm_sequences_waiting", ()] <= 48


def test_numbers_are_behind_the_key(here):
    with InThread(make_app(here, api_key="secret")) as server:
        assert CLIENT.get(root(server) + "/metrics").status_code == 401
        assert CLIENT.get(root(server) + "/metrics", headers={"Authorization": "bearer secret"}).status_code == 200
        assert (
            CLIENT.get(root(server) + "/health").status_code == CLIENT.get(root(server) + "/ready").status_code == 200
        )


@pytest.mark.parametrize("sent", ["7f3a-1.b", "trace:00-4bf92f/x=", None, "two words", "x" * 200, "é"])
def test_requests_have_ids(server, body, sent):
    headers = {} if sent is None else {"X-Request-Id": sent.encode()}
    found = [
        post(server, body, headers=headers).headers["x-request-id"],
        post(server, {**body, "model": "none"}, headers=headers).headers["x-request-id"],
        CLIENT.get(root(server) + "/nothing", headers=headers).headers["x-request-id"],
    ]
    if sent in ("7f3a-1.b", "trace:00-4bf92f/x="):
        assert found == [sent] * 3
    else:
        assert len(set(found)) == 3 and all(len(f) == 32 for f in found)


def test_an_error_that_nobody_foresaw_is_found_by_its_id(here, body, monkeypatch, caplog):
    def fails(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(here, "stream", fails)
    with InThread(make_app(here)) as server:
        told = post(server, body, headers={"X-Request-Id": "find-me"})
    assert told.status_code == 500 and "find-me" in told.json()["error"]["message"]
    assert "reference find-me" in caplog.text


def test_every_request_is_logged(here, body, caplog):
    caplog.set_level(logging.INFO, "facellm.access")
    with InThread(make_app(here)) as server:
        post(server, body, headers={"X-Request-Id": "one"})
        CLIENT.get(root(server) + "/health")
    lines = [json.loads(JsonFormatter().format(r)) for r in caplog.records if r.name == "facellm.access"]
    assert [(r["method"], r["path"], r["status"]) for r in lines] == [
        ("POST", "/v1/chat/completions", 200),
        ("GET", "/health", 200),
    ]
    assert lines[0]["request_id"] == "one" and lines[0]["bytes_in"] > 100 and lines[0]["bytes_out"] > 100
    assert lines[0]["client"] == "127.0.0.1" and lines[0]["seconds"] > 0 and lines[0]["level"] == "info"
    assert "Hi" not in json.dumps(lines)  # what was asked is nobody's business


def test_the_log_of_the_command_is_json(folders):
    command = [sys.executable, "-m", "facellm", "serve", "--model", str(folders.base), "--device", "cpu"]
    with subprocess.Popen(
        [*command, "--port", "0", "--log-json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        url = process.stdout.readline().split(" is served at ")[1].split()[0]
        CLIENT.get(url + "/models", headers={"X-Request-Id": "seen"})
        process.terminate()
        _, err = process.communicate(timeout=120)
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["status"] for line in lines if line.get("request_id") == "seen"] == [200]


def test_a_client_rate_below_none_is_refused(capsys):
    from facellm.cli.main import main

    assert main(["serve", "--client-rate", "-1"]) == 2
    assert "--client-rate is -1" in capsys.readouterr().err


def test_the_document_describes_every_answer(server, body):
    document = CLIENT.get(root(server) + "/openapi.json").json()
    for path, methods in document["paths"].items():
        for method in methods.values():
            told = method["responses"]["200"]["content"]
            if path == "/metrics":
                assert "text/plain" in told
            else:
                assert "$ref" in told["application/json"]["schema"], path
            if path.startswith("/v1"):
                assert method["responses"]["4XX"]["content"]["application/json"]["schema"]["$ref"].endswith(
                    "ErrorReply"
                )
    events = document["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]["text/event-stream"]
    assert events["schema"]["$ref"].rpartition("/")[2] in document["components"]["schemas"]
    text = json.dumps(document)
    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(document["components"]["schemas"])
    assert "response_format" in document["components"]["schemas"]["ChatRequest"]["properties"]


def test_replies_are_as_documented(server, body):
    get, check = (lambda path: CLIENT.get(root(server) + path).content), documents
    check.ModelList.model_validate_json(get("/v1/models"))
    check.ServedModel.model_validate_json(get("/v1/models/facellm"))
    check.Health.model_validate_json(get("/health"))
    check.Ready.model_validate_json(get("/ready"))
    check.ErrorReply.model_validate_json(get("/nothing"))
    image = data_uri_of(body)
    told = post(server, {"model": ["base", "facellm"], "image": image}, "/profiles")
    check.ProfilesReply.model_validate_json(told.content)
    body |= {"logprobs": True, "top_logprobs": 2, "n": 2, "temperature": 1, "facellm": {}}
    check.ChatCompletion.model_validate_json(post(server, body).content)
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    with CLIENT.stream("POST", server.url + "/chat/completions", json=streamed) as response:
        events = [line[6:] for line in response.iter_lines() if line.startswith("data: {")]
    assert len([check.ChatChunk.model_validate_json(event) for event in events]) > 4


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_pages_that_would_fetch_scripts_are_switched_off_with_a_reason(server, path):
    told = CLIENT.get(root(server) + path)
    assert told.status_code == 404 and "scripts would come from another host" in told.json()["error"]["message"]
