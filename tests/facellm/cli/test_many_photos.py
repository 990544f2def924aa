"""Many photos into one table: what counts as a photo, equal tables, bad files among good ones, stops at any time."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from facellm.cli.main import main
from facellm.cli.many_photos import columns
from facellm.cli.photo_paths import find_photos
from facellm.errors import FaceLLMError
from facellm.policy import REMOVED
from facellm.profile import age_estimate, fields_for
from facellm.results import Answer, Delta
from tests import tiny
from tests.paths import EXAMPLES, ROOT


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """Six photos, in a folder and one within it, among files that are none."""
    top = tmp_path_factory.mktemp("album")
    (top / "inner").mkdir()
    (top / ".hidden").mkdir()
    for i in range(4):
        tiny.picture(i, 80 + 8 * i).save(top / f"{i}.png")
    tiny.picture(4, 90).save(top / "inner" / "UPPER.JPG", "JPEG")
    (top / "hopper.jpg").write_bytes((EXAMPLES / "hopper.jpg").read_bytes())
    (top / "._0.png").write_bytes(b"\0" * 200)
    (top / ".hidden" / "x.png").write_bytes((top / "0.png").read_bytes())
    (top / "notes.txt").write_text("no photo")
    return top


NAMES = ["0.png", "1.png", "2.png", "3.png", "hopper.jpg", "inner/UPPER.JPG"]


@pytest.fixture
def place(folders):
    return ["--model", str(folders.base), "--adapter", str(folders.adapter), "--device", "cpu", "--dtype", "float32"]


@pytest.fixture
def many(place, capsys):
    """Run a command on the tiny model: (exit code, stderr)."""

    def run(*arguments):
        code = main([*map(str, arguments), *place])
        told = capsys.readouterr()
        assert told.out == ""
        return code, told.err

    return run


def lines(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def names(rows, top):
    return [Path(row["file"]).relative_to(top).as_posix() for row in rows]


def test_folders_patterns_and_files_each_photo_once(album, monkeypatch):
    def found(*given):
        return [Path(photo.path).relative_to(album).as_posix() for photo in find_photos(list(map(str, given)))]

    assert found(album) == NAMES
    assert found(album / "2.png", album, album / "inner" / ".." / "2.png") == ["2.png", *(NAMES[:2] + NAMES[3:])]
    assert found(album / "*") == NAMES
    assert found(album / "[01].*") == NAMES[:2]
    assert found(album / "**" / "*.JPG") == ["inner/UPPER.JPG"]
    assert found(album / "*.txt") == ["notes.txt"]  # asked for by its suffix
    assert found(album / "._0.png") == ["._0.png"]  # named outright
    monkeypatch.chdir(album)
    assert [photo.path for photo in find_photos(["0.png", str(album / "0.png"), "./0.png"])] == ["0.png"]
    for nothing in ("*.gif", ".hidden/*.txt"):
        with pytest.raises(FaceLLMError, match="No file matches"):
            find_photos([nothing])
    empty = album / ".hidden" / "empty"
    empty.mkdir(exist_ok=True)
    with pytest.raises(FaceLLMError, match="No photo was found in"):
        find_photos([str(empty)])


def test_a_profile_of_each_is_that_of_one_call(album, many, model, tmp_path):
    code, err = many("profile", album, "--out", tmp_path / "r.jsonl")
    assert code == 0 and f"{tmp_path / 'r.jsonl'} has 6 photos." in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.jsonl"]
    rows = lines(tmp_path / "r.jsonl")
    assert names(rows, album) == NAMES
    for row in rows:
        alone = model.profile(row["file"], "facellm")
        for key, labels in alone.fields.items():
            assert row[f"{key}_probability"] == pytest.approx(labels[row[key]], abs=1e-4)
            assert labels[row[key]] == pytest.approx(max(labels.values()), abs=1e-4)
        assert row["age_low"] < row["age_years"] < row["age_high"] and row["calibrated"] is False
        assert row["error"] is None
        if row["file"].endswith("hopper.jpg"):
            assert row["faces"] == 1 and row["face_score"] > 0.9
            assert [row[f"face_{side}"] for side in ("left", "top", "right", "bottom")] == alone.face["box"]
            assert [row["image_width"], row["image_height"]] == alone.face["image_size"]
        else:
            assert row["faces"] == 0 and row["face_left"] is None and "No face was found" in row["notice"]


def test_the_three_kinds_of_table_hold_the_same(album, many, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "bad.jpg").write_bytes(b"")
    for kind in ("jsonl", "csv", "parquet"):
        assert many("profile", album, tmp_path / "bad.jpg", "--out", tmp_path / f"r.{kind}")[0] == 1
    rows = lines(tmp_path / "r.jsonl")
    assert pq.read_table(tmp_path / "r.parquet").to_pylist() == rows
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        told = list(csv.DictReader(file))
    assert [list(row) for row in told] == [list(row) for row in rows]
    for as_text, row in zip(told, rows, strict=True):
        for name, value in row.items():
            wanted = "" if value is None else value if isinstance(value, str) else json.dumps(value)
            assert as_text[name] == wanted, name


def test_answers_in_words_are_those_of_one_call(album, many, model, tmp_path):
    short = ["--max-new-tokens", "6"]
    code, _ = many("describe", album, "--attributes", "pose,detail", *short, "--out", tmp_path / "d.jsonl")
    assert code == 0
    rows = lines(tmp_path / "d.jsonl")
    assert names(rows, album) == NAMES
    for row in rows:
        report = model.describe(row["file"], "pose,detail", max_new_tokens=6)
        assert {key: row[key] for key in ("pose", "detail")} == {a.key: a.text.strip() for a in report.answers}
        assert row["cut_off"] == sum(a.finish_reason == "length" for a in report.answers)
    drawn = [*short, "--temperature", "1.2", "--seed", "7", "--system", "Be brief.", "--base", "--whole-image"]
    assert many("ask", album / "*.png", "Old?", *drawn, "--out", tmp_path / "a.jsonl")[0] == 0
    for row in lines(tmp_path / "a.jsonl"):
        alone = model.ask(row["file"], "Old?", variant="base", system="Be brief.", whole=True, max_new_tokens=6,
                          temperature=1.2, seed=7)  # fmt: skip
        assert (row["question"], row["answer"]) == ("Old?", alone.text.strip()) and row["faces"] is None


def test_the_operators_switch_holds_for_tables(album, many, tmp_path, monkeypatch):
    monkeypatch.setenv("FACELLM_SENSITIVE", "off")
    assert many("profile", album / "0.png", "--out", tmp_path / "p.jsonl")[0] == 0
    assert not {"ethnicity", "expression"} & set(lines(tmp_path / "p.jsonl")[0])
    code, err = many("ask", album / "0.png", "Which race?", "--out", tmp_path / "a.jsonl")
    assert code == 2 and "switched off by the operator" in err

    def stream(self, image, rows, *_, **__):
        yield Delta(0, "", True, Answer("facellm", None, "q", "The light is soft. She looks happy.", 9, 1.0, 0.1, 9.0,
                                        "stop", 0))  # fmt: skip

    monkeypatch.setattr("facellm.api.FaceLLM.stream", stream)
    assert many("ask", album / "0.png", "Hi", "--out", tmp_path / "a.jsonl")[0] == 0
    assert lines(tmp_path / "a.jsonl")[0]["answer"] == f"The light is soft.\n\n{REMOVED}"


def test_one_bad_file_costs_one_row(album, many, tmp_path):
    """Corrupt, no image, too large, missing: each says so in its row; what becomes readable is asked in a new run."""
    folder = tmp_path / "photos"
    folder.mkdir()
    good = (album / "hopper.jpg").read_bytes()
    (folder / "a.jpg").write_bytes(good)
    (folder / "b.jpg").write_bytes(good[:3000])
    (folder / "c.jpg").write_text("hello")
    (folder / "d.jpg").write_bytes(b"")
    (folder / "e.jpg").write_bytes(good)
    (folder / "f.jpg").symlink_to(folder / "nowhere")
    code, err = many("profile", folder, "--out", tmp_path / "r.csv")
    assert code == 1 and "r.csv has 6 photos; 4 could not be used, see the column error." in err
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        rows = {Path(row["file"]).name: row for row in csv.DictReader(file)}
    assert [name for name, row in rows.items() if not row["error"]] == ["a.jpg", "e.jpg"]
    assert [name for name, row in rows.items() if row["gender"]] == ["a.jpg", "e.jpg"]
    said = {"b.jpg": "damaged", "c.jpg": "text, not an image", "d.jpg": "empty", "f.jpg": "There is no file"}
    assert all(text in rows[name]["error"] for name, text in said.items())
    assert many("profile", folder / "a.jpg", "--face", "3", "--out", tmp_path / "face.jsonl")[0] == 1
    assert "Face 3 was asked for" in lines(tmp_path / "face.jsonl")[0]["error"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["profile", "ALBUM", "--out", "OUT/r.xlsx"], "let --out end in .csv, .jsonl or .parquet"),
        (["profile", "ALBUM", "--out", "OUT/r.csv", "--json"], "--json prints one photo's answers"),
        (["profile", "ALBUM", "--out", "OUT"], "names no kind of table"),
        (["profile", "ALBUM", "--out", "OUT/file/r.csv"], "cannot be written into"),
        (["profile", "ALBUM", "--out", "/proc/r.csv"], "cannot be written"),
        (["profile", "ALBUM", "--out", "OUT/folder.csv"], "is a folder"),
        (["profile", "ALBUM/none*.jpg", "--out", "OUT/r.csv"], "No file matches"),
        (["ask", "ALBUM/0.png", "ALBUM/1.png", "--out", "OUT/r.csv"], "add the question"),
        (["ask", "ALBUM", " ", "--out", "OUT/r.csv"], "question is empty"),
        (["profile", "ALBUM"], "add --out results.csv"),
        (["describe", "ALBUM/0.png", "ALBUM/1.png"], "Answers about 2 photos go into a table: add --out"),
        (
            ["profile", "ALBUM", "--base", "--only-facellm", "--backend-url", "http://x", "--out", "OUT/r.csv"],
            "--only-",
        ),
    ],
)
def test_what_cannot_be_done_is_said_before_a_model_is_opened(album, arguments, says, tmp_path, capsys, monkeypatch):
    def opened(*_, **__):
        raise AssertionError("a model was opened")

    monkeypatch.setattr("facellm.model_options.ModelOptions.open", opened)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    arguments = [a.replace("ALBUM", str(album)).replace("OUT", str(tmp_path)) for a in arguments]
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == "" and says in told.err and told.err.count("\n") == 1


def test_parquet_without_pyarrow_is_said_at_once(album, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("facellm.cli.tables.find_spec", lambda name: None)
    assert main(["profile", str(album), "--out", str(tmp_path / "r.parquet")]) == 2
    assert "pip install 'facellm[parquet]'" in capsys.readouterr().err


def test_a_table_is_not_replaced(album, many, tmp_path):
    out = tmp_path / "r.csv"
    out.write_text("mine\n")
    code, err = many("profile", album, "--out", out)
    assert code == 2 and "is there already" in err and out.read_text() == "mine\n"
    assert [p.name for p in tmp_path.iterdir()] == ["r.csv"]


def test_a_run_goes_on_with_what_is_missing(album, many, tmp_path, monkeypatch):
    """Rows of earlier runs are kept, changed photos asked again, other options and models refused; a torn last line is
    cut off."""
    from facellm.api import FaceLLM

    asked = []
    real = FaceLLM.stream

    def stream(self, view, *rest, **more):
        if len(asked) == 3:
            raise FaceLLMError("The power is gone.")
        asked.append(view)
        return real(self, view, *rest, **more)

    monkeypatch.setattr("facellm.cli.many_photos.SEQUENCES", 1)
    monkeypatch.setattr(FaceLLM, "stream", stream)
    folder, out = tmp_path / "photos", tmp_path / "made" / "r.jsonl"
    folder.mkdir()
    for name in NAMES[:4]:
        (folder / name).write_bytes((album / name).read_bytes())
    command = ["ask", folder, "Hi", "--max-new-tokens", "3"]
    code, err = many(*command, "--out", out)
    assert code == 2 and "The power is gone." in err and not out.exists()
    partial = out.with_name("r.jsonl.partial.jsonl")
    kept = partial.read_bytes()
    assert 1 <= kept.count(b"\n") - 1 <= 3
    partial.write_bytes(kept + b'{"key": "torn')

    code, err = many("ask", folder, "Ho", "--max-new-tokens", "4", "--out", out)
    assert code == 2 and "other options (different: max_new_tokens, questions)" in err
    code, err = main(["ask", str(folder), "Hi", "--max-new-tokens", "3", "--out", str(out), "--model", "nano"]), None
    assert code == 2  # another model
    assert partial.read_bytes().startswith(kept)

    done = kept.count(b"\n") - 1
    asked.clear()
    monkeypatch.setattr(FaceLLM, "stream", lambda self, view, *a, **k: asked.append(view) or real(self, view, *a, **k))
    first = json.loads(kept.splitlines()[1])["key"]
    os.utime(first, ns=(1, 1))
    assert many(*command, "--out", out)[0] == 0
    assert len(asked) == 4 - done + 1
    assert names(lines(out), folder) == NAMES[:4]
    assert sorted(p.name for p in out.parent.iterdir()) == ["r.jsonl"]


def test_two_runs_do_not_write_one_table(album, many, tmp_path):
    from filelock import FileLock

    out = tmp_path / "r.csv"
    with FileLock(f"{out}.partial.jsonl.lock"):
        code, err = many("profile", album, "--out", out)
    assert code == 2 and "Another run is writing" in err


@pytest.mark.slow
def test_kills_lose_no_row_and_ask_nothing_twice(album, place, tmp_path):
    """The real process, killed whenever a few more rows are there, until it ends by itself."""
    folder, out = tmp_path / "photos", tmp_path / "r.jsonl"
    folder.mkdir()
    for i in range(40):
        tiny.picture(i, 64).save(folder / f"{i:02}.png")
    partial = out.with_name("r.jsonl.partial.jsonl")
    command = [sys.executable, "-m", "facellm", "ask", str(folder), "Hi", "--max-new-tokens", "40", "--whole-image"]
    command += ["--out", str(out), *place]

    def rows():
        return partial.read_bytes().split(b"\n")[1:-1] if partial.exists() else []

    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while len(rows()) < 3:
        assert process.poll() is None, "the process ended before it was killed"
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = rows()
    assert len(before) >= 3 and not out.exists()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(before)} of 40 photos" in done.stderr  # it began with what was there
    keys = [json.loads(row)["key"] for row in before]
    assert len(keys) == len(set(keys))
    found = lines(out)
    assert [Path(row["file"]).name for row in found] == [f"{i:02}.png" for i in range(40)]
    assert all(row["answer"] is not None for row in found) and not partial.exists()


def test_a_full_disk_loses_no_row(album, many, tmp_path, monkeypatch):
    """A limit on the size of files stands for the disk: the journal meets it in the middle of the work."""
    import resource

    from facellm.api import FaceLLM

    out, asked, real = tmp_path / "r.csv", [], FaceLLM.profile_many
    monkeypatch.setattr("facellm.cli.many_photos.CHUNK", 1)
    monkeypatch.setattr(FaceLLM, "profile_many", lambda self, *a, **k: asked.append(1) or real(self, *a, **k))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, before[1]))
    try:
        code, err = many("profile", album, "--out", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 2 and "could not be written" in err and "free some space" in err and not out.exists()
    kept = out.with_name("r.csv.partial.jsonl").read_bytes().count(b"\n") - 1
    assert 1 <= kept < len(NAMES)
    asked.clear()
    assert many("profile", album, "--out", out)[0] == 0
    assert len(asked) == len(NAMES) - kept
    with out.open(encoding="utf-8", newline="") as file:
        assert names(list(csv.DictReader(file)), album) == NAMES


def test_a_server_answers_for_tables_too(album, server, here, tmp_path, capsys):
    place = ["--backend-url", server.url, "--out"]
    assert main(["profile", str(album), *place, str(tmp_path / "p.jsonl")]) == 0
    assert main(["ask", str(album), "Hi", "--max-new-tokens", "4", *place, str(tmp_path / "a.jsonl")]) == 0
    profiles, answers = lines(tmp_path / "p.jsonl"), lines(tmp_path / "a.jsonl")
    assert names(profiles, album) == names(answers, album) == NAMES
    for row, said in zip(profiles, answers, strict=True):
        assert row["gender_probability"] == pytest.approx(
            max(here.profile(row["file"]).fields["gender"].values()), abs=0.05
        )
        assert said["answer"] and said["cut_off"] in (0, 1)
    assert "a.jsonl has 6 photos." in capsys.readouterr().err


def test_a_table_has_a_column_for_each_field_that_the_model_tells():
    names = [name for name, _ in columns(SimpleNamespace(typed=()), "profile", fields_for("utkface", ["glasses"]))]
    assert "glasses" in names and "glasses_probability" in names and "gender" not in names


def test_ages_are_reckoned_from_groups():
    groups = {"0-2": 0.0, "3-9": 0.0, "10-19": 0.05, "20-29": 0.5, "30-39": 0.4, "40-49": 0.05, "more than 70": 0.0}
    years, low, high = age_estimate(groups)
    assert (years, low, high) == pytest.approx((29.0, 20.0, 40.0), abs=0.01)
    assert age_estimate({"0-2": 1.0}) == pytest.approx((1.5, 0.15, 2.85))
    assert age_estimate({"more than 70": 1.0}) == pytest.approx((80.0, 71.0, 89.0))
