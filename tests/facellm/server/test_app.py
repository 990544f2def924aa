"""The server as its clients see it: OpenAI's own client, bad requests, clients that leave."""

import base64
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from facellm import ATTRIBUTES, FaceLLMError
from facellm.api import FaceLLM
from facellm.cli.main import main
from facellm.engine.scheduler import MemoryFullError
from facellm.interface import face_of
from facellm.messages import build_messages, expand_image, render
from facellm.policy import REMOVED
from facellm.results import VARIANTS, Answer, Delta
from facellm.server.app import make_app
from facellm.server.service import StopText
from tests.facellm.server.asking import CLIENT, PORTRAIT, conversation, data_uri_of, post
from tests.served import InThread, wait_until


@pytest.fixture(scope="module")
def openai(server):
    from openai import OpenAI

    with OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        yield client


def test_both_models_are_listed(openai):
    listed = {m.id: m for m in openai.models.list().data}
    assert tuple(listed) == VARIANTS and listed["base"].owned_by == "facellm"
    assert openai.models.retrieve("facellm").facellm["variant"] == "facellm"


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_whole_answer(openai, here, photo, address, variant):
    expected = here.ask(photo, "Hi", variant=variant, whole=True, max_new_tokens=6)
    told = openai.chat.completions.create(
        model=variant, messages=conversation(address), max_tokens=6, extra_body={"facellm": {"crop": False}}
    )
    choice = told.choices[0]
    assert (choice.message.content, choice.message.role) == (expected.text, "assistant")
    assert choice.finish_reason == expected.finish_reason
    processor = here.loaded.processor
    prompt = processor.tokenizer(expand_image(processor, render(processor, build_messages("Hi"))))["input_ids"]
    assert told.usage.prompt_tokens == len(prompt) and told.usage.completion_tokens == expected.tokens
    assert told.facellm == {"face": None, "notice": None}


