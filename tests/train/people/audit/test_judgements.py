"""Judgements are kept, changed and resumed; the automatic pass; reports and bad input."""

from __future__ import annotations

import csv
import io
import json
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facellm.errors import FaceLLMError
from tests.paths import ROOT
from train import __main__ as cli
from train.people.audit import audit
from train.people.audit.audit_report import majority, results
from train.people.audit.automatic import Known, check, judge, know
from train.people.audit.items import Item, read_items
from train.people.audit.judgements import AUTO, AuditStore, Mark, Written
from train.people.audit.sample import draw
from train.people.audit.session import Place, Session


def test_marks_can_be_changed_and_undone(store):
    item = store.items()[0].key
    store.mark(item, 0, "ada", "supported")
    store.mark(item, 0, "ada", "wrong", "no such thing")
    store.mark(item, 1, "bo", "not visible")
    assert store.marks("ada") == [Mark(item, 0, "ada", "wrong", "no such thing")]
    assert store.undo("ada") == (item, 0)
    assert store.marks("ada") == [Mark(item, 0, "ada", "supported")]
    assert store.undo("ada") == (item, 0) and store.undo("ada") is None
    assert store.annotators() == ["bo"]


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (("x", 0, "ada", "wrong"), "no sentence 1 of the pair x"),
        ((None, 2, "ada", "wrong"), "no sentence 3"),
        ((None, 0, "ada", "maybe"), "'maybe' is no mark"),
        ((None, 0, "", "wrong"), "1 to 40 printable"),
    ],
)
def test_bad_marks_are_refused(store, mark, message):
    key = store.items()[0].key
    with pytest.raises(FaceLLMError, match=message):
        store.mark(mark[0] or key, *mark[1:])
    assert store.marks() == []


KILLED = """
import sys
from train.people.audit.judgements import AuditStore
store = AuditStore(sys.argv[1])
item = store.items()[0].key
for number in range(1_000_000):
    store.mark(item, number % 2, "ada", ("supported", "wrong")[number % 3 == 0], str(number))
    print(number, flush=True)
"""


