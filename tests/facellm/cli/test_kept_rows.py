"""Rows of an unfinished table, without a model: ten thousand of them, and stops at the end of the work."""

import tracemalloc

import pytest

from facellm.cli.kept_rows import KeptRows
from facellm.cli.photo_paths import Photo
from facellm.errors import FaceLLMError

COLUMNS = [("file", "text"), ("answer", "text"), ("error", "text")]
SETTINGS = {"command": "ask", "questions": (("a", "b"),)}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    made = [folder / f"{i}.png" for i in range(3)]
    for path in made:
        path.write_bytes(b"x")
    return [Photo(str(path)) for path in made]


def fill(kept, photos):
    kept.begin({"base": "nano"}, COLUMNS)
    for photo in photos:
        kept.add(photo, photo.stamp(), {"answer": "words " * 50})


def test_ten_thousand_rows_are_not_held(tmp_path):
    photos = [Photo(f"/no/where/{i}.png") for i in range(10_000)]
    table = tmp_path / "r.csv"
    with KeptRows(table, SETTINGS) as kept:
        fill(kept, photos)
        size = kept.path.stat().st_size
    tracemalloc.start()
    with KeptRows(table, SETTINGS) as kept:
        assert kept.missing(photos) == []
        kept.finish(photos)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 3_500_000 and table.stat().st_size > 3_000_000
    assert peak < 450 * len(photos)  # bytes of keys, offsets and stamps; the rows held would be as much again
    assert table.read_text().count("\n") == len(photos) + 1 and [p.name for p in tmp_path.iterdir()] == ["r.csv"]


def test_a_kill_between_the_table_and_the_end(tmp_path, photos):
    """The table stands and its rows do too: the same command writes it again and asks nothing."""
    table = tmp_path / "r.jsonl"
    with KeptRows(table, SETTINGS) as kept:
        fill(kept, photos)
        kept.finish(photos)
        rows = kept.path.read_bytes()
    whole = table.read_bytes()
    kept.path.write_bytes(rows)
    with KeptRows(table, SETTINGS) as kept:
        assert kept.missing(photos) == [] and kept.finish(photos) == 0
    assert table.read_bytes() == whole and not kept.path.exists()


def test_photos_that_changed_or_went_or_failed_are_asked_again(tmp_path, photos):
    changed, gone, failed = photos
    with KeptRows(tmp_path / "r.csv", SETTINGS) as kept:
        fill(kept, photos[:2])
        kept.add(failed, failed.stamp(), {"error": "It is damaged."})
    (tmp_path / "photos" / "0.png").write_bytes(b"xy")
    (tmp_path / "photos" / "1.png").unlink()
    with KeptRows(tmp_path / "r.csv", SETTINGS) as kept:
        assert kept.missing(photos) == [changed, gone, failed]


def test_damaged_rows_and_other_models_are_refused(tmp_path, photos):
    table = tmp_path / "r.csv"
    with KeptRows(table, SETTINGS) as kept:
        fill(kept, photos)
    with KeptRows(table, SETTINGS) as kept, pytest.raises(FaceLLMError, match=r"other models \(different: base\)"):
        kept.begin({"base": "8b"}, COLUMNS)
    with (
        pytest.raises(FaceLLMError, match=r"other options \(different: seed\)"),
        KeptRows(table, {**SETTINGS, "seed": 1}),
    ):
        pass
    lines = kept.path.read_bytes().splitlines(keepends=True)
    kept.path.write_bytes(b"".join([*lines[:2], b"[]\n", *lines[2:]]))
    with pytest.raises(FaceLLMError, match="line 3 is not a row"), KeptRows(table, SETTINGS):
        pass
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".lock"] == []
