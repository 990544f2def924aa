"""What the operator chooses when starting the page: the command line first, then the environment, then defaults."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from facellm.attributes import read_switch, sensitive_allowed
from facellm.errors import FaceLLMError
from facellm.model_options import ModelOptions, add_model_options

# Hugging Face Spaces sets SPACE_ID and routes its proxy to port 7860 of every interface.
SPACE_PORT = 7860
LOOPBACK = "127.0.0.1"
_EPILOG = """environment only:
  FACELLM_SENSITIVE=off   leaves out ethnicity and emotion
  FACELLM_VOTES=FILE|off  where blind votes are stored, or that none are"""


@dataclass(frozen=True)
class Options(ModelOptions):
    """Which model the page asks (see `ModelOptions`), and how the page runs.

    Attributes:
        models: Models that visitors may choose among, `model` first; empty where there is no choice.
        host: Address to listen on, IPv4 or IPv6.
        port: Port to listen on; where `fixed_port` is False the next free one will do.
        fixed_port: Whether the port was asked for.
        allow_host: Further names under which browsers may reach the page; "*" allows all.
        allow_origin: Origins of other pages whose scripts may call this one, as in "https://example.org".
        auth: User and password that visitors log in with, or None.
        mcp: Whether the endpoints are served as MCP tools too.
        installable: Whether browsers may install the page as an app.
        sensitive: Whether ethnicity and emotion may be asked about.
        votes: SQLite file of blind votes; None where voting is off.
        queue: How many requests may wait before further ones are refused.
        space: Whether this is a Hugging Face Space.
    """

    models: tuple[str, ...] = ()
    host: str = LOOPBACK
    port: int = SPACE_PORT
    fixed_port: bool = False
    allow_host: tuple[str, ...] = ()
    allow_origin: tuple[str, ...] = ()
    auth: tuple[str, str] | None = None
    mcp: bool = False
    installable: bool = False
    sensitive: bool = True
    votes: Path | None = None
    queue: int = 64
    space: bool = False


def parser(prog: str = "facellm-demo") -> argparse.ArgumentParser:
    """The page's command line; every option names its environment variable."""
    p = argparse.ArgumentParser(
        prog=prog,
        description="FaceLLM demo: chat about a face, eight attributes, base against FaceLLM, calibrated profile.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_options(p, environment=True)
    page = p.add_argument_group("page")
    page.add_argument(
        "--models",
        metavar="a,b",
        help="models that visitors may choose among: the first is loaded at the start, each other one when somebody "
        "chooses it [FACELLM_MODELS]",
    )
    page.add_argument("--host", metavar="H", help=f"address to listen on (default {LOOPBACK}) [FACELLM_HOST]")
    page.add_argument("--port", metavar="N", help=f"port (default {SPACE_PORT}, or the next free one) [FACELLM_PORT]")
    page.add_argument(
        "--allow-host",
        metavar="a,b",
        help="names under which browsers may reach the page beside the default ones (on a loopback address: loopback "
        "names only; elsewhere: all), * for all [FACELLM_ALLOW_HOST]",
    )
    page.add_argument(
        "--allow-origin", metavar="a,b", help="other sites whose scripts may call the page [FACELLM_ALLOW_ORIGIN]"
    )
    page.add_argument("--auth", metavar="USER:PASSWORD", help="ask visitors to log in [FACELLM_AUTH, safer]")
    page.add_argument("--mcp", action="store_true", help="serve the endpoints as MCP tools too [FACELLM_MCP]")
    page.add_argument(
        "--installable", action="store_true", help="let browsers install the page as an app [FACELLM_INSTALLABLE]"
    )
    return p


def read_options(argv: Sequence[str], env: Mapping[str, str] = os.environ, prog: str = "facellm-demo") -> Options:
    """Reads the command line, then the environment.

    Args:
        argv: The command line without the program's name.
        env: The environment.
        prog: The program's name in its help.

    Raises:
        FaceLLMError: For a value that makes no sense.
    """
    args = parser(prog).parse_args(list(argv))

    def value(name: str, *more: str) -> str | None:
        given = [getattr(args, name) or "", *(env.get(key, "") for key in (f"FACELLM_{name.upper()}", *more))]
        return next((text.strip() for text in given if text.strip()), None)

    def listed(name: str) -> tuple[str, ...]:
        return tuple(part.strip().lower().rstrip("/") for part in (value(name) or "").split(",") if part.strip())

    chosen, models = _models(ModelOptions.read(args, env), value("models"))
    space = bool(env.get("SPACE_ID"))
    port = value("port", "GRADIO_SERVER_PORT")
    host = value("host", "GRADIO_SERVER_NAME") or ("0.0.0.0" if space else LOOPBACK)
    return Options(
        **asdict(chosen),
        models=models,
        host=host.removeprefix("[").removesuffix("]"),
        port=_port(port) if port else SPACE_PORT,
        fixed_port=port is not None or space,
        allow_host=listed("allow_host"),
        allow_origin=_origins(listed("allow_origin")),
        auth=_auth(value("auth")),
        mcp=bool(args.mcp) or read_switch("FACELLM_MCP", False, env),
        installable=bool(args.installable) or read_switch("FACELLM_INSTALLABLE", False, env),
        sensitive=sensitive_allowed(env),
        votes=_votes(env, space),
        space=space,
    )


def check_mcp(options: Options) -> None:
    """Gradio looks for MCP's package only when it serves already, and then hangs.

    Raises:
        FaceLLMError: Where it is wanted and cannot be imported.
    """
    if options.mcp:
        try:
            import mcp  # noqa: F401
        except ImportError:
            raise FaceLLMError("--mcp needs the package mcp: pip install 'gradio[mcp]'.") from None


def _models(chosen: ModelOptions, text: str | None) -> tuple[ModelOptions, tuple[str, ...]]:
    """Which model is loaded first, and which ones visitors may choose among."""
    names = tuple(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))
    if not names:
        return chosen, ()
    if chosen.backend_url or chosen.adapter:
        taken = "--backend-url" if chosen.backend_url else "--adapter"
        raise FaceLLMError(f"--models cannot be used with {taken}, which belongs to one model; leave one of them out.")
    if "auto" in names:
        raise FaceLLMError("--models takes names of models, and auto is none: list them, as in nano,8b.")
    if chosen.model == "auto":
        chosen = replace(chosen, model=names[0])
    return chosen, tuple(dict.fromkeys((chosen.model, *names)))


def _port(text: str) -> int:
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise FaceLLMError(f"{text!r} is not a port: give a number from 1 to 65535 with --port.")


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if not origin.startswith(("http://", "https://")):
            raise FaceLLMError(f"{origin!r} is no origin: --allow-origin takes addresses such as https://example.org.")
    return origins


def _auth(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    user, _, password = text.partition(":")
    if user and password:
        return user, password
    raise FaceLLMError("--auth needs a name and a password with a colon between them, as in --auth ada:secret.")


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
