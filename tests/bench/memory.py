"""One way of answering in a process of its own, for its memory: `python -m tests.bench.memory ours|one|two FOLDERS N`.

ours: sixteen answers of N tokens, base and FaceLLM, one copy of the weights.  one: FaceLLM's checkpoint alone, its
eight questions one by one.  two: both checkpoints, sixteen questions one by one.  FOLDERS: as JSON.  Prints MiB, as
JSON: the most that the process held while answering, and how much of it came after the imports (Linux only).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def status(name: str) -> float:
    """MiB of a line of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not tell a process its memory")


def main() -> None:
    kind, folders, tokens = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
    import peft  # noqa: F401 - imported before, so that it is not counted as the model's

    from facellm.engine.sampling import Sampling
    from tests import tiny
    from tests.bench.inference import EIGHT, SIXTEEN
    from tests.bench.models import Subject, endless, open_ours, open_published
    from tests.reference import generate

    before, picture, sampling = status("VmRSS"), tiny.picture(1, 224), Sampling(max_new_tokens=tokens)
    if kind == "ours":
        engine = Subject("", endless(open_ours(folders))).engine()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here: not that of opening
        engine.answer(picture, SIXTEEN, sampling)
    else:
        loaded = endless(open_published(folders, base=kind == "two"))
        Path("/proc/self/clear_refs").write_text("5")
        for row in SIXTEEN if kind == "two" else EIGHT:
            generate(loaded, picture, row, sampling)
    peak = status("VmHWM")
    print(json.dumps([round(peak, 1), round(peak - before, 1)]))


if __name__ == "__main__":
    main()
