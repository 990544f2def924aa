"""How much one client may ask of the page at a time, so that none can take it from all others."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

WINDOW = 60.0  # seconds
# In one window, for one client: requests that ask for work, bytes of bodies, attempts to log in. Far above what a
# visitor can do by hand; several people behind one address still fit.
ALLOWED = {"asks": 600, "bytes": 400 * 2**20, "logins": 10}
OPEN_REQUESTS = 128  # of one client at the same time; each open page holds one or two
_MOST_CLIENTS = 10_000  # that are remembered before those that do nothing are dropped


@dataclass
class _Client:
    open: int = 0
    since: float = 0.0
    spent: dict[str, int] = field(default_factory=dict)


class Limits:
    """Counts per client; used in the event loop only.

    Attributes:
        allowed: Kind of thing -> how many of it a client may use in one window.
        most_open: How many requests of a client may be under way.
    """

    def __init__(self, allowed: Mapping[str, int] = ALLOWED, most_open: int = OPEN_REQUESTS) -> None:
        self.allowed, self.most_open = dict(allowed), most_open
        self._clients: dict[str, _Client] = {}

    @contextmanager
    def opened(self, address: str) -> Iterator[bool]:
        """Counts a request while it is under way; yields whether it may be."""
        client = self._client(address)
        client.open += 1
        try:
            yield client.open <= self.most_open
        finally:
            client.open -= 1

    def spend(self, address: str, kind: str, amount: int = 1) -> bool:
        """Counts `amount` of `kind`; returns whether the client is still within what is allowed."""
        client = self._client(address)
        if time.monotonic() - client.since > WINDOW:
            client.since, client.spent = time.monotonic(), {}
        client.spent[kind] = client.spent.get(kind, 0) + amount
        return client.spent[kind] <= self.allowed[kind]

    def _client(self, address: str) -> _Client:
        if len(self._clients) > _MOST_CLIENTS:
            stale = time.monotonic() - WINDOW
            self._clients = {key: c for key, c in self._clients.items() if c.open or c.since > stale}
        return self._clients.setdefault(_network(address), _Client())


def _network(address: str) -> str:
    """The address, or the network of an IPv6 client, which has 2**64 addresses to choose from."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address
