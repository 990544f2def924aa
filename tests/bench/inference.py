"""B1 to B5 and B7: what answering costs, against the published way, against one visitor after another, and against
the memory's bandwidth.

The published way is one `generate` call for each question, the image encoded anew each time (tests/reference.py), on
base and merged FaceLLM as two checkpoints. Pictures are made up and answers have a fixed length: both sides do the same
work whatever the weights say. What this file does not know: how results are printed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

import torch
from PIL import Image

from facellm.api import FaceLLM
from facellm.attributes import ATTRIBUTES
from facellm.engine.sampling import Sampling
from facellm.messages import build_messages, prompt_ids, text_ids
from facellm.profile import fields_for
from facellm.results import Row
from tests import tiny
from tests.bench.models import Subject
from tests.bench.timing import Result, in_model_thread, percentile, race, result, wait
from tests.paths import ROOT
from tests.reference import generate

EIGHT = [Row("facellm", a.question, key=a.key) for a in ATTRIBUTES]
SIXTEEN = [Row("base", a.question, key=a.key) for a in ATTRIBUTES] + EIGHT
VISITORS = 8
PUBLISHED = "one generate call per question, image encoded anew"


def published(subject: Subject, picture: Image.Image, row: Row, sampling: Sampling) -> list[int]:
    """Token ids of one answer by the published way."""
    return in_model_thread(lambda: generate(subject.plain, picture, row, sampling)[0])


def eight_answers(subject: Subject, tokens: int, repeats: int) -> list[Result]:
    return [_against_published("B1", "eight answers", subject, EIGHT, tokens, repeats, "≥ 5")]


def sixteen_answers(subject: Subject, tokens: int, repeats: int) -> list[Result]:
    found = [_against_published("B2", "sixteen answers, both models", subject, SIXTEEN, tokens, repeats, "≥ 8")]
    if subject.folders:
        memory = {kind: _memory(subject, kind, tokens, min(repeats, 3)) for kind in ("ours", "one", "two")}
        for kind, other, target in (
            ("one", "one model and one question at a time", "≤ 1.1"),
            ("two", "two copies of the model", ""),
        ):
            for part, what in enumerate(("memory of the process, sixteen", "of which model and answers")):
                pairs = [(a[part], b[part]) for a, b in zip(memory["ours"], memory[kind], strict=True)]
                bound = "" if part else target
                found.append(result("B2", subject.name, what, other, pairs, True, unit="MiB", target=bound))
    elif torch.cuda.is_available():
        found[0].notes["peak_cuda_bytes"] = _cuda_peak(lambda: _ask(subject, SIXTEEN, tokens))
        found[0].notes["weights_bytes"] = subject.loaded.report.memory_bytes
    return found


def _against_published(bench, what, subject: Subject, rows, tokens: int, repeats: int, target: str) -> Result:
    picture, engine, sampling = tiny.picture(1, 224), subject.engine(), Sampling(max_new_tokens=tokens)
    written: dict[str, list] = {}

    def ours() -> None:
        engine.clear()
        written["ours"] = [list(answer.token_ids) for answer in engine.answer(picture, rows, sampling)]

    def other() -> None:
        written["other"] = [published(subject, picture, row, sampling) for row in rows]

    pairs = race(ours, other, repeats)
    # Merged weights are rounded otherwise than base + adapter, so random models may choose another token here or there.
    same = sum(map(list.__eq__, written["ours"], written["other"]))
    notes = {"tokens each": tokens, "rows with the same tokens": f"{same} of {len(rows)}"}
    return result(bench, subject.name, what, PUBLISHED, pairs, target=target, notes=notes)


def _ask(subject: Subject, rows, tokens: int) -> None:
    subject.engine().answer(tiny.picture(1, 224), rows, Sampling(max_new_tokens=tokens))


def _cuda_peak(work: Callable[[], object]) -> int:
    torch.cuda.reset_peak_memory_stats()
    work()
    wait()
    return torch.cuda.max_memory_allocated()


def _memory(subject: Subject, kind: str, tokens: int, repeats: int) -> list[tuple[float, float]]:
    """MiB that a process of its own holds at most while it answers: in all, and over what it held after its imports."""
    command = [sys.executable, "-m", "tests.bench.memory", kind, json.dumps(subject.folders), str(tokens)]
    found = []
    for _ in range(repeats):
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        found.append(tuple(json.loads(done.stdout.splitlines()[-1])))
    return found


def first_tokens(subject: Subject, tokens: int, repeats: int) -> list[Result]:
    """Seconds until all eight have their first token, against one question alone; a new image each time."""
    picture, engine, one = tiny.picture(1, 224), subject.engine(), Sampling(max_new_tokens=1)

    def ask(rows):
        engine.clear()
        engine.answer(picture, rows, one)

    ask(EIGHT)
    pairs = race(lambda: ask(EIGHT), lambda: ask(EIGHT[:1]), 3 * repeats)
    what, other = "first tokens of all eight, new image", "first token of one question alone"
    return [result("B3", subject.name, what, other, pairs, slower=True, target="≤ 2.5")]


def whole_profile(subject: Subject, tokens: int, repeats: int) -> list[Result]:
    """All labels of all fields scored, against writing them down: the JSON with every probability, and the shortest
    that names each field's label."""
    picture, model = tiny.picture(1, 224), FaceLLM(subject.loaded)
    fields = fields_for(subject.loaded.label_set)

    def ours():
        model.engine.clear()
        return model.profile(picture, whole=True)

    profile = ours()
    full = json.dumps({k: {x: round(p, 2) for x, p in v.items()} for k, v in profile.fields.items()})
    short = json.dumps({k: profile.best(k) for k in profile.fields})
    question = "Answer as JSON: " + " ".join(f"{f.key}: {', '.join(f.labels)}." for f in fields)
    found = []
    for what, text, target in (("all fields, all labels", full, "≥ 10"), ("all fields", short, "")):
        length = len(text_ids(model.engine.processor, text))

        def other(length=length):
            published(subject, picture, Row("facellm", question), Sampling(max_new_tokens=length))

        pairs = race(ours, other, repeats)
        notes = {"tokens of the JSON": length}
        name = f"profile, {what}"
        found.append(result("B4", subject.name, name, "generating the same as JSON", pairs, target=target, notes=notes))
    return found


