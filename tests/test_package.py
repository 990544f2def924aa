"""The project as a package: what a wheel holds, that it runs from anywhere, that requirements and contracts hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.paths import EXAMPLES, ROOT

TOP = ("facellm", "demo", "train")
PORTRAIT = EXAMPLES / "hopper.jpg"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the checkout (setuptools leaves a build folder behind)."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in TOP:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "-w",
        str(out),
        ".",
    ]
    subprocess.run(command, cwd=source, check=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel, installed into a folder that nobody may write to."""
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", target, wheel], check=True
    )
    for path in [target, *target.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    yield target
    for path in [target, *target.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)


def _pip(verb: str, *arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", verb, "--quiet", *arguments], check=True)


def _run(installed: Path, cwd: Path, *command: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_the_wheel_holds_every_tracked_file_of_the_packages(wheel):
    listed = subprocess.run(
        ["git", "ls-files", *TOP], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert {name for name in listed if (ROOT / name).is_file()} - held == set()


@pytest.mark.slow
def test_commands_run_from_an_empty_folder(installed, tmp_path):
    described = _run(installed, tmp_path, str(installed / "bin" / "facellm"), "ask", str(PORTRAIT), "Is it a man?",
                     "--model", "nano", "--max-new-tokens", "12")  # fmt: skip
    assert described.returncode == 0 and described.stdout.strip(), described.stderr
    for name in ("facellm-demo", "facellm-train"):
        told = _run(installed, tmp_path, str(installed / "bin" / name), "--help")
        assert told.returncode == 0 and "usage" in told.stdout.lower(), told.stderr
    assert list(tmp_path.iterdir()) == []


def test_requirements_are_those_of_the_project():
    told = subprocess.run([sys.executable, ".ci/requirements.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("facellm/messages.py", "import demo.votes"),
        ("facellm/weights/registry.py", "import facellm.engine.engine"),
        ("demo/runtime/options.py", "import demo.layout"),
        ("demo/votes.py", "import train.journal"),
        ("train/faces/known.py", "import train.evaluate.freetext"),
    ],
)
def test_an_import_against_the_layers_is_found(file, line, tmp_path):
    for name in TOP:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=lambda _, names: [n for n in names if not _source(n)])
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / file).open("a") as out:
        out.write(f"\n{line}\n")
    command = [str(Path(sysconfig.get_path("scripts")) / "lint-imports"), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    module = file.removesuffix(".py").replace("/", ".")
    assert told.returncode == 1 and f"{module} -> {line.split()[1]}" in told.stdout


def _source(name: str) -> bool:
    return "." not in name or name.endswith(".py")
