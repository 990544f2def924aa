"""`python -m train dataset` from labels to a data set, against a local server: faults, kills, costs, every output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from tests.paths import ROOT
from tests.train.kills import run_with_kills
from tests.train.teachers.teacher_server import ANSWERS, TeacherServer, completion, write_faces
from train.dataset.dataset import main
from train.lora.conversations import check_images, read_dataset
from train.teachers import openai
from train.teachers.store import AnswerStore, identity

KEY = "sk-test-not-a-real-key"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(openai, "FIRST_WAIT", 0.01)
    server = TeacherServer()
    yield server
    server.close()


@pytest.fixture
def faces(tmp_path):
    write_faces(tmp_path / "faces", 6)
    return tmp_path / "faces"


def arguments(server, faces, out, *more):
    return ["--images", str(faces), "--out", str(out), "--base-url", server.url, "--val", "0", *map(str, more)]


def records(out, kind=None):
    """Whole lines of the store; a line that a kill tore is left out."""
    lines = (out / "answers.jsonl").read_bytes().split(b"\n")[:-1]
    return [record for record in map(json.loads, lines) if kind in (None, record["kind"])]


def stored(out):
    """(image's digest, attribute) of every answer on disk."""
    return [(record["digest"], record["attribute"]) for record in records(out, "answer")]


def wait_for(condition, process):
    """Until the condition holds; as long as it takes, but not for a process that has ended."""
    while not condition():
        assert process.poll() is None
        time.sleep(0.02)


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


def test_many_faults_and_every_question_answered_once(server, faces, tmp_path):
    out = tmp_path / "out"
    faults = [
        ("status", 429, {"error": {"message": "slow"}}),
        ("status", 429, {"error": {"message": "slow"}}, {"Retry-After": "0.1"}),
        ("status", 500, {"error": {"message": "oops"}}),
        ("cut",),
        ("raw", b'{"choices": [{"mess', "application/json"),
        ("hang", 60),
    ]
    sent = []

    def behave(asked):
        if asked["order"] % 3 or asked["number"] > 2:
            return None
        sent.append(faults[asked["order"] // 3 % len(faults)])
        return sent[-1]

    server.behave = behave
    assert main(arguments(server, faces, out, "--timeout", 3, "--tries", 50, "--concurrency", 6)) == 0
    answers = stored(out)
    assert len(answers) == len(set(answers)) == 48 and set(answers) == set(server.good)
    # Every request is accounted for: it brought the answer that is stored, or a fault that is. (A machine that takes
    # more than the timeout for a good answer makes more faults, and they are accounted for as well.)
    kept = records(out, "fault")
    assert len(kept) + 48 == len(server.requests)
    assert {action[0] for action in sent} == {"status", "cut", "raw", "hang"} and len(kept) >= len(sent)
    manifest = json.loads((out / "manifest.json").read_text())
    assert sum(manifest["faults"].values()) == len(kept) and manifest["complete"]


def test_killed_and_started_again(server, faces, tmp_path):
    """SIGKILL in the middle, twice: no answer that was stored is asked for again, in the end there are all."""
    out, gate, most = tmp_path / "out", threading.Event(), [0]

    def behave(asked):
        if asked["order"] > most[0]:  # so that no process is done before it is killed, however late that is
            gate.wait(600)

    server.behave = behave
    command = [sys.executable, "-m", "train", "dataset", *arguments(server, faces, out, "--concurrency", 2)]
    for _ in range(2):
        most[0] = len(server.requests) + 8
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        wait_for(lambda: len(server.requests) >= most[0] + 2, process)  # two are on their way
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with (out / "answers.jsonl").open("ab") as file:
        file.write(b'{"kind": "answer", "id": "torn')  # as if the last kill had hit a write
    before, asked = stored(out), len(server.requests)
    assert 8 <= len(before) == len(set(before)) <= 16
    gate.set()
    server.behave = lambda asked: None
    assert main(arguments(server, faces, out)) == 0
    assert not set(server.keys_asked[asked:]) & set(before)
    after = stored(out)
    assert len(after) == len(set(after)) == 48 and after[: len(before)] == before
    assert len(server.requests) <= 48 + 2 * 2  # at most what was on its way at each kill came twice


def test_ctrl_c_stores_what_is_on_its_way(server, faces, tmp_path):
    out, gate = tmp_path / "out", threading.Event()
    server.behave = lambda asked: None if asked["order"] <= 6 else gate.wait(600) and None
    command = [sys.executable, "-m", "train", "dataset", *arguments(server, faces, out, "--concurrency", 3)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(server.requests) >= 9, process)
    process.send_signal(signal.SIGINT)
    said = ""
    while "Stopping" not in said:  # it heard the signal before anything more is answered
        said += (line := process.stderr.readline())
        assert line
    gate.set()
    said += process.communicate(timeout=600)[1]
    assert process.returncode == 1 and "Traceback" not in said
    assert len(stored(out)) == len(server.requests) == sum(server.good.values()) == 9


def test_max_cost_holds(server, faces, tmp_path):
    out = tmp_path / "out"
    more = ("--price", "100,100", "--max-tokens", 100, "--max-cost", 2.0)  # 0.11 USD an answer
    with pytest.raises(FaceLLMError, match="--max-cost"):
        main(arguments(server, faces, out, *more))
    manifest = json.loads((out / "manifest.json").read_text())
    assert 0 < manifest["cost_usd"] <= 2.0 and not manifest["complete"]
    with pytest.raises(FaceLLMError, match="--max-cost"):  # all runs together
        main(arguments(server, faces, out, *more))
    assert sum(record["cost"] for record in records(out)) <= 2.0
    with pytest.raises(FaceLLMError, match="--price"):
        main(arguments(server, faces, out, "--model", "mine", "--max-cost", 1))


def test_dry_run_asks_nothing(server, faces, tmp_path, capsys):
    assert main(arguments(server, faces, tmp_path / "out", "--dry-run")) == 0
    assert not server.requests and not (tmp_path / "out").exists()
    assert "6 images, 48 questions, 48 to ask" in (said := capsys.readouterr().err) and "USD" in said


def test_quota_keeps_what_was_answered(server, faces, tmp_path):
    out = tmp_path / "out"
    gone = ("status", 429, {"error": {"message": "no more", "code": "insufficient_quota"}})
    server.behave = lambda asked: gone if asked["order"] > 10 else None
    with pytest.raises(FaceLLMError, match="no quota left"):
        main(arguments(server, faces, out, "--concurrency", 2))
    assert len(stored(out)) == 10 and len(json.loads((out / "dataset.json").read_text())) == 10
    assert len(server.requests) <= 12
    server.behave = lambda asked: None
    assert main(arguments(server, faces, out)) == 0
    assert set(server.good.values()) == {1}


def test_bad_rows_are_told_before_anything_is_asked(server, tmp_path, capsys):
    faces = tmp_path / "faces"
    write_faces(faces, 3, [{"age": "9-Mar"}, {"race": "Elf"}])
    with pytest.raises(FaceLLMError, match=r"line 3 \(val/2.jpg\): unknown race 'Elf'.*--skip-bad"):
        main(arguments(server, faces, tmp_path / "out"))
    assert not server.requests
    assert "age '9-Mar' read as '3-9'" in capsys.readouterr().err
    assert main(arguments(server, faces, tmp_path / "out", "--skip-bad", "--attributes", "skin,pose")) == 0
    assert len(server.requests) == 4


def test_one_process_an_output(tmp_path):
    with AnswerStore(tmp_path), pytest.raises(FaceLLMError, match="Another process"), AnswerStore(tmp_path):
        pass
    with AnswerStore(tmp_path):
        pass


def test_damaged_store_is_told(tmp_path):
    (tmp_path / "answers.jsonl").write_text('{"kind": "fault", "fault": "timeout"}\nnonsense\n')
    with pytest.raises(FaceLLMError, match="line 2"), AnswerStore(tmp_path):
        pass


def test_another_server_or_parameter_is_another_request(server, faces, tmp_path):
    """Answers of a test server are never taken for real ones."""
    parts = {"image": "a", "model": "m", "base_url": server.url, "seed": 0}
    assert identity(**parts) == identity(**dict(reversed(parts.items())))
    assert len({identity(**parts), *(identity(**(parts | {key: "x"})) for key in parts)}) == 5
    out, other = tmp_path / "out", TeacherServer()
    try:
        more = ("--limit", 1, "--attributes", "skin")
        assert main(arguments(server, faces, out, *more)) == 0
        assert main(arguments(other, faces, out, *more)) == 0
        assert main(arguments(server, faces, out, *more, "--detail", "low")) == 0
    finally:
        other.close()
    assert len(server.requests) == 2 and len(other.requests) == 1


def test_resume_goes_on(server, faces, tmp_path):
    out = tmp_path / "out"
    assert main(arguments(server, faces, out, "--limit", 1)) == 0
    assert main(arguments(server, faces, out, "--resume", "--limit", 2)) == 0
    assert len(stored(out)) == len(server.requests) == 16


def test_killed_at_random_moments_under_faults(server, faces, tmp_path):
    """A few of the kills that tests.bench.by_hand.bench_dataset does twenty of."""
    account = run_with_kills(server, faces, tmp_path / "out", images=6, kills=2, concurrency=3, seed=0)
    assert account.sent >= 10