def visitors(subject: Subject, tokens: int, repeats: int) -> list[Result]:
    """Eight visitors who come at the same time, each with a picture and a question of his own."""
    engine, sampling = subject.engine(), Sampling(max_new_tokens=tokens)
    jobs = [(tiny.picture(n, 224), EIGHT[n % 8]) for n in range(VISITORS)]
    firsts: dict[str, list[float]] = {"together": [], "in turn": []}
    texts: dict[str, list] = {"together": [], "in turn": []}

    def crowd(kind: str, at_once: bool) -> None:
        engine.clear()
        came, turn = time.perf_counter(), threading.Lock()
        answers: list = [None] * VISITORS

        def visit(n: int) -> None:
            picture, row = jobs[n]
            if not at_once:
                turn.acquire()
            asked = time.perf_counter()
            answers[n] = engine.answer(picture, [row], sampling)[0]
            firsts[kind].append(asked - came + answers[n].first_token_seconds)
            if not at_once:
                turn.release()

        threads = [threading.Thread(target=visit, args=(n,)) for n in range(VISITORS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        texts[kind] = [answer.token_ids for answer in answers]

    crowd("together", True)
    firsts["together"].clear()
    pairs = race(lambda: crowd("together", True), lambda: crowd("in turn", False), repeats)
    found = [
        result("B5", subject.name, "eight visitors at once, all answers", "one after another", pairs, target="≥ 3")
    ]
    found[0].notes = {
        "tokens each": tokens,
        "tokens/s together": round(VISITORS * tokens / found[0].ours, 1),
        "tokens/s in turn": round(VISITORS * tokens / found[0].other, 1),
        "answers with the same tokens": f"{sum(map(tuple.__eq__, *texts.values()))} of {VISITORS}",
    }
    for name, share in (("p50", 0.5), ("p95", 0.95)):
        ours, other = (percentile(firsts[kind], share) for kind in ("together", "in turn"))
        line = result("B5", subject.name, f"first token, {name}", "one after another", [(ours, other)], target="≥ 1")
        line.repeats = repeats
        found.append(line)
    return found


def bandwidth_limit(subject: Subject, tokens: int, repeats: int) -> list[Result]:
    """Tokens a second of one row and of eight, against what reading the weights once a step would allow."""
    engine, picture = subject.engine(), tiny.picture(1, 224)
    network = engine.networks["facellm"]
    decoder = network.model.model.language_model
    weights = sum(p.nbytes for p in decoder.layers.parameters()) + network.model.lm_head.weight.nbytes
    prompt = len(prompt_ids(engine.processor, build_messages(EIGHT[0].question)))
    found = []
    for rows in (1, 8):
        read = weights + rows * (prompt + tokens // 2) * network.token_bytes
        pairs = []
        for _ in range(repeats):
            limit = in_model_thread(partial(bandwidth, read, network.device)) / read  # steps a second
            answers = engine.answer(picture, EIGHT[:rows], Sampling(max_new_tokens=tokens))
            slowest = max(a.seconds - a.first_token_seconds for a in answers)
            pairs.append((rows * (tokens - 1) / slowest, rows * limit))
        what = f"tokens/s, {rows} row{'s' * (rows > 1)}"
        line = result("B7", subject.name, what, "bandwidth limit", pairs, slower=True, unit="tokens/s")
        line.notes = {
            "MiB read a step": round(read / 2**20, 1),
            "GB/s measured": round(statistics.median(p[1] for p in pairs) / rows * read / 1e9, 1),
        }
        found.append(line)
    return found


def bandwidth(size: int, device: torch.device) -> float:
    """Bytes a second of reading a buffer of `size` bytes again and again (a small one stays in the caches, as a small
    model's weights do)."""
    buffer = torch.ones(max(size // 4, 1), dtype=torch.float32, device=device)
    times = max(3, int(2e9 / size))
    buffer.sum()
    wait()
    started = time.perf_counter()
    for _ in range(times):
        buffer.sum()
    wait()
    return times * buffer.nbytes / (time.perf_counter() - started)
