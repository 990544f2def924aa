"""What the operator chooses when starting the page: command line first, then environment, then defaults.

Input: argv and os.environ. Output: one frozen `Options`. What this file does not know: Gradio, models.
"""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from facellm.errors import FaceLLMError

# Hugging Face Spaces sets SPACE_ID and routes its proxy to port 7860 of every interface.
SPACE_PORT = 7860
QUANTIZATIONS = ("auto", "none", "nf4", "int8")


class OptionError(FaceLLMError):
    """A command line or environment value that the page cannot start with; shown as one sentence, exit code 2."""


@dataclass(frozen=True)
class Options:
    """How the page runs.

    model: registry name, hub id or directory; with backend_url the served names of base and FaceLLM, or auto.
    adapter: PEFT directory on top of it.  backend_url: an OpenAI-compatible server instead of a local model.
    auth: (user, password) or None.  sensitive: whether ethnicity and emotion are asked about.
    votes: SQLite file of blind votes, None where voting is off.  queue: waiting requests before "queue is full".
    space: running on Hugging Face Spaces.
    """

    model: str = "auto"
    adapter: str | None = None
    host: str = "127.0.0.1"
    port: int = SPACE_PORT
    quantization: str | None = None
    device: str | None = None
    backend_url: str | None = None
    auth: tuple[str, str] | None = None
    mcp: bool = False
    sensitive: bool = True
    votes: Path | None = None
    queue: int = 64
    space: bool = False
    fixed_port: bool = False


def parser() -> argparse.ArgumentParser:
    """The command line of app.py; every option names its environment variable."""
    p = argparse.ArgumentParser(
        prog="app.py",
        description="FaceLLM demo: chat about a face, eight attributes, base against FaceLLM, calibrated profile.",
        epilog="FACELLM_SENSITIVE=off leaves out ethnicity and emotion; FACELLM_VOTES=off keeps no votes.",
    )
    p.add_argument("--model", help="nano, 1b, 2b, 8b, 14b, 38b, a hub id, a directory, or auto [FACELLM_MODEL]")
    p.add_argument("--adapter", help="directory or hub id of a LoRA adapter for --model [FACELLM_ADAPTER]")
    p.add_argument("--host", help="address to listen on, default 127.0.0.1 [FACELLM_HOST]")
    p.add_argument("--port", help=f"port, default {SPACE_PORT} [FACELLM_PORT]")
    p.add_argument("--quantization", help=f"{', '.join(QUANTIZATIONS)} [FACELLM_QUANTIZATION]")
    p.add_argument("--device", help="cpu, cuda or mps; default: the best there is [FACELLM_DEVICE]")
    p.add_argument(
        "--backend-url", help="OpenAI-compatible server to use instead of a local model [FACELLM_BACKEND_URL]"
    )
    p.add_argument("--auth", metavar="USER:PASSWORD", help="ask visitors to log in [FACELLM_AUTH, safer]")
    p.add_argument(
        "--mcp", action="store_true", default=None, help="serve the endpoints as MCP tools too [FACELLM_MCP]"
    )
    return p


def read_options(argv: Sequence[str], env: Mapping[str, str] = os.environ) -> Options:
    """Options from the command line, then the environment.  Raises OptionError for a value that makes no sense."""
    args = parser().parse_args(list(argv))

    def value(name: str, *more: str) -> str | None:
        given = getattr(args, name, None)
        if given not in (None, ""):
            return given
        for key in (f"FACELLM_{name.upper()}", *more):
            if env.get(key, "").strip():
                return env[key].strip()
        return None

    space = bool(env.get("SPACE_ID"))
    port = value("port", "GRADIO_SERVER_PORT")
    backend_url = _url(value("backend_url"))
    for name in ("adapter", "quantization", "device") if backend_url else ():
        if value(name):
            raise OptionError(f"--{name} is for a model in this process: leave it or --backend-url out.")
    return Options(
        model=value("model") or "auto",
        adapter=value("adapter"),
        host=value("host", "GRADIO_SERVER_NAME") or ("0.0.0.0" if space else "127.0.0.1"),
        port=_port(port) if port else SPACE_PORT,
        quantization=_quantization(value("quantization")),
        device=value("device"),
        backend_url=backend_url,
        auth=_auth(value("auth")),
        mcp=args.mcp is True or _switch("FACELLM_MCP", env.get("FACELLM_MCP"), default=False),
        sensitive=_switch("FACELLM_SENSITIVE", env.get("FACELLM_SENSITIVE"), default=True),
        votes=_votes(env, space),
        space=space,
        fixed_port=port is not None or space,
    )


def check_mcp(options: Options) -> None:
    """Refuse --mcp where its package cannot be imported: Gradio looks for it when it serves already, and then hangs.
    Raises OptionError."""
    if options.mcp:
        try:
            importlib.import_module("mcp")
        except ImportError:
            raise OptionError("--mcp needs the package mcp: pip install 'gradio[mcp]'.") from None


def _port(text: str) -> int:
    if text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise OptionError(f"{text!r} is not a port: give a number from 1 to 65535 with --port.")


def _quantization(text: str | None) -> str | None:
    if text is None or text.lower() == "auto":
        return None
    if text.lower() in QUANTIZATIONS:
        return text.lower()
    raise OptionError(f"There is no quantization {text!r}: choose from {', '.join(QUANTIZATIONS)}.")


def _url(text: str | None) -> str | None:
    if text is None or text.startswith(("http://", "https://")):
        return text
    raise OptionError(f"{text!r} is not a server's address: --backend-url starts with http:// or https://.")


def _auth(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    user, colon, password = text.partition(":")
    if user and colon and password:
        return user, password
    raise OptionError("--auth needs a name and a password with a colon between them, as in --auth ada:secret.")


def _switch(name: str, text: str | None, default: bool) -> bool:
    if text is None or not text.strip():
        return default
    if text.strip().lower() in ("on", "1", "true", "yes"):
        return True
    if text.strip().lower() in ("off", "0", "false", "no"):
        return False
    raise OptionError(f"{name} is {text!r}: it is either on or off.")


def _votes(env: Mapping[str, str], space: bool) -> Path | None:
    """FACELLM_VOTES: off, or a file; by default in the user's data folder (on Spaces: /data where it is mounted)."""
    text = env.get("FACELLM_VOTES", "").strip()
    if text.lower() in ("off", "0", "false", "no"):
        return None
    if text and text.lower() not in ("on", "1", "true", "yes"):
        return Path(text).expanduser()
    if space:
        return (Path("/data") if Path("/data").is_dir() else Path(tempfile.gettempdir())) / "facellm-votes.sqlite3"
    home = env.get("XDG_DATA_HOME") or env.get("LOCALAPPDATA") or str(Path.home() / ".local" / "share")
    return Path(home) / "facellm" / "votes.sqlite3"