def test_a_kill_between_marks_loses_none_that_was_acknowledged(store):
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(store.path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        before = sqlite3.connect(store.path).execute("SELECT COUNT(*) FROM marks").fetchone()[0]
        seen = [process.stdout.readline() for _ in range(12)]
        process.send_signal(signal.SIGKILL)
        seen += process.stdout.readlines()
        process.wait()
        acknowledged = sum(line.endswith("\n") for line in seen)
        with sqlite3.connect(store.path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            kept = connection.execute("SELECT COUNT(*) FROM marks").fetchone()[0] - before
        assert acknowledged <= kept <= acknowledged + 1 and acknowledged >= 12
        assert {mark.sentence for mark in store.marks("ada")} == {0, 1}


def test_another_sample_in_the_same_file_is_refused(store, dataset):
    read = read_items(dataset)
    store.begin("set", 8, 3, read, draw(read.items, 8, 3))
    with pytest.raises(FaceLLMError, match=r"holds another audit \(sample 8, seed 3\)"):
        store.begin("set", 9, 4, read, draw(read.items, 9, 4))


def test_a_set_that_has_moved_shows_its_images_again(dataset, tmp_path, monkeypatch):
    import shutil

    db, first, second = tmp_path / "m.sqlite3", tmp_path / "one", tmp_path / "two"
    shutil.copytree(dataset, first)
    monkeypatch.chdir(tmp_path)
    for folder in (Path("one"), second):
        read, opened = read_items(folder), AuditStore(db)
        opened.begin("set", 8, 0, read, draw(read.items, 8, 0))
        assert all(item.path.is_absolute() and item.path.is_file() for item in opened.items())
        if folder != second:
            opened.mark(opened.items()[0].key, 0, "ada", "wrong")
            first.rename(second)
    assert len(AuditStore(db).marks()) == 1


def test_a_session_moves_on_resumes_and_ends(store):
    session = Session(store)
    place = session.begin(" ada ")
    assert place == Place("ada", 0, 0)
    place = session.mark(place, "supported")
    assert (place.item, place.sentence) == (0, 1)
    place = session.mark(place, "wrong")
    assert (place.item, place.sentence) == (1, 0)
    assert Session(store).begin("ada") == place  # nothing but the file is needed
    assert session.move_sentence(place, -1) == Place("ada", 0, 1)
    assert session.move_item(place, 1) == Place("ada", 2, 0) and session.move_item(place, -5) == Place("ada", 0, 0)
    assert session.move_sentence(Place("ada", 0, 0), -1) == Place("ada", 0, 0)
    assert session.undo(place) == Place("ada", 0, 1)
    place = session.begin("ada")
    while not session.progress("ada").done:
        place = session.mark(place, "supported")
    assert session.progress("ada").pairs == 8 and session.begin("ada") == Place("ada", 0, 0)
    assert session.begin("bo") == Place("bo", 0, 0) and session.progress("bo").sentences == 0
    with pytest.raises(FaceLLMError, match="kept for the automatic checks"):
        session.begin("Auto")


def test_own_answers_are_kept_beside_the_marks(store):
    session, place = Session(store), Place("ada")
    place = session.write(place, "  A man. ")
    assert place.item == 1 and session.unwritten(Place("ada")).item == 1
    first = store.items()[0].key
    assert store.written() == [Written(first, "ada", "A man.")]
    store.write_answer(first, "ada", "A woman.")
    assert store.written("ada") == [Written(first, "ada", "A woman.")] and store.written("bo") == []
    store.write_answer(first, "ada", " ")
    assert store.written() == []
    with pytest.raises(FaceLLMError, match="at most 4000"):
        store.write_answer(first, "ada", "x" * 4001)


def face(path: Path, grey: int, noise: int = 0, colour: int = 0) -> Path:
    pixels = np.full((120, 120, 3), grey, np.int16)
    pixels += np.random.default_rng(0).integers(-noise, noise + 1, (120, 120, 1), dtype=np.int16)
    pixels[..., 0] += colour
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


def known(tmp_path, grey=128, noise=60, colour=40, mesh=None, **labels) -> Known:
    path = face(tmp_path / "f.png", grey, noise, colour)
    labels = {"gender": "Female", "race": "Black", "age": "30-39"} | labels
    return know(Item("k", "f.png", path, "pose", "?", "", ("",), labels), mesh)


MESH = {
    "yaw_deg": 20.0,
    "roll_deg": 1.0,
    "mouth_open": 0.3,
    "eye_open_left": 0.3,
    "eye_open_right": 0.3,
}


@pytest.mark.parametrize(
    ("sentence", "mark"),
    [
        ("The image shows a young woman.", "supported"),
        ("He smiles.", "wrong"),
        ("It is not clear whether the person is male or female.", None),
        ("The person is between about 25 and 50 years old.", "supported"),
        ("The person is between about 60 and 80 years old.", "wrong"),
        ("The apparent ethnicity is Black.", "supported"),
        ("The apparent ethnicity is White.", "wrong"),
        ("The ethnicity could be White or Black.", None),
        ("The head is turned to the viewer's left.", "supported"),
        ("The head is turned to the viewer's right.", "wrong"),
        ("The face looks towards the camera.", "wrong"),
        ("The mouth is open.", "supported"),
        ("The lips are closed.", "wrong"),
        ("The head is tilted to one side.", "wrong"),
        ("The lighting is dark.", "wrong"),
        ("The image is sharp.", "supported"),
        ("The image is blurred.", "wrong"),
        ("The picture has no colour.", "wrong"),
        ("Colours are vivid.", "supported"),
        ("The image shows a woman. The lips are closed.", "wrong"),
        ("An expression need not match the real feeling.", None),
        ("The nose is broad at the base.", None),
    ],
)
def test_automatic_verdicts(tmp_path, sentence, mark):
    verdict = judge(sentence, known(tmp_path, mesh=MESH))
    assert (verdict and verdict[0]) == mark
    assert verdict is None or " against " in verdict[1]


def test_the_middle_of_a_range_is_not_judged(tmp_path):
    middle = known(tmp_path, grey=87, noise=0, colour=0, mesh={**MESH, "yaw_deg": 11.0, "mouth_open": 0.1})
    for sentence in ("The lighting is dim.", "The head is turned to the viewer's left.", "The mouth is open."):
        assert judge(sentence, middle) is None
    assert judge("The lighting is dim.", known(tmp_path, grey=40))[0] == "supported"
    assert judge("The lighting is bright.", known(tmp_path, grey=40))[0] == "wrong"
    assert judge("The apparent ethnicity is White.", known(tmp_path, race="Middle Eastern")) is None
    assert judge("The apparent ethnicity is Asian.", known(tmp_path, race="Southeast Asian"))[0] == "supported"


def test_the_automatic_pass_marks_as_auto_and_is_made_anew(dataset, tmp_path, capsys):
    db = tmp_path / "m.sqlite3"
    command = ["audit", str(dataset), "--sample", "8", "--db", str(db), "--auto"]
    assert cli.main(command) == 0 and cli.main(command) == 0
    store = AuditStore(db)
    marks = store.marks()
    assert len(marks) == 8 and {m.annotator for m in marks} == {AUTO}  # the first sentence of each names gender and age
    assert sqlite3.connect(db).execute("SELECT COUNT(*) FROM marks").fetchone() == (8,)
    assert {m.sentence for m in check(store.items())} == {0}
    assert '8 sentences are marked as "auto", 0 of them wrong.' in capsys.readouterr().err


def test_majority():
    assert majority(["supported", "wrong", "supported"]) == "supported"
    assert majority(["supported", "wrong"]) == "wrong"
    assert majority(["supported", "not visible", "wrong", "not visible"]) == "not visible"


def test_report_with_three_people_and_auto(store, dataset, tmp_path):
    items = store.items()
    for name, bad in (("ada", 2), ("bo", 1), ("cy", 0)):
        for number, item in enumerate(items):
            store.mark(item.key, 0, name, "wrong" if number < bad else "supported", "so it is" if number < bad else "")
            store.mark(item.key, 1, name, "not visible" if number == 7 and bad else "supported")
    out = tmp_path / "out"
    command = [str(dataset), "--sample", "8", "--seed", "3", "--db", str(store.path), "--auto", "--report", str(out)]
    assert audit.main(command) == 0
    found = json.loads((out / "results.json").read_text())
    # The majority of three: the first pair's sentence is wrong for two of three, the last pair's not visible for two.
    everything = found["rates"]["majority"]["all"]
    assert everything["hallucinated"]["count"] == 2 and everything["hallucinated"]["total"] == 16
    assert (everything["wrong"]["count"], everything["not visible"]["count"]) == (1, 1)
    assert everything["answers"] == {**everything["answers"], "count": 2, "total": 8}
    low, high = everything["clustered"]
    assert 0 <= low < 2 / 16 < high < 0.5
    assert found["rates"]["ada"]["all"]["hallucinated"]["count"] == 3
    assert [(row["measure"], len(row["names"])) for row in found["agreement"]] == [("Cohen", 2)] * 3 + [("Fleiss", 3)]
    assert set(found["auto"]["people"]) == {"ada", "bo", "cy"}
    # auto supports the eight first sentences (gender, age); ada called two of those wrong
    assert found["auto"]["people"]["ada"]["table"] == {"supported / supported": 6, "supported / wrong": 2}
    assert found["auto"]["people"]["ada"]["caught"]["count"] == 0
    text = (out / "report.md").read_text()
    assert "Nothing is claimed about a single group" in text and "none wrong of 8 would still allow 32.4 %" in text
    assert "so it is" in text and "| bo, cy | Cohen |" in text and "Its marks are in no rate above" in text
    rows = list(csv.DictReader(io.StringIO((out / "marks.csv").read_text())))
    assert len(rows) == 3 * 16 + 8 and Counter(r["annotator"] for r in rows)["auto"] == 8
    rates = list(csv.DictReader(io.StringIO((out / "rates.csv").read_text())))
    assert {r["attribute"] for r in rates if r["annotator"] == "ada"} >= {"all"} | {i.attribute for i in items}


def test_none_wrong_of_a_hundred_still_allows_a_few(store):
    for item in store.items():
        store.mark(item.key, 0, "ada", "supported")
    found = results(store)
    assert found["rates"]["ada"]["all"]["clustered"] is None  # a bootstrap of zeros has no width
    assert found["agreement"] == [] and found["auto"] is None
    from train.reports.stats import rate

    assert round(100 * rate(0, 100).high, 1) == 3.7


def features_only(folder: Path) -> Path:
    folder.mkdir()
    said = [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "A man."}]
    (folder / "train.jsonl").write_text(json.dumps({"images": ["views/0"], "conversations": said}) + "\n")
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "There is no data set nowhere"),
        (["SET", "--sample", "0"], "--sample is 0"),
        (["SET", "--annotator", " "], "1 to 40 printable characters"),
        (["SET", "--annotator", "auto"], "kept for the automatic checks"),
        (["SET", "--annotator", " Majority "], 'The name "majority" is kept for the report'),
        (["SET", "--measurements", "x.csv"], "give --auto too"),
        (
            ["SET", "--auto", "--measurements", "x.csv"],
            "The file x.csv cannot be read: No such file or directory; check --measurements",
        ),
        (["SET", "--labels", "x.csv"], "The file x.csv cannot be read: No such file or directory; check --labels"),
        (["SET", "--report", "OUT"], "holds no mark yet"),
        (["SET", "--port", "99999999"], "is not a port"),
        (["VIEWS"], "an audit needs the pictures themselves"),
        (["SET", "--db", "SET/dataset.json"], "cannot be used"),
    ],
)
def test_bad_input_gets_a_sentence(dataset, tmp_path, capsys, arguments, message):
    places = {"SET": str(dataset), "OUT": str(tmp_path / "out"), "SET/dataset.json": str(dataset / "dataset.json")}
    places["VIEWS"] = str(features_only(tmp_path / "views"))
    db = [] if "--db" in arguments else ["--db", str(tmp_path / "m.sqlite3")]
    assert cli.main(["audit", *(places.get(a, a) for a in arguments), *db]) == 2
    told = capsys.readouterr().err.strip()
    assert message in told and "Traceback" not in told


