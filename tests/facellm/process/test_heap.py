"""The C library's heaps: set where it can be, left alone elsewhere."""

import ctypes
import platform
import subprocess
import sys

import pytest

from facellm.process import heap

# Eight threads that allocate at the same time; glibc names its heaps in malloc_info.
_COUNT = """
import ctypes, sys, threading
from facellm.process.heap import tidy_heaps
if sys.argv[1] == "tidy":
    assert tidy_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
barrier = threading.Barrier(8)
def take():
    barrier.wait()
    for _ in range(1000):
        libc.malloc(ctypes.c_size_t(500))
    barrier.wait()
threads = [threading.Thread(target=take) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
libc.fopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, out)
libc.fclose(out)
"""


def heaps(how, tmp_path):
    """Number of heaps that eight threads used."""
    report = tmp_path / f"{how}.xml"
    subprocess.run([sys.executable, "-c", _COUNT, how, str(report)], check=True, timeout=60)
    return report.read_text().count("<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has heaps of threads")
def test_all_threads_share_two_heaps(tmp_path):
    assert heaps("tidy", tmp_path) <= heap.ARENAS < heaps("plain", tmp_path)


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert heap.tidy_heaps() is False
