"""The data set from end to end; answers that are bad or refused are set aside and never paid twice."""

from __future__ import annotations

import json
import threading

import pytest

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from tests.train.dataset.run.running import KEY, arguments, records, stored
from tests.train.teachers.teacher_server import ANSWERS, completion
from train.dataset.dataset import main
from train.lora.conversations import check_images, read_dataset
from train.teachers import openai


def test_data_set_from_end_to_end(server, faces, tmp_path, capsys):
    out, four = tmp_path / "out", threading.Barrier(4)
    server.behave = lambda asked: four.wait(600) and None  # answers nobody before four are asking: they are at once
    assert main([*arguments(server, faces, out, "--concurrency", 4), "--val", "0.5"]) == 0
    assert len(server.requests) == 48 and set(server.good.values()) == {1}
    assert server.most_busy == 4

    data = read_dataset(out)
    assert not check_images(data)
    assert len(data.train) + len(data.val) == 48 and len(data.val) % 8 == 0 and data.val
    assert not {e.image for e in data.train} & {e.image for e in data.val}  # split by image
    answers = {attribute.question: ANSWERS[attribute.key] for attribute in ATTRIBUTES}
    for example in (*data.train, *data.val):
        ((question, answer),) = example.turns
        assert answers[question] == answer  # the stored question is the bare one: no hint
    for image in data.images():
        assert data.path(image).read_bytes() == (faces / image.removeprefix("images/")).read_bytes()

    # What LLaMA-Factory's parser looks up: file, formatting, columns, tags; and one mark for every image.
    info = json.loads((out / "dataset_info.json").read_text())
    assert set(info) == {"fairfacegpt", "fairfacegpt_val"}
    for entry in info.values():
        assert entry["formatting"] == "sharegpt"
        assert entry["columns"] == {"messages": "conversations", "images": "images"}
        tags = entry["tags"]
        for row in json.loads((out / entry["file_name"]).read_text()):
            turns = row[entry["columns"]["messages"]]
            assert [turn[tags["role_tag"]] for turn in turns] == [tags["user_tag"], tags["assistant_tag"]]
            assert turns[0][tags["content_tag"]].count("<image>") == len(row[entry["columns"]["images"]]) == 1

    lines = [json.loads(line) for line in (out / "jsonl" / "train.jsonl").read_text().splitlines()]
    lines += [json.loads(line) for line in (out / "jsonl" / "validation.jsonl").read_text().splitlines()]
    assert len(lines) == 48 and {line["teacher"] for line in lines} == {"openai"}
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"] and manifest["written"] == 48
    assert manifest["cost_usd"] == pytest.approx(48 * (1000 * 2.5 + 100 * 10) / 1e6, abs=1e-4)
    assert "| Skin texture |" in (out / "README.md").read_text()
    assert (out / "distributions.png").read_bytes().startswith(b"\x89PNG")
    written = records(out)
    assert all(row["raw"]["choices"] and row["kept"] and row["usage"] for row in written)
    assert not any(path.name.endswith(".partial") for path in out.rglob("*"))
    texts = [p.read_text() for p in out.rglob("*") if p.suffix in (".json", ".jsonl", ".md")]
    assert KEY not in "".join([*texts, *capsys.readouterr()])

    # Once more: nothing is asked, and the files come out the same.
    before = {path: path.read_bytes() for path in out.rglob("*.json*")}
    assert main([*arguments(server, faces, out), "--val", "0.5"]) == 0
    assert len(server.requests) == 48
    assert {path: path.read_bytes() for path in out.rglob("*.json*")} == before


