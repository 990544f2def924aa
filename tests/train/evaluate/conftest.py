"""A small benchmark in the published form, and plots that cost nothing."""

from __future__ import annotations

import pytest

from tests.train.face_sets import write_benchmark
from train.evaluate import facexbench


@pytest.fixture(autouse=True)
def quick_plots(monkeypatch, request):
    """Plots are drawn only in the tests that look at them: they cost more than all the rest."""
    if request.node.name != "test_html_report_is_one_whole_page":
        for name in ("plot_scores", "plot_letters"):
            monkeypatch.setattr(f"train.evaluate.evaluation_report.{name}", lambda *_: "<svg></svg>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_benchmark(tmp_path_factory.mktemp("facexbench") / "benchmark")


@pytest.fixture(scope="module")
def made(folder):
    return facexbench.read(folder)
