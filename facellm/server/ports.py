"""A free TCP port to serve on, for the demo, the server and the audit's page."""

from __future__ import annotations

import errno
import socket

from facellm.errors import FaceLLMError

TRIES = 20  # ports that are tried where none was asked for
_TAKEN = {errno.EADDRINUSE, errno.EACCES, 10013, 10048}  # the last two are Windows' own numbers for the same


def listen(host: str, port: int, fixed: bool = False) -> socket.socket:
    """Opens a socket that clients can connect to.

    Args:
        host: Address to listen on, IPv4 or IPv6; "::" takes clients of both.
        port: The first port that is tried.
        fixed: Whether no other port will do, because the user asked for this one.

    Returns:
        The listening socket.

    Raises:
        FaceLLMError: Where every port that was tried is taken, or the address is not this machine's.
    """
    tries = 1 if fixed else TRIES
    for candidate in range(port, port + tries):
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, candidate), family=family, dualstack_ipv6=host == "::", backlog=2048)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise FaceLLMError(
                    f"The address {host!r} cannot be listened on ({error.strerror}): use --host 127.0.0.1."
                ) from None
        except ValueError:  # "::" where the system cannot take both
            raise FaceLLMError(f"The address {host!r} cannot be listened on here: use --host 0.0.0.0.") from None
    where = f"Port {port}" if tries == 1 else f"Every port from {port} to {port + tries - 1}"
    raise FaceLLMError(f"{where} on {host} is taken: choose another with --port.")


def free_port(host: str, port: int, fixed: bool = False) -> int:
    """Returns a port that could be listened on a moment ago; arguments and errors are as in `listen`."""
    with listen(host, port, fixed) as probe:
        return probe.getsockname()[1]
