"""The command line: what it prints, what it refuses, and how it ends."""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from demo.runtime.options import read_options
from facellm.cli.cards import show
from facellm.cli.main import main
from facellm.cli.quiet import quiet
from facellm.policy import REMOVED
from facellm.results import Answer, Delta
from facellm.weights.registry import MODELS
from tests.paths import ROOT


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
    assert [facellm["answers"][0]["variant"], base["answers"][0]["variant"]] == ["facellm", "base"]
    assert facellm["answers"][0]["text"] != base["answers"][0]["text"]


def test_compare(cli):
    code, out, _ = cli("compare", "Hi", "--max-new-tokens", "3")
    assert code == 0
    assert "Hi (Base)\n" in out and "Hi (FaceLLM)\n" in out
    assert out.count("[3 tokens, ") == 2
    answers = json.loads(cli("compare", "--attributes", "pose", "--json", "--max-new-tokens", "2")[1])["answers"]
    assert [(a["variant"], a["key"]) for a in answers] == [("base", "pose"), ("facellm", "pose")]


def test_profile_bars_and_json(cli):
    code, out, _ = cli("profile")
    assert code == 0
    assert "Age group: " in out and "█" in out and "not calibrated" in out
    data = json.loads(cli("profile", "--json", "--base")[1])
    assert data["profile"]["variant"] == "base" and len(data["profile"]["fields"]) == 9


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
        (["ask", "Hi", "--tiles", "4"], {}, "--tiles 4 is for the whole image; add --whole-image"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(cli, arguments, options, says):
    code, out, err = cli(*arguments, **options)
    lines = [line for line in err.splitlines() if "answers are about the whole image" not in line]
    assert (code, out) == (2, "")
    assert len(lines) == 1 and says in lines[0] and lines[0].startswith("facellm: ")


def test_a_merged_facellm_has_its_base_opened_only_where_that_is_asked(folders, picture_file, monkeypatch, caplog):
    merged = replace(MODELS["1b"], base=str(folders.base), facellm=str(folders.merged))
    monkeypatch.setitem(MODELS, "1b", merged)

    def run(command, *more):
        caplog.clear()
        out = io.StringIO()
        short = [] if command == "profile" else ["--max-new-tokens", "1"]
        options = ["--model", "1b", "--device", "cpu", "--whole-image", *short, *more]
        assert main([command, picture_file, *options], out) == 0
        cost = [r.message for r in caplog.records if "in addition to the base" in r.message]
        return out.getvalue(), cost

    assert run("describe", "--attributes", "pose")[1] == []
    model = json.loads(run("profile", "--json")[0])["model"]
    assert model["base"] is None and model["facellm"]
    assert len(run("compare", "--attributes", "pose")[1]) == 1  # without --verbose
    out, cost = run("profile", "--base", "--json")
    assert "in addition to the base" in json.loads(out)["model"]["notes"][0] and cost == []


def test_compare_says_at_once_that_a_size_has_no_facellm(picture_file, capsys):
    assert main(["compare", picture_file, "Hi", "--model", "14b@v1"]) == 2
    assert "No FaceLLM is known for 14b to compare it with" in capsys.readouterr().err


def test_redirected_output_is_utf_8_whatever_the_code_page(folders, picture_file, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, "cp1252"))
    assert main(["profile", picture_file, "--model", str(folders.base), "--device", "cpu"]) == 0
    assert "█" in raw.getvalue().decode("utf-8")


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_of_downloads_are_for_terminals(monkeypatch, terminal):
    from huggingface_hub import utils

    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    utils.enable_progress_bars()
    try:
        quiet(verbose=False, notes=True)
        assert utils.are_progress_bars_disabled() is not terminal
    finally:
        utils.disable_progress_bars()


@pytest.mark.parametrize(
    ("arguments", "environment", "model"),
    [
        ("", {}, "embedded"),
        ("--model 8b", {}, "8b"),
        ("", {"FACELLM_MODEL": "1b"}, "1b"),
        ("--backend-url http://127.0.0.1:8000", {}, "auto"),  # there the names are the server's
    ],
)
def test_the_demo_starts_on_the_embedded_model(arguments, environment, model):
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not here")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FACELLM_", "MAKE", "MFLAGS", "ARGS"))}
    command = [make, "-n", "-C", str(ROOT), "demo", f"ARGS={arguments}"]
    done = subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if " app.py" in line)
    assert read_options(shlex.split(line)[2:], environment).model == model


def test_the_readmes_line_without_make_starts_on_the_embedded_model():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\.venv/bin/python app\.py(.*)$", text, re.MULTILINE)
    assert [read_options(shlex.split(line), {}).model for line in lines] == ["embedded"]


def test_the_operators_switch(cli, monkeypatch):
    words = ("The head ", "is upright. She ", "looks happy. ", "The light is soft.")

    def stream(self, image, rows, *_, **__):
        for i, row in enumerate(rows):
            yield from (Delta(i, word) for word in words)
            yield Delta(
                i, "", True, Answer(row.variant, row.key, row.question, "".join(words), 9, 1.0, 0.1, 9.0, "stop", 0)
            )

    monkeypatch.setattr("facellm.api.FaceLLM.stream", stream)
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
        "import sys, contextlib, io\nfrom facellm.cli.main import main\n"
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
