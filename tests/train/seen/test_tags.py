"""The teacher's tags: merging, derived fields, mirrored words."""

from __future__ import annotations

from pathlib import Path

import pytest

from facellm.errors import FaceLLMError
from tests.train.seen.seen_data import write_seen
from train.seen.known import tags


def test_neighbouring_words_are_merged(tmp_path: Path) -> None:
    write_seen(tmp_path, [{"file": "utkface/train/1.jpg", "hair_colour": "dark-brown", "hair_length": "tied"}])
    row = tags.read_seen(tmp_path)["utkface/train/1.jpg"]
    assert row["hair_colour"] == tags.merge("hair_colour", "black") == "dark"
    assert (row["hair_length"], row["hair_tied"], row["hair_seen"]) == ("long", "yes", "yes")


def test_words_that_name_no_fact_are_unknown(tmp_path: Path) -> None:
    write_seen(tmp_path, [{"file": "a", "hair_length": "unseen", "makeup": "unclear", "earrings": "unclear"}])
    row = tags.read_seen(tmp_path)["a"]
    assert row["hair_length"] is None and row["makeup"] is None
    assert row["hair_seen"] == "no" and row["earrings"] == "none"
    assert tags.index("makeup", row["makeup"]) == tags.UNKNOWN
    assert tags.present("makeup", None) is None and tags.present("earrings", "none") is False


def test_skin_is_a_texture_and_marks(tmp_path: Path) -> None:
    write_seen(tmp_path, [{"file": "a", "skin": "deeply-wrinkled+moles"}, {"file": "b", "skin": "shiny"}])
    first, second = tags.read_seen(tmp_path).values()
    assert (first["skin"], first["moles"], first["freckles"]) == ("wrinkled", "yes", "no")
    assert (second["skin"], second["shiny_skin"]) == (None, "yes")


def test_a_doubtful_face_has_no_tags(tmp_path: Path) -> None:
    write_seen(tmp_path, [{"file": "a", "doubtful": "1"}])
    row = tags.read_seen(tmp_path)["a"]
    assert row.doubtful and set(row.tags.values()) == {None}
    assert tags.counts([row], "teeth") == {"no": 0, "yes": 0, None: 1}


@pytest.mark.parametrize(("name", "word", "expected"), [("gaze", "left", "right"), ("light", "even", "even")])
def test_mirrored(name: str, word: str, expected: str) -> None:
    assert tags.mirrored(name, word) == expected
    assert tags.mirrored(name, None) is None


def test_doubts_name_the_field(tmp_path: Path) -> None:
    (tmp_path / "label_doubts.csv").write_text("file,field,label,teacher_says,age_label\na,gender,Male,Female,20-29\n")
    assert tags.read_doubts(tmp_path) == {"a": {"gender"}}


def test_no_word_stands_in_two_groups() -> None:
    for groups in tags.GROUPS.values():
        words = [word for group in groups.values() for word in group]
        assert len(words) == len(set(words))


def test_tags_are_read_as_every_table_is(tmp_path):
    write_seen(tmp_path, [{"file": "a.jpg", "glasses": "glasses"}, {"file": "b.jpg"}, {"file": "c.jpg"}])
    file = tmp_path / "seen.csv"
    rows = file.read_text().replace(",", ";").splitlines()
    file.write_text("\ufeff" + "\r\n".join(rows), encoding="utf-8")
    assert {name: seen["glasses"] for name, seen in tags.read_seen(tmp_path).items()} == {
        "a.jpg": "glasses", "b.jpg": "none", "c.jpg": "none",
    }  # fmt: skip
    rows[2] = rows[2].replace("A face", '"A face')
    rows[3] = rows[3].replace("A face", '"A face')
    file.write_text("\n".join(rows))  # a quoted cell that would swallow a row
    with pytest.raises(FaceLLMError, match=r"seen\.csv, line 3 .*quotation mark"):
        tags.read_seen(tmp_path)