def test_an_answer_may_hold_other_line_ends_than_the_files(dataset, tmp_path):
    """`train dataset` leaves characters such as U+2028 and U+0085 as they are, also in its lines."""
    import shutil

    other = tmp_path / "other"
    shutil.copytree(dataset, other)
    file = other / "jsonl" / "train.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[0]["answer"] = "A man.\u2028He smiles.\x85The light is low."
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert read_items(other).items[0].labels == read_items(dataset).items[0].labels != {}


def test_a_broken_line_beside_the_set_is_named(dataset, tmp_path):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(dataset, broken)
    with (broken / "jsonl" / "train.jsonl").open("a") as file:
        file.write('{"image": "x"}\n')
    with pytest.raises(FaceLLMError, match=r"train\.jsonl line 49 is no row"):
        read_items(broken)


def test_the_commands_in_the_docs_are_understood():
    """docs/evaluation.md, sections on the audit and on agreement."""
    import shlex

    from train.people.agreement import agreement

    lines = (ROOT / "docs" / "evaluation.md").read_text().splitlines()
    parsers = {"audit": audit.parser(), "agreement": agreement.parser()}
    found = [shlex.split(line)[3:] for line in lines if line.startswith(("python -m train au", "python -m train ag"))]
    assert Counter(verb for verb, *_ in found) == {"audit": 3, "agreement": 2}
    for verb, *arguments in found:
        parsers[verb].parse_args(arguments)
