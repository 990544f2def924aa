"""Votes: stored without content, counted with their interval, refused in a sentence where they cannot be stored."""

import sqlite3

import pytest

from demo.page.render import render
from demo.votes import COLUMNS, Votes
from facellm.errors import FaceLLMError


def test_rates_count_ties_as_half(tmp_path):
    votes = Votes(tmp_path / "deep" / "votes.sqlite3")
    for winner in ("facellm", "facellm", "base", "tie"):
        votes.add("pose", winner, "base", "nano", 0.0)
    votes.add("skin", "both bad", "facellm", "nano", 0.7)
    rates = {r.key: r for r in votes.rates()}
    assert rates["pose"].votes == 4 and rates["pose"].rate == pytest.approx(2.5 / 4)
    assert rates["all"].votes == 5 and rates["all"].rate == pytest.approx(3 / 5)
    assert rates["skin"].low < 0.5 < rates["skin"].high
    html = render("tally", rates=votes.rates(), titles={"pose": "Face pose"}, downloads="")
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


def test_a_file_of_an_earlier_version_is_taken_over(tmp_path):
    with sqlite3.connect(tmp_path / "votes.sqlite3") as old:
        old.execute(
            "CREATE TABLE likes (id INTEGER PRIMARY KEY, time_utc TEXT NOT NULL, which TEXT NOT NULL, "
            "liked INTEGER NOT NULL, model TEXT NOT NULL)"
        )
        old.execute("INSERT INTO likes VALUES (1, '2026-01-01T00:00:00Z', 'base', 1, 'nano')")
    votes = Votes(tmp_path / "votes.sqlite3")
    votes.like("facellm", False, "nano")
    stored = sqlite3.connect(votes.path).execute("SELECT variant, liked FROM likes ORDER BY id").fetchall()
    assert stored == [("base", 1), ("facellm", 0)]


def test_off_and_unwritable(tmp_path):
    with pytest.raises(FaceLLMError, match="switched off"):
        Votes(None).add("pose", "base", "base", "nano", 0.0)
    assert Votes(None).rates() == []
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(FaceLLMError, match=r"FACELLM_VOTES") as caught:
        Votes(blocked / "votes.sqlite3").add("pose", "base", "base", "nano", 0.0)
    assert str(tmp_path) not in str(caught.value), "visitors read this"
    with pytest.raises(FaceLLMError, match="no vote"):
        Votes(tmp_path / "v.sqlite3").add("pose", "me", "base", "nano", 0.0)
