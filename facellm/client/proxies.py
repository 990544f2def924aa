"""Which proxy, if any, stands between here and a server, by the variables HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY.

httpx sends loopback addresses through a proxy, and fails on what other programs allow in NO_PROXY: ranges of IPv6
addresses and brackets.
"""

from __future__ import annotations

import contextlib
import ipaddress
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx

from facellm.errors import FaceLLMError

VARIABLES = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY"


def proxy_for(url: str) -> str | None:
    """Returns the proxy to ask for a URL.

    Args:
        url: http(s)://host[:port]/...

    Returns:
        The proxy's address, or None for loopback addresses, hosts in NO_PROXY, and where no proxy is set.

    Raises:
        FaceLLMError: For a proxy that cannot be used.
    """
    parts, proxies = urlsplit(url), getproxies()
    scheme = parts.scheme if proxies.get(parts.scheme) else "all"
    found = proxies.get(scheme)
    if not found or _bypassed(parts.hostname or "", proxies.get("no", "")):
        return None
    proxy = found if "://" in found else f"http://{found}"
    variable = f"{scheme.upper()}_PROXY"
    try:
        httpx.HTTPTransport(proxy=proxy, verify=False).close()
    except ImportError:
        raise FaceLLMError(
            f"{variable} names a SOCKS proxy, which needs another package: pip install 'httpx[socks]', or put "
            f"{parts.hostname} into NO_PROXY."
        ) from None
    except (ValueError, httpx.InvalidURL):  # the value itself may hold a password
        raise FaceLLMError(f"{variable} is not a proxy's address; write http://host:port, or unset it.") from None
    return proxy


def check_proxies() -> None:
    """Makes sure that libraries which leave proxies to httpx (Gradio, the hub's client) will not fail on them.

    Raises:
        FaceLLMError: For variables that httpx cannot read.
    """
    try:
        httpx.Client(verify=False).close()
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise FaceLLMError(f"The proxy settings cannot be used ({error}); correct or unset {VARIABLES}.") from None


def _bypassed(host: str, exceptions: str) -> bool:
    """Whether no proxy is asked for `host`.  exceptions: As in NO_PROXY: hosts, domains, addresses, ranges, or "*"."""
    host = host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        address = None
    if address.is_loopback if address else host == "localhost" or host.endswith(".localhost"):
        return True
    for part in exceptions.lower().replace(",", " ").split():
        name = part.rpartition("://")[2].replace("[", "").replace("]", "")
        if address is not None:
            with contextlib.suppress(ValueError):
                if address in ipaddress.ip_network(name, strict=False):
                    return True
        domain = name.partition(":")[0].lstrip("*.")
        if part == "*" or (domain and (host == domain or host.endswith(f".{domain}"))):
            return True
    return False
