"""--out that cannot be written: one sentence before the work where it can be known, and finished work is kept."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from facellm.errors import FaceLLMError
from facellm.storage.writable import refused, usable_file, usable_folder, usable_place
from tests.paths import ROOT
from tests.train.face_sets import write_benchmark, write_face_set
from train import __main__ as verbs

MODEL = ["--model", "nano"]
COMMANDS = {
    "dataset": ["--images", "SET", "--labels", "SET/labels.csv", "--teacher", "measured"],
    "lora": ["--data", "SET", *MODEL, "--recipe", "nano"],
    "export": ["--adapter", "ADAPTER"],
    "ablate": ["--data", "SET", *MODEL, "--recipe", "nano", "--ranks", "2"],
    "benchmark": ["--data", "SET"],
    "evaluate": ["BENCHMARK", *MODEL],
    "calibrate": ["--data", "SET", *MODEL],
    "freetext": ["--data", "SET", *MODEL],
    "bias": ["--images", "SET", "--labels", "SET/labels.csv", *MODEL],
}


@pytest.fixture(scope="module")
def places(tmp_path_factory, folders):
    top = tmp_path_factory.mktemp("outputs")
    return {
        "SET": write_face_set(top / "set", images=4, archive=False),
        "BENCHMARK": write_benchmark(top / "benchmark", questions=1),
        "ADAPTER": folders.adapter,
    }


@pytest.mark.parametrize("where", ["parent is a file", "no disk"])
@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_says_at_once_that_out_cannot_be_written(verb, where, places, tmp_path, capsys, monkeypatch):
    def opened(*_, **__):
        raise AssertionError("a model was opened")

    monkeypatch.setattr("facellm.model_options.ModelOptions.open_weights", opened)
    monkeypatch.setattr("train.lora.base_model.open_base", opened)
    (tmp_path / "file").write_text("kept")
    out = tmp_path / "file" / "new" / "out" if where == "parent is a file" else "/proc/new/out"
    command = [verb, *COMMANDS[verb], "--out", str(out)]
    for name, path in places.items():
        command = [part.replace(name, str(path)) for part in command]
    assert verbs.main(command) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert "cannot be written into" in said[-1] and str(out).rsplit("/", 1)[0] in said[-1]
    assert said[-1].endswith("choose another --out.") and (tmp_path / "file").read_text() == "kept"


def test_what_the_system_refuses_in_the_middle_is_one_sentence(monkeypatch, capsys):
    def run(error):
        def fail(argv):
            raise error

        monkeypatch.setattr("train.evaluate.benchmark.main", fail)
        return verbs.main(["benchmark"]), capsys.readouterr().err

    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/out/plot.png")
    code, said = run(full)
    assert code == 2 and said.startswith("/out/plot.png cannot be written (No space left on device); free some space")
    code, said = run(PermissionError(errno.EACCES, "Permission denied", "labels.csv"))
    assert (
        code == 2
        and said == "labels.csv cannot be used (Permission denied); mend that and run the same command again.\n"
    )
    with pytest.raises(RuntimeError, match="a fault of ours"):
        run(RuntimeError("a fault of ours"))
    assert refused(ValueError("x")) is None and refused(OSError()) is None


FULL = """
import resource, sys
import torch
from safetensors.torch import save_file
from facellm.storage.writable import refused
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
tensor = torch.zeros(100_000)
def plain():
    with open("c", "wb", buffering=0) as file:
        while True:
            file.write(bytes(5000))
for write in (lambda: save_file({"a": tensor}, "a"), lambda: torch.save(tensor, "b"), plain):
    try:
        write()
    except Exception as error:
        print(refused(error))
"""


def test_a_full_disk_is_known_from_every_library(tmp_path):
    """A limit on the size of files stands for the disk: the system refuses in the same way."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", FULL], cwd=tmp_path, env=environment, capture_output=True, text=True)
    said = done.stdout.splitlines()
    assert len(said) == 3, done.stderr
    assert all("cannot be written (" in line and "free some space there" in line for line in said), said


def test_outputs_are_made_and_tried(tmp_path):
    assert usable_place(tmp_path / "not" / "yet") == tmp_path / "not" / "yet" and not (tmp_path / "not").exists()
    assert usable_file(tmp_path / "a" / "b" / "r.csv") == tmp_path / "a" / "b" / "r.csv"
    assert list((tmp_path / "a").rglob("*")) == [tmp_path / "a" / "b"]
    with pytest.raises(FaceLLMError, match="is a folder; name a file in it with --report"):
        usable_file(tmp_path / "a", "--report")
    with pytest.raises(FaceLLMError, match="choose another --db"):
        usable_folder(tmp_path / ("x" * 300), "--db")
