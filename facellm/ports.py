"""A free TCP port to serve on, for the demo, the server and the audit's page."""

from __future__ import annotations

import errno
import socket

from facellm.errors import FaceLLMError

TRIES = 20  # ports that are tried where none was asked for
_TAKEN = {errno.EADDRINUSE, errno.EACCES, 10013, 10048}  # the last two are Windows' own numbers for the same


def free_port(host: str, port: int, fixed: bool = False) -> int:
    """Finds a port that can be listened on.

    Args:
        host: Address to listen on, IPv4 or IPv6.
        port: The first port that is tried.
        fixed: Whether no other port will do, because the user asked for this one.

    Returns:
        The port, which was free a moment ago.

    Raises:
        FaceLLMError: Where every port that was tried is taken, or the address is not this machine's.
    """
    tries = 1 if fixed else TRIES
    for candidate in range(port, port + tries):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
                return candidate
            except OSError as error:
                if error.errno not in _TAKEN:
                    reason = error.strerror
                    raise FaceLLMError(
                        f"The address {host!r} cannot be listened on ({reason}): use --host 127.0.0.1."
                    ) from None
    where = f"Port {port}" if tries == 1 else f"Every port from {port} to {port + tries - 1}"
    raise FaceLLMError(f"{where} on {host} is taken: choose another with --port.")
