"""The FaceLLM demo: `python app.py`. Arguments -> settings -> page -> launch; nothing else.

Exit codes: 0 after Ctrl-C, 2 for arguments that the page cannot start with (one sentence on stderr).
"""

from __future__ import annotations

import logging
import sys

from demo.runtime.heap import tidy_heaps
from demo.runtime.options import OptionError, check_mcp, read_options
from facellm.errors import FaceLLMError
from facellm.ports import free_port


def main(argv: list[str] | None = None) -> int:
    """Serve the page until interrupted."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        options = read_options(sys.argv[1:] if argv is None else argv)
        port = free_port(options.host, options.port, options.fixed_port)
        tidy_heaps()
        from demo.runtime import host

        host.check_model_name(options)
        check_mcp(options)
        from demo import layout  # Gradio takes seconds to import: --help and a wrong option must not

        page, ctx = layout.build(options)
        host.serve(ctx.host)
        try:
            page.launch(**layout.launch_arguments(ctx, port))
        except OSError:
            raise OptionError(f"Port {port} on {options.host} was just taken: choose another with --port.") from None
    except FaceLLMError as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    layout.close_side_doors(page)
    print(f"FaceLLM is at http://{options.host}:{port}", flush=True)
    ctx.host.start()
    page.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
