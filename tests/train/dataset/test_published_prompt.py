"""`dataset --as-published`: the server is sent what FairFaceGPT's own script sends, and every answer is kept."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from tests.train.teachers.teacher_server import TeacherServer, write_faces
from train.dataset import options
from train.dataset.dataset import main
from train.faces.label_rows import LabelRow
from train.teachers.openai import Settings
from train.teachers.plan import Plan
from train.teachers.prompt import OURS, published

# Of the system prompt in fairfacegpt.py (revision 17006ef9), computed from that file.
SYSTEM_SHA256 = "056a68705df45234"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    server = TeacherServer()
    yield server
    server.close()


def row(age, gender, race):
    return LabelRow(2, "val/1.jpg", age, gender, race, Path("val/1.jpg"), "0" * 64)


def test_words_are_the_published_ones():
    said = published()
    assert hashlib.sha256(said.system.encode()).hexdigest()[:16] == SYSTEM_SHA256
    skin, detail = ATTRIBUTES[2], ATTRIBUTES[-1]
    assert said.question(skin, row("3-9", "Female", "East Asian")) == (
        "We know that this is face image of a girl with East Asian ethnicity and 3-9 years old. Describe only the skin "
        "texture of the image and discuss your description of skin texture based on the visual information (do not "
        "mention based on your description)."
    )
    assert said.question(detail, row("0-2", "Male", "Latino_Hispanic")) == (
        "We know that this is face image of a man with Latino_Hispanic ethnicity and 0-2 years old. "
        "Describe this image."
    )
    notice = Path(options.__file__).parents[1] / "teachers" / "published_prompt.yaml"
    assert "MIT License" in notice.read_text() and "Hatef Otroshi Shahreza" in notice.read_text()


@pytest.mark.parametrize("batch", [False, True])
def test_the_apis_defaults_are_sent_and_every_answer_is_kept(server, tmp_path, batch):
    write_faces(tmp_path / "faces", 2)
    # One that our checks would set aside: markup, and words of the note.
    bad = ("message", {"content": "**As stated**, a man.", "refusal": None}, "stop")
    server.behave = lambda asked: bad if asked["attribute"] == "skin" else None
    out = tmp_path / "out"
    command = ["--images", tmp_path / "faces", "--out", out, "--base-url", server.url, "--val", "0", "--as-published"]
    more = ["--batch", "--poll", "0.05"] if batch else []
    assert main([*map(str, command), *more]) == 0
    kept = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert len(kept) == 16 and all(record["kept"] for record in kept)
    assert {record["prompt_version"] for record in kept} == {published().version}
    noted = [record for record in kept if record["attribute"] == "skin"]
    assert len(noted) == 2 and all({"markup", "hint", "short"} <= set(record["noted"]) for record in noted)
    stored = {attribute.key: attribute.question for attribute in ATTRIBUTES}
    assert all(record["question"] == stored[record["attribute"]] for record in kept)
    assert "image detail the API's default, seed the API's default" in (out / "README.md").read_text()
    if not batch:
        body = server.requests[0]
        assert set(body) == {"model", "messages"}
        text, image = body["messages"][1]["content"]
        assert text["text"].startswith("We know that this is face image of a ")
        assert set(image["image_url"]) == {"url"} and image["image_url"]["url"].startswith("data:image/jpeg;base64,")
        assert body["messages"][0] == {"role": "system", "content": published().system}


def test_an_empty_answer_is_not_kept_and_both_prompts_have_identities_of_their_own():
    from train.teachers.openai import Reply

    settings = Settings("m", detail=None, max_tokens=None, seed=None)
    ours, theirs = (Plan([], ATTRIBUTES, settings, prompt_version=p.version, prompt=p) for p in (OURS, published()))
    face = row("20-29", "Male", "White")
    assert ours.request(face, ATTRIBUTES[0]) != theirs.request(face, ATTRIBUTES[0])
    assert theirs.judge(Reply(None, "No.", "stop", None, None, {}), face, "skin", ()) == (["refusal"], [])
    assert theirs.judge(Reply(" ", None, "stop", None, None, {}), face, "skin", ()) == (["short"], [])
    assert theirs.dearest("") == 0.0  # no price, no limit of tokens: nothing to multiply


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--detail", "high"], "leave out --detail high"),
        (["--seed", "0"], "leave out --seed 0"),
        (["--max-tokens", "99"], "leave out --max-tokens 99"),
        (["--temperature", "0.2"], "leave out --temperature 0.2"),
        (["--teacher", "measured"], "add --teacher openai"),
    ],
)
def test_what_contradicts_it_is_refused(monkeypatch, flags, sentence):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with pytest.raises(FaceLLMError, match=sentence):
        options.read(["--images", "i", "--out", "o", "--as-published", *flags])
