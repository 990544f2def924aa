"""Proxies of the environment: never for loopback, and one sentence about what cannot be used."""

import pytest

from facellm import FaceLLMError, connect
from facellm.client.proxies import check_proxies, proxy_for
from facellm.model_options import ModelOptions

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("http://example.com/v1", {}, None),
        ("http://example.com/v1", {"HTTP_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ("http://example.com/v1", {"ALL_PROXY": "proxy:3128"}, "http://proxy:3128"),
        ("https://example.com/v1", {"HTTP_PROXY": "http://proxy:3128"}, None),
        ("http://127.0.0.1:8000/v1", {"HTTP_PROXY": "http://proxy:3128"}, None),
        ("http://127.3.2.1/v1", {"ALL_PROXY": "socks5://proxy:1080"}, None),
        ("http://[::1]:8000/v1", {"HTTP_PROXY": "no address"}, None),
        ("http://localhost:8000/v1", {"HTTP_PROXY": "http://proxy:3128"}, None),
        ("http://gpu.example.com/v1", {"HTTP_PROXY": "http://p", "NO_PROXY": "a.org, .example.com"}, None),
        ("http://myexample.com/v1", {"HTTP_PROXY": "http://p", "NO_PROXY": "example.com"}, "http://p"),
        ("http://10.1.2.3/v1", {"HTTP_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8"}, None),
        ("http://[fd00::7]/v1", {"HTTP_PROXY": "http://p", "NO_PROXY": "fd00::/8"}, None),
        ("http://[2001::7]/v1", {"HTTP_PROXY": "http://p", "NO_PROXY": "[::1],[fd00::]/8,[2001::7]"}, None),
        ("http://gpu:8000/v1", {"HTTP_PROXY": "http://p", "NO_PROXY": "gpu:8000"}, None),
        ("http://gpu:8000/v1", {"HTTP_PROXY": "http://p", "NO_PROXY": "*"}, None),
    ],
)
def test_which_proxy_is_asked(monkeypatch, url, environment, proxy):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"ALL_PROXY": "socks5://user:secret@proxy:1080"}, "ALL_PROXY names a SOCKS proxy"),
        ({"HTTP_PROXY": "ftp://user:secret@proxy"}, "HTTP_PROXY is not a proxy's address"),
        ({"HTTP_PROXY": "http://proxy:port"}, "HTTP_PROXY is not a proxy's address"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named(monkeypatch, environment, says):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FaceLLMError, match=says) as told:
        connect("http://example.com/v1")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(("name", "value"), [("NO_PROXY", "[::1]"), ("HTTP_PROXY", "ftp://proxy")])
def test_what_other_libraries_would_fail_on(monkeypatch, name, value):
    check_proxies()
    monkeypatch.setenv(name, value)
    for use in (check_proxies, ModelOptions(model="owner/name").open_weights):
        with pytest.raises(FaceLLMError, match="proxy settings cannot be used"):
            use()


def test_a_server_here_needs_no_proxy(monkeypatch, server):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "[fe80::]/10")
    model = connect(server.url, check=False)
    try:
        assert model.health().ok
    finally:
        model.close()
