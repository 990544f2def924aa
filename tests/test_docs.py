"""What the documentation names is there: files, links, and commands' verbs."""

from __future__ import annotations

import re

import pytest

from tests.paths import ROOT
from train.__main__ import VERBS

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("train/**/*.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
PATH = re.compile(r"`((?:facellm|demo|train|tests|docs|\.ci)/[\w./-]*[\w/])`")
VERB = re.compile(r"(?:python -m train|facellm-train) ([a-z]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_names_what_exists(page):
    text = page.read_text(encoding="utf-8")
    broken = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    broken += [path for path in PATH.findall(text) if not (ROOT / path).exists()]
    broken += [verb for verb in VERB.findall(text) if verb not in VERBS]
    assert not broken, f"{page.name} names what is not there: {', '.join(broken)}"