def test_hugging_face_datasets_read_it(server, faces, tmp_path, monkeypatch):
    """By the card's own configuration, as from the hub: splits, columns, and images that open."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    import datasets

    out = tmp_path / "out"
    assert main([*arguments(server, faces, out), "--val", "0.5"]) == 0
    sets = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert set(sets) == {"train", "validation"} and sum(len(part) for part in sets.values()) == 48
    for split, part in sets.items():
        lines = [json.loads(line) for line in (out / "jsonl" / f"{split}.jsonl").read_text().splitlines()]
        assert part.to_list() == lines
        paths = [str(out / name) for name in part["image"]]
        shown = part.remove_columns("image").add_column("image", paths).cast_column("image", datasets.Image())
        assert shown[0]["image"].size == (24, 24) and shown[0]["answer"] == lines[0]["answer"]


def test_bad_answers_are_asked_again_then_set_aside(server, faces, tmp_path, capsys):
    out = tmp_path / "out"

    def behave(asked):
        if asked["attribute"] == "skin":
            return "message", {"content": None, "refusal": "No."}, "stop"
        if asked["attribute"] == "pose" and asked["number"] == 1:
            return "message", {"content": "As stated, " + ANSWERS["pose"]}, "stop"
        if asked["attribute"] == "structure" and asked["number"] == 1:
            return "message", {"content": ANSWERS["structure"][:60]}, "length"
        return None

    server.behave = behave
    assert main(arguments(server, faces, out, "--limit", 2, "--reask", 1)) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["written"], manifest["set_aside"], manifest["complete"]) == (14, 2, True)
    assert manifest["failed_checks"]["refusal"] == 4 and manifest["failed_checks"]["hint"] == 2
    assert "4  answers not kept: the teacher declined" in capsys.readouterr().err
    seeds = [body["seed"] for body in server.requests if "skin texture" in str(body["messages"][1])]
    assert sorted(seeds) == [0, 0, 1, 1]  # asking again with the same seed would bring the same answer
    asked = len(server.requests)
    assert main(arguments(server, faces, out, "--limit", 2, "--reask", 1)) == 0
    assert len(server.requests) == asked


POLICY = ("status", 400, {"error": {"message": "not allowed by our safety system", "code": "content_policy_violation"}})
TEXT_ONLY = ("status", 400, {"error": {"message": "image_url is only supported by certain models"}})
PARAMETER = ("status", 400, {"error": {"message": "Unsupported parameter: 'seed'"}})


def test_what_the_server_refuses_is_set_aside_and_not_sent_again(server, faces, tmp_path, capsys):
    out = tmp_path / "out"
    server.behave = lambda asked: POLICY if asked["attribute"] == "skin" else None
    assert main(arguments(server, faces, out)) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["written"], manifest["set_aside"], manifest["complete"]) == (42, 6, True)
    assert manifest["failed_checks"] == {"refused": 6} and manifest["faults"] == {"refused": 6}
    assert manifest["cost_usd"] == pytest.approx(42 * 0.0035, abs=1e-4)  # a refusal costs nothing
    assert "| the server refuses the picture or the question | 6 |" in (out / "README.md").read_text()
    assert "6  answers not kept: the server refuses" in capsys.readouterr().err
    closed = [record for record in records(out, "answer") if record.get("closed")]
    assert len(closed) == 6 and all("safety system" in record["raw"]["error"] for record in closed)
    assert main(arguments(server, faces, out)) == 0
    assert len(server.requests) == 48


@pytest.mark.parametrize("action", [POLICY, TEXT_ONLY, PARAMETER])
def test_a_server_that_refuses_everything_ends_the_run_and_closes_nothing(server, faces, tmp_path, action):
    out = tmp_path / "out"
    server.behave = lambda asked: action
    with pytest.raises(FaceLLMError, match=r"20 requests in a row brought no answer .*check --model, --base-url and"):
        main(arguments(server, faces, out, "--concurrency", 1))
    assert len(server.requests) == 20 and not stored(out)
    server.behave = lambda asked: None
    assert main(arguments(server, faces, out)) == 0
    assert len(stored(out)) == 48


def test_images_refused_in_a_row_do_not_end_a_run_that_is_answered(server, faces, tmp_path):
    out = tmp_path / "out"
    server.behave = lambda asked: POLICY if 8 < asked["order"] <= 40 else None  # four images of six
    assert main(arguments(server, faces, out, "--concurrency", 1)) == 0
    assert json.loads((out / "manifest.json").read_text())["set_aside"] == 32


def test_a_server_that_goes_bad_closes_nothing(server, faces, tmp_path, monkeypatch):
    """It answered before, so more refusals are borne, but not as many as there are questions."""
    monkeypatch.setattr(openai, "REFUSED_IN_A_ROW", 30)
    out = tmp_path / "out"
    server.behave = lambda asked: TEXT_ONLY if asked["order"] > 8 else None
    for _ in range(2):  # in the run that was answered, and in a later one
        with pytest.raises(FaceLLMError, match="30 requests in a row"):
            main(arguments(server, faces, out, "--concurrency", 1))
        assert len(stored(out)) == 8
    server.behave = lambda asked: None
    assert main(arguments(server, faces, out)) == 0
    assert len(stored(out)) == 48


def test_refusals_that_are_all_that_is_left_are_closed(server, faces, tmp_path):
    out = tmp_path / "out"
    server.behave = lambda asked: PARAMETER if asked["attribute"] == "skin" else None
    assert main(arguments(server, faces, out)) == 1  # left open: another run may have other settings
    server.behave = lambda asked: POLICY
    assert main(arguments(server, faces, out)) == 0
    assert len(server.requests) == 48 + 6
    # A first run in which nothing at all is answered proves nothing.
    with pytest.raises(FaceLLMError, match="No answer is kept yet"):
        main(arguments(server, faces, tmp_path / "new", "--limit", 1))
    assert not stored(tmp_path / "new")


def test_an_answer_without_usage_is_charged_as_the_dearest(server, faces, tmp_path, capsys):
    """0.1 USD and more an answer: the limit binds although the server never says what it used."""
    out = tmp_path / "out"

    def behave(asked):
        whole = completion("gpt-4o-2024-11-20", {"content": ANSWERS[asked["attribute"]]}, "stop")
        del whole["usage"]
        return "raw", json.dumps(whole).encode(), "application/json"

    server.behave = behave
    more = ("--price", "50,50", "--max-tokens", 100, "--max-cost", 1.0, "--concurrency", 1)
    with pytest.raises(FaceLLMError, match="--max-cost"):
        main(arguments(server, faces, out, *more))
    costs = [record["cost"] for record in records(out, "answer")]
    assert 0.9 < sum(costs) <= 1.0 and all(0.1 < cost < 0.11 for cost in costs) and len(costs) == 9
    assert capsys.readouterr().err.count("9  answers came without usage; each is charged as the dearest") == 1
