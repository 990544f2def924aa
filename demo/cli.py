"""`facellm-demo`, or `python app.py` in a checkout: arguments, options, page, server.

Exit codes: 0 after Ctrl-C or SIGTERM, 2 for arguments that the page cannot start with (one sentence on stderr).
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from demo.runtime import spaces
from demo.runtime.options import Options, check_mcp, read_options
from demo.web.uploads import private_folder
from facellm.errors import FaceLLMError
from facellm.process import heap
from facellm.server.ports import listen
from facellm.weights.registry import resolve


def main(argv: Sequence[str] | None = None, prog: str = "facellm-demo") -> int:
    """Serves the page until interrupted; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        options = read_options(sys.argv[1:] if argv is None else argv, prog=prog)
        if not options.backend_url and options.model != "auto":
            resolve(options.model, options.adapter)
        for name in options.models:
            resolve(name)
        check_mcp(options)
        serve(options)
    except FaceLLMError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # all is cleaned up; waiting for the threads and the teardown of torch and Gradio can take seconds


def serve(options: Options) -> None:
    """Builds the page and serves it until SIGINT or SIGTERM."""
    listener = listen(options.host, options.port, options.fixed_port)
    heap.tidy_heaps()
    with listener, ended_by_signals(), private_folder() as folder:
        with without_proxies():
            from demo import layout  # Gradio takes seconds to import: --help and a wrong option must not
            from demo.web.serving import PageServer

        page, ctx = layout.build(options)
        if spaces.ZERO:  # which takes only weights that are there before the page is
            ctx.host.start()
            spaces.pack()
        server = PageServer(page, ctx, listener, layout.look())

        def ready() -> None:
            print(f"FaceLLM is at {server.url}", flush=True)
            if not spaces.ZERO:
                ctx.host.start()

        server.ready, server.gone = ready, lambda: shutil.rmtree(folder, ignore_errors=True)
        server.run()


@contextlib.contextmanager
def without_proxies() -> Iterator[None]:
    """Hides the environment's proxies from Gradio, which makes an HTTP client when imported and fails on some.

    What is asked over the network later, a server or the hub, finds them again.
    """
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.lower().endswith("_proxy")}
    try:
        yield
    finally:
        os.environ.update(kept)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Has SIGTERM and a closed terminal end the block as Ctrl-C does, so that what is to be cleaned up is."""

    def end(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    # uvicorn does not know SIGHUP, so it is handed on as one that it does; nohup's wish to outlive the terminal stands.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    with contextlib.suppress(KeyboardInterrupt):
        yield
