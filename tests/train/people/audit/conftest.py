"""A data set and its judgements."""

from __future__ import annotations

import pytest

from tests.train.people.audit_data import make_set
from train.people.audit.items import read_items
from train.people.audit.judgements import AuditStore
from train.people.audit.sample import draw


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("audit") / "set")


@pytest.fixture
def store(dataset, tmp_path):
    """Eight of the set's 64 pairs, two sentences each."""
    made, read = AuditStore(tmp_path / "marks.sqlite3"), read_items(dataset)
    made.begin("set", 8, 3, read, draw(read.items, 8, 3))
    return made
