"""Votes: stored without content, counted with their interval, refused in a sentence where they cannot be stored."""

import sqlite3

import pytest

from demo.page.plots import win_rates
from demo.votes import COLUMNS, Votes, wilson
from facellm.errors import FaceLLMError


def test_wilson_equals_published_values():
    low, high = wilson(0.5, 10)
    assert (round(low, 4), round(high, 4)) == (0.2366, 0.7634)  # Wilson 1927, 5 of 10
    assert wilson(0.0, 0) == (0.0, 1.0)
    assert wilson(1.0, 4)[1] == 1.0


def test_rates_count_ties_as_half(tmp_path):
    votes = Votes(tmp_path / "deep" / "votes.sqlite3")
    for winner in ("facellm", "facellm", "base", "tie"):
        votes.add("pose", winner, "base", "nano", 0.0)
    votes.add("skin", "both bad", "facellm", "nano", 0.7)
    rates = {r.key: r for r in votes.rates()}
    assert rates["pose"].votes == 4 and rates["pose"].rate == pytest.approx(2.5 / 4)
    assert rates["all"].votes == 5 and rates["all"].rate == pytest.approx(3 / 5)
    assert rates["skin"].low < 0.5 < rates["skin"].high
    html = win_rates(votes.rates(), {"pose": "Face pose"})
    assert "Face pose: FaceLLM preferred in 62 % of 4 votes" in html


def test_the_file_has_no_column_for_photo_question_or_answer(tmp_path):
    votes = Votes(tmp_path / "votes.sqlite3")
    votes.add("pose", "base", "base", "nano", 0.0)
    votes.like("facellm", True, "nano")
    names = {
        row[1]
        for table in ("votes", "likes")
        for row in sqlite3.connect(votes.path).execute(f"PRAGMA table_info({table})")
    }
    assert names == {"id", "time_utc", "key", "winner", "left", "model", "temperature", "variant", "liked"}
    header, line = votes.csv().splitlines()
    assert header == ",".join(COLUMNS) and ",pose,base,base,nano,0.0" in line


def test_off_and_unwritable(tmp_path):
    with pytest.raises(FaceLLMError, match="switched off"):
        Votes(None).add("pose", "base", "base", "nano", 0.0)
    assert Votes(None).rates() == []
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(FaceLLMError, match="FACELLM_VOTES"):
        Votes(blocked / "votes.sqlite3").add("pose", "base", "base", "nano", 0.0)
    with pytest.raises(FaceLLMError, match="no vote"):
        Votes(tmp_path / "v.sqlite3").add("pose", "me", "base", "nano", 0.0)
