"""Why, over the server: what a model here says, whoever asks; what is refused; who leaves ends the work."""

import io
import json
import socket
import threading
from contextlib import redirect_stdout

import pytest

from facellm import FaceLLMError, connect
from facellm.cli.main import main
from facellm.client.answers import data_uri
from facellm.profile import TRAITS
from facellm.server import documents
from facellm.server.app import make_app
from facellm.typed import question as typed
from tests.facellm.server.asking import post
from tests.served import VLLM, InThread

QUESTION = "Wears a tie?=yes,no"


@pytest.fixture
def asked(photo):
    return {"model": ["base", "facellm"], "image": data_uri(photo), "field": "mouth", "facellm": {"crop": False}}


def same(told, expected):
    assert (told.variant, told.question, told.label) == (expected.variant, expected.question, expected.label)
    assert told.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
    assert told.without_picture == pytest.approx(expected.without_picture, abs=1e-4)
    for row, other in zip(told.influence, expected.influence, strict=True):
        assert row == pytest.approx(other, abs=1e-3)
    assert told.sentence == expected.sentence


@pytest.mark.parametrize(
    "question",
    ["mouth", TRAITS[0].key, QUESTION, typed.parse("tie: " + QUESTION)],
    ids=["field", "trait", "typed", "own"],
)
def test_over_our_server_it_is_the_same(server, here, photo, question):
    local = here.explain(photo, question, whole=True)
    told = connect(server.url).explain(photo, question, whole=True)
    assert set(told) == set(local) == {"base", "facellm"}
    for variant, expected in local.items():
        same(told[variant], expected)


def test_label_side_and_one_model_are_taken(server, here, photo):
    expected = here.explain(photo, "mouth", "closed", ("base",), side=1, whole=True)
    told = connect(server.url).explain(photo, "mouth", "closed", ("base",), side=1, whole=True)
    assert list(told) == ["base"] and len(told["base"].influence) == 1
    same(told["base"], expected["base"])


def test_replies_are_as_documented(server, asked):
    reply = documents.ExplanationsReply.model_validate_json(post(server, asked, "/explanations").content)
    assert set(reply.explanations) == {"base", "facellm"} and reply.explanations["base"].sentence


@pytest.mark.parametrize(
    ("change", "param", "says"),
    [
        ({"field": None}, "field", "either a field of the profile or a question"),
        ({"question": {"ask": "Tie?", "options": ["yes", "no"]}}, "field", "either a field of the profile or"),
        ({"field": "zebra"}, "field", "no field 'zebra'; choose from age_group"),
        ({"field": None, "question": {"ask": "Tie?", "options": ["yes"]}}, "question", "has 1 options; give 2 to 12"),
        ({"label": "ajar"}, "label", "'ajar' is no answer to"),
        ({"side": 9}, "side", "a whole number between 1 and 8"),
        ({"side": 0}, "side", "a whole number between 1 and 8"),
        ({"side": 8}, None, "cannot be divided into 8 x 8 regions"),
        ({"blank": True}, "blank", "no parameter 'blank'"),
        ({"model": "gpt"}, "model", "no model 'gpt' here"),
    ],
)
def test_what_is_wrong_is_a_sentence(server, asked, change, param, says):
    reply = post(server, {**asked, **change}, "/explanations")
    error = reply.json()["error"]
    assert reply.status_code in (400, 404) and error["param"] == param and says in error["message"], error


def test_what_the_operator_switched_off_is_not_explained(here, asked, monkeypatch):
    monkeypatch.setenv("FACELLM_SENSITIVE", "off")
    with InThread(make_app(here)) as closed:
        for change in (
            {"field": "expression"},
            {"field": None, "question": {"ask": "Which mood?", "options": ["happy", "sad"]}},
        ):
            reply = post(closed, {**asked, **change}, "/explanations")
            assert reply.status_code == 400 and reply.json()["error"]["code"] == "sensitive_off"
        assert post(closed, asked, "/explanations").status_code == 200


def test_who_leaves_ends_the_work(here, asked, monkeypatch):
    begun, ended = threading.Event(), threading.Event()

    def waits(*_, cancel, **__):
        begun.set()
        if cancel.wait(60):
            ended.set()
        raise FaceLLMError("stopped")

    monkeypatch.setattr(here, "explain", waits)
    with InThread(make_app(here)) as own:
        body = json.dumps(asked).encode()
        host, port = own.url.split("/")[2].split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = "POST /v1/explanations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert begun.wait(60)
        assert ended.wait(20), "nobody is there, and it goes on"


def test_the_command_line_over_a_server(server, photo, tmp_path):
    photo.save(tmp_path / "p.png")
    out = io.StringIO()
    with redirect_stdout(out):
        asked = ["why", str(tmp_path / "p.png"), "mouth", "--whole-image", "--json"]
        assert main([*asked, "--backend-url", server.url, "--out", str(tmp_path / "m.png")], out) == 0
    assert set(json.loads(out.getvalue())) == {"base", "facellm"} and (tmp_path / "m.png").is_file()


def test_another_server_says_that_it_cannot(here, photo):
    with InThread(VLLM(here)) as other:
        remote = connect(other.url, check=False)
        with pytest.raises(FaceLLMError, match="cannot be asked why, as it hands out nothing of what its model sees"):
            remote.explain(photo, "mouth", whole=True)
        remote.close()
