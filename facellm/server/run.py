"""`facellm serve`: opens a model and serves it until interrupted."""

from __future__ import annotations

import argparse
import os
import sys

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from facellm.api import FaceLLM
from facellm.attributes import sensitive_allowed
from facellm.errors import FaceLLMError
from facellm.model_options import ModelOptions
from facellm.process import heap
from facellm.server.app import make_app
from facellm.server.operators.logs import log_as_json
from facellm.server.ports import free_port, listen

GRACE = 5  # seconds that open answers get when the server is stopped
# Seconds. Longer than proxies and clients keep an idle connection (60 s in nginx): who closes first must not be the
# server, or a request that is on its way meets a closed connection.
KEEP_ALIVE = 75


def run(args: argparse.Namespace) -> None:
    """Opens the model that `args` name and serves it.

    Args:
        args: The model options, and only_facellm, host, port, api_key_env, served_base, served_facellm, client_rate and
            log_json.

    Raises:
        FaceLLMError: For what the user can mend.
    """
    heap.tidy_heaps()
    options = ModelOptions.read(args)
    key = None
    if args.api_key_env is not None and not (key := os.environ.get(args.api_key_env, "").strip()):
        raise FaceLLMError(
            f"The environment variable {args.api_key_env} holds no key; set it, or leave out --api-key-env."
        )
    if not 0 <= args.port < 65536:
        raise FaceLLMError(f"{args.port} is not a port; give a number from 1 to 65535 with --port.")
    if args.client_rate < 0:
        raise FaceLLMError(f"--client-rate is {args.client_rate}; give requests a minute, or 0 for no limit.")
    if args.log_json:
        log_as_json()
    sensitive_allowed()  # a mistyped switch or a taken port is found before the model is opened
    free = free_port(args.host, args.port, fixed=True)
    model = FaceLLM(options.open_weights(base=not args.only_facellm))
    names = {"base": args.served_base, "facellm": args.served_facellm}
    app = make_app(model, names=names, api_key=key, client_rate=args.client_rate)
    with listen(args.host, free, fixed=True) as place:  # from here on clients wait rather than being refused
        host, port = place.getsockname()[:2]
        if key is None and host not in ("127.0.0.1", "::1"):
            print("facellm: everybody who reaches this address may ask; --api-key-env sets a key.", file=sys.stderr)
        where = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
        served = ", ".join(names[variant] for variant in model.variants)
        print(f"{model.report.name} is served at {where} as {served}", flush=True)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            log_config=None if args.log_json else LOGGING_CONFIG,
            timeout_graceful_shutdown=GRACE,
            timeout_keep_alive=KEEP_ALIVE,
        )
        uvicorn.Server(config).run(sockets=[place])
