"""A request that every test may change."""

import pytest

from facellm.client.answers import data_uri
from tests.facellm.server.asking import conversation


@pytest.fixture(scope="module")
def address(photo):
    return data_uri(photo)


@pytest.fixture
def body(address):
    return {"model": "facellm", "messages": conversation(address), "max_tokens": 4, "facellm": {"crop": False}}
