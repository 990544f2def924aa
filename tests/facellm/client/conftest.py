"""What tests of a server's clients share."""

from __future__ import annotations

import pytest


@pytest.fixture
def quick(monkeypatch):
    """Tries follow each other at once."""
    monkeypatch.setattr("facellm.client.transport.FIRST_WAIT", 0.0)
