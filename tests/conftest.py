"""What several tests share: tiny models, opened once, and no network."""

import os
from types import SimpleNamespace
from typing import Any

from tests.paths import SHARED

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ.pop("FACELLM_SENSITIVE", None)
if "PYTEST_XDIST_WORKER" in os.environ:  # one core each, in what a test starts too
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import pytest

from tests import tiny


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Tiny models on disk: base, adapter, merged (a repository with its files in the subfolder `model`)."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    root = tmp_path_factory.mktemp("tiny")
    base = tiny.make_tiny_internvl(root / "base")
    adapter = tiny.make_tiny_adapter(base, root / "adapter")
    tiny.make_tiny_merged(base, adapter, root / "merged" / "model")
    return SimpleNamespace(root=root, base=base, adapter=adapter, merged=root / "merged")


@pytest.fixture(scope="session")
def loaded(folders):
    """Base and adapter in float32 on the CPU."""
    from facellm.weights.load import open_model

    return open_model(str(folders.base), adapter=str(folders.adapter), dtype="float32", device="cpu")


@pytest.fixture
def engine(loaded):
    """A new engine (empty caches) on the shared weights."""
    from facellm.engine.engine import Engine

    return Engine(loaded)


@pytest.fixture(scope="session")
def model(loaded):
    """The Python interface on the shared weights."""
    from facellm.api import FaceLLM

    return FaceLLM(loaded)


@pytest.fixture(scope="module")
def here(loaded):
    """A model of the module's own, for a server: its scheduler and caches are nobody else's."""
    from facellm.api import FaceLLM

    return FaceLLM(loaded)


@pytest.fixture(scope="module")
def server(here):
    """A server over `here`, with its `url`."""
    from facellm.server.app import make_app
    from tests.served import InThread

    with InThread(make_app(here)) as server:
        yield server


@pytest.fixture(scope="session")
def photo():
    """A picture without a face."""
    return tiny.picture(3, 120)


@pytest.fixture(scope="session")
def shared():
    """The reference data beside the checkout; tests that need it are skipped where it is not there."""
    folder = SHARED
    if not folder.is_dir():
        pytest.skip("the reference data in ../shared is not here")
    return folder


def is_page(nodeid: str) -> bool:
    """Whether a test opens a page or drives a browser."""
    return nodeid.startswith("tests/demo/") or "_browser.py::" in nodeid


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All pages first, one after another."""
    items.sort(key=lambda item: not is_page(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives all pages to one worker: a browser beside another is a slow one. Every other test goes to whoever is free.

    The group marks of pytest-xdist 3.8 would say the same, but pytest 9.2 ignores the names that they write.
    """
    from xdist.scheduler import LoadScopeScheduling

    class PagesTogether(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "pages" if is_page(nodeid) else nodeid

    return PagesTogether(config, log)
