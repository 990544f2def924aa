"""Engines whose rows end, and what they compute."""

import pytest

from facellm.engine.decode import Batch
from facellm.weights.load import open_model
from tests import tiny


@pytest.fixture(scope="module")
def ending(tmp_path_factory):
    """A model whose answers end by themselves, at different lengths; that of `engine` writes on to the limit."""
    root = tmp_path_factory.mktemp("scheduler")
    base = tiny.make_tiny_internvl(root / "base", end_bias=1.0)
    adapter = tiny.make_tiny_adapter(base, root / "adapter")
    return open_model(str(base), adapter=str(adapter), device="cpu", dtype="float32")


@pytest.fixture
def runs(monkeypatch):
    """What the decoder did, in order: ("join" or "step", rows that got a token)."""
    seen = []
    step, join = Batch.step, Batch.join

    def seen_step(self):
        seen.append(("step", len(self.running)))
        return step(self)

    def seen_join(self, sequences, *args):
        seen.append(("join", len(sequences)))
        return join(self, sequences, *args)

    monkeypatch.setattr(Batch, "step", seen_step)
    monkeypatch.setattr(Batch, "join", seen_join)
    return seen
