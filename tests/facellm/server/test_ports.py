"""Which port is served on: one that was asked for, the next free one, none."""

from __future__ import annotations

import socket

import pytest

from facellm.errors import FaceLLMError
from facellm.server.ports import free_port


def test_a_taken_port_is_named_and_the_default_one_moves_on():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(FaceLLMError, match=f"Port {port} .* is taken"):
            free_port("127.0.0.1", port, fixed=True)
        assert free_port("127.0.0.1", port) > port


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(FaceLLMError, match="cannot be listened on"):
        free_port("203.0.113.7", 7860)
