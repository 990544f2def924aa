"""The container's recipe, read and not built: what it copies is there, its command is ours, and it is no root."""

import json
import re
import shlex
from fnmatch import fnmatch

import pytest

from facellm.cli.main import build_parser
from tests.paths import ROOT

TEXT = (ROOT / "Dockerfile").read_text()
STEPS = [
    tuple(line.split(maxsplit=1))
    for line in re.sub(r"\\\n\s*", " ", TEXT).splitlines()
    if line and not line.startswith("#")
]
LAST = STEPS[max(i for i, (word, _) in enumerate(STEPS) if word == "FROM") :]


def told(word):
    return [rest for name, rest in LAST if name == word]


def test_what_is_copied_is_there_and_let_through():
    rules = (ROOT / ".dockerignore").read_text().split()
    copied = [rest.split()[:-1] for word, rest in STEPS if word == "COPY" and "--from" not in rest]
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists() and f"!{name}" in rules
    assert rules[0] == "*" and not any(fnmatch(".git", rule.removeprefix("!")) for rule in rules[1:])


def test_it_is_installed_with_what_was_tested():
    project = (ROOT / "pyproject.toml").read_text()
    extras = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    (install,) = [rest for word, rest in STEPS if word == "RUN" and "pip install" in rest]
    assert "--constraint constraints.txt" in install
    assert set(re.findall(r'"\.\[(.*)\]"', install)[0].split(",")) <= set(
        re.findall(r"^(\w+) = ", extras, re.MULTILINE)
    )
    versions = [re.fullmatch(r"python:3\.(\d+)-slim( AS \w+)?", rest) for word, rest in STEPS if word == "FROM"]
    assert all(v and int(v[1]) >= 10 for v in versions) and len({v[1] for v in versions if v}) == 1


def test_it_runs_as_a_user_of_no_rights():
    (user,) = told("USER")
    assert user.isdecimal() and int(user) > 1000 and f"--uid {user}" in TEXT
    words = [name for name, _ in LAST]
    assert words.index("USER") > max(i for i, name in enumerate(words) if name in ("RUN", "COPY"))


def test_its_command_and_its_check_are_ours():
    (entry,), (command,) = told("ENTRYPOINT"), told("CMD")
    assert json.loads(entry) == ["facellm"]
    args = build_parser().parse_args(json.loads(command))
    assert args.command == "serve" and args.host == "0.0.0.0" and str(args.port) in told("EXPOSE")
    (check,) = told("HEALTHCHECK")
    assert f"http://127.0.0.1:{args.port}/health" in check
    compile(json.loads(check[check.index("[") :])[2], "check", "exec")


@pytest.mark.parametrize("line", [line for line in TEXT.splitlines() if line.startswith("#   docker run")])
def test_the_example_bounds_memory_and_listens_to_this_machine(line):
    words = shlex.split(line.removeprefix("#"))
    assert words[words.index("--memory") + 1].endswith("g") and "--read-only" in words
    assert words[words.index("-p") + 1].startswith("127.0.0.1:")
