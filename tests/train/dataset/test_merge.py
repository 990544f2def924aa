"""Shards of several machines and their merge: nothing is lost, nothing comes twice."""

from __future__ import annotations

import json

import pytest

from facellm.errors import FaceLLMError
from tests.train.dataset.run.running import KEY, arguments, records, stored
from tests.train.teachers.teacher_server import TeacherServer, write_faces
from train.dataset.dataset import main
from train.dataset.merge import merge
from train.teachers import openai
from train.teachers.store import AnswerStore


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(openai, "FIRST_WAIT", 0.01)
    server = TeacherServer()
    yield server
    server.close()


def without_mark(records):
    return [{key: value for key, value in record.items() if key != "merged"} for record in records]


def test_shards_and_their_merge(server, tmp_path):
    faces, out = tmp_path / "faces", tmp_path / "out"
    write_faces(faces, 6)
    more = ("--attributes", "skin,pose")
    shards = [tmp_path / f"shard{i}" for i in (1, 2, 3)]
    server.behave = lambda asked: (
        ("status", 500, {"error": {"message": "oops"}})
        if asked["order"] in (2, 7)
        else ("message", {"content": "I'm sorry."}, "stop")
        if asked["order"] == 4
        else None
    )
    for number, shard in enumerate(shards, 1):
        assert main(arguments(server, faces, shard, *more, "--shard", f"{number}/3")) == 0
    assert len(server.good) == 12 and sum(server.good.values()) == 13  # every image is in one shard
    asked = len(server.requests)
    with (shards[0] / "answers.jsonl").open("ab") as file:
        file.write(b'{"kind": "fault", "torn')

    assert main(arguments(server, faces, out, *more, "--merge", *shards)) == 0
    assert len(server.requests) == asked  # nothing is asked
    whole = [record for shard in shards for record in records(shard)]
    assert without_mark(records(out)) == whole and len(whole) == 15
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"] and manifest["written"] == 12 and manifest["faults"] == {"status 500": 2}
    assert manifest["failed_checks"]["refusal"] == 1
    assert manifest["cost_usd"] == pytest.approx(13 * (1000 * 2.5 + 100 * 10) / 1e6, abs=1e-4)
    assert main(arguments(server, faces, out, *more)) == 0 and len(server.requests) == asked

    with AnswerStore(out) as store:  # again, and with a folder that holds one of them already
        assert merge(store, shards) == 0
    with AnswerStore(tmp_path / "second") as store:
        assert merge(store, [shards[0]]) == len(records(shards[0]))
        assert merge(store, [out]) == len(whole) - len(records(shards[0]))
    assert sorted(map(str, without_mark(records(tmp_path / "second")))) == sorted(map(str, whole))


def test_a_merge_that_was_killed_goes_on(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    lines = [{"kind": "fault", "fault": "timeout", "text": "same", "time": "same"}] * 3
    (source / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with AnswerStore(tmp_path / "out") as store:
        assert merge(store, [source]) == 3
    file = tmp_path / "out" / "answers.jsonl"
    file.write_bytes(file.read_bytes()[:-20])  # the last line is torn
    with AnswerStore(tmp_path / "out") as store:
        assert store.repaired and merge(store, [source]) == 1
        assert store.faults == {"timeout": 3}  # equal lines are not one


def test_an_answer_that_two_shards_have_is_one_row(server, tmp_path):
    faces = tmp_path / "faces"
    write_faces(faces, 1)
    more, out = ("--attributes", "skin"), tmp_path / "out"
    for name in ("a", "b"):
        assert main(arguments(server, faces, tmp_path / name, *more)) == 0
    assert main(arguments(server, faces, out, *more, "--merge", tmp_path / "a", tmp_path / "b")) == 0
    assert len(stored(out)) == 2 and len(json.loads((out / "dataset.json").read_text())) == 1
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["written"] == 1 and manifest["cost_usd"] == pytest.approx(0.007)  # both were paid


def test_what_cannot_be_merged_is_told(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    with AnswerStore(out) as store:
        with pytest.raises(FaceLLMError, match="nothing to merge"):
            merge(store, [source])
        with pytest.raises(FaceLLMError, match="into itself"):
            merge(store, [out])
        with AnswerStore(source), pytest.raises(FaceLLMError, match="Another process"):
            merge(store, [source])
        (source / "answers.jsonl").write_text("[1]\n")
        with pytest.raises(FaceLLMError, match="line 1 is not an answer"):
            merge(store, [source])
        (source / "batches").mkdir()
        state = {"name": "x", "settings": {}, "prompt_version": "", "price": None, "dear": 0, "requests": []}
        (source / "batches" / "x.json").write_text(json.dumps(state))
        with pytest.raises(FaceLLMError, match="still on their way"):
            merge(store, [source])
