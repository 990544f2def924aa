"""The command line: what it prints, what it refuses, and how it ends."""

import io
import json
import subprocess
import sys

import pytest

from facellm.__main__ import main, show
from facellm.policy import REMOVED
from facellm.results import Answer, Delta


@pytest.fixture(scope="module")
def picture_file(photo, tmp_path_factory):
    file = tmp_path_factory.mktemp("cli") / "p.png"
    photo.save(file)
    return str(file)


@pytest.fixture
def cli(folders, picture_file, capsys):
    """Run a command on the tiny model: (exit code, stdout, stderr)."""

    def run(command, *arguments, image=picture_file, adapter=True):
        place = ["--model", str(folders.base), "--device", "cpu", "--dtype", "float32"]
        place += ["--adapter", str(folders.adapter)] if adapter else []
        out = io.StringIO()
        code = main([command, image, *arguments, *place], out)
        return code, out.getvalue(), capsys.readouterr().err

    return run


def test_describe_prints_cards_in_order(cli):
    code, out, err = cli("describe", "--attributes", "detail,pose", "--max-new-tokens", "3")
    assert code == 0
    assert out.index("Face pose\n---------\n") < out.index("The whole image\n")
    assert "No face" in err and len(err.splitlines()) == 1


def test_one_json_object(cli):
    code, out, _ = cli("describe", "--json", "--max-new-tokens", "2", "--seed", "4", "--temperature", "0.5")
    data = json.loads(out)
    assert code == 0
    assert len(data["answers"]) == 8 and {a["seed"] for a in data["answers"]} == {4}
    assert data["model"]["quantization"] == "none" and data["model"]["reason"]
    assert data["sampling"] == {"max_new_tokens": 2, "temperature": 0.5, "top_p": 1.0, "seed": 4}
    assert data["face"] is None and data["image"]["width"] == 120


def test_ask_the_base(cli):
    facellm, base = (
        json.loads(cli("ask", "Hi", "--json", "--whole-image", "--max-new-tokens", "4", *more)[1])
        for more in ([], ["--base"])
    )
    assert [facellm["answers"][0]["which"], base["answers"][0]["which"]] == ["facellm", "base"]
    assert facellm["answers"][0]["text"] != base["answers"][0]["text"]


def test_compare(cli):
    code, out, _ = cli("compare", "Hi", "--max-new-tokens", "3")
    assert code == 0
    assert "Hi (Base)\n" in out and "Hi (FaceLLM)\n" in out
    assert out.count("[3 tokens, ") == 2
    answers = json.loads(cli("compare", "--attributes", "pose", "--json", "--max-new-tokens", "2")[1])["answers"]
    assert [(a["which"], a["key"]) for a in answers] == [("base", "pose"), ("facellm", "pose")]


def test_profile_bars_and_json(cli):
    code, out, _ = cli("profile")
    assert code == 0
    assert "Age group: " in out and "█" in out and "not calibrated" in out
    data = json.loads(cli("profile", "--json", "--base")[1])
    assert data["profile"]["which"] == "base" and len(data["profile"]["fields"]) == 9


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (["describe"], {"image": "/no/such/photo.jpg"}, "photo.jpg"),
        (["describe", "--attributes", "hair"], {}, "no attribute 'hair'"),
        (["ask", " "], {}, "question is empty"),
        (["compare", "Hi", "--attributes", "pose"], {}, "either a question or --attributes"),
        (["ask", "Hi", "--temperature", "9"], {}, "temperature is 9.0"),
        (["ask", "Hi", "--face", "3", "--max-new-tokens", "1"], {}, "no face was found"),
        (["compare", "Hi"], {"adapter": False}, "'facellm' was not opened"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(cli, arguments, options, says):
    code, out, err = cli(*arguments, **options)
    lines = [line for line in err.splitlines() if "answers are about the whole image" not in line]
    assert (code, out) == (2, "")
    assert len(lines) == 1 and says in lines[0] and lines[0].startswith("facellm: ")


def test_the_operators_switch(cli, monkeypatch):
    words = ("The head ", "is upright. She ", "looks happy. ", "The light is soft.")

    def stream(self, image, rows, *_, **__):
        for i, row in enumerate(rows):
            yield from (Delta(i, word) for word in words)
            yield Delta(
                i, "", True, Answer(row.which, row.key, row.question, "".join(words), 9, 1.0, 0.1, 9.0, "stop", 0)
            )

    monkeypatch.setattr("facellm.model.FaceLLM.stream", stream)
    assert "".join(words) in cli("ask", "Hi")[1]
    monkeypatch.setenv("FACELLM_SENSITIVE", "off")
    shown = f"The head is upright. The light is soft.\n\n{REMOVED}"
    assert shown in cli("ask", "Hi")[1]
    answers = json.loads(cli("describe", "--json")[1])["answers"]
    assert {a["text"] for a in answers} == {shown} and "expression" not in [a["key"] for a in answers]
    code, out, err = cli("compare", "Which race is she?")
    assert (code, out) == (2, "") and "switched off by the operator" in err
    assert not {"ethnicity", "expression"} & set(json.loads(cli("profile", "--json")[1])["profile"]["fields"])


def test_unknown_models_and_options(picture_file, capsys):
    assert main(["describe", picture_file, "--model", "9b"]) == 2
    assert "neither a folder nor one of nano" in capsys.readouterr().err
    for wrong in (["describe", picture_file, "--colour"], ["paint", picture_file], ["ask", picture_file]):
        with pytest.raises(SystemExit) as stop:
            main(wrong)
        assert stop.value.code == 2


def test_as_a_process(folders, picture_file):
    command = [sys.executable, "-m", "facellm"]
    options = ["--model", str(folders.base), "--json", "--device", "cpu"]
    done = subprocess.run([*command, "profile", picture_file, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["command"] == "profile"
    refused = subprocess.run([*command, "ask", __file__, "Hi"], capture_output=True, text=True)
    assert refused.returncode == 2 and refused.stdout == ""
    assert refused.stderr.count("\n") == 1 and "Traceback" not in refused.stderr


def test_help_needs_no_torch():
    code = (
        "import sys, contextlib, io\nfrom facellm.__main__ import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    main(['ask', '--help'])\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_cards_stream_in_order():
    def answer(text):
        return Answer("base", None, "q", text, 1, 1.0, 0.5, 1.0, "stop", 0)

    deltas = [
        Delta(1, "second "),
        Delta(0, "first "),
        Delta(1, "done", True, answer("second done")),
        Delta(0, "one", True, answer("first one")),
        Delta(2, "third", True, answer("third")),
    ]
    out = io.StringIO()
    seen = []

    def stream():
        for delta in deltas:
            yield delta
            seen.append(out.getvalue())

    assert [a.text for a in show(stream(), ["A", "B", "C"], out)] == ["first one", "second done", "third"]
    assert seen[0] == "A\n-\n" and seen[1] == "A\n-\nfirst "
    assert out.getvalue() == "A\n-\nfirst one\n\nB\n-\nsecond done\n\nC\n-\nthird\n"