def test_a_streamed_answer_to_a_conversation(openai, here, photo, address):
    history = [("Is the mouth open?", "It is closed.")]
    messages = [
        {"role": "system", "content": "Be brief."},
        *conversation(address, history[0][0]),
        {"role": "assistant", "content": history[0][1]},
        {"role": "user", "content": "Why?"},
    ]
    chunks = list(
        openai.chat.completions.create(
            model="facellm",
            messages=messages,
            max_completion_tokens=6,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    expected = here.ask(photo, "Why?", history, system="Be brief.", max_new_tokens=6)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == expected.text and chunks[0].choices[0].delta.role == "assistant"
    assert "No face was found" in chunks[0].facellm["notice"]  # the photo is searched unless the client says otherwise
    assert chunks[-2].choices[0].finish_reason == "length" and chunks[-1].usage.completion_tokens == 6
    assert len({c.id for c in chunks}) == 1


def test_a_face_is_found_and_cropped_unless_told_otherwise(server, here):
    photo = PORTRAIT.read_bytes()
    url = f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"
    body = {"model": "facellm", "messages": conversation(url), "max_tokens": 8}
    cropped, whole = (post(server, {**body, **more}).json() for more in ({}, {"facellm": {"crop": False}}))
    assert cropped["facellm"]["face"] == face_of(here.view(photo)) and whole["facellm"]["face"] is None
    assert tuple(cropped["facellm"]["face"]["image_size"]) == Image.open(PORTRAIT).size
    texts = [reply["choices"][0]["message"]["content"] for reply in (cropped, whole)]
    assert texts == [here.ask(photo, "Hi", whole=w, max_new_tokens=8).text for w in (False, True)]
    tiled = post(server, {**body, "facellm": {"crop": False, "tiles": 4}}).json()
    assert tiled["usage"]["prompt_tokens"] > whole["usage"]["prompt_tokens"]
    absent = post(server, {**body, "facellm": {"face": 7}})
    assert absent.status_code == 400 and "Face 7 was asked for" in absent.json()["error"]["message"]


def test_profiles_of_both_models(server, here, photo, address):
    told = post(server, {"model": list(VARIANTS), "image": address}, "/profiles").json()
    assert told["object"] == "facellm.profiles"
    assert told["profiles"] == {w: p.to_dict() for w, p in here.profiles(photo).items()}


def test_many_clients_at_once_get_their_own_answers(server, here, photo, address):
    questions = [a.question for a in ATTRIBUTES] * 2
    told = [None] * len(questions)

    def ask(i):
        body = {"model": VARIANTS[i // 8], "messages": conversation(address, questions[i]), "max_tokens": 6}
        told[i] = post(server, {**body, "facellm": {"crop": False}}).json()["choices"][0]["message"]["content"]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(questions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, question in enumerate(questions):
        assert told[i] == here.ask(photo, question, variant=VARIANTS[i // 8], whole=True, max_new_tokens=6).text


def test_stop_texts_end_an_answer(server, here, photo, body):
    whole = here.ask(photo, "Hi", whole=True, max_new_tokens=40).text
    stop = whole[len(whole) // 2 :][:3]
    told = post(server, {**body, "max_tokens": 40, "stop": [stop, "never said"]}).json()["choices"][0]
    assert told["message"]["content"] == whole[: whole.index(stop)] and told["finish_reason"] == "stop"


@given(st.text("abc", max_size=12), st.lists(st.text("abc", min_size=1, max_size=3), max_size=3), st.integers(1, 4))
def test_stop_texts_cut_at_the_first(text, stops, size):
    cutter = StopText(tuple(stops))
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    told = "".join(cutter.add(p, done=i == len(pieces) - 1) for i, p in enumerate(pieces))
    ends = [text.index(s) + len(s) for s in stops if s in text]
    # Piece by piece, the text that is complete first counts; of those complete at once, the one that begins first.
    seen = next((n for n in range(0, len(text) + size, size) if any(e <= n for e in ends)), None)
    places = [text.index(s) for s in stops if s in text and text.index(s) + len(s) <= (seen or 0)]
    assert told == (text[: min(places)] if places else text)
    assert cutter.hit == bool(places)


class Spy(FaceLLM):
    """Counts the tokens that the engine hands out, and those after its request was cancelled. Takes its time, so that
    no machine is done before the client has left."""

    handed = after = 0

    def stream(self, image, rows, sampling=None, cancel=None, tiles=1):
        for delta in super().stream(image, rows, sampling, cancel, tiles):
            self.handed += 1
            self.after += cancel.is_set() and not delta.done
            yield delta
            time.sleep(0.01)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves_stops_the_model(loaded, body, streamed):
    spy = Spy(loaded)
    body |= {"max_tokens": 1500, "stream": streamed}
    with InThread(make_app(spy)) as server:
        counts = server.app.state.service.counts
        if streamed:
            with httpx.stream("POST", server.url + "/chat/completions", json=body, timeout=300) as response:
                lines = response.iter_lines()
                while '"content": ""' in (line := next(lines)) or not line:
                    pass
        else:
            url, sent = httpx.URL(server.url), json.dumps(body).encode()
            head = f"POST {url.path}/chat/completions HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: {len(sent)}\r\n"
            with socket.create_connection((url.host, url.port)) as connection:
                connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + sent)
                wait_until(lambda: spy.handed)
        wait_until(lambda: counts.active == 0)
        assert counts.cancelled == 1 and counts.tokens < 1500 and counts.answered == 0
        assert spy.after <= 1
        assert post(server, {**body, "max_tokens": 2, "stream": False}).json()["usage"]["completion_tokens"] == 2
        wait_until(lambda: counts.active == 0)
        health = CLIENT.get(server.url.removesuffix("/v1") + "/health").json()
        assert health["status"] == "ok" and health["active"] == 0 and health["answered"] == 1


def test_a_stopping_server_ends_open_answers(loaded, body):
    server = InThread(make_app(FaceLLM(loaded)))
    body |= {"max_tokens": 1500, "stream": True}
    with CLIENT.stream("POST", server.url + "/chat/completions", json=body) as response:
        next(response.iter_lines())
        server.stop()
    assert server.app.state.service.counts.active == 0 and server.app.state.service.counts.cancelled == 1


def test_limits_and_keys(here, body, monkeypatch):
    with InThread(make_app(here, api_key="secret", max_body=20_000)) as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer sécret".encode()}):
            told = post(server, body, headers=headers)
            assert told.status_code == 401 and told.json()["error"]["code"] == "invalid_api_key"
        for scheme in ("bearer", "BEARER"):
            assert CLIENT.get(server.url + "/models", headers={"Authorization": f"{scheme} secret"}).status_code == 200
        key = {"Authorization": "Bearer secret"}
        assert CLIENT.get(server.url + "/models", headers=key).status_code == 200
        assert CLIENT.get(server.url + "/models").status_code == 401
        assert CLIENT.get(server.url.removesuffix("/v1") + "/health").status_code == 200
        body["messages"][0]["content"][1]["text"] = "Hi" * 10_000
        told = post(server, body, headers=key)
        assert told.status_code == 413 and "larger than" in told.json()["error"]["message"]
        monkeypatch.setattr("facellm.server.service.MAX_REQUESTS", 0)
        body["messages"][0]["content"][1]["text"] = "Hi"
        body["messages"][0]["content"][0]["image_url"]["url"] = "data:image/png;base64,AAAA"
        told = post(server, body, headers=key)
        assert told.status_code == 503 and told.headers["retry-after"] == "1"
        root = server.url.removesuffix("/v1")
        assert [CLIENT.get(f"{root}/{what}").status_code for what in ("health", "ready")] == [200, 503]


def test_served_names(here, body):
    with InThread(make_app(here, names={"base": "nano-base", "facellm": "nano"})) as server:
        assert [m["id"] for m in CLIENT.get(server.url + "/models").json()["data"]] == ["nano-base", "nano"]
        assert post(server, {**body, "model": "nano"}).json()["model"] == "nano"
    with pytest.raises(FaceLLMError, match="cannot both be served as 'x'"):
        make_app(here, names={"base": "x", "facellm": "x"})
    with pytest.raises(FaceLLMError, match="cannot be a served name"):
        make_app(here, names={"base": "\udcff"})


class Scripted(FaceLLM):
    """Says these words, whatever it is asked; an exception among them is raised."""

    words = ("The head ", "is upright. She ", "looks happy. ", "The light is soft.")

    def stream(self, image, rows, sampling=None, cancel=None, tiles=1):
        for word in self.words:
            if isinstance(word, Exception):
                raise word
            yield Delta(0, word)
        text = "".join(self.words)
        yield Delta(0, "", True, Answer("facellm", None, "Hi", text, 9, 1.0, 0.1, 9.0, "stop", 0))


def texts_of(response):
    chunks = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: {")]
    return [c["choices"][0]["delta"].get("content") for c in chunks if c.get("choices")], chunks


def test_the_operators_switch(loaded, body, monkeypatch):
    monkeypatch.setenv("FACELLM_SENSITIVE", "off")
    with InThread(make_app(Scripted(loaded))) as server:
        told = post(server, body).json()["choices"][0]["message"]["content"]
        assert told == f"The head is upright. The light is soft.\n\n{REMOVED}"
        with CLIENT.stream("POST", server.url + "/chat/completions", json={**body, "stream": True}) as response:
            assert "".join(t or "" for t in texts_of(response)[0]) == told
        refused = post(server, {**body, "messages": conversation(data_uri_of(body), "Which race is she?")})
        assert refused.status_code == 400 and refused.json()["error"]["code"] == "sensitive_off"
        profile = post(server, {"model": "base", "image": data_uri_of(body)}, "/profiles").json()["profiles"]["base"]
        assert not {"ethnicity", "expression"} & set(profile["fields"]) and "age_group" in profile["fields"]
    monkeypatch.setenv("FACELLM_SENSITIVE", "of")
    with pytest.raises(FaceLLMError, match="set it to on or off"):
        make_app(Scripted(loaded))


def test_an_error_that_nobody_foresaw(loaded, body, caplog):
    model = Scripted(loaded)
    model.words = ("Half ", ZeroDivisionError("a secret of the server's"))
    with InThread(make_app(model)) as server:
        told = post(server, body)
        assert told.status_code == 500 and "secret" not in told.text and "under the reference" in told.text
        with CLIENT.stream("POST", server.url + "/chat/completions", json={**body, "stream": True}) as response:
            texts, chunks = texts_of(response)
        assert texts == ["", "Half "] and chunks[-1]["error"]["type"] == "server_error"
        assert "a secret of the server's" in caplog.text  # the operator's log has it
        assert server.app.state.service.counts.failed == 2


def test_a_full_memory_is_worth_another_try(loaded, body):
    model = Scripted(loaded)
    model.words = (MemoryFullError("The graphics card's memory is full."),)
    with InThread(make_app(model)) as server:
        told = post(server, body)
        assert told.status_code == 503 and told.headers["retry-after"] == "1"
        assert told.json()["error"]["code"] == "out_of_memory" and "memory is full" in told.json()["error"]["message"]


def test_the_command_refuses_with_a_sentence(folders, capsys, monkeypatch):
    monkeypatch.delenv("NO_KEY", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments, says in (
            (["--port", port], "is taken"),
            (["--port", "99999999"], "is not a port"),
            (["--host", "no.such.host.invalid"], "cannot be listened on"),
            (["--api-key-env", "NO_KEY"], "NO_KEY holds no key"),
            (["--port", "0", "--model", "/no/such/folder"], "There is no model"),
        ):
            assert main(["serve", *arguments], io.StringIO()) == 2
            err = capsys.readouterr().err
            assert says in err and err.startswith("facellm: ") and err.count("\n") == 1


def test_interrupting_the_command_ends_it_quietly(folders):
    command = [sys.executable, "-m", "facellm", "serve", "--model", str(folders.base), "--device", "cpu", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        url = line.split(" is served at ")[1].split()[0]
        wait_until(lambda: _answers(url + "/models"))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode in (0, 130) and out == "" and "Traceback" not in err


def _answers(url):
    try:
        return CLIENT.get(url).status_code == 200
    except httpx.ConnectError:
        return False
