"""`python -m train chat` from end to end with a tiny model: asks, keeps, goes on, scores, reports."""

from __future__ import annotations

import json

import pytest

from facellm.errors import FaceLLMError
from tests import tiny
from tests.train.seen.seen_data import write_seen
from train.chat import chat_report, conversing, tallies
from train.chat.chat import main
from train.chat.judge import judge
from train.chat.selection import Question
from train.seen.claims.disputes import truth_of


@pytest.fixture
def data(tmp_path):
    """Six pictures in a folder, with the teacher's tags beside them."""
    rows = []
    for number in range(6):
        path = tmp_path / "data" / "mine" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        tiny.picture(number, 64).save(path)
        glasses, hair = ("glasses", "none")[number % 2], ("black", "blond", "grey")[number % 3]
        rows.append({"file": f"mine/{number}.png", "glasses": glasses, "hair_colour": hair})
    write_seen(tmp_path / "data" / "seen", rows)
    return tmp_path / "data"


def run(data, out, folders, *more):
    return main(
        [
            "--data",
            str(data),
            "--tags",
            str(data / "seen"),
            "--model",
            str(folders.base),
            "--adapter",
            str(folders.adapter),
            "--dtype",
            "float32",
            "--device",
            "cpu",
            "--questions",
            "16",
            "--intents",
            "glasses,hair_colour,thanks,and_glasses",
            "--max-new-tokens",
            "3",
            "--rows",
            "8",
            "--both",
            "--out",
            str(out),
            *more,
        ]
    )


def test_a_run_is_kept_scored_and_gone_on_with(data, tmp_path, folders, capsys):
    out = tmp_path / "out"
    assert run(data, out, folders) == 0
    results = json.loads((out / "results.json").read_text())["models"]
    assert set(results) == {"base", "facellm"}
    for model in results.values():
        own = model["all"]
        assert own["total"] >= 6 and set(model["intents"]) <= {"glasses", "hair_colour", "thanks", "and_glasses"}
        assert sum(own[kind]["count"] for kind in ("right", "wrong", "evasive", "off_topic")) == own["total"]
        assert own["right"]["low"] <= own["right"]["value"] <= own["right"]["high"]
    page = (out / "report.html").read_text()
    assert "FaceLLM" in page and "data:image/jpeg;base64," in page and "<script" not in page
    said = capsys.readouterr().out
    assert "base:" in said and "report.html" in said
    replies = (out / "replies-base.jsonl").read_text()
    (out / "replies-base.jsonl").write_text(replies[: len(replies) // 2])  # a kill in the middle of a line
    assert run(data, out, folders, "--no-pictures") == 0
    again = {json.loads(line)["key"]: json.loads(line)["text"] for line in (out / "replies-base.jsonl").open()}
    assert again == {json.loads(line)["key"]: json.loads(line)["text"] for line in replies.splitlines()}
    assert "data:image" not in (out / "report.html").read_text()
    with pytest.raises(FaceLLMError, match="another run"):
        run(data, out, folders, "--seed", "5")


def test_wrong_options_are_told(data, tmp_path, folders):
    with pytest.raises(FaceLLMError, match="no intent 'shoes'"):
        run(data, tmp_path / "out", folders, "--intents", "shoes")
    with pytest.raises(FaceLLMError, match="--faces is 0"):
        run(data, tmp_path / "out", folders, "--faces", "0")
    write_seen(data / "seen", [{"file": "mine/none.png"}])
    with pytest.raises(FaceLLMError, match=r"no picture mine/none\.png"):
        run(data, tmp_path / "out", folders)


def test_what_is_counted():
    from tests.train.seen.made_faces import face

    truth = truth_of(face(glasses="glasses"))
    rows = []
    for key, text in (("a+", "Yes."), ("b+", "No."), ("c-", "I can't tell."), ("d-", "No, he wears glasses.")):
        question = Question(key, "x", "glasses", "glasses", "glasses?")
        rows.append(tallies.Judged(question, conversing.Reply(key, text, 3, 0.1), judge("glasses", truth, text)))
    own = tallies.summarise(rows)
    assert [own["all"][kind]["count"] for kind in ("right", "wrong", "evasive", "off_topic")] == [1, 2, 1, 0]
    assert own["all"]["contradicts"]["count"] == 1 and own["all"]["yes"]["total"] == 2
    assert own["groups"]["yes or no"]["total"] == 4 and own["mean"] == 0.25
    shown = tallies.examples(rows)["glasses"]
    assert shown[0].verdict.contradicts and shown[-1].verdict.kind == "right"
    page = chat_report.html("T", "lead", {"base": own}, {"base": rows})
    assert "25.0 %" in page and "contradicts itself" in page
    assert chat_report.lines({"base": own})[0].startswith("base: 4 answers, right 25.0 %")
