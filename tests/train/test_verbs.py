"""Every verb says at once what it cannot do without; its list is that of the packages its modules import."""

from __future__ import annotations

import ast
import importlib.util

import pytest

from tests.paths import ROOT
from train.__main__ import EXTRAS, VERBS, main

OF_THE_EXTRAS = {"fairlearn", "gradio", "jinja2", "matplotlib", "pandas", "scipy", "sklearn", "statsmodels", "yaml"}


def imports(module: str) -> set[str]:
    """Everything that a module of train imports, also inside functions."""
    path = ROOT / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())) if path.is_file() else ():
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_needs_are_what_is_imported(verb):
    module, needs, _ = VERBS[verb]
    seen: set[str] = set()
    unread = {module}
    while unread:
        found = imports(one := unread.pop())
        seen.add(one)
        unread |= {name for name in found if name.startswith("train.")} - seen
        seen |= {name for name in found if not name.startswith("train.")}
    assert {name.split(".")[0] for name in seen} & OF_THE_EXTRAS == set(needs.split())


def test_a_missing_package_is_told_before_any_work(monkeypatch, capsys):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "scipy" else there(name))
    assert main(["evaluate", "nowhere"]) == 2
    told = capsys.readouterr().err
    assert "needs scipy" in told and "pip install 'facellm[train]'" in told and "nowhere" not in told
    assert set(EXTRAS) <= OF_THE_EXTRAS
