"""The operator's choices: command line over environment over defaults, and a sentence for what makes no sense."""

import os
import socket
import subprocess
import sys

import pytest

from demo.runtime.options import read_options
from facellm.errors import FaceLLMError
from tests.paths import ROOT


def test_defaults_are_private():
    options = read_options([], {})
    assert options.host == "127.0.0.1" and options.auth is None and not options.mcp and options.sensitive
    assert options.model == "auto" and options.votes is not None


def test_the_command_line_goes_before_the_environment():
    env = {"FACELLM_MODEL": "8b", "FACELLM_PORT": "9000", "FACELLM_QUANTIZATION": "nf4", "FACELLM_VOTES": "off"}
    assert read_options(["--model", "nano"], env).model == "nano"
    options = read_options([], env)
    assert (options.model, options.port, options.quantization, options.votes) == ("8b", 9000, "nf4", None)


def test_spaces_binds_to_all_interfaces_on_its_port():
    options = read_options([], {"SPACE_ID": "someone/facellm", "GRADIO_SERVER_NAME": "0.0.0.0"})
    assert options.space and options.host == "0.0.0.0" and options.port == 7860 and options.fixed_port


def test_auth_and_switches():
    options = read_options(["--mcp"], {"FACELLM_AUTH": "ada:a:b", "FACELLM_SENSITIVE": "off"})
    assert options.auth == ("ada", "a:b") and options.mcp and not options.sensitive


def test_addresses_names_and_origins():
    options = read_options(["--host", "[::1]"], {"FACELLM_ALLOW_HOST": "A.example, b.example"})
    assert options.host == "::1" and options.allow_host == ("a.example", "b.example")
    assert read_options(["--allow-origin", "https://a.example/"], {}).allow_origin == ("https://a.example",)


@pytest.mark.parametrize(
    ("argv", "env", "says"),
    [
        (["--port", "0"], {}, "port"),
        (["--port", "http"], {}, "port"),
        (["--quantization", "q4"], {}, "quantization"),
        (["--backend-url", "localhost:8000"], {}, "http"),
        (
            ["--backend-url", "http://localhost:8000", "--quantization", "nf4"],
            {},
            "--quantization cannot be chosen",
        ),
        (
            ["--backend-url", "http://localhost:8000"],
            {"FACELLM_ADAPTER": "a"},
            "--adapter cannot be chosen",
        ),
        (["--auth", "ada"], {}, "colon"),
        (["--allow-origin", "example.org"], {}, "no origin"),
        ([], {"FACELLM_SENSITIVE": "maybe"}, "on or off"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(argv, env, says):
    with pytest.raises(FaceLLMError, match=says):
        read_options(argv, env)


@pytest.mark.parametrize(
    ("argv", "says"),
    [(["--model", "no such model"], "no model"), (["--port", "99999"], "port"), (["--auth", "x"], "colon")],
)
def test_app_says_one_sentence_and_exits_with_2(argv, says):
    done = subprocess.run([sys.executable, "app.py", *argv], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2
    assert says in done.stderr and done.stderr.startswith("app.py: ") and done.stderr.count("\n") == 1


def test_help_names_every_environment_variable():
    done = subprocess.run([sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0
    for name in (
        "MODEL",
        "ADAPTER",
        "HOST",
        "ALLOW_HOST",
        "ALLOW_ORIGIN",
        "PORT",
        "QUANTIZATION",
        "BACKEND_URL",
        "AUTH",
        "MCP",
        "SENSITIVE",
        "VOTES",
    ):
        assert f"FACELLM_{name}" in done.stdout


def test_mcp_without_its_package_is_a_sentence(tmp_path):
    (tmp_path / "mcp").mkdir()
    (tmp_path / "mcp" / "__init__.py").write_text("raise ImportError('not installed')\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "app.py", "--mcp", "--model", "nano", "--port", port]
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "FACELLM_VOTES": "off"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("app.py: --mcp needs the package mcp")


def test_models_to_choose_among_begin_with_the_one_that_is_loaded():
    assert read_options(["--models", "nano, 8b,nano"], {}).models == ("nano", "8b")
    assert read_options(["--models", "nano,8b"], {}).model == "nano"
    told = read_options(["--model", "1b"], {"FACELLM_MODELS": "nano,1b"})
    assert told.model == "1b" and told.models == ("1b", "nano")
    assert read_options([], {}).models == ()
    for argv in (
        ["--models", "auto,nano"],
        ["--models", "nano", "--adapter", "x"],
        ["--models", "a", "--backend-url", "http://x"],
    ):
        with pytest.raises(FaceLLMError, match="--models"):
            read_options(argv, {})
