"""Connecting: addresses, keys, names of models, and what is left behind where it fails."""

import threading
from pathlib import Path

import pytest

from facellm import FaceLLMError, connect
from facellm.client import names as remote_names
from facellm.client.names import choose_names
from facellm.client.transport import Backend
from facellm.engine.sampling import Sampling
from facellm.results import Row
from facellm.server.app import make_app
from tests.served import InThread, Moody, free_socket, wait_until

LONG = Sampling(max_new_tokens=1500)  # the tiny model rarely ends an answer by itself


@pytest.mark.parametrize("address", ["", "localhost:8000", "ftp://host", "http://", "http://host:port/v1"])
def test_what_is_no_address(address):
    with pytest.raises(FaceLLMError, match="is not a server's address"):
        connect(address)


def test_nobody_is_there(quick):
    place = free_socket()
    with pytest.raises(FaceLLMError, match="cannot be reached"):
        connect(f"http://127.0.0.1:{place.getsockname()[1]}")
    place.close()


def held():
    """Threads of clients, and open descriptors where the system lists them."""
    files = Path("/proc/self/fd")
    return sum(t.name == "facellm-remote" for t in threading.enumerate()), len(list(files.glob("*")))


@pytest.mark.parametrize("fault", ["nobody", "names", "check"])
def test_connecting_in_vain_leaves_nothing_behind(monkeypatch, quick, fault):
    place, before = free_socket(), held()
    with InThread(Moody("Fine")) as server:
        url, model = server.url, "other" if fault == "names" else "auto"
        if fault == "nobody":
            url = f"http://127.0.0.1:{place.getsockname()[1]}"
        if fault == "check":
            monkeypatch.setattr(
                remote_names, "check_answers", lambda *_, **__: (_ for _ in ()).throw(FaceLLMError("no word"))
            )
        for _ in range(10):
            with pytest.raises(FaceLLMError, match=r"cannot be reached|no model 'other'|no word"):
                connect(url, model)
        threads, files = held()
    place.close()
    # The server in this process has a few descriptors too; ten loops had thirty.
    assert threads == before[0] and files < before[1] + 20


def test_closing_ends_what_is_under_way(server, photo):
    model = connect(server.url, check=False)
    before = held()[0]
    stream = model.stream(model.view(photo, whole=True), [Row("base", "Hi")], LONG)
    assert next(stream).text
    model.close()
    assert held()[0] == before - 1
    with pytest.raises(FaceLLMError, match="was closed before it had answered"):
        list(stream)
    wait_until(lambda: server.app.state.service.counts.active == 0)
    assert model.ask(photo, "Hi", whole=True, max_new_tokens=2).tokens == 2
    model.close()


def test_addresses_with_and_without_path():
    for address in ("http://host:8000", "http://host:8000/", "http://host:8000/v1/", " http://u:p@host:8000/v1"):
        assert Backend(address).api == "http://host:8000/v1"
    assert Backend("https://[::1]:8000/a/v1").api == "https://[::1]:8000/a/v1"


def test_the_key_is_sent(here, photo, monkeypatch):
    with InThread(make_app(here, api_key="open sesame")) as server:
        with pytest.raises(FaceLLMError, match="refuses the key"):
            connect(server.url, key="wrong", check=False)
        monkeypatch.setenv("FACELLM_BACKEND_KEY", "open sesame")
        model = connect(server.url, check=False)
        assert model.ask(photo, "Hi", whole=True, max_new_tokens=1).tokens == 1
        model.close()


OURS = [{"id": "a", "facellm": {"variant": "facellm"}}, {"id": "b", "facellm": {"variant": "base"}}]
VLLMS = [{"id": "big", "parent": None}, {"id": "tuned", "parent": "big"}]


@pytest.mark.parametrize(
    ("listed", "wanted", "names"),
    [
        (OURS, "auto", {"base": "b", "facellm": "a"}),
        (VLLMS, "auto", {"base": "big", "facellm": "tuned"}),
        ([*VLLMS, {"id": "FaceLLM-8B", "parent": "big"}], "auto", {"base": "big", "facellm": "FaceLLM-8B"}),
        ([{"id": "InternVL3-8B"}, {"id": "FaceLLM-8B"}], "auto", {"base": "InternVL3-8B", "facellm": "FaceLLM-8B"}),
        ([{"id": "x"}], "auto", {"base": "x"}),
        ([{"id": "facellm"}], "auto", {"facellm": "facellm"}),
        ([{"id": "x"}, {"id": "y"}], "y,x", {"base": "y", "facellm": "x"}),
        (VLLMS, "tuned", {"facellm": "tuned"}),
        (OURS, "b", {"base": "b"}),
    ],
)
def test_which_model_is_which(listed, wanted, names):
    assert choose_names(listed, wanted, "here") == names


@pytest.mark.parametrize(
    ("listed", "wanted", "says"),
    [
        ([{"id": "x"}, {"id": "y"}], "auto", "cannot be told .x, y.; say it with FACELLM_BACKEND_MODELS"),
        ([{"id": "facellm"}, {"id": "y"}, {"id": "z"}], "auto", "cannot be told"),
        ([], "auto", "cannot be told .none."),
        (VLLMS, "nano", "no model 'nano'; it has big, tuned"),
        (VLLMS, "big,big", "does not name two models"),
    ],
)
def test_doubtful_names_are_refused(listed, wanted, says):
    with pytest.raises(FaceLLMError, match=says):
        choose_names(listed, wanted, "here")


def test_names_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("FACELLM_BACKEND_MODELS", "facellm,base")  # the wrong way round: the user's word counts
    model = connect(server.url, check=False)
    assert model.names == {"base": "facellm", "facellm": "base"}
    model.close()
